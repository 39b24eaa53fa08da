"""Where a run goes on: what its folder holds for good, and what will be done again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoom.envs.json_lines import keep_json_lines, read_json_lines
from videozoom.experiments.checkpoints import latest_checkpoint, load_trainer_state
from videozoom.experiments.evaluate import FinishedEpisodes, finished_episodes
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.tracking import STEP

START = "cold_start"
"""Name of the model that reinforcement learning starts from."""


def unfinished_start(run: RunFolder) -> Path:
    """Return the folder of the checkpoints of a cold start that is not over."""
    return run.checkpoints / f"{START}_unfinished"


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a run folder holds of each of its trainings."""

    checkpoints: Mapping[str, Path | None]
    """Last checkpoint of each training."""
    num_logged: Mapping[str, int]
    """Iterations of each training whose metrics are written."""
    finished: FinishedEpisodes
    """Evaluated episodes of weights that are not trained again."""


def resume_run(run: RunFolder, stages: Sequence[str], trainings: Mapping[str, Path]) -> Resumption:
    """Return where a run goes on, after removing the metrics of what will be done again.

    Traces stay: the same episodes are not written twice, and other ones of the same name take their place for readers.

    Args:
        run: The folder, of a new run or an earlier one.
        stages: Phases of the cold start, in order: its stages, once for each try.
        trainings: Folder of the checkpoints of each training by its name, in order.
    """
    found = {name: latest_checkpoint(folder) for name, folder in trainings.items()}
    iterations = {name: _progress(folder)["iteration"] if folder else 0 for name, folder in found.items()}
    keeps = _KeptMetrics(run, stages, iterations)
    if run.metrics_file.is_file() and not all(map(keeps, read_json_lines(run.metrics_file))):
        keep_json_lines(run.metrics_file, keeps)
    logged = dict.fromkeys(trainings, 0)
    for row in read_json_lines(run.metrics_file) if run.metrics_file.is_file() else ():
        if row["phase"] in logged:
            logged[row["phase"]] = row[STEP]
    # Rules act with the model of the last training.
    last = list(iterations.values())[-1] if iterations else 0
    finished = {
        (policy, iteration, task_id): trajectory
        for (policy, iteration, task_id), trajectory in finished_episodes(run).items()
        if iteration <= iterations.get(policy, last)
    }
    return Resumption(found, logged, finished)


class _KeptMetrics:
    """Says whether a row of metrics is of something that will not be done again."""

    def __init__(self, run: RunFolder, stages: Sequence[str], iterations: Mapping[str, int]) -> None:
        self._iterations, self._stages = iterations, list(stages)
        self._has_start = (run.checkpoints / START).is_dir()
        unfinished = latest_checkpoint(unfinished_start(run))
        progress = _progress(unfinished) if unfinished else {"phase": 0, "step": 0}
        self._stage, self._step = progress["phase"], progress["step"] if "pace" in progress else 0

    def __call__(self, row: Mapping[str, Any]) -> bool:
        phase, step = row["phase"], row[STEP]
        if phase in self._iterations:
            return bool(step <= self._iterations[phase])
        if self._has_start:
            return True
        return phase in self._stages and (self._stages.index(phase), step) <= (self._stage, self._step)


def _progress(checkpoint: Path) -> dict[str, Any]:
    progress: dict[str, Any] = load_trainer_state(checkpoint)["progress"]
    return progress
