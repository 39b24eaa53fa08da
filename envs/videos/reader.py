"""`VideoReader`: what decodes frames, whichever library does it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.index import VideoIndex
from videozoom.envs.videos.resizing import Resize

SizeRule = Callable[[int, int], tuple[int, int]]
"""Gives the height and width that frames are resized to, from those of the upright source frame."""


DEFAULT_LIMIT_S = 300.0
"""Seconds that a request to a library in a process of its own may take."""


class Backend(StrEnum):
    """Libraries that decode."""

    PYAV = "pyav"
    """The default: exact on every file that says when its frames are shown."""
    PYAV_PROCESS = "pyav_process"
    """The same in a process of its own: a file that hangs or crashes the decoder is an error like any other."""
    DECORD = "decord"
    """To compare with code that uses it; refuses files that it is known to get wrong."""
    TORCHCODEC = "torchcodec"
    """Uses the machine's FFmpeg."""


class BackendError(Exception):
    """A backend's package is not installed or cannot be loaded. The message is a sentence that says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrames:
    """Frames of one request."""

    frames: NDArray[np.uint8]
    """`[F, H, W, 3]`, RGB, upright, resized, in the order of the request."""
    filled: tuple[int, ...] = ()
    """Positions in the request whose frame could not be decoded and shows the nearest one that could."""


class VideoReader(Protocol):
    """Decodes frames. Holds no file open between calls, so that it can be pickled, and outlives a fork."""

    @property
    def fingerprint(self) -> str:
        """Names everything but the file and the request that decides the pixels: library, its version, our method."""
        ...

    def scan(self, path: Path) -> VideoIndex:
        """Return a file's index; raises `VideoDecodeError` if the file cannot be read."""
        ...

    def read(
        self, path: Path, index: VideoIndex, frames: NDArray[np.int64], size: SizeRule, resize: Resize
    ) -> DecodedFrames:
        """Return frames of a file.

        Args:
            path: the file.
            index: what `scan` said of it.
            frames: `[F]`, indices in display order (into `index.pts`), in any order, repeats allowed.
            size: gives the size of the result.
            resize: the filter.

        Raises:
            VideoDecodeError: if nothing usable can be decoded.
        """
        ...


def build_reader(backend: Backend = Backend.PYAV, *, limit_s: float = DEFAULT_LIMIT_S) -> VideoReader:
    """Return the reader of a backend.

    Args:
        backend: the library.
        limit_s: seconds that a request may take where the library runs in a process of its own (all but `pyav`).

    Raises:
        BackendError: its package is not installed.
    """
    match Backend(backend):
        case Backend.PYAV:
            from videozoom.envs.videos.pyav_reader import PyAVReader

            return PyAVReader()
        case Backend.PYAV_PROCESS:
            from videozoom.envs.videos.isolated_reader import IsolatedReader

            return IsolatedReader(limit_s=limit_s)
        case Backend.DECORD:
            from videozoom.envs.videos import decord_reader, subprocess_reader

            return subprocess_reader.SubprocessReader(decord_reader.LIBRARY, limit_s=limit_s)
        case Backend.TORCHCODEC:
            from videozoom.envs.videos import subprocess_reader, torchcodec_reader

            return subprocess_reader.SubprocessReader(torchcodec_reader.LIBRARY, limit_s=limit_s)
