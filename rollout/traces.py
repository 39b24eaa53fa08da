"""Traces: one finished trajectory per line of `traces.jsonl`, whole lines only and none twice."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from videozoom.envs.json_lines import JsonLinesWriter, read_json_lines
from videozoom.envs.trajectory_rows import READABLE_VERSIONS
from videozoom.rollout.trace_rows import TraceRow


class TraceWriter:
    """Appends traces to a file, whole lines only and none twice.

    Opening a file repairs what a crash left: a torn last line is removed (its episode is still owed). A row whose
    episode the file already holds is skipped, so that a resumed run may sample an iteration again.

    Example:
        >>> with TraceWriter(run_dir / "traces.jsonl") as writer:
        ...     writer.write([trace_row(task, trajectory, phase="train", policy="grpo", iteration=0)])
        1
    """

    def __init__(self, path: Path) -> None:
        self._file = JsonLinesWriter(path)
        self._keys = {_key(row) for row in read_traces(path)}

    def write(self, rows: Sequence[TraceRow]) -> int:
        """Append the rows that are new, and return how many were."""
        new = {key: row for row in rows if (key := _key(row)) not in self._keys}
        self._file.append(new.values())
        self._keys.update(new)
        return len(new)

    def sync(self) -> None:
        """Make sure everything is on disk."""
        self._file.sync()

    def close(self) -> None:
        """Make sure everything is on disk and close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_traces(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a trace file in order; a torn last line, as a running writer may leave, is left out.

    Raises:
        ValueError: A line other than the last is no JSON object, or has a schema version this code does not know.
    """
    for number, row in enumerate(read_json_lines(path), start=1):
        if row.get("schema_version") not in READABLE_VERSIONS:
            raise ValueError(
                f"{path}, row {number}: schema_version {row.get('schema_version')!r}; this code reads "
                f"{' and '.join(map(str, READABLE_VERSIONS))}"
            )
        yield row


def _key(row: TraceRow) -> tuple[Any, ...]:
    """Return what names an episode: no two episodes of a run share it."""
    return (row["phase"], row["policy"], row["iteration"], row["task_id"], row["kind"], tuple(row["seed"]))
