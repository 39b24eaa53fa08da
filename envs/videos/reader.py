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


class Backend(StrEnum):
    """Libraries that decode."""

    PYAV = "pyav"
    """The default: exact on every file that says when its frames are shown."""
    DECORD = "decord"
    TORCHCODEC = "torchcodec"


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


def build_reader(backend: Backend = Backend.PYAV) -> VideoReader:
    """Return the reader of a backend; raises `ValueError` if its package is not installed."""
    backend = Backend(backend)
    if backend is Backend.PYAV:
        from videozoom.envs.videos.pyav_reader import PyAVReader

        return PyAVReader()
    raise ValueError(f"video backend {str(backend)!r} is not there yet; use 'pyav'")
