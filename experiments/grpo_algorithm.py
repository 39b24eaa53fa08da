"""Decoupled GRPO as an RLlib algorithm on the new API stack.

RLlib brings actors, their restarts, learner groups and Tune. What it cannot do with ragged text and video is ours:
groups are dispatched by a ledger, samples are sharded by group, and weights are shipped once per update. Without
remote workers and learners everything happens in this process, and Ray is never started.

Source: LOVE-R1, arXiv:2509.24786, Sec. 4.3.
"""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_LEARNER_GROUP
from ray.rllib.utils.checkpoints import Checkpointable

from videozoom.envs.tasks import Task
from videozoom.experiments.checkpoints import atomic_folder, load_trainer_state
from videozoom.experiments.grpo_batch import sample_batch
from videozoom.experiments.grpo_config import DecoupledGRPOConfig
from videozoom.experiments.grpo_dispatch import merge_replies, restore_workers, sample_remotely, split_requests
from videozoom.experiments.grpo_env_runner import GroupEnvRunner, checked_reply
from videozoom.experiments.grpo_learner import GRPOLearner, Shard, ShardResult, split_samples
from videozoom.experiments.grpo_records import IterationRecord, Sampled, Updated
from videozoom.experiments.grpo_settings import GrpoSettings, Progress
from videozoom.experiments.weights import load_weights
from videozoom.policies.feature_cache import FeatureBudget, FeatureCache
from videozoom.policies.grpo_update import UpdateStats
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.training_sample import TrainingSample
from videozoom.rollout.group_metrics import group_metrics
from videozoom.rollout.groups import GroupSpec
from videozoom.rollout.training_samples import training_samples
from videozoom.rollout.video_metrics import feature_metrics

_PROGRESS = "progress"
"""Key of our own state in an RLlib checkpoint."""


