"""What an agent can do: look closer, ask about a part of the video, answer, or produce something malformed."""

from dataclasses import dataclass, field
from enum import StrEnum

from videozoom.envs.tasks import Span


@dataclass(frozen=True, slots=True)
class ZoomIn:
    """Look at `span_s` with few, large frames."""

    span_s: Span
    fps: float | None = None
    """Frames per second asked for; `None` leaves them to the environment."""
    is_well_formed: bool = True
    """Whether the output kept the protocol's form to the letter; it could be read in any case."""


@dataclass(frozen=True, slots=True)
class GetCaption:
    """Read the caption of one part of the video.

    Example:
        >>> GetCaption((2, 3))  # the third part of the second part of the video
        GetCaption(node=(2, 3))
    """

    node: tuple[int, ...]
    """Where the part is in the tree of parts: positions from 1, from the top down."""


@dataclass(frozen=True, slots=True)
class AskVideo:
    """Ask a question about one part of the video, answered by somebody who looks at it."""

    node: tuple[int, ...]
    """As in `GetCaption`."""
    question: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Give the final answer.

    Example:
        >>> Answer("B")  # to a question with options
        Answer(text='B', is_well_formed=True)
    """

    text: str
    """The letter of an option, for multiple choice; else what the task's kind asks for: a number, words, a span."""
    is_well_formed: bool = True
    """As in `ZoomIn`."""


class MalformedReason(StrEnum):
    """Why an output is no valid action: it could not be read, or the environment does not take it."""

    NO_PREFIX = "no_prefix"
    """The text starts neither with the zoom nor with the answer prefix."""
    NO_BOX = "no_box"
    """There is no complete `\\boxed{...}`."""
    NOT_A_SPAN = "not_a_span"
    """A zoom whose box does not hold exactly two finite numbers in brackets, or an answer without a span."""
    NOT_A_LETTER = "not_a_letter"
    """An answer whose box does not hold an option letter."""
    NOT_A_NUMBER = "not_a_number"
    """An answer without a number where one is asked for, or with more than one."""
    NOT_A_TEXT = "not_a_text"
    """An answer without a word where words are asked for, or far too long."""
    UNKNOWN_OPTION = "unknown_option"
    """A letter that no option of the task has."""
    OUT_OF_BOUNDS = "out_of_bounds"
    """A span that is not inside the video."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    REVERSED = "reversed"
    """A span that ends before it starts, where these are not sorted."""
    TOO_MANY_FRAMES = "too_many_frames"
    """A span and a rate that give more frames than a clip may have."""
    TOO_FEW_FRAMES = "too_few_frames"
    """A span and a rate that give no frame at all."""
    REPEATED = "repeated"
    """A span too similar to one already held."""
    NOT_ALLOWED = "not_allowed"
    """An answer in a `zoom_step` episode, a look at a last step, or an action that the environment does not have."""
    NO_THINKING = "no_thinking"
    """No finished `<think>` block before the action."""
    NO_ACTION = "no_action"
    """No finished block that holds an action."""
    TWO_ACTIONS = "two_actions"
    """More than one action."""
    UNKNOWN_TOOL = "unknown_tool"
    """A call that is not written like one, or of a tool that does not exist."""
    BAD_ARGUMENTS = "bad_arguments"
    """A call of a tool whose arguments cannot be read."""
    UNKNOWN_NODE = "unknown_node"
    """A part of the video that is not in the tree, or has no caption of its own to read."""
    CAPTION_FIRST = "caption_first"
    """A question about a part whose caption was not read before."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """An output that is no valid action; `reason` is a `MalformedReason` or a protocol's own."""

    reason: str
    asked: "Action | None" = field(default=None, compare=False)
    """What the output asked for, if it could be read: an action that the environment refused."""


Action = ZoomIn | Answer | GetCaption | AskVideo | Malformed
