"""What an agent can do: zoom into a span, answer, or produce something malformed."""

from dataclasses import dataclass

from videozoom.envs.tasks import Span


@dataclass(frozen=True, slots=True)
class ZoomIn:
    """Look at `span_s` with few, large frames."""

    span_s: Span


@dataclass(frozen=True, slots=True)
class Answer:
    """Give the final answer: an option letter."""

    letter: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """An output that is no valid action; `reason` is one of the protocol's documented reasons."""

    reason: str


Action = ZoomIn | Answer | Malformed
