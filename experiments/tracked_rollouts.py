"""The few rollouts that trackers show: one per row, with its timeline as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import Status, Task
from videozoom.rollout.timeline import trajectory_image
from videozoom.rollout.trace_rows import TraceRow, task_from_row, trajectory_from_row

Value = str | float | bool | None


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout: what was asked, done, seen, said and rewarded."""

    values: dict[str, Value]
    timeline: NDArray[np.uint8]
    """Picture `[H, W, 3]`: fast view, evidence and zooms over time."""


@dataclass(frozen=True, slots=True)
class RolloutTable:
    """A few rollouts of one iteration."""

    name: str
    """`rollouts/train` or `rollouts/eval`."""
    iteration: int
    phase: str
    rows: tuple[RolloutRow, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values, the same in every row."""
        return tuple(self.rows[0].values) if self.rows else ()


class RolloutPicker:
    """Makes tables: now and then the best, the worst, and random rollouts in between."""

    def __init__(self, frames: FrameSource | None, *, every: int, num_rollouts: int, seed: int = 0) -> None:
        """Take how much is shown.

        Args:
            frames: Where pictures are read from; without it, timelines have no frames.
            every: Iterations between tables; 0 makes none.
            num_rollouts: Rows of a table.
            seed: Chooses the random ones.
        """
        self._frames, self._every, self._num_rollouts, self._seed = frames, every, num_rollouts, seed

    def table(self, name: str, rows: Sequence[TraceRow], iteration: int, phase: str) -> RolloutTable | None:
        """Return the table of an iteration, `None` if it is not time for one or there is nothing to show."""
        if not self._every or iteration % self._every:
            return None
        picked = picked_rows(rows, self._num_rollouts, np.random.default_rng((self._seed, iteration)))
        if not picked:
            return None
        return RolloutTable(name, iteration, phase, tuple(self._row(why, row) for why, row in picked))

    def _row(self, why: str, row: TraceRow) -> RolloutRow:
        task, trajectory = task_from_row(row), trajectory_from_row(row)
        values: dict[str, Value] = {"picked": why, "is_right": trajectory.is_right(task), **rollout_values(row, task)}
        return RolloutRow(values, trajectory_image(trajectory, task, self._frames))


def picked_rows(rows: Sequence[TraceRow], num_rows: int, rng: np.random.Generator) -> list[tuple[str, TraceRow]]:
    """Return `(why, row)` of the best, the worst, and random rows in between, none twice.

    Rows whose video could not be read are left out. Among equals, the first one is taken.
    """
    readable = [row for row in rows if row["status"] != Status.ERROR_DECODE]
    ranked = sorted(readable, key=lambda row: row["reward"]["total"], reverse=True)
    ends = [("best", 0), ("worst", len(ranked) - 1)][: min(num_rows, len(ranked))]
    between = rng.permutation(np.arange(1, max(1, len(ranked) - 1)))[: max(0, num_rows - len(ends))]
    return [(why, ranked[index]) for why, index in (*ends, *(("random", int(index)) for index in between))]


def rollout_values(row: TraceRow, task: Task) -> dict[str, Value]:
    """Return the columns of a rollout, from its trace and its task."""
    steps = row["steps"]
    return {
        "iteration": row["iteration"],
        "policy": row["policy"],
        "kind": row["kind"],
        "task_id": row["task_id"],
        "question": task.question,
        "right_answer": task.answer,
        "answer": row["answer"],
        "status": row["status"],
        "reward": row["reward"]["total"],
        "reward_parts": ", ".join(f"{name} {value:g}" for name, value in row["reward"]["parts"].items()),
        "advantage": row["advantage"],
        "zooms_s": _spans(row["spans_s"]),
        "evidence_s": _spans([(span.start_s, span.end_s) for span in task.evidence]),
        "num_steps": len(steps),
        "visual_tokens": sum(step["num_visual_tokens"] for step in steps),
        "response_tokens": sum(step["num_completion_tokens"] for step in steps),
        "transcript": "\n---\n".join(f"{step['prefix']}{step['text']}" for step in steps),
    }


def _spans(spans: Sequence[Sequence[float]]) -> str:
    return ", ".join(f"{start_s:g}-{end_s:g}" for start_s, end_s in spans)
