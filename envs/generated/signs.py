"""The vocabulary of generated videos: signs (the detail), cues and marks (what the fast view shows)."""

from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

_DRAWN = {
    "bars": ("x.x.", "x.x.", "x.x.", "x.x."),
    "lines": ("xxxx", "....", "xxxx", "...."),
    "checks": ("x.x.", ".x.x", "x.x.", ".x.x"),
    "rings": (".xx.", "x..x", "x..x", ".xx."),
    "pillars": (".xx.", ".xx.", ".xx.", ".xx."),
    "beams": ("....", "xxxx", "xxxx", "...."),
    "bricks": ("xx..", "..xx", "xx..", "..xx"),
    "waves": (".xx.", "x..x", ".xx.", "x..x"),
}

SIGNS = tuple(_DRAWN)
"""Names of the signs; the first ones are used first."""


def _pattern(rows: tuple[str, ...]) -> NDArray[np.int16]:
    pattern = np.array([[1 if cell == "x" else -1 for cell in row] for row in rows], dtype=np.int16)
    pattern.setflags(write=False)
    return pattern


PATTERNS = MappingProxyType({name: _pattern(rows) for name, rows in _DRAWN.items()})
"""4x4 cells of each sign, +1 ink and -1 paper. Every 2x2 quadrant sums to 0, so that the mean over a quadrant tells
nothing about the sign, and any two signs are orthogonal, so that a template match separates them best."""


class MarkPlace(StrEnum):
    """Where a mark stands; the right lower part of a frame is left to timestamps."""

    ABOVE = "above"
    LEFT_CORNER = "left_corner"
    RIGHT_CORNER = "right_corner"
    LEFT = "left"


BRIGHT_LUMA, DARK_LUMA = 220, 30

MARKS = MappingProxyType(
    dict(zip(SIGNS, ((place, luma) for luma in (BRIGHT_LUMA, DARK_LUMA) for place in MarkPlace), strict=True))
)
"""Place and luma of each sign's mark."""

CUES = ("red", "green", "blue", "yellow", "cyan", "pink", "orange", "white")
"""Names of the cues."""

CUE_YUV = MappingProxyType(
    {
        "red": (81, 90, 240),
        "green": (145, 54, 34),
        "blue": (60, 225, 115),
        "yellow": (200, 25, 145),
        "cyan": (165, 160, 25),
        "pink": (125, 195, 215),
        "orange": (150, 45, 195),
        "white": (230, 128, 128),
    }
)
"""Colour of each cue as BT.601 limited-range (Y, U, V)."""


def usual_sign(cue: str, num_signs: int) -> str:
    """Return the sign that a cue shows by habit, where this many signs are used.

    Example:
        >>> usual_sign("red", 4), usual_sign("cyan", 4)
        ('bars', 'bars')
    """
    return SIGNS[CUES.index(cue) % num_signs]
