"""A world for the trainer's tests: real environment, prompts and architecture; frames drawn from numbers.

A model with random weights writes nonsense. `NonsenseProtocol` reads an action out of any text, so that episodes
differ, rewards differ, and there is something to learn from.
"""

import fcntl
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.observation import EPISODE_KINDS, Observation, VideoClip, VideoDecodeError
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.tasks import EpisodeKind, Span, Task
from videozoom.envs.video_stats import VideoStoreStats
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.experiments.grpo_settings import ModelSource, World
from videozoom.policies.tiny import TinySize, build_tiny

DURATION_S = 16.0
SIZE = TinySize(
    hidden_size=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    intermediate_size=64,
    vision_hidden_size=16,
    vision_intermediate_size=32,
)
CORPUS = ["Which sign appears?\nA. bars\nB. lines\nFull video [0, 16]:", "I get the answer. \\boxed{A}"] * 2


class DrawnFrames:
    """Frames that depend on the video's name; a video called `broken*` cannot be read. Counts like a `VideoStore`."""

    def __init__(self) -> None:
        self.stats = VideoStoreStats()

    def cache_bytes(self) -> int:
        return 0

    def duration_s(self, video: Path) -> float:
        return DURATION_S

    def fast_view(self, video: Path) -> VideoClip:
        if video.name.startswith("broken"):
            self.stats += VideoStoreStats(num_errors=1)
            raise VideoDecodeError(f"{video}: no such file")
        return self._clip(f"{video}-fast", 4, 28, Span(0.0, DURATION_S))

    def slow_clip(self, video: Path, span_s: Span) -> VideoClip:
        return self._clip(f"{video}-{span_s}", 2, 28, span_s)

    def _clip(self, key: str, num_frames: int, side_px: int, span_s: Span) -> VideoClip:
        self.stats += VideoStoreStats(num_decodes=1, num_frames=num_frames)
        rng = np.random.default_rng(list(key.encode()))
        frames = rng.integers(0, 256, (num_frames, side_px, side_px, 3), dtype=np.uint8)
        return VideoClip(frames, np.linspace(*span_s, num_frames, endpoint=False), span_s, key)


class NonsenseProtocol(LoveR1Protocol):
    """Prompts of LOVE-R1; the action is read out of the characters of the text."""

    def parse(self, text: str, observation: Observation) -> Action:
        number = sum(text.encode())
        is_zoom_step = EPISODE_KINDS[observation["episode_kind"]] == EpisodeKind.ZOOM_STEP
        if number % 7 == 0:
            return Malformed(MalformedReason.NO_BOX)
        if is_zoom_step or number % 2:
            start_s = float(number % 12)
            return ZoomIn(Span(start_s, start_s + 3.0))
        return Answer("AB"[number // 2 % 2])


class FatalOnce:
    """Makes environments; the first call of all processes ends the process that makes it."""

    def __init__(self, make_env: partial[VideoZoomEnv], marker: Path) -> None:
        self.make_env, self.marker = make_env, marker

    def __call__(self) -> VideoZoomEnv:
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return self.make_env()
        os._exit(1)


class KilledAt:
    """Makes environments and counts them over all processes; the one that makes a certain one is killed."""

    def __init__(self, make_env: partial[VideoZoomEnv], counter: Path, number: int) -> None:
        self.make_env, self.counter, self.number = make_env, counter, number

    def __call__(self) -> VideoZoomEnv:
        with self.counter.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # Else two processes may count the same number, and none the next.
            file.write(b".")
            file.flush()
            number = os.fstat(file.fileno()).st_size
        if number == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.make_env()


def make_tasks(num_tasks: int = 6, *, broken: tuple[int, ...] = ()) -> tuple[Task, ...]:
    return tuple(
        Task(
            task_id=f"t{index}",
            video=Path(f"{'broken' if index in broken else 'v'}{index}.mp4"),
            duration_s=DURATION_S,
            question="Which sign appears?",
            options=("bars", "lines"),
            answer="AB"[index % 2],
            evidence=(Span(2.0 * index, 2.0 * index + 4.0),),
        )
        for index in range(num_tasks)
    )


def make_world(tasks: tuple[Task, ...] | None = None, *, fatal_marker: Path | None = None) -> World:
    tasks = tasks or make_tasks()
    frames = DrawnFrames()
    make_env = partial(VideoZoomEnv, tasks, frames)
    return World(
        tasks=tasks,
        make_env=FatalOnce(make_env, fatal_marker) if fatal_marker else make_env,
        protocol=NonsenseProtocol("love_r1_compact", timestamps=False),
        max_steps=3,
        frames=frames,  # type: ignore[arg-type]
    )


def make_source(folder: Path) -> ModelSource:
    return ModelSource(build_tiny(folder, CORPUS, size=SIZE))
