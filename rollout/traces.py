"""Traces: one finished trajectory per line of `traces.jsonl`, whole lines only and none twice."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from videozoom.rollout.trace_rows import SCHEMA_VERSION, TraceRow


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
        path.parent.mkdir(parents=True, exist_ok=True)
        _repair(path)
        self._keys = {_key(row) for row in read_traces(path)} if path.exists() else set()
        self._file = path.open("ab", buffering=0)

    def write(self, rows: Sequence[TraceRow]) -> int:
        """Append the rows that are new, and return how many were."""
        new = {key: row for row in rows if (key := _key(row)) not in self._keys}
        data = memoryview("".join(json.dumps(row, allow_nan=False) + "\n" for row in new.values()).encode())
        while data:
            data = data[self._file.write(data) :]
        self._keys.update(new)
        return len(new)

    def close(self) -> None:
        """Make sure everything is on disk and close the file."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> "TraceWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_traces(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a trace file in order; a torn last line, as a running writer may leave, is left out.

    Raises:
        ValueError: A line other than the last is not a trace, or has a schema version this code does not know.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n") and not _is_json(line):
                return
            yield _parse(line, path, number)


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    row = json.loads(line) if _is_json(line) else None
    version = row.get("schema_version") if isinstance(row, dict) else None
    if not isinstance(row, dict) or version != SCHEMA_VERSION:
        found = f"schema_version {version!r}" if isinstance(row, dict) else "no JSON object"
        raise ValueError(f"{path}, line {number}: {found}; expected a trace of schema_version {SCHEMA_VERSION}")
    return row


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _repair(path: Path) -> None:
    """End the file with a whole line: complete a line that only lacks its newline, cut off a torn one."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        if not content or content.endswith(b"\n"):
            return
        start = content.rfind(b"\n") + 1
        if _is_json(content[start:]):
            file.write(b"\n")
        else:
            file.truncate(start)


def _key(row: TraceRow) -> tuple[Any, ...]:
    """Return what names an episode: no two episodes of a run share it."""
    return (row["phase"], row["policy"], row["iteration"], row["task_id"], row["kind"], tuple(row["seed"]))
