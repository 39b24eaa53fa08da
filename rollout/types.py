"""Steps, trajectories and groups: what a rollout produces and a learner consumes."""

from dataclasses import dataclass

from videozoom.envs.actions import Action
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.policies.base import Completion
from videozoom.rewards.answers import is_right
from videozoom.rewards.facts import RewardBreakdown


@dataclass(frozen=True, slots=True)
class Step:
    """One generation by the agent and its effect."""

    prompt: Prompt
    completion: Completion
    action: Action
    """The action as the environment took it: an invalid span is `Malformed` here."""
    brought: str = ""
    """What the action brought to read, such as a caption."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One finished episode."""

    task_id: str
    kind: EpisodeKind
    member: int
    """Position in its group, from 0."""
    seed: tuple[int, ...]
    steps: tuple[Step, ...]
    status: Status
    answer: str | None
    spans_s: tuple[Span, ...]
    """Accepted zooms in the order they were made."""
    reward: RewardBreakdown
    error: str | None = None
    """Why the video could not be read, with status `error_decode`."""
    max_steps: int | None = None
    """How many steps it might have taken; `None` where nobody wrote it down, as the number of frames."""
    num_clip_frames: int | None = None
    """Frames of all slow clips that were shown."""

    @property
    def is_masked(self) -> bool:
        """Whether it is left out of the group statistics and of the loss.

        Source: LOVE-R1, Sec. 5.1: "we mask the whole CoT if the model can not get a final answer at the last step".
        """
        return self.status in (Status.NO_ANSWER, Status.ERROR_DECODE)

    def is_right(self, task: Task) -> bool:
        """Return whether it ended with the right answer: as its reward says, else by the default rules."""
        said = self.reward.is_right
        return is_right(task, self.answer) if said is None else said


@dataclass(frozen=True, slots=True)
class Group:
    """The G trajectories of one task and one kind: the unit of advantage and of work."""

    task: Task
    kind: EpisodeKind
    trajectories: tuple[Trajectory, ...]
