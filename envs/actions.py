"""What an agent can do: zoom into a span, answer, or produce something malformed."""

from dataclasses import dataclass
from enum import StrEnum

from videozoom.envs.tasks import Span


@dataclass(frozen=True, slots=True)
class ZoomIn:
    """Look at `span_s` with few, large frames."""

    span_s: Span


@dataclass(frozen=True, slots=True)
class Answer:
    """Give the final answer: an option letter."""

    letter: str


class MalformedReason(StrEnum):
    """Why an output is no valid action. The first five come from reading text, the others from the environment."""

    NO_PREFIX = "no_prefix"
    """The text starts neither with the zoom nor with the answer prefix."""
    NO_BOX = "no_box"
    """There is no complete `\\boxed{...}`."""
    NOT_A_SPAN = "not_a_span"
    """A zoom whose box does not hold exactly two finite numbers in brackets."""
    NOT_A_LETTER = "not_a_letter"
    """An answer whose box does not hold an option letter."""
    UNKNOWN_OPTION = "unknown_option"
    """A letter that no option of the task has."""
    OUT_OF_BOUNDS = "out_of_bounds"
    """A span that is not inside the video."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    REPEATED = "repeated"
    """A span too similar to one already held."""
    NOT_ALLOWED = "not_allowed"
    """An answer in a `zoom_step` episode."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """An output that is no valid action; `reason` is a `MalformedReason` or a protocol's own."""

    reason: str


Action = ZoomIn | Answer | Malformed
