"""The learner: one optimizer step per batch of samples, alone or together with others."""

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner

from videozoom.experiments.checkpoints import load_trainer_state, save_trainer_state
from videozoom.experiments.grpo_settings import GrpoSettings
from videozoom.experiments.weights import PackedTensor, pack_weights
from videozoom.policies.feature_cache import FeatureStats
from videozoom.policies.grpo_update import UpdateStats, grpo_gradients
from videozoom.policies.optimizers import OptimizerName, OptimizerSet, build_optimizer
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.training_sample import TrainingSample


@dataclass(frozen=True, slots=True)
class Shard:
    """A learner's part of a batch; token weights are those of the whole batch."""

    samples: Sequence[TrainingSample]
    lr_factor: float = 1.0


def split_samples(samples: Sequence[TrainingSample], num_shards: int) -> list[list[TrainingSample]]:
    """Return the samples in shards of about the same number of tokens; a group, which shares a prompt, stays together.

    With fewer groups than shards some shards are empty.
    """
    groups: dict[int, list[TrainingSample]] = defaultdict(list)
    for sample in samples:
        groups[sample.group].append(sample)
    shards: list[list[TrainingSample]] = [[] for _ in range(num_shards)]
    loads = [0] * num_shards
    for group in sorted(groups.values(), key=lambda group: -_num_tokens(group)):
        lightest = loads.index(min(loads))
        shards[lightest] += group
        loads[lightest] += _num_tokens(group)
    return shards


def _num_tokens(samples: Sequence[TrainingSample]) -> int:
    return sum(sample.num_tokens for sample in samples)


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a learner answers: sums over its shard, and the numbers all learners agree on."""

    stats: UpdateStats
    optim: dict[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0
    """CPU seconds the update took in this process."""
    features: FeatureStats = field(default_factory=FeatureStats)
    """What the features of clips took."""


class GRPOLearner(TorchLearner):  # type: ignore[misc]
    """Computes gradients of its shard, sums them with those of the other learners, and takes one step.

    RLlib's own data path is not used: its sharding cuts ragged columns silently. Nor is its wrapping in
    `DistributedDataParallel`: gradients are summed once per update, whatever the number of micro-batches.
    """

    optimizer: OptimizerSet

    @property
    def policy(self) -> QwenVLPolicy:
        """The policy that learns."""
        policy: QwenVLPolicy = self.module[DEFAULT_MODULE_ID].policy
        return policy

    def build(self) -> None:
        super().build()
        settings: GrpoSettings = self.config.settings
        self._reference = settings.reference.load() if settings.kl_coef and settings.reference else None
        if self._reference is not None:
            self._reference.share_features(self.policy)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        settings: GrpoSettings = self.config.settings
        policy = self._module[module_id].policy
        self.optimizer = build_optimizer(
            policy.trained_parameters(),
            name=OptimizerName(settings.optimizer),
            lr=settings.lr,
            weight_decay=settings.weight_decay,
        )
        for index, optimizer in enumerate(self.optimizer.optimizers):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            self.register_optimizer(
                module_id=module_id, optimizer_name=f"optimizer_{index}", optimizer=optimizer, params=parameters
            )

    def update(self, batch: Shard | None = None, *, training_data: Any = None, **_: Any) -> ShardResult:
        """Learn from a shard; every learner is called, also with an empty shard."""
        started_cpu_s = time.process_time()
        shard = batch or training_data.batch or training_data.batches[0]
        settings: GrpoSettings = self.config.settings
        features_before = self.policy.features.stats
        stats = grpo_gradients(
            self.policy,
            shard.samples,
            clip_low=settings.clip_low,
            clip_high=settings.clip_high,
            distribution=settings.sampling.distribution,
            max_tokens_per_batch=settings.max_tokens_per_batch,
            kl_coef=settings.kl_coef,
            reference=self._reference,
            entropy_coef=settings.entropy_coef,
        )
        parameters = [parameter for _, parameter in self.policy.trained_parameters()]
        if self.distributed:
            _sum_gradients(parameters)
        optim = self._step(parameters, settings, shard.lr_factor)
        features = self.policy.features.stats - features_before
        return ShardResult(stats, optim, time.process_time() - started_cpu_s, features)

    def _step(self, parameters: list[torch.nn.Parameter], settings: GrpoSettings, lr_factor: float) -> dict[str, float]:
        grad_norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.grad_clip_norm))
        is_finite = math.isfinite(grad_norm)
        if is_finite:
            self.optimizer.step(lr_factor)
        for parameter in parameters:
            parameter.grad = None
        return {
            "optim/lr": settings.lr * lr_factor,
            "optim/grad_norm": grad_norm,
            "optim/grad_norm_clipped/rate": float(grad_norm > settings.grad_clip_norm),
            "optim/nonfinite/sum": float(not is_finite),
        }

    def packed_weights(self) -> dict[str, PackedTensor]:
        """Return the trained weights for other processes."""
        return pack_weights(self.policy.trained_parameters())

    def write_checkpoint(self, folder: Path, progress: dict[str, Any], metrics: Mapping[str, float]) -> None:
        """Write the model as a Hugging Face checkpoint, with the trainer's state beside it."""
        self.policy.save(folder)
        save_trainer_state(folder, self.optimizer.state_dict(), progress, metrics)

    def load_optimizer(self, folder: Path) -> None:
        """Take the optimizer's state of a checkpoint."""
        self.optimizer.load_state_dict(load_trainer_state(folder)["optimizer"])

    def compute_loss_for_module(self, **_: Any) -> Any:
        raise NotImplementedError("the loss is computed in videozoom.policies.grpo_update")

    def _make_modules_ddp_if_necessary(self) -> None:
        """Leave the module as it is; see the class."""

    def _get_optimizer_state(self) -> dict[str, Any]:
        # As tensors: RLlib would go through numpy, which has no bfloat16.
        return self.optimizer.state_dict()

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


def _sum_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        torch.distributed.all_reduce(parameter.grad)
