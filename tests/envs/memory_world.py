"""Frames and tasks that need no video file."""

from pathlib import Path
from typing import Any

import numpy as np

from videozoom.envs.observation import VideoClip, VideoDecodeError
from videozoom.envs.tasks import Span, Task
from videozoom.envs.video_zoom import VideoZoomEnv

DURATION_S = 64.0
EVIDENCE = Span(12.0, 16.0)


class MemoryFrames:
    """Frames made of numbers; `broken` names what cannot be read."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.reads: list[str] = []

    def duration_s(self, video: Path) -> float:
        return DURATION_S

    def fast_view(self, video: Path) -> VideoClip:
        return self._read("fast_view", video, Span(0.0, DURATION_S), num_frames=32, size_px=28)

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        return self._read("slow_clip", video, span_s, num_frames=4, size_px=56)

    def _read(self, view: str, video: Path, span_s: Span, num_frames: int, size_px: int) -> VideoClip:
        self.reads.append(view)
        if self.broken == view:
            raise VideoDecodeError(f"{video}: {view} is broken")
        frames = np.full((num_frames, size_px, size_px, 3), len(str(video)), np.uint8)
        return VideoClip(frames, np.linspace(*span_s, num_frames), span_s, f"{video}:{view}:{span_s}")


def make_tasks(count: int = 5) -> list[Task]:
    return [
        Task(f"t{index}", Path(f"{index}.mp4"), DURATION_S, f"Question {index}?", ("a", "b", "c"), "B", (EVIDENCE,))
        for index in range(count)
    ]


def make_env(broken: str = "", **values: Any) -> VideoZoomEnv:
    return VideoZoomEnv(make_tasks(), frames=MemoryFrames(broken), **values)
