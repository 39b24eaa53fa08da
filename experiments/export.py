"""`videozoom export`: what a run sampled as a data set of another trainer."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.task_files import write_atomically
from videozoom.envs.tasks import EpisodeKind, Status, Task
from videozoom.experiments.build import build_env_maker, build_frames, build_protocol, build_tasks
from videozoom.experiments.checkpoints import atomic_folder
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.export_llama_factory import LlamaFactoryExport
from videozoom.experiments.export_media import MediaFiles
from videozoom.experiments.export_steps import ExportedStep
from videozoom.experiments.export_trl import TrlExport
from videozoom.experiments.export_verl import VerlExport
from videozoom.experiments.progress import console, progress
from videozoom.experiments.run_folder import RunFolder
from videozoom.rollout.playback import PlaybackError, play
from videozoom.rollout.trace_rows import TraceRow, task_from_row, trajectory_from_row
from videozoom.rollout.traces import read_runs, read_traces

SUMMARY_FILE = "export.json"


class Export(Protocol):
    """A data set that is written step by step."""

    notes: tuple[str, ...]
    """How to load it."""

    def add(self, step: ExportedStep) -> None:
        """Write a step."""
        ...

    def close(self) -> None:
        """Finish the files."""
        ...


def _verl(folder: Path, media: MediaFiles, config: Config) -> Export:
    return VerlExport(folder, media, fast_fps=config.video.fast_fps, fast_max_frames=config.video.fast_max_frames)


FORMATS: Mapping[str, Callable[[Path, MediaFiles, Config], Export]] = {
    "trl": lambda folder, media, _: TrlExport(folder, media),
    "verl": _verl,
    "llama_factory": lambda folder, media, _: LlamaFactoryExport(folder, media),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which episodes are exported."""

    phase: str | None = "train"
    """`train` or `eval`; `None` for both."""
    policy: str | None = None
    only_correct: bool = False
    """Only right answers, and single zooms that were worth something."""
    min_reward: float | None = None
    limit: int | None = None
    """Most episodes; the first ones of the file."""

    def takes(self, row: TraceRow) -> bool:
        """Return whether an episode is exported; one whose video could not be read never is."""
        if row["status"] == Status.ERROR_DECODE or not row["steps"]:
            return False
        if self.phase not in (None, row["phase"]) or self.policy not in (None, row["policy"]):
            return False
        total = row["reward"]["total"]
        if self.min_reward is not None and total < self.min_reward:
            return False
        if not self.only_correct:
            return True
        if row["kind"] == EpisodeKind.ZOOM_STEP:
            return bool(row["reward"]["parts"].get("overlap", total) > 0)
        return trajectory_from_row(row).is_right(task_from_row(row))


def run_export(run_dir: Path, out: Path, format_name: str, choice: Choice) -> dict[str, Any]:
    """Write the data set into the new folder `out` and return what is in it.

    Episodes are played again in the run's world to have the prompts of their steps, clips included; one that is not
    played as it was recorded is left out and counted.

    Raises:
        UserError: `run_dir` is no run with traces, `out` is taken, nothing is left to export, or the format cannot hold
            what was shown.
    """
    run = RunFolder.open(run_dir)
    if not run.traces_file.is_file():
        raise UserError(f"{run_dir} has no traces.jsonl, so there is nothing to export")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; choose another folder for the export")
    config = load_config(run.config_file)
    counts: Counter[str] = Counter()
    try:
        with atomic_folder(out, is_durable=False) as temporary:
            export = FORMATS[format_name](temporary, MediaFiles(temporary, out), config)
            try:
                for step in _steps(run, config, choice, counts):
                    export.add(step)
                    counts["steps"] += 1
            finally:
                export.close()
            if not counts["steps"]:
                raise UserError(_nothing(run, choice, counts))
            summary = {
                "format": format_name,
                "run": str(run_dir),
                "counts": dict(counts),
                "notes": list(export.notes),
                "made_with": list(read_runs(run.traces_file).values()),
            }
            write_atomically(temporary / SUMMARY_FILE, json.dumps(summary, indent=2).encode() + b"\n")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); choose another folder for the export") from error
    return summary


def print_export(summary: Mapping[str, Any], out: Path) -> None:
    """Say what was written, what was left out, and how to load it."""
    counts = summary["counts"]
    others = [f"{number} {what}" for what, number in counts.items() if what not in ("steps", "episodes")]
    left_out = f"; left out: {', '.join(others)}" if others else ""
    words = f"{counts['episodes']} episodes, {counts['steps']} steps in {out}{left_out}"
    console.print(words, markup=False, soft_wrap=True)
    for note in summary["notes"]:
        console.print(note, markup=False, soft_wrap=True)


def _steps(run: RunFolder, config: Config, choice: Choice, counts: Counter[str]) -> Iterator[ExportedStep]:
    """Yield the steps of the chosen episodes; an episode comes whole or not at all."""
    num_chosen = sum(choice.takes(row) for row in read_traces(run.traces_file))
    num_wanted = min(num_chosen, choice.limit or num_chosen)
    frames, protocol, known = build_frames(config), build_protocol(config), _known_tasks(config)
    with progress("Exporting", num_wanted) as advance:
        for row in read_traces(run.traces_file):
            if counts["episodes"] >= num_wanted:
                return
            if not choice.takes(row):
                continue
            task = known.get(row["task_id"]) or task_from_row(row)
            try:
                played = list(play(row, task, build_env_maker(config, (task,), frames), protocol))
            except PlaybackError:
                counts["that are not played as they were recorded"] += 1
                continue
            except VideoDecodeError:
                counts["whose video cannot be read"] += 1
                continue
            steps = [ExportedStep(row, task, step) for step in played]
            if any(step.has_placeholder for step in steps):
                counts["with a placeholder of clips in their text"] += 1
                continue
            counts["episodes"] += 1
            advance()
            yield from steps


def _known_tasks(config: Config) -> dict[str, Task]:
    """Return the run's tasks where captions come from what is known of their videos, which traces do not tell."""
    if config.env.kind != "caption_tree":
        return {}
    sources = (config.data.train, config.data.eval)
    return {task.task_id: task for source in sources for task in build_tasks(source, config.data.videos)}


def _nothing(run: RunFolder, choice: Choice, counts: Counter[str]) -> str:
    left_out = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    if left_out:
        return f"{run.path} has nothing to export: of the chosen episodes there are {left_out}"
    seen = Counter((row["phase"], row["policy"]) for row in read_traces(run.traces_file))
    has = ", ".join(f"{number} of {phase} by {policy}" for (phase, policy), number in seen.items()) or "no episodes"
    return f"{run.path} has no episodes of that choice; it has {has}"
