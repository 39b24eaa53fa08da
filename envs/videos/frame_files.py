"""The file of a decoded clip: a plain `.npy` that is mapped into memory, with a note behind the pixels.

The note lies behind the array because every reader of `.npy` stops there: `numpy.load(path, mmap_mode="r")` reads the
file as it is. It is written last, so a file that ends with it is whole: on the usual file systems (ext4, XFS, btrfs)
a file does not grow on the disk before its data is there, which is why nothing is flushed.
"""

import io
import json
import math
import os
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.reader import DecodedFrames

_MARK = b"frames2\n"
"""Last bytes of the file; before them the length of the note in 8 digits, before that the note."""
_TAIL_BYTES = 8 + len(_MARK)


def write_frames(file: BinaryIO, decoded: DecodedFrames) -> None:
    """Write frames into an empty file, opened for writing."""
    frames = np.ascontiguousarray(decoded.frames)
    header = _npy_header(frames.shape)
    note = json.dumps({"start": len(header), "shape": frames.shape, "filled": decoded.filled}).encode()
    file.write(header)
    file.write(frames.data)
    file.write(note + f"{len(note):8d}".encode() + _MARK)


def map_frames(path: Path) -> DecodedFrames:
    """Return the frames of a file, read-only and mapped: processes that map the same file share one copy.

    Costs no reading. The file may be removed while it is mapped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    with path.open("rb") as file:
        try:
            facts, end = _read_note(file)
            start, shape, filled = int(facts["start"]), tuple(facts["shape"]), tuple(facts["filled"])
            if start + math.prod(shape) != end or len(shape) != 4:
                raise ValueError("its note is about another array")
            mapped: NDArray[np.uint8] = np.memmap(file, np.uint8, mode="r", offset=start, shape=shape)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error})") from error
    return DecodedFrames(np.asarray(mapped), filled)


@cache
def _npy_header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue()


def _read_note(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return what the note says and where it begins; raises `ValueError` if there is none."""
    num_bytes = os.fstat(file.fileno()).st_size
    file.seek(max(0, num_bytes - _TAIL_BYTES))
    tail = file.read()
    if len(tail) < _TAIL_BYTES or not tail.endswith(_MARK):
        raise ValueError("it is cut short")
    note_bytes = int(tail[: -len(_MARK)])
    start = num_bytes - _TAIL_BYTES - note_bytes
    if note_bytes < 0 or start < 0:
        raise ValueError("its note is longer than itself")
    file.seek(start)
    return json.loads(file.read(note_bytes)), start
