"""`SubprocessReader`: decoding by a library that may hang or crash, in a process that can be killed."""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.libraries import DecodeRequest, Library, decode_resized
from videozoom.envs.videos.reader import BackendError, DecodedFrames, SizeRule
from videozoom.envs.videos.resizing import Resize, resizing_fingerprint
from videozoom.envs.videos.worker_process import WorkerError, WorkerProcess


class SubprocessReader:
    """Reads with a library in a process of its own. Implements `VideoReader`.

    A request that takes too long or ends the process is a `VideoDecodeError`, and the next one gets another process.
    Frames are resized there, a few at a time, by the same function as all others. Size rules must be functions that can
    be pickled. Nothing is ever filled in: these libraries give all frames of a request or none.

    Raises (constructor):
        BackendError: the package is not installed.
    """

    def __init__(self, library: Library, *, limit_s: float) -> None:
        """Prepare a reader whose requests may take `limit_s` seconds each."""
        if importlib.util.find_spec(library.name) is None:
            raise BackendError(
                f"video backend {library.name!r} needs the package {library.name}, which is not installed; run: "
                f"pip install 'videozoom[{library.name}]', or use 'pyav'"
            )
        self._library = library
        self._worker = WorkerProcess(limit_s=limit_s, environment=library.environment)
        self._description: str | None = None

    @property
    def fingerprint(self) -> str:
        """Raises `BackendError` if the library cannot be loaded."""
        if self._description is None:
            name = self._library.name
            try:
                self._description = self._worker.call(self._library.describe)
            except (WorkerError, Exception) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
                raise BackendError(
                    f"video backend {name!r} cannot be loaded ({reason}); {self._library.needs}, or use 'pyav'"
                ) from error
        # Frames are resized over there by what is installed here.
        return f"{self._description}-{resizing_fingerprint()}"

    def scan(self, path: Path) -> VideoIndex:
        return scan(path)

    def read(
        self, path: Path, index: VideoIndex, frames: NDArray[np.int64], size: SizeRule, resize: Resize
    ) -> DecodedFrames:
        refusal = self._library.refusal(index)
        if refusal is not None:
            raise VideoDecodeError(f"{path}: {self._library.name} cannot be trusted with {refusal}; use pyav.")
        wanted, places = np.unique(frames, return_inverse=True)
        intervals_s = np.diff(index.times_s)
        request = DecodeRequest(
            path=path,
            frames=tuple(wanted.tolist()),
            times_s=index.times_s[wanted],
            num_frames=len(index.pts),
            slack_s=float(intervals_s.min()) / 2 if len(intervals_s) else 1.0,
            size=size,
            resize=resize,
        )
        decoded = self._decoded(request)
        is_as_asked = len(places) == len(wanted) and bool((places == np.arange(len(wanted))).all())
        return DecodedFrames(decoded if is_as_asked else decoded[places])

    def _decoded(self, request: DecodeRequest) -> NDArray[np.uint8]:
        """Return the frames of a request, received batch by batch into one array."""
        decoded: NDArray[np.uint8] | None = None
        done = 0
        try:
            for batch in self._worker.stream(decode_resized, self._library.decode, request):
                if decoded is None:
                    decoded = np.empty((len(request.frames), *batch.shape[1:]), np.uint8)
                decoded[done : done + len(batch)] = batch
                done += len(batch)
        except WorkerError as error:
            raise VideoDecodeError(f"{request.path}: {self._library.name} {error}.") from error
        if decoded is None or done < len(request.frames):
            raise VideoDecodeError(f"{request.path}: {self._library.name} gave {done} of {len(request.frames)} frames.")
        return decoded
