"""What a step of the environment costs beside decoding: frames come from memory, of the sizes LOVE-R1 publishes."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.table import Table

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.observation import VideoClip
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.tasks import Span, Task
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.envs.wrappers import DiscreteActions, FixedShape, RecordTrajectory, TextActions, VisualTokenBudget

Env = gymnasium.Env[Any, Any]

DURATION_S = 3600.0
FAST_SHAPE = (768, 112, 196, 3)
SLOW_SHAPE = (32, 336, 616, 3)


class StillFrames:
    """The same frames for every video and span, made once. Implements `FrameSource`."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._fast, self._slow = (rng.integers(0, 256, shape, np.uint8) for shape in (FAST_SHAPE, SLOW_SHAPE))

    def duration_s(self, video: Path) -> float:
        return DURATION_S

    def fast_view(self, video: Path) -> VideoClip:
        return self._clip(self._fast, Span(0.0, DURATION_S), f"fast:{video}")

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        return self._clip(self._slow, span_s, f"slow:{video}:{span_s}")

    def _clip(self, frames: Any, span_s: Span, key: str) -> VideoClip:
        return VideoClip(frames, np.linspace(*span_s, len(frames)), span_s, key)


def measure_env_overhead(num_episodes: int = 200) -> list[dict[str, Any]]:
    """Return rows `{case, step_ms_median, step_ms_p99, reset_ms_median}`; two zooms and an answer per episode.

    Each case has run once before it is measured: what is computed once per clip is not in its figures.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [_row(name, make, num_episodes) for name, make in _cases(Path(folder)).items()]


def _cases(folder: Path) -> dict[str, Callable[[], Env]]:
    frames = StillFrames()
    evidence = (Span(600.0, 630.0),)
    tasks = [
        Task(f"t{n}", Path(f"{n}.mp4"), DURATION_S, "Which?", ("a", "b", "c", "d"), "B", evidence) for n in range(2)
    ]

    def bare() -> Env:
        return VideoZoomEnv(tasks, frames)

    return {
        "environment": bare,
        "gymnasium.make": lambda: gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=tasks, frames=frames),
        "FixedShape": lambda: FixedShape(bare()),
        "FixedShape, DiscreteActions": lambda: FixedShape(DiscreteActions(bare(), num_segments=120)),
        "TextActions": lambda: TextActions(bare(), LoveR1Protocol()),
        "VisualTokenBudget": lambda: VisualTokenBudget(bare(), 100_000),
        "RecordTrajectory": lambda: RecordTrajectory(bare(), folder),
    }


def _row(name: str, make: Callable[[], Env], num_episodes: int) -> dict[str, Any]:
    env = make()
    actions = _actions(env)
    _run(env, actions)
    resets, steps = zip(*(_run(env, actions) for _ in range(num_episodes)), strict=True)
    steps_ms = np.concatenate(steps) * 1000.0
    return {
        "case": name,
        "step_ms_median": float(np.median(steps_ms)),
        "step_ms_p99": float(np.quantile(steps_ms, 0.99)),
        "reset_ms_median": float(np.median(resets)) * 1000.0,
    }


def _actions(env: Env) -> list[Any]:
    """Return two zooms and an answer in the form the environment takes."""
    if isinstance(env.action_space, gymnasium.spaces.Text):
        prefix = "I need to zoom in on the video.\n\n"
        return [f"{prefix}There. \\boxed{{[600, 630]}}", f"{prefix}There. \\boxed{{[900, 930]}}", "It is \\boxed{B}."]
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        return [20, 30, 121]
    return [ZoomIn(Span(600.0, 630.0)), ZoomIn(Span(900.0, 930.0)), Answer("B")]


def _run(env: Env, actions: list[Any]) -> tuple[float, list[float]]:
    """Return the seconds that `reset` and each step took."""
    started_s = time.perf_counter()
    env.reset(seed=0)
    times_s = [time.perf_counter()]
    for action in actions:
        env.step(action)
        times_s.append(time.perf_counter())
    return times_s[0] - started_s, np.diff(times_s).tolist()


def main() -> None:
    """Print the rows as a table."""
    table = Table("case", "step, ms", "99 %", "reset, ms", title="the environment without decoding")
    for row in measure_env_overhead():
        figures = (row["step_ms_median"], row["step_ms_p99"], row["reset_ms_median"])
        table.add_row(row["case"], *(f"{figure:.3f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
