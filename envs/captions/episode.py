"""`CaptionEpisode`: where an episode on a caption tree stands, and what the agent sees of it."""

from dataclasses import dataclass, field
from typing import TypedDict

from videozoom.envs.actions import GetCaption
from videozoom.envs.captions.tree import CaptionTree, Node
from videozoom.envs.episode import QuestionEpisode
from videozoom.envs.observation import EPISODE_KINDS, QUESTION_KINDS, Turn
from videozoom.envs.tasks import EpisodeKind, Span


class CaptionObservation(TypedDict):
    """Observation of `CaptionTreeEnv`: text only."""

    captions: tuple[str, ...]
    """Of the high-level spans, in order of time; none if they could not be had."""
    width: int
    """Of the tree: parts of the video, and of each part."""
    duration_s: float
    question: str
    question_kind: int
    """Index into `QUESTION_KINDS`."""
    options: tuple[str, ...]
    step: int
    """Steps taken so far, from 0."""
    max_steps: int
    episode_kind: int
    """Index into `EPISODE_KINDS`."""
    turns: tuple[Turn, ...]
    """The steps taken so far, in order, with the captions and answers they brought."""


@dataclass(frozen=True, slots=True)
class CaptionEpisode(QuestionEpisode):
    """Where an episode of `CaptionTreeEnv` stands."""

    tree: CaptionTree = field(kw_only=True)
    captions: tuple[str, ...] = field(kw_only=True)
    """Of the high-level spans; empty if they could not be had."""

    @property
    def visits(self) -> tuple[Node, ...]:
        """Nodes whose captions were read, in order, with repeats."""
        is_zoom_step = self.kind is EpisodeKind.ZOOM_STEP
        return tuple(
            turn.action.node
            for turn in self.turns
            if isinstance(turn.action, GetCaption) and (turn.text is not None or is_zoom_step)
        )

    @property
    def spans_s(self) -> tuple[Span, ...]:
        """Spans whose captions were read, in order, with repeats; questions about spans do not count.

        Source: LongVideo-R1, released code, whose reward looks at captions only.
        """
        return tuple(map(self.tree.span, self.visits))

    def observation(self) -> CaptionObservation:
        """Return what the agent sees."""
        return CaptionObservation(
            captions=self.captions,
            width=self.tree.width,
            duration_s=self.tree.duration_s,
            question=self.task.question,
            question_kind=QUESTION_KINDS.index(self.task.kind),
            options=self.task.options,
            step=self.step,
            max_steps=self.max_steps,
            episode_kind=EPISODE_KINDS.index(self.kind),
            turns=self.turns,
        )
