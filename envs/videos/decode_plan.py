"""Which packets must be decoded for which frames: arithmetic on the packet table.

A group of pictures starts at a key frame, and its frames need only the packets from there on. The exception are leading
pictures: behind the key frame in the file and before it on the screen, they also need the group before.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.index import PacketTable


@dataclass(frozen=True, slots=True)
class DecodeRun:
    """Packets to be decoded one after the other, by their positions in the table; both ends belong to it."""

    first: int
    last: int


def first_needed(packets: PacketTable) -> NDArray[np.int64]:
    """Return `[P]`, for each packet the one that decoding starts at.

    Packets before the first key frame name the first packet, although nothing can be decoded from there.
    """
    keys = np.flatnonzero(packets.is_key)
    if not len(keys):
        return np.zeros(len(packets.pts), np.int64)
    group = np.cumsum(packets.is_key) - 1
    own = np.where(group < 0, 0, keys[np.maximum(group, 0)])
    previous = np.where(group < 1, 0, keys[np.maximum(group - 1, 0)])
    return np.where(packets.pts < packets.pts[own], previous, own)


def decode_runs(first_needed: NDArray[np.int64], wanted: Iterable[int]) -> list[DecodeRun]:
    """Return the packets to decode so that the wanted ones are; ascending, without overlap.

    Example:
        >>> decode_runs(np.array([0, 0, 0, 3, 3, 5, 3]), [1, 3, 6])
        [DecodeRun(first=0, last=1), DecodeRun(first=3, last=6)]
    """
    runs: list[DecodeRun] = []
    for first, last in sorted((int(first_needed[position]), position) for position in wanted):
        if runs and first <= runs[-1].last:
            runs[-1] = DecodeRun(runs[-1].first, max(runs[-1].last, last))
        else:
            runs.append(DecodeRun(first, last))
    return runs


def sound(first_needed: NDArray[np.int64], damaged: Iterable[int], decoded: Iterable[int]) -> set[int]:
    """Return those of the decoded packets that depend on no damaged one.

    What a frame refers to is not known, so it is taken to depend on all packets from where its decoding starts.
    """
    marks, positions = np.array(sorted(damaged), np.int64), np.array(sorted(decoded), np.int64)
    before = np.searchsorted(marks, first_needed[positions], "left")
    return set(positions[before == np.searchsorted(marks, positions, "right")].tolist())
