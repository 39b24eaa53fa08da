"""`VideoStore`: the fast views and slow clips of video files, decoded once and remembered."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoClip, VideoDecodeError
from videozoom.envs.sampling import (
    PATCH_PX,
    FrameSizing,
    FrameSpacing,
    bounded_frame_size,
    fast_frame_indices,
    frame_size,
    slow_frame_indices,
    strided_frame_indices,
)
from videozoom.envs.tasks import Span
from videozoom.envs.video_stats import VideoStoreStats
from videozoom.envs.videos.containers import decode_errors
from videozoom.envs.videos.file_ids import FileStamp, digest_of
from videozoom.envs.videos.frame_cache import DEFAULT_BYTES, FrameCache, Source
from videozoom.envs.videos.index import VideoIndex
from videozoom.envs.videos.lru import LRU
from videozoom.envs.videos.reader import DEFAULT_LIMIT_S, Backend, DecodedFrames, build_reader
from videozoom.envs.videos.resizing import Resize

__all__ = ["Resize", "VideoStore", "VideoStoreStats"]

SizeRule = Callable[[int, int], tuple[int, int]]
"""Returns the height and width a frame is resized to, by its own."""

_TIME_SLACK_S = 1e-3
_CLIP_VERSION = 1
"""Part of the key of decoded frames: goes up when `frame_size` changes, or whatever else a key does not name."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    stamp: FileStamp
    digest: str
    """Names the content."""

    def is_current(self) -> bool:
        """Return whether the file is still the one that was looked at."""
        try:
            return FileStamp.of(self.path) == self.stamp
        except OSError:
            return False

    def check(self) -> None:
        """Raise `VideoDecodeError` if what was read may not be what the digest names."""
        if not self.is_current():
            raise VideoDecodeError(f"{self.path}: the file was changed while it was read.")


@dataclass(frozen=True, slots=True)
class _Kept:
    clip: VideoClip
    num_filled: int


