"""A rollout worker: samples whole groups with the weights it is told to use."""

import time
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable

from videozoom.envs.video_stats import VideoStoreStats
from videozoom.experiments.weights import Weights, load_weights
from videozoom.policies.feature_cache import FeatureStats
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.rollout.groups import GroupSpec, sample_groups
from videozoom.rollout.types import Group

# RLlib wants to know spaces before anything else; text and ragged video fit none of its models.
_SPACE = gymnasium.spaces.Text(max_length=1)
SPACES = (_SPACE, _SPACE)


@dataclass(frozen=True, slots=True)
class SampleReply:
    """What a worker answers to one request."""

    groups: tuple[Group, ...]
    cpu_s: float
    """CPU seconds the request took."""
    video: VideoStoreStats | None = None
    """What reading videos took, if the world says what reads them."""
    features: FeatureStats = field(default_factory=FeatureStats)
    """What the features of clips took."""
    error: str | None = None
    """Traceback of a mistake in our code; then there are no groups."""


def checked_reply(reply: SampleReply) -> SampleReply:
    """Return the reply.

    Raises:
        RuntimeError: It holds an error.
    """
    if reply.error is not None:
        raise RuntimeError(f"sampling failed in a rollout worker:\n{reply.error}")
    return reply


class GroupEnvRunner(EnvRunner, Checkpointable):  # type: ignore[misc]
    """Samples groups. A video that cannot be read is a status in its trajectory and never harms the worker."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._policy: QwenVLPolicy | None = None
        self._version = 0

    def act_with(self, policy: QwenVLPolicy) -> None:
        """Act with another component's model from now on: in one process there is only one."""
        self._policy = policy

    def sample(
        self, *, specs: Sequence[GroupSpec] = (), version: int = 0, weights: Weights | None = None, **_: Any
    ) -> SampleReply:
        """Return the groups of `specs`, sampled with the weights of `version`.

        Args:
            specs: Groups to sample, as one batch.
            version: Which weights to act with.
            weights: Those weights, loaded only if this worker has others, as after a restart; `None` for those of the
                checkpoint. A remote caller sends a reference, which Ray resolves without a copy on one machine.
        """
        started_cpu_s = time.process_time()
        world, settings = self.config.world, self.config.settings
        before = world.frames.stats if world.frames is not None else None
        groups: tuple[Group, ...] = ()
        features, error = FeatureStats(), None
        try:
            policy = self._policy_of(version, weights)
            features_before = policy.features.stats
            groups = tuple(
                sample_groups(
                    specs,
                    group_size=settings.group_size,
                    max_steps=world.max_steps,
                    make_env=world.make_env,
                    protocol=world.protocol,
                    policy=policy,
                )
            )
            features = policy.features.stats - features_before
        except Exception:
            # An exception would end this process and, after a restart, the next one: the driver raises it instead.
            error = traceback.format_exc()
        video = world.frames.stats - before if before is not None else None
        return SampleReply(groups, time.process_time() - started_cpu_s, video, features, error)

    def _policy_of(self, version: int, weights: Weights | None) -> QwenVLPolicy:
        if self._policy is None:
            self._policy = self.config.load_policy()
        if version != self._version and weights is not None:
            load_weights(self._policy.trained_parameters(), weights)
        self._version = version
        return self._policy

    def get_spaces(self) -> dict[str, Any]:
        return {INPUT_ENV_SPACES: SPACES, DEFAULT_MODULE_ID: SPACES}

    def assert_healthy(self) -> None:
        """Do nothing: a worker that answers is healthy."""

    def get_metrics(self) -> dict[str, Any]:
        return {}

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return nothing: all a worker knows comes with its requests."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Ignore the state; see `get_state`."""

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {"config": self.config}

    def stop(self) -> None:
        """Do nothing: there is nothing to close."""
