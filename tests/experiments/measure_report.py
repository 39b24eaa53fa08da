"""How long the report of a long run takes to make and to open, and how large it is.

python tests/experiments/measure_report.py            a made-up run of 200 iterations
python tests/experiments/measure_report.py RUN_DIR    a run of yours

Opening is measured in headless Chromium, from the navigation to the end of the load event, cold each time.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "rollout")]

from browser import CHROMIUM, chromium_page
from drawn_rollouts import drawn_task, rollout_of
from fabricated_run import fabricate_run

from videozoom.envs.observation import FrameSource, VideoClip
from videozoom.envs.tasks import Span
from videozoom.experiments.report import write_report
from videozoom.rollout.metrics import METRICS
from videozoom.rollout.trace_rows import trace_row

NUM_ITERATIONS, NUM_GROUPS, GROUP_SIZE, NUM_HELD_OUT = 200, 16, 8, 320
NUM_OPENINGS = 5


class NoiseFrames:
    """Frames of noise, which no image format makes small: 96 of 112 x 196 pixels, and clips of 32 of 336 x 588."""

    def duration_s(self, video: Path) -> float:
        return 64.0

    def fast_view(self, video: Path) -> VideoClip:
        return self._clip(np.arange(96) * 64.0 / 96, Span(0.0, 64.0), 112, 196)

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        return self._clip(np.linspace(*span_s, 32, endpoint=False), span_s, 336, 588)

    def _clip(self, times_s: Any, span_s: Span, height_px: int, width_px: int) -> VideoClip:
        shape = (len(times_s), height_px, width_px, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        return VideoClip(frames, times_s, span_s, f"noise:{span_s}")


def long_run(folder: Path) -> Path:
    """Write a run with every metric in every iteration, and all its episodes."""
    rng = np.random.default_rng(0)
    run = fabricate_run(folder)
    names = [name for name in METRICS if not name.startswith(("loss/sft", "progress"))]
    with (run / "metrics.jsonl").open("w") as file:
        for iteration in range(1, NUM_ITERATIONS + 1):
            values = dict(zip(names, rng.random(len(names)).tolist(), strict=True))
            file.write(json.dumps({"progress/iteration": iteration, "phase": "decoupled_grpo"} | values) + "\n")
    with (run / "traces.jsonl").open("w") as file:
        for iteration in range(NUM_ITERATIONS):
            for number in range(NUM_GROUPS):
                for member in range(GROUP_SIZE):
                    file.write(_line(rng, number, phase="train", member=member, iteration=iteration, group=number))
        for policy in ("cold_start", "decoupled_grpo"):
            for number in range(NUM_HELD_OUT):
                file.write(_line(rng, number, phase="eval", policy=policy, iteration=NUM_ITERATIONS))
    return run


def _line(
    rng: np.random.Generator,
    number: int,
    *,
    phase: str,
    iteration: int,
    policy: str = "decoupled_grpo",
    member: int = 0,
    group: int = 0,
) -> str:
    task = drawn_task(number)
    starts = rng.integers(0, 60, 2)
    trajectory = rollout_of(task, [Span(float(it), float(it) + 4.0) for it in starts], "ABC"[rng.integers(3)])
    advantage = float(rng.normal()) if phase == "train" else None
    row = trace_row(task, trajectory, phase=phase, policy=policy, iteration=iteration, advantage=advantage)
    return json.dumps(row | {"member": member, "seed": [0, iteration, group, member]}) + "\n"


def measure(run: Path, frames: FrameSource | None) -> None:
    started_s = time.perf_counter()
    page_file = write_report(run, frames)
    made_s = time.perf_counter() - started_s
    print(f"{page_file.stat().st_size / 1e6:.2f} MB, made in {made_s:.1f} s")
    if CHROMIUM is None:
        print("Opening it cannot be measured: there is no Chromium.")
        return
    loads = []
    for _ in range(NUM_OPENINGS):
        with tempfile.TemporaryDirectory() as profile, chromium_page(Path(profile)) as page:
            page.open(page_file.as_uri())
            timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
            loads.append(page.until(timing) / 1000)
    times = ", ".join(f"{load_s:.2f}" for load_s in loads)
    print(f"opens in {statistics.median(loads):.2f} s (median of {times})")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]), None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(long_run(Path(folder) / "long"), NoiseFrames())
