"""Files of JSON lines that survive a crash: whole lines only."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class JsonLinesWriter:
    """Appends objects to a file, one per line, each line written whole.

    Opening a file repairs what a crash left: a torn last line is cut off.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "rows.jsonl")
        ...     with JsonLinesWriter(path) as writer:
        ...         writer.append([{"step": 0}, {"step": 1}])
        ...     list(read_json_lines(path))
        [{'step': 0}, {'step': 1}]
    """

    def __init__(self, path: Path) -> None:
        """Open `path` for appending; its folder is created."""
        path.parent.mkdir(parents=True, exist_ok=True)
        repair_json_lines(path)
        self._path = path
        self._file = path.open("ab", buffering=0)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the rows; when it returns, the operating system has them.

        Raises:
            ValueError: A row is no JSON; not-a-number and infinity are none. Nothing is written then.
            OSError: The file cannot be written, as on a full disk; it names the file, which ends with a whole line.
        """
        data = memoryview(_encoded(rows))
        start = self._file.seek(0, os.SEEK_END) if data else 0
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(start)
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def sync(self) -> None:
        """Make sure everything is on disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Make sure everything is on disk and close the file."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def append_json_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one object in one write, creating file and folder; processes may share the file. Nothing is repaired.

    Raises:
        ValueError: The row is no JSON; not-a-number and infinity are none.
    """
    data = _encoded([row])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(data)


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file in order; a torn last line, as a running writer may leave, is left out.

    Raises:
        ValueError: A line other than the last is no JSON object; says which.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row = _parse(line)
            if row is None and not line.endswith(b"\n"):
                return
            if row is None:
                raise ValueError(f"{path}, line {number}: no JSON object")
            yield row


def repair_json_lines(path: Path) -> None:
    """End the file with a whole line: complete a line that only lacks its newline, cut off a torn one."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        if not content or content.endswith(b"\n"):
            return
        start = content.rfind(b"\n") + 1
        if _parse(content[start:]) is None:
            file.truncate(start)
        else:
            file.write(b"\n")


def keep_json_lines(path: Path, is_kept: Callable[[dict[str, Any]], bool]) -> None:
    """Leave only the rows that `is_kept` says; a crash leaves either the old file or the new one."""
    if not path.exists():
        return
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in read_json_lines(path) if is_kept(row)))
    os.replace(temporary, path)


def _encoded(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
