"""What a run folder holds, read for a report: every part may be missing, and each gap is a plain sentence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from videozoom.envs.json_lines import read_json_lines
from videozoom.envs.observation import FrameSource, VideoClip
from videozoom.envs.tasks import Span
from videozoom.experiments.build import build_frames
from videozoom.experiments.config_files import load_config
from videozoom.experiments.config_yaml import read_yaml
from videozoom.experiments.errors import UserError
from videozoom.experiments.report_traces import Rows, TraceDigest
from videozoom.experiments.result_rows import VARIANT, results_row
from videozoom.experiments.run_folder import RunFolder
from videozoom.rollout.trace_rows import task_from_row, trajectory_from_row
from videozoom.rollout.traces import read_traces

PROBE_KEYS = ("probes", "audit", "budgets")
"""Tables of probes in `results.json`."""


@dataclass(frozen=True, slots=True)
class RunData:
    """The contents of a run folder; empty where a file is missing."""

    name: str
    config_text: str
    settings: Mapping[str, Any]
    """`config.yaml` as a tree; empty if it cannot be read."""
    environment: Mapping[str, Any]
    """`run.json`: versions, commit, machine."""
    metrics: tuple[Mapping[str, Any], ...]
    results: Mapping[str, Any]
    traces: TraceDigest
    alarms: tuple[Mapping[str, Any], ...]
    """`alarms.jsonl`."""
    probes: Mapping[str, Any]
    """The results of `videozoom probe`, or of an evaluation with probes; empty without them."""
    frame_source: FrameSource | None
    gaps: tuple[str, ...] = field(default=())
    """What could not be read, one sentence each."""

    def renamed(self, name: str) -> "RunData":
        """Return the same run under another name."""
        return replace(self, name=name)

    @property
    def evaluations(self) -> Mapping[str, Rows]:
        """Multi-step episodes of each policy's last evaluation, sorted by task; probes are left out."""
        return {policy: rows for policy, rows in self.traces.evaluations.items() if VARIANT not in policy}

    @property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """Return the results table by policy, in its order."""
        return {row["policy"]: row for row in self.results.get("rows", ()) if "policy" in row}


class NearbyVideos:
    """Reads videos where they are, or, if their paths are relative, from the folders above a run."""

    def __init__(self, frames: FrameSource, run_dir: Path) -> None:
        self._frames, self._parents = frames, run_dir.resolve().parents

    def duration_s(self, video: Path) -> float:
        """Return the video's duration."""
        return self._frames.duration_s(self._found(video))

    def fast_view(self, video: Path) -> VideoClip:
        """Return the fast view."""
        return self._frames.fast_view(self._found(video))

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        """Return a clip."""
        return self._frames.slow_clip(self._found(video), span_s, *(() if fps is None else (fps,)))

    def _found(self, video: Path) -> Path:
        if video.exists() or video.is_absolute():
            return video
        return next((parent / video for parent in self._parents if (parent / video).exists()), video)


def read_run(run_dir: Path, frame_source: FrameSource | None = None) -> RunData:
    """Return what `run_dir` holds.

    Args:
        run_dir: A run folder, finished or not.
        frame_source: Where videos are read again; `None` makes one with the run's own settings.
    """
    folder = RunFolder(run_dir)
    gaps: list[str] = []
    metrics = _lines(folder.metrics_file, "learning curves", gaps)
    traces = _traces(folder.traces_file, gaps)
    results = _results(folder.results_file, traces, gaps)
    config_text = folder.config_file.read_text(encoding="utf-8") if folder.config_file.is_file() else ""
    if not config_text:
        gaps.append("There is no config.yaml, so the settings are not shown.")
    return RunData(
        name=run_dir.resolve().name,
        config_text=config_text,
        settings=_settings(folder.config_file),
        environment=_object(folder.environment_file, "versions and machine", gaps),
        metrics=metrics,
        results=results,
        traces=traces,
        alarms=_alarms(folder.alarms_file, gaps),
        probes=_probes(RunFolder(folder.probes), results, gaps),
        frame_source=frame_source or _frame_source(folder.config_file, gaps),
        gaps=tuple(gaps),
    )


def _traces(path: Path, gaps: list[str]) -> TraceDigest:
    try:
        digest = TraceDigest.of(read_traces(path))
    except FileNotFoundError:
        gaps.append(f"There is no {path.name}, so no rollouts are shown.")
        return TraceDigest()
    except ValueError as error:
        gaps.append(f"Rollouts are left out: {_clause(error)}.")
        return TraceDigest()
    if not digest.evaluations:
        gaps.append(f"{path.name} holds no evaluation, so no held-out rollouts are shown.")
    return digest


def _results(path: Path, traces: TraceDigest, gaps: list[str]) -> Mapping[str, Any]:
    """Return what `results.json` holds; of a run that is not finished, what its last evaluations say."""
    evaluations = {policy: rows for policy, rows in traces.evaluations.items() if VARIANT not in policy}
    if path.is_file() or not evaluations:
        return _object(path, "results table", gaps)
    gaps.append(f"There is no {path.name} yet; the results are those of the last evaluations in the traces.")
    pairs = {
        policy: [(task_from_row(it), trajectory_from_row(it)) for it in rows] for policy, rows in evaluations.items()
    }
    return {"rows": [results_row(policy, found) for policy, found in pairs.items()]}


def _alarms(path: Path, gaps: list[str]) -> tuple[Mapping[str, Any], ...]:
    # A run without alarms has no such file.
    return _lines(path, "alarms", gaps) if path.is_file() else ()


def _probes(folder: RunFolder, results: Mapping[str, Any], gaps: list[str]) -> Mapping[str, Any]:
    """Return the probes of an evaluation of its own, or of one beside the training."""
    if any(name in results for name in PROBE_KEYS) or not folder.results_file.is_file():
        return {name: results[name] for name in PROBE_KEYS if name in results}
    found = _object(folder.results_file, "probes", gaps)
    return {name: found[name] for name in PROBE_KEYS if name in found}


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


def _settings(config_file: Path) -> Mapping[str, Any]:
    try:
        return read_yaml(config_file)
    except UserError:
        # That it cannot be read is said where frames are looked for.
        return {}


def _frame_source(config_file: Path, gaps: list[str]) -> FrameSource | None:
    if not config_file.is_file():
        return None
    try:
        # A report only reads: it writes no cache where it happens to be made.
        return NearbyVideos(build_frames(load_config(config_file, ["video.cache=null"])), config_file.parent)
    except UserError as error:
        gaps.append(f"Frames are not shown, because the settings cannot be read: {_clause(error)}.")
        return None


def _clause(error: Exception) -> str:
    return str(error).rstrip(".")
