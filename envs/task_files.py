"""Task files: one JSON object per line, beside the videos they name."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoom.envs.task_rows import RowError, RowFault, faults_of, object_of, row_fields, task_of
from videozoom.envs.tasks import Task

__all__ = ["RowFault", "TaskFileError", "TaskRow", "load_tasks", "read_rows", "save_tasks", "write_atomically"]


class TaskFileError(ValueError):
    """A task file cannot be used. The message is one sentence that names the file, the row and what to do."""


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


def load_tasks(path: str | Path) -> tuple[Task, ...]:
    """Return the tasks of a task file, in its order, with video paths made relative to the file resolved.

    A row has `task_id`, `video` (relative to the task file, or absolute), `duration_s`, `question`, `answer`, and
    optionally `evidence` (`[[start_s, end_s], ...]`), `metadata` (an object) and `kind`, one of `QuestionKind`:

    * `multiple_choice` (without a kind): `options`, and as `answer` the letter of one;
    * `numerical`: a number, or a text that holds one;
    * `transcription`, `open`: a text;
    * `temporal_grounding`: `[start_s, end_s]`, or several of them where any is right; they are the evidence, too.

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
    lines = [json.dumps(row_fields(task, path.parent), ensure_ascii=False, allow_nan=False) for task in tasks]
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


def _task_row(number: int, line: str, folder: Path) -> TaskRow:
    try:
        row = object_of(line)
    except RowError as error:
        return TaskRow(number, {}, None, ((error.fault, str(error)),))
    faults = tuple(faults_of(row))
    return TaskRow(number, row, None if faults else task_of(row, folder), faults)
