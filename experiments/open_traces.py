"""The trace file of a run, with what a reader of the file alone has to know: versions, machine, settings, budgets."""

from typing import Any

from videozoom.experiments.config import Config
from videozoom.experiments.run_folder import RunFolder, environment
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


def open_traces(run: RunFolder, config: Config) -> TraceWriter:
    """Return the writer of a run's traces.

    Frames and tokens that may be spent are in `settings`: `video` has those of a fast view and a clip, `env.max_steps`
    the steps, `rollout` and `eval` the lengths of completions.
    """
    versions = {name: value for name, value in environment(config.seed).items() if name not in _MOMENTARY}
    settings = config.model_dump(mode="json", include=_SECTIONS, exclude=_UNTOLD)
    return TraceWriter(run.traces_file, {**versions, "settings": settings})
