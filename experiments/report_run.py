"""What a run folder holds, read for a report: every part may be missing, and each gap is a plain sentence."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videozoom.envs.json_lines import read_json_lines
from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import EpisodeKind
from videozoom.experiments.build import build_frames
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.run_folder import RunFolder
from videozoom.rollout.trace_rows import TraceRow
from videozoom.rollout.traces import read_traces


@dataclass(frozen=True, slots=True)
class RunData:
    """The contents of a run folder; empty where a file is missing."""

    name: str
    config_text: str
    environment: Mapping[str, Any]
    """`run.json`: versions, commit, machine."""
    metrics: tuple[Mapping[str, Any], ...]
    results: Mapping[str, Any]
    evaluations: Mapping[str, tuple[TraceRow, ...]]
    """Multi-step episodes of each policy's last evaluation, sorted by task."""
    frame_source: FrameSource | None
    gaps: tuple[str, ...] = field(default=())
    """What could not be read, one sentence each."""

    @property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """Return the results table by policy, in its order."""
        return {row["policy"]: row for row in self.results.get("rows", ()) if "policy" in row}


def read_run(run_dir: Path, frame_source: FrameSource | None = None) -> RunData:
    """Return what `run_dir` holds.

    Args:
        run_dir: A run folder, finished or not.
        frame_source: Where videos are read again; `None` makes one with the run's own settings.
    """
    folder = RunFolder(run_dir)
    gaps: list[str] = []
    metrics = _lines(folder.metrics_file, "learning curves", gaps)
    evaluations = _evaluations(folder.traces_file, gaps)
    config_text = folder.config_file.read_text(encoding="utf-8") if folder.config_file.is_file() else ""
    if not config_text:
        gaps.append("There is no config.yaml, so the settings are not shown.")
    return RunData(
        name=run_dir.resolve().name,
        config_text=config_text,
        environment=_object(folder.environment_file, "versions and machine", gaps),
        metrics=metrics,
        results=_object(folder.results_file, "results table", gaps),
        evaluations=evaluations,
        frame_source=frame_source or _frame_source(folder.config_file, gaps),
        gaps=tuple(gaps),
    )


def last_evaluations(rows: Iterable[TraceRow]) -> dict[str, tuple[TraceRow, ...]]:
    """Return the multi-step episodes of each policy's last evaluation, sorted by task.

    Example:
        >>> row = {"phase": "eval", "policy": "grpo", "iteration": 0, "kind": "multi_step", "task_id": "a", "member": 0}
        >>> [row["iteration"] for row in last_evaluations([row, {**row, "iteration": 9}])["grpo"]]
        [9]
    """
    latest: dict[str, tuple[int, list[TraceRow]]] = {}
    for row in rows:
        if row["phase"] != "eval" or row["kind"] != EpisodeKind.MULTI_STEP:
            continue
        iteration, kept = latest.get(row["policy"], (-1, []))
        if row["iteration"] > iteration:
            latest[row["policy"]] = (row["iteration"], [row])
        elif row["iteration"] == iteration:
            kept.append(row)
    return {
        policy: tuple(sorted(kept, key=lambda row: (row["task_id"], row["member"])))
        for policy, (_, kept) in latest.items()
    }


def _evaluations(path: Path, gaps: list[str]) -> dict[str, tuple[TraceRow, ...]]:
    try:
        found = last_evaluations(read_traces(path))
    except FileNotFoundError:
        gaps.append(f"There is no {path.name}, so no rollouts are shown.")
        return {}
    except ValueError as error:
        gaps.append(f"Rollouts are left out: {_clause(error)}.")
        return {}
    if not found:
        gaps.append(f"{path.name} holds no evaluation, so no rollouts are shown.")
    return found


def _lines(path: Path, what: str, gaps: list[str]) -> tuple[Mapping[str, Any], ...]:
    try:
        return tuple(read_json_lines(path))
    except FileNotFoundError:
        gaps.append(f"There is no {path.name}, so {what} are not shown.")
    except ValueError as error:
        gaps.append(f"{what.capitalize()} are left out: {_clause(error)}.")
    return ()


def _object(path: Path, what: str, gaps: list[str]) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        gaps.append(f"There is no {path.name}, so the report has no {what}.")
        return {}
    except ValueError as error:
        gaps.append(f"The report has no {what}: {path.name} is no JSON ({error}).")
        return {}
    return content if isinstance(content, dict) else {}


def _frame_source(config_file: Path, gaps: list[str]) -> FrameSource | None:
    if not config_file.is_file():
        return None
    try:
        # A report only reads: it writes no cache where it happens to be made.
        return build_frames(load_config(config_file, ["video.cache=null"]))
    except UserError as error:
        gaps.append(f"Frames are not shown, because the settings cannot be read: {_clause(error)}.")
        return None


def _clause(error: Exception) -> str:
    return str(error).rstrip(".")