class DecoupledGRPO(Algorithm):  # type: ignore[misc]
    """Samples groups of both kinds, computes their advantages, and takes one step on all of them.

    `train()` runs one iteration; `record()` says what it did, and RLlib's result has its metrics under `grpo`.
    """

    config: DecoupledGRPOConfig
    _record: IterationRecord | None = None

    @classmethod
    def get_default_config(cls) -> DecoupledGRPOConfig:
        return DecoupledGRPOConfig(algo_class=cls)

    def _setup_logdir(self) -> None:
        """Use Tune's folder if there is one; RLlib would otherwise make one in the user's home for every run."""
        if self._storage is not None:
            super()._setup_logdir()
        else:
            self._logdir = tempfile.gettempdir()

    def setup(self, config: DecoupledGRPOConfig) -> None:
        super().setup(config)
        self.progress = Progress()
        self._version = 0
        self._weights: ray.ObjectRef | None = None
        self._driver_policy: QwenVLPolicy | None = None
        self._local_runner: GroupEnvRunner | None = None
        self._features = FeatureCache(self.config.source.feature_budget if self.config.source else FeatureBudget())
        if not self.config.num_env_runners:
            self._local_runner = GroupEnvRunner(config=self.config)
            if self._local_learner is not None:
                self._local_runner.act_with(self._local_learner.policy)

    @property
    def _settings(self) -> GrpoSettings:
        return self.config.settings

    @property
    def _has_remote_processes(self) -> bool:
        return bool(self.config.num_env_runners or self.config.num_learners)

    @property
    def _local_learner(self) -> GRPOLearner | None:
        learner: GRPOLearner | None = self.learner_group._learner
        return learner

    def training_step(self) -> None:
        """Run one iteration; called by `train()`."""
        started_s = time.perf_counter()
        settings, iteration = self._settings, self.progress.iteration
        batch = sample_batch(self._sample, self._tasks, settings, self.progress)
        sampled, advantages = batch.sampled, batch.advantages
        samples = training_samples(
            batch.kept_groups,
            batch.kept_advantages,
            aggregation=settings.aggregation,
            keep_zero_advantage=bool(settings.kl_coef or settings.entropy_coef),
        )
        updated = self._update(samples, iteration)
        updated_s = time.perf_counter()
        if samples:
            self._publish_weights()
        self.progress = Progress(
            iteration=iteration + 1,
            num_episodes=self.progress.num_episodes + sampled.num_episodes,
            num_generated_tokens=self.progress.num_generated_tokens + sampled.num_generated_tokens,
            num_visual_tokens=self.progress.num_visual_tokens + sampled.num_visual_tokens,
            cpu_s=self.progress.cpu_s + sampled.cpu_s + updated.cpu_s,
            zoom_success=batch.zoom_success,
        )
        metrics = {
            **self.progress.metrics(),
            **group_metrics(sampled.groups, advantages),
            **batch.metrics,
            **updated.metrics(),
            **sampled.metrics(),
            **feature_metrics(sampled.features + updated.features),
            **self._cache_metrics(),
            "time/sync_s": time.perf_counter() - updated_s,
            "time/step_s": time.perf_counter() - started_s,
        }
        self._record = IterationRecord(iteration, tuple(sampled.groups), tuple(advantages), metrics)
        for name, value in metrics.items():
            self.metrics.log_value(("grpo", name), value, reduce="mean", window=1)

    def _cache_metrics(self) -> dict[str, float]:
        metrics = {}
        frames = self.config.world.frames if self.config.world is not None else None
        if frames is not None:
            metrics["video/cache_bytes"] = float(frames.cache_bytes())
        if self._features.has_folder:
            metrics["video/feature_bytes"] = float(self._features.num_bytes())
        return metrics

    @property
    def _tasks(self) -> Sequence[Task]:
        if self.config.world is None:
            raise ValueError("no tasks to sample: set the world with grpo(world=...)")
        return self.config.world.tasks

    def _sample(self, specs: Sequence[GroupSpec]) -> Sampled:
        """Return the groups of `specs`, in order, sampled here or by the workers."""
        started_s = time.perf_counter()
        if self._local_runner is not None:
            weights = None if self._weights is None else ray.get(self._weights)
            reply = self._local_runner.sample(specs=specs, version=self._version, weights=weights)
            replies, num_lost = [checked_reply(reply)], 0
        else:
            size = self._settings.groups_per_request
            replies, num_lost = sample_remotely(
                self.env_runner_group._worker_manager,
                split_requests(specs, math.ceil(len(specs) / size) if size else self.config.num_env_runners),
                version=self._version,
                weights=self._weights,
            )
        return Sampled(merge_replies(replies), replies, num_lost, time.perf_counter() - started_s)

    def _update(self, samples: Sequence[TrainingSample], iteration: int) -> Updated:
        """Take one step on `samples`; without any, nothing happens."""
        started_s = time.perf_counter()
        if not samples:
            return Updated(UpdateStats(), {}, 0.0, 0.0)
        warmup = self._settings.warmup_iterations
        lr_factor = min(1.0, (iteration + 1) / (warmup + 1))
        shards = [Shard(part, lr_factor) for part in split_samples(samples, max(1, self.config.num_learners))]
        results: list[ShardResult] = self.learner_group.update(batches=shards)
        return Updated(
            stats=reduce(add, (result.stats for result in results)),
            optim=results[0].optim,
            cpu_s=sum(result.cpu_s for result in results),
            wall_s=time.perf_counter() - started_s,
            features=reduce(add, (result.features for result in results)),
        )

    def _publish_weights(self) -> None:
        """Make the learner's weights those that the next groups are sampled with."""
        self._version += 1
        if not self._has_remote_processes:
            return
        if self._local_learner is not None:
            self._weights = ray.put(self._local_learner.packed_weights())
        else:
            # Put by the learner itself, so that they do not pass through this process.
            self._weights = self._first_learner(lambda learner: [ray.put(learner.packed_weights())])[0]

    def record(self) -> IterationRecord:
        """Return what the last iteration did.

        Raises:
            ValueError: There was none.
        """
        if self._record is None:
            raise ValueError("nothing was trained yet: call train() first")
        return self._record

    def write_checkpoint(self, folder: Path) -> None:
        """Write a Hugging Face checkpoint folder with the trainer's state; whole or not at all."""
        with atomic_folder(folder) as temporary:
            progress, metrics = asdict(self.progress), dict(self._record.metrics) if self._record else {}
            self._first_learner(lambda learner: learner.write_checkpoint(temporary, progress, metrics))

    def resume_from(self, folder: Path) -> None:
        """Continue from a checkpoint whose model this algorithm was built with."""
        self.progress = Progress(**load_trainer_state(folder)[_PROGRESS])
        for result in self.learner_group.foreach_learner(lambda learner: learner.load_optimizer(folder)):
            result.get()

    def policy(self) -> QwenVLPolicy:
        """Return a policy with the current weights in this process; it is the learner's own if that is here."""
        if self._local_learner is not None:
            return self._local_learner.policy
        if self._driver_policy is None:
            self._driver_policy = self.config.load_policy()
        if self._weights is not None:
            load_weights(self._driver_policy.trained_parameters(), ray.get(self._weights))
        return self._driver_policy

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        """Take back restarted workers without waiting; RLlib's version blocks and sends them weights."""
        return restore_workers(env_runner_group._worker_manager) if env_runner_group else []

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return RLlib's state with ours."""
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        return state | {_PROGRESS: asdict(self.progress)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take the state of `get_state`; also in the middle of a run, where RLlib would leave workers as they are."""
        if _PROGRESS in state:
            self.progress = Progress(**state[_PROGRESS])
        if COMPONENT_LEARNER_GROUP in state:
            self.learner_group.set_state(state[COMPONENT_LEARNER_GROUP])
            self._publish_weights()
        self._iteration = self.progress.iteration

    def restore_from_path(self, path: str | Path, *args: Any, **kwargs: Any) -> None:
        """Restore RLlib's checkpoint folder and send the weights to the workers."""
        Checkpointable.restore_from_path(self, path, *args, **kwargs)
        self._publish_weights()

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        return [(COMPONENT_LEARNER_GROUP, self.learner_group)]

    def _first_learner(self, call: Callable[[GRPOLearner], Any]) -> Any:
        ids = None if self._local_learner is not None else self.learner_group._worker_manager.healthy_actor_ids()[:1]
        return next(iter(self.learner_group.foreach_learner(call, remote_actor_ids=ids))).get()
