"""Where metrics go: always to `metrics.jsonl`, to Weights & Biases when asked for."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from videozoom.envs.json_lines import JsonLinesWriter
from videozoom.experiments.run_folder import RunFolder
from videozoom.rollout.metrics import check_names

log = logging.getLogger(__name__)

STEP = "progress/iteration"
"""The metric on every chart's horizontal axis."""

TRAIN = "train"
"""The phase of reinforcement learning, unless a run has several."""

CheckNames = Callable[[Iterable[str]], None]
"""Raises `ValueError` for a metric name that is not registered."""


class Tracker(Protocol):
    """Takes the metrics of a run."""

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Take the metrics of one iteration of a phase: a stage of the cold start, or reinforcement learning."""
        ...

    def close(self) -> None:
        """Finish; nothing may be logged afterwards."""
        ...


class JsonlTracker:
    """Appends one line per call to `metrics.jsonl`; the file is whole after every call.

    A value that is no finite number is written as `null`: JSON has no other word for it.
    """

    def __init__(self, path: Path) -> None:
        self._writer = JsonLinesWriter(path)

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Append the metrics, iteration and phase first."""
        values = {name: float(value) for name, value in metrics.items() if name != STEP}
        row = {
            STEP: iteration,
            "phase": phase,
            **{name: value if math.isfinite(value) else None for name, value in values.items()},
        }
        self._writer.append([row])

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WandbTracker:
    """Sends metrics to Weights & Biases, offline unless told otherwise.

    It never stops a run: the first failure is reported as a warning, and nothing more is sent.
    """

    def __init__(self, folder: Path, *, mode: str, project: str, name: str, config: Mapping[str, Any]) -> None:
        self._run: Any = None
        self._try(lambda: self._start(folder, mode=mode, project=project, name=name, config=config))

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Send the metrics; those of a phase other than training are named after it."""
        prefix = "" if phase == TRAIN else f"{phase}/"
        if self._run is not None:
            self._try(lambda: self._run.log({f"{prefix}{name}": v for name, v in {**metrics, STEP: iteration}.items()}))

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._try(lambda: self._run.finish())
            self._run = None

    def _start(self, folder: Path, *, mode: str, project: str, name: str, config: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(
            dir=str(folder),
            mode=mode,  # type: ignore[arg-type]
            project=project,
            name=name,
            config=dict(config),
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("*", step_metric=STEP)

    def _try(self, act: Callable[[], object]) -> None:
        # The one place where any error is caught: an outside service must not cost the user hours of training.
        try:
            act()
        except Exception as error:
            log.warning("Weights & Biases failed (%s); the run goes on with metrics.jsonl alone", error)
            self._run = None


class Trackers:
    """Several trackers as one, with the metric names checked first."""

    def __init__(self, trackers: Iterable[Tracker], *, validate_names: CheckNames = check_names) -> None:
        self._trackers = list(trackers)
        self._validate_names = validate_names

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Hand the metrics to every tracker.

        Raises:
            ValueError: A name is not in the metric registry.
        """
        self._validate_names(metrics)
        for tracker in self._trackers:
            tracker.log(metrics, iteration, phase)

    def close(self) -> None:
        """Close every tracker."""
        for tracker in self._trackers:
            tracker.close()

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_tracker(
    run: RunFolder, *, wandb: bool, wandb_mode: str, project: str, name: str, config: Mapping[str, Any]
) -> Trackers:
    """Return the trackers of a run: `metrics.jsonl`, and Weights & Biases when `wandb` is set."""
    trackers: list[Tracker] = [JsonlTracker(run.metrics_file)]
    if wandb:
        trackers.append(WandbTracker(run.path, mode=wandb_mode, project=project, name=name, config=config))
    return Trackers(trackers)
