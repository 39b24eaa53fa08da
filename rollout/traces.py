"""Traces: one finished trajectory per line of `traces.jsonl`, whole lines only and none twice.

The file is only ever appended to. What a line's `run` stands for (versions, machine, settings, budgets) is in the first
line of the file that has it; the others name it by `id`. An episode that was run again and ended otherwise, as after a
crash on several processes, has a higher `attempt`; readers are given its last one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from videozoom.envs.json_lines import JsonLinesWriter, read_json_lines
from videozoom.envs.trajectory_rows import READABLE_VERSIONS
from videozoom.rollout.trace_rows import TraceRow

_Key = tuple[Any, ...]


class _Known(NamedTuple):
    """What the file holds of an episode."""

    attempt: int
    digest: bytes


class TraceWriter:
    """Appends traces to a file, whole lines only and none twice.

    Opening a file repairs what a crash left: a torn last line is removed (its episode is still owed). A row that the
    file already holds is skipped, so that a resumed run may sample an iteration again.

    Args:
        path: Of the file.
        run: What its rows depend on besides themselves: versions, machine, settings. Must be JSON.

    Example:
        >>> with TraceWriter(run_dir / "traces.jsonl") as writer:
        ...     writer.write([trace_row(task, trajectory, phase="train", policy="grpo", iteration=0)])
        1
    """

    def __init__(self, path: Path, run: Mapping[str, Any] | None = None) -> None:
        self._file = JsonLinesWriter(path)
        self._run = None if run is None else {"id": run_id(run), **run}
        self._known: dict[_Key, _Known] = {}
        told = set()
        for row in _all_rows(path):
            self._known[_key(row)] = _Known(row.get("attempt", 1), _digest(row))
            told |= {row["run"]["id"]} if len(row.get("run", ())) > 1 else set()
        self._is_told = self._run is not None and self._run["id"] in told

    def write(self, rows: Sequence[TraceRow]) -> int:
        """Append the rows that are new, and return how many were.

        Raises:
            OSError: The file cannot be written; then it holds none of them, and all may be written again.
        """
        new: dict[_Key, _Known] = {}
        written: list[dict[str, Any]] = []
        for row in rows:
            key, digest = _key(row), _digest(row)
            before = new.get(key) or self._known.get(key)
            if before is not None and before.digest == digest:
                continue
            new[key] = _Known(before.attempt + 1 if before else 1, digest)
            written.append(self._line(row, new[key].attempt, is_first=not written))
        self._file.append(written)
        self._known |= new
        self._is_told = self._is_told or bool(written)
        return len(written)

    def _line(self, row: TraceRow, attempt: int, *, is_first: bool) -> dict[str, Any]:
        again = {"schema_version": row["schema_version"], "attempt": attempt} if attempt > 1 else {}
        if self._run is None:
            return {**again, **row}
        return {**again, **row, "run": self._run if is_first and not self._is_told else {"id": self._run["id"]}}

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
    latest = _latest_attempts(path)
    for row in _all_rows(path):
        if not latest or latest.get(_key(row), 1) == row.get("attempt", 1):
            yield row


def read_runs(path: Path) -> dict[str, dict[str, Any]]:
    """Return what the rows of a trace file depend on, by the `id` they name it with; empty for files of version 1."""
    found = (row["run"] for row in _all_rows(path) if len(row.get("run", ())) > 1)
    return {run["id"]: run for run in found}


def run_id(run: Mapping[str, Any]) -> str:
    """Return a name of what is written about a run, the same for the same content.

    Example:
        >>> run_id({"python": "3.11"}) == run_id({"python": "3.11"}), run_id({"python": "3.11"}) == run_id({})
        (True, False)
    """
    return hashlib.blake2b(json.dumps(run, sort_keys=True).encode(), digest_size=6).hexdigest()


def _all_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(read_json_lines(path), start=1):
        if row.get("schema_version") not in READABLE_VERSIONS:
            raise ValueError(
                f"{path}, row {number}: schema_version {row.get('schema_version')!r}; this code reads "
                f"{' and '.join(map(str, READABLE_VERSIONS))}"
            )
        yield row


def _latest_attempts(path: Path) -> dict[_Key, int]:
    """Return the attempts of episodes that have several; lines of others are not parsed."""
    latest: dict[_Key, int] = {}
    with path.open("rb") as file:
        for line in file:
            # It stands behind the schema version.
            if b'"attempt": ' in line[:48] and line.endswith(b"\n"):
                row = json.loads(line)
                latest[_key(row)] = row["attempt"]
    return latest


def _digest(row: TraceRow) -> bytes:
    content = {name: value for name, value in row.items() if name not in ("attempt", "run")}
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).digest()


def _key(row: TraceRow) -> _Key:
    """Return what names an episode: no two episodes of a run share it."""
    return (row["phase"], row["policy"], row["iteration"], row["task_id"], row["kind"], tuple(row["seed"]))
