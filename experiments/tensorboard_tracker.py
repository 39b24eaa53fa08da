"""TensorBoard as a tracker: event files in the run folder, written without TensorFlow."""

import logging
import secrets
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from videozoom.experiments.alarms import Alarm
from videozoom.experiments.dashboards import SECTIONS, Section
from videozoom.experiments.tracked_rollouts import RolloutTable
from videozoom.experiments.tracking import STEP, TRAIN, phase_prefix

log = logging.getLogger(__name__)


class EventFile:
    """A file of TensorBoard events; every event is whole in it when `write` returns.

    tensorboardX has a writer too, but its thread, once it has met a full disk, would make the run wait for ever.
    """

    def __init__(self, folder: Path) -> None:
        """Create a file of its own in `folder`, which TensorBoard reads together with those already there."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{secrets.token_hex(4)}"
        self._file = (folder / name).open("xb", buffering=0)
        self.write(file_version="brain.Event:2")

    def write(self, **event: Any) -> None:
        """Append an event: its length, its content, and a checksum of each."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import masked_crc32c

        data = Event(wall_time=time.time(), **event).SerializeToString()
        length = struct.pack("<Q", len(data))
        sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
        self._file.write(length + sums[0] + data + sums[1])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardTracker:
    """Writes metrics, rollouts and alarms for `tensorboard --logdir RUN_DIR`.

    It never stops a run: the first failure is told in a warning, and nothing more is written.
    """

    def __init__(self, folder: Path, *, main_phase: str = TRAIN) -> None:
        """Open an event file in `folder`; those of an earlier part of a resumed run stay beside it."""
        self._main_phase = main_phase
        self._file: EventFile | None = None
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
        self._try(lambda: self._write(alarm.iteration, [summary().text("alarms", alarm.text)]))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._try(self._file.close)
        self._is_broken = True

    def _open(self, folder: Path) -> None:
        self._file = EventFile(folder)
        self._write(0, [summary().custom_scalars(custom_scalars(SECTIONS))])

    def _scalars(self, values: Mapping[str, float], iteration: int) -> None:
        self._write(iteration, [summary().scalar(name, value) for name, value in values.items()])

    def _rollouts(self, name: str, table: RolloutTable) -> None:
        for number, row in enumerate(table.rows, start=1):
            words = "\n\n".join(f"**{column}**: {value}" for column, value in row.values.items())
            image = summary().image(f"{name}/{number}", row.timeline, dataformats="HWC")
            self._write(table.iteration, [image, summary().text(f"{name}/{number}", words)])

    def _write(self, iteration: int, summaries: Sequence[Any]) -> None:
        if self._file is None or not summaries:
            return
        merged = summaries[0]
        for other in summaries[1:]:
            merged.MergeFrom(other)
        self._file.write(step=iteration, summary=merged)

    def _try(self, act: Callable[[], object]) -> None:
        if self._is_broken:
            return
        # Any error is caught: a picture of the run must not cost the user the run.
        try:
            act()
        except Exception as error:
            log.warning("TensorBoard failed (%s); the run goes on without it", error)
            self._is_broken = True


def summary() -> Any:
    """Return what makes TensorBoard's messages; importing it takes a while."""
    from tensorboardX import summary as module

    return module


def custom_scalars(sections: tuple[Section, ...]) -> dict[str, dict[str, list[Any]]]:
    """Return the dashboard as TensorBoard's custom scalars take it."""
    return {
        section.title: {panel.title: ["Multiline", list(panel.metrics)] for panel in section.panels}
        for section in sections
    }
