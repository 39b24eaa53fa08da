"""The trace file of a run, with what a reader of the file alone has to know: versions, machine, settings, budgets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videozoom.experiments.config import Config
from videozoom.experiments.run_folder import RunFolder, environment
from videozoom.experiments.tracking import Trackers
from videozoom.rollout.trace_rows import TraceRow
from videozoom.rollout.traces import TraceWriter

_SECTIONS = {
    "seed",
    "video",
    "protocol",
    "env",
    "captions",
    "reward",
    "reward_rules",
    "policy",
    "rollout",
    "eval",
}
_UNTOLD: dict[str, Any] = {"video": {"cache", "cache_gib", "cache_mib", "cold_cache_gib"}, "policy": {"feature_cache"}}
"""What no result depends on."""
_MOMENTARY = ("started", "command", "seed", "threads")


class TrackedTraces(TraceWriter):
    """Writes traces, shows them to the trackers, and counts the time as spent on logging."""

    def __init__(self, path: Path, run: Mapping[str, Any], tracker: Trackers) -> None:
        super().__init__(path, run)
        self._tracker = tracker

    def write(self, rows: Sequence[TraceRow]) -> int:
        with self._tracker.timed():
            self._tracker.take_traces(rows)
            return super().write(rows)


def open_traces(run: RunFolder, config: Config, tracker: Trackers | None = None) -> TraceWriter:
    """Return the writer of a run's traces, which are also shown to its trackers if they are given.

    Frames and tokens that may be spent are in `settings`: `video` has those of a fast view and a clip, `env.max_steps`
    the steps, `rollout` and `eval` the lengths of completions.
    """
    versions = {name: value for name, value in environment(config.seed).items() if name not in _MOMENTARY}
    settings = config.model_dump(mode="json", include=_SECTIONS, exclude=_UNTOLD)
    told = {**versions, "settings": settings}
    return TraceWriter(run.traces_file, told) if tracker is None else TrackedTraces(run.traces_file, told, tracker)
