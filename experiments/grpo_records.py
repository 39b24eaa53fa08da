"""What the steps of an iteration hand to each other and to the outside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from videozoom.experiments.grpo_env_runner import SampleReply
from videozoom.policies.feature_cache import FeatureStats
from videozoom.policies.grpo_update import UpdateStats
from videozoom.rollout.types import Group, Step
from videozoom.rollout.video_metrics import video_metrics


@dataclass(frozen=True, slots=True)
class IterationRecord:
    """What one iteration did."""

    iteration: int
    """Finished updates of the weights that sampled."""
    groups: tuple[Group, ...]
    advantages: tuple[NDArray[np.float64], ...]
    """`[G]` for each group."""
    metrics: Mapping[str, float]
    """Registered names only."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Groups, and what it took to sample them."""

    groups: list[Group]
    replies: list[SampleReply]
    num_lost: int
    wall_s: float

    def __add__(self, other: "Sampled") -> "Sampled":
        """Return both: what was sampled after each other."""
        return Sampled(
            self.groups + other.groups,
            self.replies + other.replies,
            self.num_lost + other.num_lost,
            self.wall_s + other.wall_s,
        )

    @property
    def cpu_s(self) -> float:
        return sum(reply.cpu_s for reply in self.replies)

    @property
    def num_episodes(self) -> int:
        return sum(len(group.trajectories) for group in self.groups)

    @property
    def num_generated_tokens(self) -> int:
        return sum(len(step.completion.token_ids) for step in self._steps())

    @property
    def num_visual_tokens(self) -> int:
        return sum(step.completion.num_visual_tokens for step in self._steps())

    @property
    def features(self) -> FeatureStats:
        """What the features of clips took, in all workers."""
        return reduce(add, (reply.features for reply in self.replies), FeatureStats())

    def metrics(self) -> dict[str, float]:
        video = [reply.video for reply in self.replies if reply.video is not None]
        return {
            **(video_metrics(reduce(add, video)) if video else {}),
            "time/rollout_s": self.wall_s,
            "perf/episodes_per_s": self.num_episodes / self.wall_s,
            "perf/generated_tokens_per_s": self.num_generated_tokens / self.wall_s,
            "ray/lost_requests/sum": float(self.num_lost),
        }

    def _steps(self) -> Iterator[Step]:
        return (step for group in self.groups for trajectory in group.trajectories for step in trajectory.steps)


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update saw, and what it took."""

    stats: UpdateStats
    optim: dict[str, float]
    cpu_s: float
    wall_s: float
    features: FeatureStats = field(default_factory=FeatureStats)

    def metrics(self) -> dict[str, float]:
        metrics = {**self.stats.metrics(), **self.optim, "time/update_s": self.wall_s}
        if self.stats.num_tokens:
            metrics["perf/trained_tokens_per_s"] = self.stats.num_tokens / self.wall_s
        return metrics
