"""Where metrics go: always to `metrics.jsonl`, and to any other tracker that was asked for.

Trackers other than the file are services of others. None of them can stop a run: each keeps its failures to itself and
tells of the first in a warning.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from videozoom.envs.json_lines import JsonLinesWriter
from videozoom.experiments.alarms import Alarm
from videozoom.experiments.tracked_rollouts import RolloutPicker, RolloutTable
from videozoom.rollout.metrics import check_names
from videozoom.rollout.trace_rows import TraceRow

STEP = "progress/iteration"
"""The metric on every chart's horizontal axis."""

LOGGING = "time/logging_s"

TRAIN = "train"
"""The phase of reinforcement learning, unless a run has several."""

CheckNames = Callable[[Iterable[str]], None]
"""Raises `ValueError` for a metric name that is not registered."""


class Tracker(Protocol):
    """Takes what a run tells of itself."""

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Take the metrics of one iteration of a phase: a stage of the cold start, or reinforcement learning."""
        ...

    def show(self, table: RolloutTable) -> None:
        """Take a few rollouts with their pictures."""
        ...

    def alert(self, alarm: Alarm) -> None:
        """Take an alarm."""
        ...

    def close(self) -> None:
        """Finish; nothing may be logged afterwards."""
        ...


class Alarms(Protocol):
    """Watches metrics."""

    def observe(self, metrics: Mapping[str, float], iteration: int, phase: str) -> Sequence[Alarm]:
        """Return the alarms that these metrics raise or end."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class JsonlTracker:
    """Appends one line per call to `metrics.jsonl`; the file is whole after every call.

    A value that is no finite number is written as `null`: JSON has no other word for it. Rollouts and alarms have files
    of their own.
    """

    def __init__(self, path: Path) -> None:
        self._writer = JsonLinesWriter(path)

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Append the metrics, iteration and phase first."""
        values = {name: float(value) for name, value in metrics.items() if name != STEP}
        row = {
            STEP: iteration,
            "phase": phase,
            **{name: value if math.isfinite(value) else None for name, value in values.items()},
        }
        self._writer.append([row])

    def show(self, table: RolloutTable) -> None:
        """Do nothing: all rollouts are in `traces.jsonl`."""

    def alert(self, alarm: Alarm) -> None:
        """Do nothing: alarms are in `alarms.jsonl`."""

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class Trackers:
    """Several trackers as one, with the metric names checked first and alarms raised."""

    def __init__(
        self,
        trackers: Iterable[Tracker],
        *,
        alarms: Alarms | None = None,
        rollouts: RolloutPicker | None = None,
        validate_names: CheckNames = check_names,
    ) -> None:
        """Take the trackers.

        Args:
            trackers: Where metrics go.
            alarms: What watches them.
            rollouts: Chooses the rollouts that trackers are shown; `None` shows none.
            validate_names: Raises `ValueError` for a name that may not be logged.
        """
        self._trackers = list(trackers)
        self._alarms = alarms
        self._rollouts = rollouts
        self._validate_names = validate_names
        self._traces: list[TraceRow] = []
        self._spent_s = 0.0

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Hand the metrics to every tracker, with the rollouts of the iteration and the alarms they raise.

        `time/logging_s` is added: what was spent here, and on traces, since the metrics before.

        Raises:
            ValueError: A name is not in the metric registry.
            OSError: `metrics.jsonl` or `alarms.jsonl` cannot be written.
        """
        self._validate_names(metrics)
        metrics = {**metrics, LOGGING: self._spent_s}
        self._spent_s = 0.0
        with self.timed():
            for tracker in self._trackers:
                tracker.log(metrics, iteration, phase)
            self._show(iteration, phase)
            for alarm in self._alarms.observe(metrics, iteration, phase) if self._alarms else ():
                for tracker in self._trackers:
                    tracker.alert(alarm)

    def take_traces(self, rows: Sequence[TraceRow]) -> None:
        """Take the traces of an iteration whose metrics follow; a few of them are shown with these."""
        if self._rollouts is not None:
            self._traces += rows

    def _show(self, iteration: int, phase: str) -> None:
        traces, self._traces = self._traces, []
        for kind in ("train", "eval") if self._rollouts else ():
            rows = [row for row in traces if row["phase"] == kind and row["policy"] == phase]
            table = self._rollouts.table(f"rollouts/{kind}", rows, iteration, phase) if self._rollouts else None
            if table is not None:
                for tracker in self._trackers:
                    tracker.show(table)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of the block as spent on logging."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self._spent_s += time.perf_counter() - started_s

    def close(self) -> None:
        """Close every tracker."""
        for tracker in self._trackers:
            tracker.close()
        if self._alarms:
            self._alarms.close()

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def phase_prefix(phase: str, main_phase: str) -> str:
    """Return what stands before the names of a phase's metrics where all phases share one list of names.

    The main phase has plain names, so that dashboards fit every run.

    Example:
        >>> phase_prefix("cot", main_phase="decoupled_grpo"), phase_prefix("train", main_phase="train")
        ('cot/', '')
    """
    return "" if phase == main_phase else f"{phase}/"
