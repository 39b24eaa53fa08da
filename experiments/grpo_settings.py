"""What a GRPO run is made of: the world it samples in, the model it trains, and the numbers of the recipe."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from videozoom.envs.protocols.base import Protocol
from videozoom.envs.tasks import Task
from videozoom.envs.video_store import VideoStore
from videozoom.policies.feature_cache import FeatureBudget
from videozoom.policies.sampling import Sampling
from videozoom.rewards.penalty_schedule import PenaltySchedule
from videozoom.rollout.runner import MakeEnv
from videozoom.rollout.training_samples import LossAggregation

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy


class _Shared:
    """Something immutable that RLlib, which copies its configurations many times over, does not copy."""

    __slots__ = ()

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class World(_Shared):
    """Where episodes happen. Sent to rollout workers, so everything in it can be pickled."""

    tasks: tuple[Task, ...]
    make_env: MakeEnv
    protocol: Protocol
    max_steps: int = 3
    frames: VideoStore | None = None
    """What the environments read videos with, if its work is to be in the metrics."""


@dataclass(frozen=True, slots=True)
class ModelSource(_Shared):
    """A checkpoint folder and how to load it; every process loads its own copy."""

    checkpoint: Path
    dtype: str = "float32"
    attention: str = "sdpa"
    text_attention: str = "auto"
    freeze_vision: bool = True
    gradient_checkpointing: bool = False
    feature_budget: FeatureBudget = field(default_factory=FeatureBudget)

    def load(self, sampling: Sampling | None = None) -> "QwenVLPolicy":
        """Return the policy, on the GPU if this process has one.

        Raises:
            CheckpointError: The folder is no checkpoint of a Qwen2.5-VL model.
            AttentionBackendError: `text_attention` does not work in this process.
        """
        import torch

        from videozoom.policies.qwen_vl import QwenVLPolicy

        policy = QwenVLPolicy.from_checkpoint(
            self.checkpoint,
            dtype=self.dtype,
            attention=self.attention,
            text_attention=self.text_attention,
            freeze_vision=self.freeze_vision,
            gradient_checkpointing=self.gradient_checkpointing,
            feature_budget=self.feature_budget,
            sampling=sampling,
        )
        policy.model.to("cuda" if torch.cuda.is_available() else "cpu")
        # Asking for it tries it.
        _ = policy.attention_backend
        return policy


@dataclass(frozen=True, slots=True)
class GrpoSettings(_Shared):
    """The numbers of decoupled GRPO. Source: LOVE-R1, arXiv:2509.24786, Sec. 4.3."""

    seed: int = 0
    num_groups: int = 16
    """Groups of an iteration, both kinds together."""
    group_size: int = 8
    zoom_step_fraction: float = 0.5
    """Share of `zoom_step` groups; 0 is plain multi-step GRPO."""
    resampling_rounds: int = 0
    """How often groups without a signal are replaced in an iteration, at most."""
    penalties: PenaltySchedule = field(default_factory=PenaltySchedule)
    """How penalties change over the training."""
    sampling: Sampling = field(default_factory=Sampling)
    optimizer: str = "adamw"
    """A `videozoom.policies.optimizers.OptimizerName`."""
    lr: float = 2e-4
    warmup_iterations: int = 0
    weight_decay: float = 0.0
    grad_clip_norm: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.0
    """Weight of the divergence from `reference`."""
    reference: ModelSource | None = None
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    normalise_std: bool = True
    """Whether advantages are divided by the standard deviation of their group."""
    aggregation: LossAggregation = LossAggregation.TOKEN_MEAN
    max_tokens_per_batch: int = 32768
    groups_per_request: int = 0
    """Groups that a rollout worker is sent at a time; 0 for its share of the iteration."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; saved with every checkpoint. All counts are since the start of the run."""

    iteration: int = 0
    """Finished iterations."""
    num_episodes: int = 0
    num_generated_tokens: int = 0
    num_visual_tokens: int = 0
    cpu_s: float = 0.0
    """CPU seconds of sampling and learning, in all processes; evaluations are not in it."""
    zoom_success: float | None = None
    """Running share of episodes that were shown a clip, among those that tried; `None` before the first."""

    def metrics(self) -> dict[str, float]:
        """Return registered metrics."""
        return {
            "progress/iteration": float(self.iteration),
            "progress/episodes": float(self.num_episodes),
            "progress/generated_tokens": float(self.num_generated_tokens),
            "progress/visual_tokens": float(self.num_visual_tokens),
            "progress/cpu_s": self.cpu_s,
        }
