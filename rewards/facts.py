"""What rewards are allowed to look at."""

from collections.abc import Callable
from dataclasses import dataclass

from videozoom.envs.tasks import EpisodeKind, Span, Status, Task


@dataclass(frozen=True, slots=True)
class EpisodeFacts:
    """The scored facts of one finished episode.

    Example:
        >>> EpisodeFacts(EpisodeKind.MULTI_STEP, Status.ANSWERED, answer="B",
        ...              spans_s=(Span(4.0, 8.0),), num_steps=2, num_malformed=0).answer
        'B'
    """

    kind: EpisodeKind
    status: Status
    answer: str | None
    """The final answer, `None` without one."""
    spans_s: tuple[Span, ...]
    """Accepted zooms in the order they were made."""
    num_steps: int
    num_malformed: int
    """Steps whose output was no valid action."""
    num_ill_formed: int = 0
    """Steps whose output was a valid action, but did not keep the protocol's form to the letter."""
    num_clip_frames: int = 0
    """Frames of all slow clips that were shown."""


RewardFunction = Callable[[Task, EpisodeFacts], float | None]
"""Scores one finished episode; `None` if the reward does not apply to it."""


@dataclass(frozen=True, slots=True)
class RewardBreakdown:
    """A rubric's verdict: the weighted total, the unweighted parts that applied, and whether the answer is right."""

    total: float
    parts: dict[str, float]
    is_right: bool | None = None
    """`None` where no answer is asked for, and where nobody looked."""
