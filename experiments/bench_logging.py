"""`videozoom bench logging RUN_DIR`: what logging costs, by logging a finished run once more.

Everything the run told (metrics, alarms, traces, tables of rollouts) goes through the same trackers again, into a
folder that is then removed, once for each choice of trackers; the time is set against what the run itself took.
"""

import importlib
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from videozoom.envs.json_lines import read_json_lines
from videozoom.experiments.build import build_frames
from videozoom.experiments.build_tracking import open_tracker
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.open_traces import open_traces
from videozoom.experiments.progress import progress
from videozoom.experiments.run_folder import RunFolder, environment
from videozoom.experiments.tracking import LOGGING, STEP
from videozoom.rollout.traces import read_traces

MetricRow = Mapping[str, Any]

CHOICES = {
    "files alone": {"wandb": False, "tensorboard": False},
    "and TensorBoard": {"wandb": False, "tensorboard": True},
    "and Weights & Biases, offline": {"wandb": True, "tensorboard": False},
    "all": {"wandb": True, "tensorboard": True},
}
"""What is logged to, by the words for it."""


@dataclass(frozen=True, slots=True)
class LoggingCost:
    """What logging a run took with one choice of trackers."""

    trackers: str
    wall_s: float
    """How long the run waits for it."""
    cpu_s: float
    """CPU time of all processes, those of services included."""
    share: float
    """`wall_s` as a share of what the run took without it."""
    cpu_share: float | None
    """`cpu_s` as a share of the CPU time of its sampling and learning, cold start and evaluations left aside; `None`
    if that was not logged. Does not depend on what else the machine did."""


def run_bench_logging(folder: Path, *, as_json: bool = False) -> list[LoggingCost]:
    """Measure, and print a table on standard output, or JSON.

    Raises:
        UserError: `folder` is no run, or one that logged nothing.
    """
    run = RunFolder.open(folder)
    metrics = list(read_json_lines(run.metrics_file)) if run.metrics_file.is_file() else []
    run_s = seconds_of(metrics)
    if not run_s:
        raise UserError(f"{folder} has no metrics with times; give the folder of a training that has run")
    config = load_config(run.config_file)
    run_cpu_s = cpu_seconds_of(metrics)
    traces = traces_by_iteration(run)
    # A training has loaded it long before it logs anything.
    importlib.import_module("torch")
    costs = []
    for words, settings in CHOICES.items():
        tracking = config.tracking.model_copy(update={**settings, "wandb_mode": "offline"})
        changed = config.model_copy(update={"tracking": tracking})
        wall_s, cpu_s = _measured(words, changed, metrics, traces)
        costs.append(LoggingCost(words, wall_s, cpu_s, wall_s / run_s, cpu_s / run_cpu_s if run_cpu_s else None))
    if as_json:
        rows: dict[str, Any] = {"rows": [asdict(cost) for cost in costs], "run_s": run_s, "run_cpu_s": run_cpu_s}
        rows |= {"num_metric_rows": len(metrics), "num_traces": sum(map(len, traces.values()))}
        rows |= {"environment": environment(config.seed)}
        print(json.dumps(rows, indent=2))
    else:
        _print(costs, run_s, metrics, sum(map(len, traces.values())))
    return costs


def seconds_of(metrics: Sequence[MetricRow]) -> float:
    """Return what a run took: its iterations and evaluations, without logging.

    Rows of the cold start hold the mean time of the steps since the row before.

    Example:
        >>> stage = [{"progress/iteration": 10, "phase": "cot", "loss/sft": 1.0, "time/step_s": 0.5}]
        >>> seconds_of([*stage, {"progress/iteration": 1, "phase": "grpo", "time/step_s": 2.0, "time/eval_s": 3.0}])
        10.0
    """
    total_s, last = 0.0, dict[str, int]()
    for row in metrics:
        num_steps = row[STEP] - last.get(row["phase"], 0) if "loss/sft" in row else 1
        last[row["phase"]] = row[STEP]
        total_s += num_steps * (row.get("time/step_s") or 0.0) + (row.get("time/eval_s") or 0.0)
    return total_s


def cpu_seconds_of(metrics: Sequence[MetricRow]) -> float:
    """Return the CPU seconds of a run's trainings, all processes.

    Example:
        >>> cpu_seconds_of([{"phase": "a", "progress/cpu_s": 2.0}, {"phase": "a", "progress/cpu_s": 5.0}])
        5.0
    """
    last = {row["phase"]: row["progress/cpu_s"] for row in metrics if row.get("progress/cpu_s")}
    return float(sum(last.values()))


def traces_by_iteration(run: RunFolder) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return traces by policy and the iteration whose metrics were logged after them."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in read_traces(run.traces_file) if run.traces_file.is_file() else ():
        iteration = row["iteration"] + (row["phase"] == "train")
        found.setdefault((row["policy"], iteration), []).append(row)
    return found


def _measured(
    words: str,
    config: Config,
    metrics: Sequence[MetricRow],
    traces: Mapping[tuple[str, int], Sequence[Any]],
) -> tuple[float, float]:
    """Return how long a run would have waited, and the CPU seconds of all processes."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        started_cpu_s = _cpu_s()
        wall_s = _log_again(RunFolder(Path(folder)), config, metrics, traces, words)
        # The services go on beside the run, so only what the run waited for is counted, but all of the CPU time.
        return wall_s, _cpu_s() - started_cpu_s


def _log_again(
    run: RunFolder,
    config: Config,
    metrics: Sequence[MetricRow],
    traces: Mapping[tuple[str, int], Sequence[Any]],
    words: str,
) -> float:
    """Return how long the loop of a run would have waited."""
    waited_s = 0.0

    def timed(act: Callable[[], object]) -> None:
        nonlocal waited_s
        started_s = time.perf_counter()
        act()
        waited_s += time.perf_counter() - started_s

    main_phase = metrics[-1]["phase"]
    frames = build_frames(config)
    with (
        open_tracker(run, config, main_phase=main_phase, frames=frames) as tracker,
        open_traces(run, config, tracker) as writer,
        progress(f"Logging again: {words}", len(metrics)) as advance,
    ):
        for row in metrics:
            phase, iteration = row["phase"], row[STEP]
            for batch in _batches(traces.get((phase, iteration), ())):
                timed(lambda batch=batch: writer.write(batch))  # type: ignore[misc]
            values = {name: value for name, value in row.items() if isinstance(value, float) and name != LOGGING}
            timed(lambda: tracker.log(values, iteration, phase))  # noqa: B023
            advance()
    return waited_s


def _batches(rows: Sequence[Any], size: int = 128) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of those that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _print(costs: Sequence[LoggingCost], run_s: float, metrics: Sequence[MetricRow], num_traces: int) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("logged to", "run waits\ns", "of the run\n%", "CPU of all\ns", "of training\n%"):
        table.add_column(column, justify="left" if column == "logged to" else "right", no_wrap=True)
    for cost in costs:
        shares = ["-" if share is None else f"{100 * share:.2f}" for share in (cost.share, cost.cpu_share)]
        table.add_row(cost.trackers, f"{cost.wall_s:.2f}", shares[0], f"{cost.cpu_s:.2f}", shares[1])
    console = Console()
    console.print(table)
    console.print(
        f"The run: {run_s:.0f} s of training and evaluation, {len(metrics)} rows of metrics, {num_traces} traces."
    )
