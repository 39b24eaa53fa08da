"""`alarms.jsonl`: alarms as they are raised, and told on the screen."""

from collections.abc import Mapping
from pathlib import Path

from videozoom.envs.json_lines import JsonLinesWriter, read_json_lines
from videozoom.experiments.alarms import Alarm, AlarmLimits, AlarmWatch
from videozoom.experiments.progress import console


class AlarmLog:
    """Watches a run's metrics; writes alarms and tells them, each once.

    What a run has logged before it was interrupted is watched again first, without telling: so alarms go on where they
    were, and the file holds those of the metrics that are kept.
    """

    def __init__(self, path: Path, limits: AlarmLimits, *, metrics_file: Path | None = None) -> None:
        """Take where alarms go.

        Args:
            path: `alarms.jsonl`.
            limits: When alarms are raised.
            metrics_file: What was logged before, if anything.
        """
        self._watch = AlarmWatch(limits)
        earlier = list(self._earlier(metrics_file)) if metrics_file is not None and metrics_file.is_file() else []
        path.unlink(missing_ok=True)
        self._writer = JsonLinesWriter(path)
        self._writer.append(alarm.row() for alarm in earlier)

    def _earlier(self, metrics_file: Path) -> list[Alarm]:
        alarms = []
        for row in read_json_lines(metrics_file):
            metrics = {name: value for name, value in row.items() if isinstance(value, float)}
            alarms += self._watch.observe(metrics, row["progress/iteration"], row["phase"])
        return alarms

    def observe(self, metrics: Mapping[str, float], iteration: int, phase: str) -> list[Alarm]:
        """Return the alarms that these metrics raise or end, written and told."""
        alarms = self._watch.observe(metrics, iteration, phase)
        self._writer.append(alarm.row() for alarm in alarms)
        for alarm in alarms:
            console.print(f"Alarm. {alarm.text}", style="yellow", markup=False)
        return alarms

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
