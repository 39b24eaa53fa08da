"""Tasks: one question about one video, with its answer and evidence. Frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

OPTION_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Span(NamedTuple):
    """A half-open span of video time, `[start_s, end_s)` in seconds.

    Example:
        >>> Span(4.0, 8.0).length_s
        4.0
    """

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


class EpisodeKind(StrEnum):
    """How an episode ends and is scored. Source: LOVE-R1, Sec. 4.3 and Fig. 3."""

    MULTI_STEP = "multi_step"
    """Zoom until an answer is given; scored by the answer."""
    ZOOM_STEP = "zoom_step"
    """One forced zoom, scored by its overlap with the evidence."""


class QuestionKind(StrEnum):
    """What kind of answer a question wants. Source: LOVE-R1, released code, `problem_type`."""

    MULTIPLE_CHOICE = "multiple_choice"
    """The letter of an option."""
    NUMERICAL = "numerical"
    """A number."""
    TRANSCRIPTION = "transcription"
    """What is written or said in the video, word by word."""
    OPEN = "open"
    """Free text."""
    TEMPORAL_GROUNDING = "temporal_grounding"
    """When something happens: a span in seconds."""


class Status(StrEnum):
    """Where an episode stands, or how it ended."""

    RUNNING = "running"
    ANSWERED = "answered"
    """`multi_step`: an answer was given."""
    ZOOMED = "zoomed"
    """`zoom_step`: a valid span was given."""
    NO_ANSWER = "no_answer"
    """`multi_step`: the last step brought no answer; masked from the loss."""
    MALFORMED = "malformed"
    """The last step was no valid action, and that scores 0: always in `zoom_step`, in `multi_step` if so configured."""
    ERROR_DECODE = "error_decode"
    """The video could not be read; masked from the loss and counted."""


@dataclass(frozen=True, slots=True)
class Task:
    """One question about one video.

    Example:
        >>> task = Task(
        ...     task_id="v0-q0", video=Path("v0.mp4"), duration_s=64.0,
        ...     question="Which sign appears in the red scene?",
        ...     options=("bars", "lines"), answer="B", evidence=(Span(12.0, 16.0),))
        >>> task.answer_index
        1
    """

    task_id: str
    video: Path
    """Path of the video file."""
    duration_s: float
    question: str
    options: tuple[str, ...]
    """Option texts; their letters are A, B, C, ... by position. Empty unless the kind is multiple choice."""
    answer: str
    """What is right, as an agent would answer it: the letter of an option, a number, words, `[start_s, end_s]`."""
    evidence: tuple[Span, ...] = ()
    """Spans that contain what answers the question; empty if not annotated."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Free data of the task's maker, e.g. the generated events; never shown to an agent."""
    kind: QuestionKind = QuestionKind.MULTIPLE_CHOICE

    @property
    def answer_index(self) -> int:
        """Position of the right option, from 0; raises `ValueError` if there are no options."""
        return self.letters.index(self.answer)

    @property
    def letters(self) -> tuple[str, ...]:
        """Letters of the options, e.g. `("A", "B", "C", "D")`."""
        return tuple(OPTION_LETTERS[: len(self.options)])
