"""`videozoom probe`: an evaluation with all probes, of a run's furthest trained model or of a configuration's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from videozoom.envs.probes import Probe
from videozoom.experiments.checkpoints import latest_checkpoint
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config, split_arguments
from videozoom.experiments.errors import UserError
from videozoom.experiments.evaluate import run_eval
from videozoom.experiments.probes import CAPTION_PROBES
from videozoom.experiments.progress import console
from videozoom.experiments.report import write_report
from videozoom.experiments.report_words import LEARNED, START
from videozoom.experiments.run_folder import RunFolder

FRAME_COUNTS = (2, 4, 8, 16, 32)
"""Uniformly sampled frames that zooming is compared with."""


def run_probe(arguments: Sequence[str], *, overwrite: bool = False) -> dict[str, Any]:
    """Probe a model, and return the results; a run's report shows them afterwards.

    Args:
        arguments: A run folder or a configuration, and overrides; what they say of `eval.probes`, `eval.audit` and
            `eval.uniform_frames` goes before all of them.
        overwrite: Replace probes of other settings in the same folder.

    Raises:
        UserError: there is nothing to probe, or as `run_eval`.
    """
    sources, overrides = split_arguments(arguments)
    if len(sources) != 1:
        raise UserError("videozoom probe needs one run folder or configuration; overrides look like key.sub=value")
    folder = Path(sources[0])
    run = RunFolder(folder) if folder.is_dir() else None
    if run is None:
        return run_eval(_probing(sources[0], overrides), overwrite=overwrite)
    RunFolder.open(folder)
    places = [f"run_dir={json.dumps(str(run.probes))}"]
    if not any(override.startswith(("policy.checkpoint=", "policy.kind=")) for override in overrides):
        places += _checkpoint_override(run)
    config = _probing(run.config_file, [*places, *overrides])
    has_begun = run.probes.is_dir() and not overwrite
    results = run_eval(config, resume=has_begun, overwrite=overwrite)
    report = write_report(folder)
    console.print(f"The probes stand in {report}", markup=False, soft_wrap=True)
    return results


def furthest_checkpoint(run: RunFolder) -> Path | None:
    """Return the last checkpoint of a run's furthest training, else that of its cold start, `None` if there is none."""
    trained = [latest_checkpoint(run.checkpoints / name) for name in LEARNED]
    found = [*trained, latest_checkpoint(run.checkpoints)]
    start = run.checkpoints / START
    return next((path for path in [*found, start if start.is_dir() else None] if path is not None), None)


def _checkpoint_override(run: RunFolder) -> list[str]:
    checkpoint = furthest_checkpoint(run)
    if checkpoint is not None:
        return [f"policy.checkpoint={json.dumps(str(checkpoint))}"]
    settings = load_config(run.config_file).policy
    if settings.checkpoint is not None or settings.kind == "endpoint":
        return []
    raise UserError(f"{run.path} has no checkpoint yet; name one with policy.checkpoint=...")


def _probing(source: str | Path, overrides: Sequence[str]) -> Config:
    """Return the configuration with every probe that its world has, unless it says which."""
    given = load_config(source, overrides)
    is_video = given.env.kind == "video_zoom"
    asked = {override.partition("=")[0] for override in overrides}
    probes = ",".join(probe.value for probe in Probe if is_video or probe in CAPTION_PROBES)
    defaults = {
        "eval.policies": "[model]",
        "eval.probes": f"[{probes}]",
        "eval.audit": str(is_video).lower(),
        "eval.uniform_frames": f"[{','.join(map(str, FRAME_COUNTS if is_video else ()))}]",
    }
    return load_config(source, [*(f"{k}={v}" for k, v in defaults.items() if k not in asked), *overrides])
