"""`VideoStore`: the fast views and slow clips of video files, remembered."""

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoClip, VideoDecodeError
from videozoom.envs.sampling import PATCH_PX, fast_frame_indices, frame_size, slow_frame_indices
from videozoom.envs.tasks import Span
from videozoom.envs.videos.containers import decode_errors
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.reader import Backend, build_reader
from videozoom.envs.videos.resizing import Resize

__all__ = ["Resize", "VideoStore", "VideoStoreStats"]

_TIME_SLACK_S = 1e-3
_FileId = tuple[str, int, int]


@dataclass(slots=True)
class VideoStoreStats:
    """Counters since the store was made."""

    num_hits: int = 0
    """Clips that were remembered."""
    num_misses: int = 0
    """Clips that had to be decoded."""
    num_frames: int = 0
    """Frames delivered by decoding."""
    num_errors: int = 0
    """Requests that ended in a `VideoDecodeError`."""
    decode_s: float = 0.0
    """Seconds of wall time spent decoding and resizing."""


class VideoStore:
    """Reads fast views and slow clips, and keeps the recently used ones in memory. Implements `FrameSource`.

    Not safe for use by several threads at once. A pickled copy starts with an empty memory.

    Example:
        >>> store = VideoStore(fast_frame_tokens=1, slow_frame_tokens=4, resize=Resize.AREA)
        >>> store.stats.num_misses
        0
    """

    def __init__(
        self,
        *,
        fast_fps: float = 2.0,
        fast_max_frames: int = 768,
        fast_frame_tokens: int = 32,
        slow_fps: float = 2.0,
        slow_max_frames: int = 32,
        slow_frame_tokens: int = 256,
        double_fast_below_s: float = 0.0,
        double_slow_below_s: float = 0.0,
        resize: Resize = Resize.BICUBIC,
        cache_bytes: int = 512 * 2**20,
    ) -> None:
        """Make a store; the defaults are LOVE-R1's.

        Args:
            fast_fps: frames per second of video in a fast view, before the limit.
            fast_max_frames: the most frames of a fast view.
            fast_frame_tokens: pixels per frame of a fast view, in squares of 28x28.
            slow_fps: frames per second of span in a slow clip, before the limit.
            slow_max_frames: the most frames of a slow clip.
            slow_frame_tokens: pixels per frame of a slow clip, in squares of 28x28.
            double_fast_below_s: shorter videos get twice the fast pixels (LOVE-R1's reinforcement learning: 60).
            double_slow_below_s: shorter videos get twice the slow pixels (LOVE-R1's evaluation: 60).
            resize: the filter.
            cache_bytes: the most memory that remembered clips take; 0 remembers none.
        """
        self._fast = (fast_fps, fast_max_frames)
        self._slow = (slow_fps, slow_max_frames)
        self._frame_tokens = (fast_frame_tokens, slow_frame_tokens)
        self._double_below_s = (double_fast_below_s, double_slow_below_s)
        self._resize = Resize(resize)
        self._reader = build_reader(Backend.PYAV)
        self._cache = _Cache(cache_bytes)
        self.stats = VideoStoreStats()

    def duration_s(self, video: Path) -> float:
        """Return the time from the first frame to the end of the last one; raises `VideoDecodeError`."""
        return self._index(video)[1].duration_s

    def fast_view(self, video: Path) -> VideoClip:
        """Return many small frames of the whole video.

        Raises:
            VideoDecodeError: if any of them cannot be read, or the file is cut short.
        """
        file_id, index = self._index(video)
        key = (file_id, "fast")
        clip = self._remembered(key)
        if clip is None:
            if index.num_missing:
                self._fail(f"{video}: the file is cut short; {index.num_missing} frames are missing at its end.")
            frames_wanted = fast_frame_indices(len(index.pts), index.duration_s, *self._fast)
            clip = self._read(video, file_id, index, frames_wanted, Span(0.0, index.duration_s), slow=False)
            self._cache.put(key, clip, clip.frames.nbytes)
        return clip

    def slow_clip(self, video: Path, span_s: Span) -> VideoClip:
        """Return few large frames of a span.

        Raises:
            VideoDecodeError: if any of them cannot be read, or the span is empty or reaches outside the video.
        """
        file_id, index = self._index(video)
        key = (file_id, "slow", span_s)
        clip = self._remembered(key)
        if clip is None:
            if not (0.0 <= span_s.start_s < span_s.end_s <= index.duration_s + _TIME_SLACK_S):
                cut = f", cut short by {index.num_missing} frames" if index.num_missing else ""
                self._fail(
                    f"{video}: span [{span_s.start_s:g}, {span_s.end_s:g}) is not within the video, "
                    f"[0, {index.duration_s:g}){cut}."
                )
            frames_wanted = slow_frame_indices(index.times_s, span_s, *self._slow)
            clip = self._read(video, file_id, index, frames_wanted, span_s, slow=True)
            self._cache.put(key, clip, clip.frames.nbytes)
        return clip

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": _Cache(self._cache.max_bytes), "stats": VideoStoreStats()}

    def _index(self, video: Path) -> tuple[_FileId, VideoIndex]:
        try:
            with decode_errors(video):
                status = Path(video).stat()
            file_id = (str(video), status.st_size, status.st_mtime_ns)
            index = self._cache.get((file_id, "index"))
            if index is None:
                index = scan(video)
                self._cache.put((file_id, "index"), index, index.pts.nbytes + index.times_s.nbytes)
        except VideoDecodeError:
            self.stats.num_errors += 1
            raise
        return file_id, index

    def _remembered(self, key: tuple[Any, ...]) -> VideoClip | None:
        clip: VideoClip | None = self._cache.get(key)
        if clip is None:
            self.stats.num_misses += 1
        else:
            self.stats.num_hits += 1
        return clip

    def _read(
        self, video: Path, file_id: _FileId, index: VideoIndex, wanted: NDArray[np.int64], span_s: Span, *, slow: bool
    ) -> VideoClip:
        tokens = self._frame_tokens[slow] * (2 if index.duration_s < self._double_below_s[slow] else 1)
        size = partial(frame_size, budget_px=tokens * PATCH_PX**2)
        started = time.perf_counter()
        try:
            frames = self._reader.read(video, index, wanted, size, self._resize).frames
        except VideoDecodeError:
            self.stats.num_errors += 1
            raise
        finally:
            self.stats.decode_s += time.perf_counter() - started
        self.stats.num_frames += len(frames)
        times_s = index.times_s[wanted]
        frames.setflags(write=False)
        times_s.setflags(write=False)
        content = repr((file_id, wanted.tolist(), frames.shape, str(self._resize)))
        return VideoClip(frames, times_s, span_s, hashlib.blake2b(content.encode(), digest_size=12).hexdigest())

    def _fail(self, message: str) -> None:
        self.stats.num_errors += 1
        raise VideoDecodeError(message)


class _Cache:
    """Least recently used values up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._num_bytes = 0
        self._values: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def get(self, key: Any) -> Any:
        """Return the value, `None` if it is not there."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Any, value: Any, num_bytes: int) -> None:
        """Keep a value, at the price of the least recently used ones; one that is too large is not kept."""
        if num_bytes > self.max_bytes or key in self._values:
            return
        self._values[key] = (value, num_bytes)
        self._num_bytes += num_bytes
        while self._num_bytes > self.max_bytes:
            _, (_, freed) = self._values.popitem(last=False)
            self._num_bytes -= freed
