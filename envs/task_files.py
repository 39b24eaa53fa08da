"""Task files: one JSON object per line, beside the videos they name."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from videozoom.envs.tasks import OPTION_LETTERS, Span, Task

_REQUIRED = ("task_id", "video", "duration_s", "question", "options", "answer")
_OPTIONAL = ("evidence", "metadata")
_TIME_SLACK_S = 1e-6


class TaskFileError(ValueError):
    """A task file cannot be used. The message is one sentence that names the file, the row and what to do."""


class RowFault(StrEnum):
    """What part of a row is wrong."""

    BAD_ROW = "bad_row"
    """It is no JSON object, or a field is missing, unknown or of the wrong type."""
    BAD_OPTIONS = "bad_options"
    BAD_ANSWER = "bad_answer"
    BAD_EVIDENCE = "bad_evidence"


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One row of a task file."""

    row: int
    """Line number, from 1."""
    fields: dict[str, Any]
    """What the row says, wrong or not; empty if it is no JSON object."""
    task: Task | None
    """`None` if anything is wrong."""
    faults: tuple[tuple[RowFault, str], ...]
    """All that is wrong, each with the end of a sentence that starts with file and row."""


class _RowError(Exception):
    def __init__(self, fault: RowFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def load_tasks(path: str | Path) -> tuple[Task, ...]:
    """Return the tasks of a task file, in its order, with video paths made relative to the file resolved.

    A row has `task_id`, `video` (relative to the task file, or absolute), `duration_s`, `question`, `options`,
    `answer` (a letter), and optionally `evidence` (`[[start_s, end_s], ...]`) and `metadata` (an object).

    Raises:
        TaskFileError: if the file is missing, empty or unreadable, a row is no task, two rows have one id, or a video
            file does not exist.
    """
    path = Path(path)
    tasks: list[Task] = []
    row_of: dict[str, int] = {}
    present: set[Path] = set()
    for row in read_rows(path):
        where = f"{path}, row {row.row}"
        if row.task is None:
            raise TaskFileError(f"{where}: {row.faults[0][1]}.")
        task = row.task
        if task.task_id in row_of:
            first = row_of[task.task_id]
            raise TaskFileError(f"{where}: task_id {task.task_id!r} is already used in row {first}; ids are unique.")
        if task.video not in present and not task.video.is_file():
            raise TaskFileError(
                f"{where}: video file {str(task.video)!r} does not exist; paths are relative to the task file."
            )
        row_of[task.task_id] = row.row
        present.add(task.video)
        tasks.append(task)
    return tuple(tasks)


def read_rows(path: str | Path) -> tuple[TaskRow, ...]:
    """Return every row of a task file, the wrong ones too; blank lines are no rows.

    Raises:
        TaskFileError: if the file is missing, empty or unreadable.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TaskFileError(
            f"{path}: cannot read the task file ({error.strerror or error}); give an existing file."
        ) from error
    except UnicodeDecodeError as error:
        raise TaskFileError(f"{path}: the task file is not UTF-8 text; give a file of JSON lines.") from error
    lines = enumerate(text.split("\n"), start=1)
    rows = tuple(_task_row(number, line, path.parent) for number, line in lines if line.strip())
    if not rows:
        raise TaskFileError(f"{path}: the task file is empty; it needs at least one row.")
    return rows


def save_tasks(tasks: Sequence[Task], path: str | Path) -> None:
    """Write a task file that `load_tasks` reads back; the same tasks give the same bytes.

    The file appears complete or not at all. Video paths are written relative to the file's folder.
    """
    path = Path(path)
    lines = [json.dumps(_row(task, path.parent), ensure_ascii=False, allow_nan=False) for task in tasks]
    write_atomically(path, "".join(line + "\n" for line in lines).encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the whole new one, creating the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _row(task: Task, folder: Path) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "video": Path(os.path.relpath(task.video, folder)).as_posix(),
        "duration_s": task.duration_s,
        "question": task.question,
        "options": list(task.options),
        "answer": task.answer,
        "evidence": [list(span) for span in task.evidence],
        "metadata": dict(task.metadata),
    }


def _task_row(number: int, line: str, folder: Path) -> TaskRow:
    try:
        row = _object(line)
    except _RowError as error:
        return TaskRow(number, {}, None, ((error.fault, str(error)),))
    faults = tuple(_faults(row))
    return TaskRow(number, row, None if faults else _task(row, folder), faults)


def _task(row: dict[str, Any], folder: Path) -> Task:
    return Task(
        task_id=_text(row, "task_id"),
        video=folder / _text(row, "video"),
        duration_s=_duration_s(row),
        question=_text(row, "question"),
        options=_options(row),
        answer=_answer(row),
        evidence=_evidence(row),
        metadata=_metadata(row),
    )


def _faults(row: dict[str, Any]) -> Iterator[tuple[RowFault, str]]:
    wrong_names = [(RowFault.BAD_ROW, message) for message in _wrong_names(row)]
    if wrong_names:
        yield from wrong_names
        return
    texts = [partial(_text, name=name) for name in ("task_id", "video", "question")]
    readers: list[Callable[[dict[str, Any]], object]] = [*texts, _duration_s, _options, _answer, _evidence, _metadata]
    for read in readers:
        try:
            read(row)
        except _RowError as error:
            yield error.fault, str(error)


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        reason = f"not valid JSON ({error.msg} at column {error.colno}); each row is one JSON object"
        raise _RowError(RowFault.BAD_ROW, reason) from None
    if not isinstance(row, dict):
        raise _RowError(RowFault.BAD_ROW, f"a row must be a JSON object, not {type(row).__name__}")
    return row


def _wrong_names(row: dict[str, Any]) -> Iterator[str]:
    for name in _REQUIRED:
        if name not in row:
            yield f"field {name!r} is missing; a row needs {', '.join(_REQUIRED)}"
    for name in row:
        if name not in _REQUIRED + _OPTIONAL:
            yield f"unknown field {name!r}; allowed are {', '.join(_REQUIRED + _OPTIONAL)}"


def _text(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise _RowError(RowFault.BAD_ROW, f"{name} must be a non-empty text, not {value!r}")
    return value


def _duration_s(row: dict[str, Any]) -> float:
    value = row["duration_s"]
    if not _is_number(value) or value <= 0:
        raise _RowError(RowFault.BAD_ROW, f"duration_s must be a positive number of seconds, not {value!r}")
    return float(value)


def _options(row: dict[str, Any]) -> tuple[str, ...]:
    value = row["options"]
    if not isinstance(value, list) or not all(isinstance(option, str) and option.strip() for option in value):
        raise _RowError(RowFault.BAD_OPTIONS, f"options must be a list of non-empty texts, not {value!r}")
    if not 2 <= len(value) <= len(OPTION_LETTERS):
        reason = f"there must be 2 to {len(OPTION_LETTERS)} options, not {len(value)}"
        raise _RowError(RowFault.BAD_OPTIONS, reason)
    if len(set(value)) < len(value):
        raise _RowError(RowFault.BAD_OPTIONS, f"options must differ from each other, not {value!r}")
    return tuple(value)


def _answer(row: dict[str, Any]) -> str:
    value, options = row["answer"], row["options"]
    if not isinstance(value, str) or not value:
        raise _RowError(RowFault.BAD_ANSWER, f"answer must be a non-empty text, not {value!r}")
    letters = tuple(OPTION_LETTERS[: len(options)] if isinstance(options, list) else OPTION_LETTERS)
    if value not in letters:
        reason = f"answer {value!r} is none of the option letters {', '.join(letters)}"
        raise _RowError(RowFault.BAD_ANSWER, reason)
    return value


def _evidence(row: dict[str, Any]) -> tuple[Span, ...]:
    value = row.get("evidence", [])
    duration_s = float(row["duration_s"]) if _is_number(row["duration_s"]) else math.inf
    if not isinstance(value, list):
        raise _RowError(RowFault.BAD_EVIDENCE, f"evidence must be a list of [start_s, end_s] pairs, not {value!r}")
    spans = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_number, pair)):
            reason = f"evidence must be a list of [start_s, end_s] pairs of numbers, not {value!r}"
            raise _RowError(RowFault.BAD_EVIDENCE, reason)
        start_s, end_s = map(float, pair)
        if start_s >= end_s:
            reason = f"evidence span [{start_s:g}, {end_s:g}] must start before it ends"
            raise _RowError(RowFault.BAD_EVIDENCE, reason)
        if start_s < 0 or end_s > duration_s + _TIME_SLACK_S:
            reason = f"evidence span [{start_s:g}, {end_s:g}] lies outside the video, [0, {duration_s:g}]"
            raise _RowError(RowFault.BAD_EVIDENCE, reason)
        spans.append(Span(start_s, end_s))
    return tuple(spans)


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    value = row.get("metadata", {})
    if not isinstance(value, dict):
        raise _RowError(RowFault.BAD_ROW, f"metadata must be an object, not {value!r}")
    return dict(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
