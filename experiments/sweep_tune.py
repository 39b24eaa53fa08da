"""Cells of a study as trials of Ray Tune: so many at a time, one CPU each; one that dies leaves the others alone."""

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from videozoom.experiments.ray_runtime import ray_runtime
from videozoom.experiments.study_plan import CellRun
from videozoom.experiments.study_steps import StepCache
from videozoom.experiments.sweep_board import Board

_SETTINGS = {
    # Paths of a study are relative to where it was started.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Tune has tables of its own, which `verbose=0` leaves out in the old style alone.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C ends the sweep at once: what a trial had finished is in the cache, and that is all there is to save.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_TELL_EVERY_S = 1.0
_TOLD, _FAILURE, _INDEX = "told", "failure", "index"


def run_with_tune(runs: Sequence[CellRun], cache_folder: Path, board: Board, *, jobs: int) -> None:
    """Run cells as trials, `jobs` at a time, each in a process of its own with one thread.

    Tune decides what runs when and survives trials that die; results are in the cache, not in Tune's checkpoints.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from ray import tune

    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with ray_runtime(jobs), tempfile.TemporaryDirectory(prefix="videozoom-tune-") as folder:
        trial = tune.with_parameters(_trial, runs=list(runs), cache_folder=cache_folder)
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            param_space={_INDEX: tune.grid_search(list(range(len(runs))))},
            tune_config=tune.TuneConfig(max_concurrent_trials=jobs, reuse_actors=True),
            run_config=tune.RunConfig(name="sweep", storage_path=folder, verbose=0, callbacks=[_follower(runs, board)]),
        )
        tuner.fit()


def _trial(config: dict[str, Any], *, runs: Sequence[CellRun], cache_folder: Path) -> None:
    """Run one cell and report how far it is; an error of the cell is its result, not that of the trial."""
    from ray import tune

    from videozoom.experiments.sweep import run_cell

    told_s = 0.0

    def tell(text: str) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= _TELL_EVERY_S:
            told_s = time.monotonic()
            tune.report({_TOLD: text})

    failure = run_cell(runs[config[_INDEX]], StepCache(cache_folder), tell)
    tune.report({_TOLD: "", _FAILURE: failure or ""})


def _follower(runs: Sequence[CellRun], board: Board) -> Any:
    """Return what shows on the board how trials go."""
    from ray.tune import Callback

    class Follower(Callback):  # type: ignore[misc]
        """Told by Tune what trials report."""

        def __init__(self) -> None:
            self._over: set[int] = set()

        def __reduce__(self) -> tuple[type, tuple[()]]:
            """Leave nothing of this in what Tune saves of itself: a terminal cannot be saved."""
            return Callback, ()

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            index = trial.config[_INDEX]
            if _FAILURE in result:
                self._over.add(index)
                board.finish(runs[index], result[_FAILURE] or None)
            else:
                board.tell(runs[index], result[_TOLD])

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            index = trial.config[_INDEX]
            if index not in self._over:
                board.finish(runs[index], "its process died; the same command tries again")

    return Follower()
