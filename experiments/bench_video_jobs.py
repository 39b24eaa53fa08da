"""What `videozoom bench video` measures: this project's reader, the floor, and other decoders.

`bench_video_reference` has the pattern of published code.
"""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoClip
from videozoom.envs.overlay import TimestampOverlay
from videozoom.envs.tasks import Span
from videozoom.envs.video_stats import VideoStoreStats
from videozoom.envs.video_store import VideoStore
from videozoom.envs.videos import pyav_reader  # noqa: F401  # Loaded on demand otherwise, and then measured.
from videozoom.envs.videos.containers import opened
from videozoom.experiments.bench_process import Job


@dataclass(frozen=True, slots=True)
class Seen:
    """A clip, and what the store had to do for it."""

    clip: VideoClip
    stats: VideoStoreStats


@dataclass(frozen=True, slots=True)
class FastView(Job):
    """The fast view of a video that was never seen: names, scans, decodes it and writes it to the cache."""

    video: Path

    def run(self, folder: Path) -> Seen:
        store = VideoStore(cache=folder)
        return Seen(store.fast_view(self.video), store.stats)

    def facts(self, result: Seen) -> Mapping[str, float]:
        return {
            "num_frames": len(result.clip.frames),
            "num_decodes": result.stats.num_decodes,
            "num_scans": result.stats.num_scans,
        }


@dataclass(frozen=True, slots=True)
class SecondUse(FastView):
    """The fast view that another process has decoded, up to its first frame."""

    min_runs: ClassVar[int] = 9
    is_prepared: ClassVar[bool] = True

    def prepare(self, folder: Path) -> None:
        VideoStore(cache=folder).fast_view(self.video)

    def run(self, folder: Path) -> Seen:
        store = VideoStore(cache=folder)
        clip = store.fast_view(self.video)
        clip.frames[0].max()
        return Seen(clip, store.stats)

    def facts(self, result: Seen) -> Mapping[str, float]:
        # Every byte is looked at, so that a copy would show in the memory that is private afterwards.
        result.clip.frames.max()
        return FastView.facts(self, result)


@dataclass(frozen=True, slots=True)
class SlowClip(Job):
    """A slow clip of a video that was never seen."""

    video: Path
    span_s: Span

    def run(self, folder: Path) -> Seen:
        store = VideoStore(cache=folder)
        return Seen(store.slow_clip(self.video, self.span_s), store.stats)

    def facts(self, result: Seen) -> Mapping[str, float]:
        return {"num_frames": len(result.clip.frames), "num_scans": result.stats.num_scans}


@dataclass(frozen=True, slots=True)
class KnownSlowClip(SlowClip):
    """A slow clip of a video whose packets another process has listed, as happens before any zoom."""

    is_prepared: ClassVar[bool] = True

    def prepare(self, folder: Path) -> None:
        VideoStore(cache=folder).duration_s(self.video)


@dataclass(frozen=True, slots=True)
class Question(Job):
    """All rollouts of one question: in every step the fast view, and one clip of a span that none had before.

    Timestamps are drawn, as the agent sees them.
    """

    video: Path
    spans_s: tuple[Span, ...]
    """One for each step of each rollout."""

    def run(self, folder: Path) -> Mapping[str, float]:
        store, overlay = VideoStore(cache=folder), TimestampOverlay()
        num_fast_decodes = 0
        for span_s in self.spans_s:
            before = store.stats.num_decodes
            overlay(store.fast_view(self.video))
            num_fast_decodes += store.stats.num_decodes - before
            overlay(store.slow_clip(self.video, span_s))
        return {
            "num_fast_decodes": num_fast_decodes,
            "num_slow_decodes": store.stats.num_decodes - num_fast_decodes,
            "num_scans": store.stats.num_scans,
        }

    def facts(self, result: Mapping[str, float]) -> Mapping[str, float]:
        return result


@dataclass(frozen=True, slots=True)
class WarmQuestion(Question):
    """The same when another question about the video was asked before."""

    is_prepared: ClassVar[bool] = True

    def prepare(self, folder: Path) -> None:
        VideoStore(cache=folder).fast_view(self.video)


@dataclass(frozen=True, slots=True)
class Floor(Job):
    """A plain decode of a stretch of the file with PyAV, one thread, nothing converted."""

    video: Path
    first_pts: int | None = None
    """Decoding starts at the key frame before this frame; `None` for the start of the file."""
    last_pts: int | None = None
    """Decoding ends with this frame; `None` for the end of the file."""

    def run(self, folder: Path) -> int:
        num_frames = 0
        with opened(self.video) as (container, stream):
            if self.first_pts is not None:
                container.seek(self.first_pts, stream=stream)
            for frame in container.decode(stream):
                num_frames += 1
                if self.last_pts is not None and frame.pts is not None and frame.pts >= self.last_pts:
                    break
        return num_frames

    def facts(self, result: int) -> Mapping[str, float]:
        return {"num_frames": result}


@dataclass(frozen=True, slots=True)
class FfmpegFloor(Job):
    """The same with the `ffmpeg` program."""

    video: Path
    span_s: Span | None = None

    is_in_child: ClassVar[bool] = True

    @staticmethod
    def is_available() -> bool:
        """Return whether there is such a program."""
        return shutil.which("ffmpeg") is not None

    def run(self, folder: Path) -> None:
        within = ["-ss", f"{self.span_s.start_s:.3f}", "-t", f"{self.span_s.length_s:.3f}"] if self.span_s else []
        source = ["-threads", "1", *within, "-i", str(self.video)]
        command = ["ffmpeg", "-v", "error", "-nostdin", *source, "-an", "-sn", "-dn", "-f", "null", "-"]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            raise RuntimeError(f"ffmpeg ended with exit code {finished.returncode}: {finished.stderr.strip()[:200]}")


@dataclass(frozen=True, slots=True)
class DecordRead(Job):
    """decord at its cheapest: it scales the frames itself (bilinear)."""

    video: Path
    frames: tuple[int, ...]
    size: tuple[int, int]
    """Height and width."""

    def load(self) -> None:
        import decord  # noqa: F401

    def run(self, folder: Path) -> NDArray[np.uint8]:
        import decord

        height, width = self.size
        reader = decord.VideoReader(str(self.video), ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        images: NDArray[np.uint8] = reader.get_batch(list(self.frames)).asnumpy()
        return images

    def facts(self, result: NDArray[np.uint8]) -> Mapping[str, float]:
        return {"num_frames": len(result)}


@dataclass(frozen=True, slots=True)
class TorchcodecRead(Job):
    """torchcodec at its cheapest: frames are scaled as they come (antialiased bilinear)."""

    video: Path
    frames: tuple[int, ...]
    size: tuple[int, int]
    """Height and width."""

    def load(self) -> None:
        import torch
        from torchcodec import decoders, transforms  # noqa: F401

        torch.set_num_threads(1)

    def run(self, folder: Path) -> Any:
        from torchcodec.decoders import VideoDecoder
        from torchcodec.transforms import Resize

        decoder = VideoDecoder(self.video, seek_mode="exact", num_ffmpeg_threads=1, transforms=[Resize(self.size)])
        return decoder.get_frames_at(list(self.frames)).data

    def facts(self, result: Any) -> Mapping[str, float]:
        return {"num_frames": len(result)}
