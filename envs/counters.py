"""Counters that add up over processes."""

from dataclasses import fields
from typing import Any, Self


class Counters:
    """Base of frozen dataclasses of numbers: they add up, and two readings of one source subtract.

    Example:
        >>> @dataclass(frozen=True, slots=True)
        ... class Reads(Counters):
        ...     num_files: int = 0
        >>> Reads(3) + Reads(1), Reads(3) - Reads(1)
        (Reads(num_files=4), Reads(num_files=2))
    """

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        return self._combined(other, 1)

    def __sub__(self, other: Self) -> Self:
        return self._combined(other, -1)

    def _combined(self, other: Self, sign: int) -> Self:
        mine: Any = self
        names = [field.name for field in fields(mine)]
        return type(self)(**{name: getattr(self, name) + sign * getattr(other, name) for name in names})
