"""The caption tree: which spans of a video have a caption. The one rule for captions, tools and rewards."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from videozoom.envs.tasks import Span

Node = tuple[int, ...]
"""A span of the tree: its ids from the root, each from 1. `(2,)` is the second high-level span, `(2, 1)` the first
medium-level span inside it; `()` is the whole video."""


class Level(StrEnum):
    """How deep a node lies, and how much its caption tells."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


LEVELS = tuple(Level)
"""In order of depth."""


def level_of(node: Node) -> Level:
    """Return the level of a node; a node of the tree has one to three ids.

    Example:
        >>> level_of((2, 1))
        <Level.MEDIUM: 'medium'>
    """
    return LEVELS[len(node) - 1]


@dataclass(frozen=True, slots=True)
class WidthRule:
    """How many parts each span of a tree has: as many as make the spans of the lowest level about `leaf_s` long.

    Source: LongVideo-R1, released code: clamp(round((duration / 16) ** (1 / 3)), 4, 8); for one benchmark at least 3.

    Example:
        >>> [WidthRule().width(minutes * 60.0) for minutes in (10, 20, 60, 120, 600)]
        [4, 4, 6, 8, 8]
    """

    leaf_s: float = 16.0
    least: int = 4
    most: int = 8

    def __post_init__(self) -> None:
        """Raise `ValueError` on a number that makes no sense."""
        if not self.leaf_s > 0.0:
            raise ValueError(f"leaf_s must be a positive number of seconds, got {self.leaf_s}.")
        if not 2 <= self.least <= self.most:
            raise ValueError(
                f"A tree's width is at least 2; least and most are {self.least} and {self.most}: give 2 or more, the "
                "smaller first."
            )

    def width(self, duration_s: float) -> int:
        """Return the width of the tree of a video."""
        fitting: float = (duration_s / self.leaf_s) ** (1.0 / len(LEVELS))
        return min(self.most, max(self.least, round(fitting)))


@dataclass(frozen=True, slots=True)
class CaptionTree:
    """The spans of one video: `width` of the high level, in each as many medium ones, in each as many low ones.

    Those of a level are equally long and share their boundaries exactly, with each other and with the levels above.

    Source: LongVideo-R1. Departs from the released code, where captions, the tool for questions and the reward each
    place the boundaries by a rule of their own.

    Example:
        >>> tree = CaptionTree(duration_s=64.0, width=4)
        >>> tree.span((2,)), tree.span((2, 1)), tree.span((4, 4, 4))
        (Span(start_s=16.0, end_s=32.0), Span(start_s=16.0, end_s=20.0), Span(start_s=63.0, end_s=64.0))
    """

    duration_s: float
    width: int

    def __contains__(self, node: object) -> bool:
        """Return whether `node` is a span of the tree; the whole video is none."""
        return (
            isinstance(node, tuple)
            and 1 <= len(node) <= len(LEVELS)
            and all(isinstance(part, int) and 1 <= part <= self.width for part in node)
        )

    def span(self, node: Node) -> Span:
        """Return the span of a node; raises `ValueError` if it is not in the tree."""
        if node not in self:
            raise ValueError(f"{node} is no node of a tree of width {self.width}: give 1 to 3 ids from 1 to the width.")
        position = 0
        for part in node:
            position = position * self.width + part - 1
        # A division of whole numbers is rounded to the same number at every level.
        count = self.width ** len(node)
        return Span(self.duration_s * (position / count), self.duration_s * ((position + 1) / count))

    def nodes(self, level: Level) -> Iterator[Node]:
        """Yield the nodes of a level in order of time."""
        return product(range(1, self.width + 1), repeat=LEVELS.index(level) + 1)