class VideoStore:
    """Reads fast views and slow clips, and keeps what it read. Implements `FrameSource`.

    Clips are remembered in memory. With a folder for a cache, fast views and packet tables are on the disk as well:
    all processes that use the folder decode a fast view once, and share one copy of it in memory. Threads may share a
    store. A pickled copy has the same cache on the disk, an empty memory and counters at 0.

    Example:
        >>> store = VideoStore(fast_frame_tokens=1, slow_frame_tokens=4, resize=Resize.AREA)
        >>> store.stats.num_decodes
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
        spacing: FrameSpacing = FrameSpacing.SPREAD,
        sizing: FrameSizing = FrameSizing.BUDGET,
        min_frame_tokens: int = 1,
        resize: Resize = Resize.BICUBIC,
        backend: Backend = Backend.PYAV,
        decode_limit_s: float = DEFAULT_LIMIT_S,
        max_filled: float = 0.0,
        memory_bytes: int = 512 * 2**20,
        cache: Path | None = None,
        disk_bytes: int = DEFAULT_BYTES,
        cold_bytes: int = 0,
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
            spacing: how frames are chosen.
            sizing: whether frames are made as large as `fast_frame_tokens` and `slow_frame_tokens` say, or these are
                the most they may have.
            min_frame_tokens: the fewest, with `bounds`; smaller frames are enlarged.
            resize: the filter.
            backend: what decodes.
            decode_limit_s: seconds that decoding a clip may take where the backend runs in a process of its own: in all
                but `pyav`.
            max_filled: the largest share of a clip's frames that may show a neighbour because they cannot be decoded.
            memory_bytes: the most memory that remembered clips take; 0 remembers none. Fast views that lie on the disk
                are mapped and take none; as many bytes of them are kept open besides.
            cache: folder of the cache on the disk, shared by processes; `None` writes nothing.
            disk_bytes: the most bytes in it.
            cold_bytes: the most bytes of compressed fast views in it, besides; 0 keeps none.
        """
        self._fast = (fast_fps, fast_max_frames)
        self._slow = (slow_fps, slow_max_frames)
        self._frame_tokens = (fast_frame_tokens, slow_frame_tokens)
        self._double_below_s = (double_fast_below_s, double_slow_below_s)
        self._spacing, self._sizing = FrameSpacing(spacing), FrameSizing(sizing)
        self._min_frame_tokens = min_frame_tokens
        self._resize = Resize(resize)
        self._reader = build_reader(backend, limit_s=decode_limit_s)
        self._max_filled = max_filled
        self._memory: LRU[Any] = LRU(memory_bytes)
        self._maps: LRU[_Kept] = LRU(memory_bytes)
        self._disk = None if cache is None else FrameCache(cache, max_bytes=disk_bytes, cold_bytes=cold_bytes)
        self._forget()

    @property
    def stats(self) -> VideoStoreStats:
        """Counters since the store was made."""
        with self._lock:
            return VideoStoreStats(**self._counters)

    def cache_bytes(self) -> int:
        """Return how many bytes the cache takes on the disk, as of a minute ago at most."""
        return self._disk.num_bytes() if self._disk else 0

    def duration_s(self, video: Path) -> float:
        """Return the time from the first frame to the end of the last one; raises `VideoDecodeError`."""
        with self._counting_errors():
            return self._index(self._file(video)).duration_s

    def fast_view(self, video: Path) -> VideoClip:
        """Return many small frames of the whole video.

        Raises:
            VideoDecodeError: if too many of them cannot be read, or the file is cut short.
        """
        return self._clip(video)

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        """Return few large frames of a span, at `fps` if given, and never more than a slow clip may have.

        Raises:
            VideoDecodeError: if too many of them cannot be read, or the span is empty or reaches outside the video.
        """
        return self._clip(video, span_s, self._slow[0] if fps is None else fps)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_counters", "_lock", "_digests")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._counters: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._digests: dict[str, tuple[FileStamp, str]] = {}

    def _file(self, video: Path) -> _File:
        """Return a file and what its content is called; a known one costs one look at its size and time."""
        path = Path(video)
        with decode_errors(path):
            stamp = FileStamp.of(path)
            if self._disk is None:
                return _File(path, stamp, digest_of(str(path), stamp.num_bytes, stamp.modified_ns, stamp.changed_ns))
            known_stamp, digest = self._digests.get(str(path), (None, ""))
            if known_stamp != stamp or not stamp.is_settled:
                digest = self._disk.digest(path, stamp)
                self._digests[str(path)] = (stamp, digest)
            return _File(path, stamp, digest)

    def _index(self, file: _File) -> VideoIndex:
        known: VideoIndex | None = self._memory.get((file.digest, "index"))
        if known is not None:
            return known
        if self._disk is None:
            index, source = self._scan(file), Source.DECODED
        else:
            index, source = self._disk.index(file.digest, partial(self._scan, file), file.is_current)
        self._count(num_scans=source is Source.DECODED)
        self._memory.put((file.digest, "index"), index, _num_bytes(index))
        return index

    def _scan(self, file: _File) -> VideoIndex:
        index = self._reader.scan(file.path)
        file.check()
        return index

    def _clip(self, video: Path, span_s: Span | None = None, fps: float = 0.0) -> VideoClip:
        """Return the slow clip of a span; without one, the fast view."""
        with self._counting_errors():
            file = self._file(video)
            index, name = self._index(file), (file.digest, span_s, fps)
            kept = self._remembered(name)
            if kept is None:
                if span_s is None:
                    wanted, shown_s = self._fast_frames(video, index), Span(0.0, index.duration_s)
                else:
                    wanted, shown_s = self._slow_frames(video, index, span_s, fps), span_s
                kept = self._read(file, index, wanted, shown_s, slow=span_s is not None)
                self._remember(name, kept)
            return self._accepted(video, kept)

    def _fast_frames(self, video: Path, index: VideoIndex) -> NDArray[np.int64]:
        if index.num_missing:
            raise VideoDecodeError(
                f"{video}: the file is cut short; {index.num_missing} frames are missing at its end."
            )
        indices = fast_frame_indices if self._spacing is FrameSpacing.SPREAD else strided_frame_indices
        return indices(len(index.pts), index.duration_s, *self._fast)

    def _slow_frames(self, video: Path, index: VideoIndex, span_s: Span, fps: float) -> NDArray[np.int64]:
        if not (0.0 <= span_s.start_s < span_s.end_s <= index.duration_s + _TIME_SLACK_S):
            cut = f", cut short by {index.num_missing} frames" if index.num_missing else ""
            raise VideoDecodeError(
                f"{video}: span [{span_s.start_s:g}, {span_s.end_s:g}) is not within the video, "
                f"[0, {index.duration_s:g}){cut}."
            )
        return slow_frame_indices(index.times_s, span_s, fps, self._slow[1], self._spacing)

    def _remembered(self, name: Hashable) -> _Kept | None:
        kept: _Kept | None = self._maps.get(name) or self._memory.get(name)
        if kept is not None:
            self._count(num_memory_hits=1)
        return kept

    def _remember(self, name: Hashable, kept: _Kept) -> None:
        is_mapped = isinstance(kept.clip.frames.base, np.memmap)
        (self._maps if is_mapped else self._memory).put(name, kept, kept.clip.frames.nbytes)

    def _read(self, file: _File, index: VideoIndex, wanted: NDArray[np.int64], span_s: Span, *, slow: bool) -> _Kept:
        """Return a clip of these frames: a fast view from the disk if it is there, decoded otherwise."""
        tokens = self._frame_tokens[slow] * (2 if index.duration_s < self._double_below_s[slow] else 1)
        size, size_name = self._size(tokens * PATCH_PX**2)
        key = digest_of(
            _CLIP_VERSION, self._reader.fingerprint, file.digest, wanted.tolist(), size_name, str(self._resize)
        )
        decode = partial(self._decode, file, index, wanted, size)
        if slow or self._disk is None:
            decoded, source = decode(), Source.DECODED
        else:
            decoded, source = self._disk.frames(key, decode, file.is_current)
        self._count(num_disk_hits=source is Source.DISK, num_cold_hits=source is Source.COLD)
        times_s = index.times_s[wanted]
        decoded.frames.setflags(write=False)
        times_s.setflags(write=False)
        kept = _Kept(VideoClip(decoded.frames, times_s, span_s, key), len(decoded.filled))
        if self._is_acceptable(kept):
            self._count(num_filled=kept.num_filled)
        return kept

    def _size(self, budget_px: int) -> tuple[SizeRule, int | str]:
        """Return what gives the size of a frame by its native one, and what names it."""
        if self._sizing is FrameSizing.BUDGET:
            return partial(frame_size, budget_px=budget_px), budget_px
        min_px = min(self._min_frame_tokens * PATCH_PX**2, budget_px)
        return partial(bounded_frame_size, min_px=min_px, max_px=budget_px), f"{min_px} to {budget_px}"

    def _decode(self, file: _File, index: VideoIndex, wanted: NDArray[np.int64], size: SizeRule) -> DecodedFrames:
        started_s = time.perf_counter()
        try:
            decoded = self._reader.read(file.path, index, wanted, size, self._resize)
            file.check()
        finally:
            self._count(decode_s=time.perf_counter() - started_s)
        self._count(num_decodes=1, num_frames=len(decoded.frames), num_bytes=decoded.frames.nbytes)
        return decoded

    def _accepted(self, video: Path, kept: _Kept) -> VideoClip:
        """Return the clip; raises `VideoDecodeError` if too many of its frames show a neighbour."""
        if not self._is_acceptable(kept):
            raise VideoDecodeError(
                f"{video}: {kept.num_filled} of {len(kept.clip.frames)} frames cannot be decoded; the file is damaged."
            )
        return kept.clip

    def _is_acceptable(self, kept: _Kept) -> bool:
        return kept.num_filled <= self._max_filled * len(kept.clip.frames)

    def _count(self, **amounts: float) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._counters[name] = self._counters.get(name, 0) + amount

    @contextmanager
    def _counting_errors(self) -> Iterator[None]:
        try:
            yield
        except VideoDecodeError:
            self._count(num_errors=1)
            raise


def _num_bytes(index: VideoIndex) -> int:
    packets = index.packets
    arrays = (index.pts, index.times_s, packets.pts, packets.is_key, packets.is_discard, packets.position)
    return sum(array.nbytes for array in arrays)
