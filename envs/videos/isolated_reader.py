"""`IsolatedReader`: PyAV in a process of its own, so that a file on which it hangs or crashes costs one request."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.pyav_reader import PyAVReader
from videozoom.envs.videos.reader import DecodedFrames, SizeRule
from videozoom.envs.videos.resizing import Resize
from videozoom.envs.videos.worker_process import WorkerError, WorkerProcess


class IsolatedReader:
    """Reads what `PyAVReader` reads, in another process; its fingerprint is the same. Implements `VideoReader`.

    A request that takes too long or ends the process is a `VideoDecodeError`, and the next one gets another process.
    Size rules must be functions that can be pickled.
    """

    def __init__(self, *, limit_s: float) -> None:
        """Prepare a reader whose requests may take `limit_s` seconds each; the first one includes the start."""
        self._worker = WorkerProcess(limit_s=limit_s)

    @property
    def fingerprint(self) -> str:
        return PyAVReader().fingerprint

    def scan(self, path: Path) -> VideoIndex:
        try:
            return self._worker.call(scan, path)
        except WorkerError as error:
            raise _decode_error(path, error) from error

    def read(
        self, path: Path, index: VideoIndex, frames: NDArray[np.int64], size: SizeRule, resize: Resize
    ) -> DecodedFrames:
        try:
            return self._worker.call(_read, path, index, frames, size, resize)
        except WorkerError as error:
            raise _decode_error(path, error) from error


def _read(path: Path, index: VideoIndex, frames: NDArray[np.int64], size: SizeRule, resize: Resize) -> DecodedFrames:
    """Return frames of a file. Runs in the other process."""
    return PyAVReader().read(path, index, frames, size, resize)


def _decode_error(path: Path, error: WorkerError) -> VideoDecodeError:
    return VideoDecodeError(f"{path}: decoding {error}.")
