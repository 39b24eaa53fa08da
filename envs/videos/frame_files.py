"""The file of a decoded clip: a plain `.npy` that is mapped into memory, with a note behind the pixels.

The note lies behind the array because every reader of `.npy` stops there: `numpy.load(path, mmap_mode="r")` reads the
file as it is. It is written last, so a file that ends with it is whole: on the usual file systems (ext4, XFS, btrfs)
a file does not grow on the disk before its data is there, which is why nothing is flushed.
"""

import json
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.reader import DecodedFrames

_MARK = b"frames1\n"
"""Last bytes of the file; before them the length of the note in 8 digits, before that the note."""
_TAIL_BYTES = 8 + len(_MARK)


def write_frames(file: BinaryIO, decoded: DecodedFrames) -> None:
    """Write frames into an empty file, opened for writing."""
    np.lib.format.write_array(file, decoded.frames, allow_pickle=False)
    note = json.dumps({"filled": list(decoded.filled)}).encode()
    file.write(note + f"{len(note):8d}".encode() + _MARK)


def map_frames(path: Path) -> DecodedFrames:
    """Return the frames of a file, read-only and mapped: processes that map the same file share one copy.

    Costs no reading. The file may be removed while it is mapped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{path} has an unknown version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if len(shape) != 4 or is_fortran or dtype != np.uint8:
            raise ValueError(f"{path} does not hold frames")
        start = file.tell()
        filled = _read_filled(file, start + int(np.prod(shape)))
        mapped: NDArray[np.uint8] = np.memmap(file, np.uint8, mode="r", offset=start, shape=shape)
    return DecodedFrames(np.asarray(mapped), filled)


def _read_filled(file: BinaryIO, start: int) -> tuple[int, ...]:
    """Return what the note says, which begins at byte `start`; raises `ValueError` if the file is not whole."""
    num_bytes = os.fstat(file.fileno()).st_size - start
    if num_bytes < _TAIL_BYTES:
        raise ValueError(f"{file.name} is cut short")
    file.seek(start)
    note = file.read(num_bytes)
    if not note.endswith(_MARK) or int(note[-_TAIL_BYTES : -len(_MARK)]) != num_bytes - _TAIL_BYTES:
        raise ValueError(f"{file.name} is damaged")
    return tuple(json.loads(note[:-_TAIL_BYTES])["filled"])
