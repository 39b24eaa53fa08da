"""`videozoom replay`: the traces of a run scored again, with its rubric or another one, without a model."""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videozoom.envs.json_lines import JsonLinesWriter, read_json_lines
from videozoom.envs.task_files import write_atomically
from videozoom.envs.tasks import Task
from videozoom.experiments.build_rubric import build_rubric
from videozoom.experiments.build_training import build_penalties
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config, load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.progress import console
from videozoom.experiments.replay_folder import replay_folder
from videozoom.experiments.report import write_report
from videozoom.experiments.result_rows import results_row
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.tracking import STEP
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.rescoring import Rescale, Verdict, rescore
from videozoom.rollout.trace_rows import TraceRow, reward_row, task_from_row, trajectory_from_row
from videozoom.rollout.traces import read_traces
from videozoom.rollout.types import Trajectory

CHANGEABLE = ("reward.", "reward_rules.", "grpo.advantage_norm=", "grpo.penalties.")
"""What a replay may change: what episodes are worth. All else made them what they are."""
REPLAY_FILE = "replay.jsonl"


def run_replay(
    run_dir: Path, overrides: Sequence[str] = (), out: Path | None = None, *, as_json: bool = False, report: bool = True
) -> int:
    """Score the traces of a run again and write what comes of it into a folder of its own; the run is left as it is.

    Args:
        run_dir: The run, finished or not.
        overrides: Settings of the rubric that replace the run's own.
        out: Folder of the results; `None` for one beside the run.
        as_json: Print the table for programs.
        report: Whether to draw the report, with all timelines, again.

    Returns:
        0; without `overrides` 1 if anything differs from what was recorded.

    Raises:
        UserError: `run_dir` is no run with traces, `overrides` change more than rewards, or `out` is taken.
    """
    run = RunFolder.open(run_dir)
    if not run.traces_file.is_file():
        raise UserError(f"{run_dir} has no traces.jsonl, so there is nothing to score again")
    folder = out or run_dir.with_name(f"{run_dir.name}.replay")
    config = _config(run, overrides, folder)
    try:
        rescale = _rescale(config, run)
        verdicts = rescore(
            read_traces(run.traces_file),
            build_rubric(config),
            normalise_std=config.grpo.advantage_norm == "std",
            rescale=rescale,
            many_frames=config.reward_rules.many_frames,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    table = _Table()
    with replay_folder(folder, run) as replayed:
        _write(run, replayed, config, verdicts, overrides, table)
        _write_results(run, replayed, overrides, table)
    if report:
        write_report(folder)
    _print(table, folder, as_json=as_json)
    is_same = not any(row["num_changed"] for row in table.rows())
    return 0 if overrides or is_same else 1


def _config(run: RunFolder, overrides: Sequence[str], folder: Path) -> Config:
    other = next((override for override in overrides if not override.startswith(CHANGEABLE)), None)
    if other is not None:
        allowed = ", ".join(f"{name.rstrip('.=')}{'.*' if name.endswith('.') else ''}" for name in CHANGEABLE)
        raise UserError(f"a replay can change what episodes are worth ({allowed}), not what they were: {other}")
    return load_config(run.config_file, [*overrides, f"run_dir={json.dumps(str(folder))}"])


def _rescale(config: Config, run: RunFolder) -> Rescale:
    """Return what takes penalties to their share, as training did it, from what is in the run's metrics."""
    schedule = build_penalties(config)
    if schedule.is_constant:
        return lambda reward, _: reward
    if not run.metrics_file.is_file():
        raise UserError(f"{run.path} has no metrics.jsonl, which tells how its penalties changed")
    success = {
        (row["phase"], row[STEP]): row["zoom/running_success"]
        for row in read_json_lines(run.metrics_file)
        if "zoom/running_success" in row
    }

    def rescale(reward: RewardBreakdown, row: TraceRow) -> RewardBreakdown:
        iteration = row["iteration"]
        return schedule.scaled(reward, schedule.factor(iteration, success.get((row["policy"], iteration))))

    return rescale


@dataclass(slots=True)
class _Table:
    """Means of what was recorded and of what it is worth now, by phase and policy."""

    pairs: dict[tuple[str, str], list[tuple[Verdict, Verdict]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, row: TraceRow, recorded: Verdict, replayed: Verdict) -> None:
        self.pairs[row["phase"], row["policy"]].append((recorded, replayed))

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "phase": phase,
                "policy": policy,
                "num_episodes": len(pairs),
                "reward_recorded": _mean(before.reward.total for before, _ in pairs),
                "reward_replayed": _mean(after.reward.total for _, after in pairs),
                "num_changed": sum(not after.confirms(before) for before, after in pairs),
                "num_rewards_changed": sum(after.reward.total != before.reward.total for before, after in pairs),
                "num_signs_changed": sum(_sign(before) != _sign(after) for before, after in pairs),
            }
            for (phase, policy), pairs in self.pairs.items()
        ]


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _sign(verdict: Verdict) -> int:
    advantage = verdict.advantage or 0.0
    return (advantage > 0) - (advantage < 0)


