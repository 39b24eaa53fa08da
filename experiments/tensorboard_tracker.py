"""TensorBoard as a tracker: event files in the run folder, written without TensorFlow."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from videozoom.experiments.alarms import Alarm
from videozoom.experiments.dashboards import SECTIONS, Section
from videozoom.experiments.tracked_rollouts import RolloutTable
from videozoom.experiments.tracking import STEP, TRAIN, phase_prefix

log = logging.getLogger(__name__)


class TensorBoardTracker:
    """Writes metrics, rollouts and alarms for `tensorboard --logdir RUN_DIR`.

    It never stops a run: the first failure is told in a warning, and nothing more is written.
    """

    def __init__(self, folder: Path, *, main_phase: str = TRAIN) -> None:
        """Open the event files of `folder`; those of an earlier part of a resumed run stay beside the new ones."""
        self._main_phase = main_phase
        self._writer: Any = None
        self._is_broken = False
        self._try(lambda: self._open(folder))

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Write the metrics; those of a phase other than the main one are named after it."""
        prefix = phase_prefix(phase, self._main_phase)
        self._try(lambda: self._scalars({f"{prefix}{it}": v for it, v in metrics.items() if it != STEP}, iteration))

    def show(self, table: RolloutTable) -> None:
        """Write timelines as pictures, and what was said as text."""
        prefix = phase_prefix(table.phase, self._main_phase)
        self._try(lambda: self._rollouts(f"{prefix}{table.name}", table))

    def alert(self, alarm: Alarm) -> None:
        """Write an alarm as text."""
        self._try(lambda: self._writer.add_text("alarms", alarm.text, alarm.iteration))

    def close(self) -> None:
        """Write what is left and close the files."""
        self._try(lambda: self._writer.close())
        self._is_broken = True

    def _open(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._writer.add_custom_scalars(custom_scalars(SECTIONS))

    def _scalars(self, values: Mapping[str, float], iteration: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)
        self._writer.flush()

    def _rollouts(self, name: str, table: RolloutTable) -> None:
        for number, row in enumerate(table.rows, start=1):
            self._writer.add_image(f"{name}/{number}", row.timeline, table.iteration, dataformats="HWC")
            lines = [f"**{column}**: {value}" for column, value in row.values.items()]
            self._writer.add_text(f"{name}/{number}", "\n\n".join(lines), table.iteration)

    def _try(self, act: Callable[[], object]) -> None:
        if self._is_broken:
            return
        # Any error is caught: a picture of the run must not cost the user the run.
        try:
            act()
        except Exception as error:
            log.warning("TensorBoard failed (%s); the run goes on without it", error)
            self._is_broken = True


def custom_scalars(sections: tuple[Section, ...]) -> dict[str, dict[str, list[Any]]]:
    """Return the dashboard as TensorBoard's custom scalars take it."""
    return {
        section.title: {panel.title: ["Multiline", list(panel.metrics)] for panel in section.panels}
        for section in sections
    }
