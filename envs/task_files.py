"""Task files: one JSON object per line, beside the videos they name."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from videozoom.envs.tasks import OPTION_LETTERS, Span, Task

_REQUIRED = ("task_id", "video", "duration_s", "question", "options", "answer")
_OPTIONAL = ("evidence", "metadata")
_TIME_SLACK_S = 1e-6


class TaskFileError(ValueError):
    """A task file cannot be used. The message is one sentence that names the file, the row and what to do."""


class _RowError(Exception):
    """What is wrong with a row, as the end of a sentence that starts with file and row."""


def load_tasks(path: str | Path) -> tuple[Task, ...]:
    """Return the tasks of a task file, in its order, with video paths made relative to the file resolved.

    A row has `task_id`, `video` (relative to the task file, or absolute), `duration_s`, `question`, `options`,
    `answer` (a letter), and optionally `evidence` (`[[start_s, end_s], ...]`) and `metadata` (an object).

    Raises:
        TaskFileError: if the file is missing, empty or unreadable, a row is no task, two rows have one id, or a video
            file does not exist.
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
    tasks: list[Task] = []
    row_of: dict[str, int] = {}
    present: set[Path] = set()
    for row, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            task = _task(_fields(line), path.parent)
            if task.task_id in row_of:
                raise _RowError(
                    f"task_id {task.task_id!r} is already used in row {row_of[task.task_id]}; ids are unique"
                )
            if task.video not in present and not task.video.is_file():
                raise _RowError(f"video file {str(task.video)!r} does not exist; paths are relative to the task file")
        except _RowError as error:
            raise TaskFileError(f"{path}, row {row}: {error}.") from None
        row_of[task.task_id] = row
        present.add(task.video)
        tasks.append(task)
    if not tasks:
        raise TaskFileError(f"{path}: the task file is empty; it needs at least one row.")
    return tuple(tasks)


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


def _fields(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise _RowError(f"not valid JSON ({error.msg} at column {error.colno}); each row is one JSON object") from None
    if not isinstance(row, dict):
        raise _RowError(f"a row must be a JSON object, not {type(row).__name__}")
    for name in _REQUIRED:
        if name not in row:
            raise _RowError(f"field {name!r} is missing; a row needs {', '.join(_REQUIRED)}")
    for name in row:
        if name not in _REQUIRED + _OPTIONAL:
            raise _RowError(f"unknown field {name!r}; allowed are {', '.join(_REQUIRED + _OPTIONAL)}")
    return row


def _task(row: dict[str, Any], folder: Path) -> Task:
    for name in ("task_id", "video", "question", "answer"):
        if not isinstance(row[name], str) or not row[name]:
            raise _RowError(f"{name} must be a non-empty text, not {row[name]!r}")
    if not _is_number(row["duration_s"]) or row["duration_s"] <= 0:
        raise _RowError(f"duration_s must be a positive number of seconds, not {row['duration_s']!r}")
    duration_s = float(row["duration_s"])
    options = _options(row["options"])
    letters = OPTION_LETTERS[: len(options)]
    if row["answer"] not in tuple(letters):
        raise _RowError(f"answer {row['answer']!r} is none of the option letters {', '.join(letters)}")
    metadata = row.get("metadata", {})
    if not isinstance(metadata, dict):
        raise _RowError(f"metadata must be an object, not {metadata!r}")
    return Task(
        task_id=row["task_id"],
        video=folder / row["video"],
        duration_s=duration_s,
        question=row["question"],
        options=options,
        answer=row["answer"],
        evidence=_evidence(row.get("evidence", []), duration_s),
        metadata=metadata,
    )


def _options(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(option, str) and option for option in value):
        raise _RowError(f"options must be a list of non-empty texts, not {value!r}")
    if not 2 <= len(value) <= len(OPTION_LETTERS):
        raise _RowError(f"there must be 2 to {len(OPTION_LETTERS)} options, not {len(value)}")
    if len(set(value)) < len(value):
        raise _RowError(f"options must differ from each other, not {value!r}")
    return tuple(value)


def _evidence(value: Any, duration_s: float) -> tuple[Span, ...]:
    if not isinstance(value, list):
        raise _RowError(f"evidence must be a list of [start_s, end_s] pairs, not {value!r}")
    spans = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise _RowError(f"evidence must be a list of [start_s, end_s] pairs of numbers, not {value!r}")
        start_s, end_s = map(float, pair)
        if start_s >= end_s:
            raise _RowError(f"evidence span [{start_s:g}, {end_s:g}] must start before it ends")
        if start_s < 0 or end_s > duration_s + _TIME_SLACK_S:
            raise _RowError(f"evidence span [{start_s:g}, {end_s:g}] lies outside the video, [0, {duration_s:g}]")
        spans.append(Span(start_s, end_s))
    return tuple(spans)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