def _write(
    run: RunFolder,
    replayed: RunFolder,
    config: Config,
    verdicts: Sequence[Verdict],
    overrides: Sequence[str],
    table: _Table,
) -> None:
    """Write traces with their new rewards, and what changed, line by line."""
    write_atomically(replayed.config_file, dump_config(config).encode())
    for name in (run.environment_file, run.metrics_file, run.alarms_file):
        if name.is_file():
            shutil.copyfile(name, replayed.path / name.name)
    with JsonLinesWriter(replayed.traces_file) as traces, JsonLinesWriter(replayed.path / REPLAY_FILE) as changes:
        for row, verdict in zip(read_traces(run.traces_file), verdicts, strict=True):
            recorded = Verdict.recorded(row)
            table.add(row, recorded, verdict)
            traces.append([_rescored_row(row, verdict, overrides)])
            changes.append([_change(row, recorded, verdict)])


def _rescored_row(row: TraceRow, verdict: Verdict, overrides: Sequence[str]) -> dict[str, Any]:
    rescored = {**row, "reward": reward_row(verdict.reward), "advantage": verdict.advantage}
    if "run" in row:
        told = {"replayed": list(overrides)} if len(row["run"]) > 1 else {}
        rescored["run"] = {**row["run"], "id": f"{row['run']['id']}-replay", **told}
    return rescored


def _change(row: TraceRow, recorded: Verdict, replayed: Verdict) -> dict[str, Any]:
    names = ("phase", "policy", "iteration", "task_id", "kind", "member", "seed")
    return {
        **{name: row[name] for name in names},
        "recorded": {"reward": reward_row(recorded.reward), "advantage": recorded.advantage},
        "replayed": {"reward": reward_row(replayed.reward), "advantage": replayed.advantage},
        "is_same": replayed.confirms(recorded),
    }


def _write_results(run: RunFolder, replayed: RunFolder, overrides: Sequence[str], table: _Table) -> None:
    """Write the results table again, from the last evaluation of each policy."""
    results: dict[str, Any] = {"rows": []}
    if run.results_file.is_file():
        results = json.loads(run.results_file.read_text(encoding="utf-8"))
    last: dict[str, dict[int, list[tuple[Task, Trajectory]]]] = defaultdict(lambda: defaultdict(list))
    for row in read_traces(replayed.traces_file):
        if row["phase"] == "eval":
            last[row["policy"]][row["iteration"]].append((task_from_row(row), trajectory_from_row(row)))
    before: dict[str, Mapping[str, Any]] = {row["policy"]: row for row in results["rows"]}
    names = [name for name in before if name in last] or list(last)
    rows = [{**before.get(name, {}), **results_row(name, last[name][max(last[name])])} for name in names]
    replayed.write_results(
        {**results, "rows": rows, "replay": {"run": str(run.path), "settings": list(overrides), "rows": table.rows()}}
    )


def _print(table: _Table, folder: Path, *, as_json: bool) -> None:
    rows = table.rows()
    if as_json:
        print(json.dumps({"rows": rows, "folder": str(folder)}, indent=2))
        return
    from rich.table import Table

    shown = Table(title="Rewards, recorded and replayed")
    for name in ("phase", "policy"):
        shown.add_column(name)
    for name in ("episodes", "recorded", "replayed", "changed", "other sign", "not as recorded"):
        shown.add_column(name, justify="right")
    for row in rows:
        numbers = [f"{row['reward_recorded']:.4f}", f"{row['reward_replayed']:.4f}"]
        counts = [str(row[name]) for name in ("num_rewards_changed", "num_signs_changed", "num_changed")]
        shown.add_row(row["phase"], row["policy"], str(row["num_episodes"]), *numbers, *counts)
    console.print(shown)
    console.print(f"Written to {folder}", markup=False, soft_wrap=True)
