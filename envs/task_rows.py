"""One row of a task file: read field by field, with everything that is wrong, and written."""

import json
import math
import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from videozoom.envs.actions import MalformedReason
from videozoom.envs.answer_texts import MAX_ANSWER_LENGTH, read_answer, read_times, write_times
from videozoom.envs.tasks import OPTION_LETTERS, QuestionKind, Span, Task

_REQUIRED = ("task_id", "video", "duration_s", "question", "options", "answer")
_OPTIONAL = ("evidence", "metadata", "kind")
_KINDS = tuple(str(kind) for kind in QuestionKind)
_TIME_SLACK_S = 1e-6


class RowFault(StrEnum):
    """What part of a row is wrong."""

    BAD_ROW = "bad_row"
    """It is no JSON object, or a field is missing, unknown or of the wrong type."""
    BAD_OPTIONS = "bad_options"
    BAD_ANSWER = "bad_answer"
    BAD_EVIDENCE = "bad_evidence"


class RowError(Exception):
    """A field is wrong; the message is the end of a sentence that starts with file and row."""

    def __init__(self, fault: RowFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def row_fields(task: Task, folder: Path) -> dict[str, Any]:
    """Return a task as a row of a file in `folder`."""
    is_grounding = task.kind is QuestionKind.TEMPORAL_GROUNDING
    spans = [list(span) for span in task.evidence]
    # Multiple choice is what a row without a kind means, and always was.
    has_options = task.kind is QuestionKind.MULTIPLE_CHOICE
    return {
        "task_id": task.task_id,
        "video": Path(os.path.relpath(task.video, folder)).as_posix(),
        "duration_s": task.duration_s,
        "question": task.question,
        **({"options": list(task.options)} if has_options else {"kind": task.kind.value}),
        "answer": spans if is_grounding else task.answer,
        "evidence": spans,
        "metadata": dict(task.metadata),
    }


def task_of(row: dict[str, Any], folder: Path) -> Task:
    """Return the task of a row without faults."""
    return Task(
        task_id=_text(row, "task_id"),
        video=folder / _text(row, "video"),
        duration_s=_duration_s(row),
        question=_text(row, "question"),
        options=_options(row),
        answer=_answer(row),
        evidence=_evidence(row),
        metadata=_metadata(row),
        kind=_kind(row),
    )


def faults_of(row: dict[str, Any]) -> Iterator[tuple[RowFault, str]]:
    """Yield everything that is wrong with a row, each thing once."""
    wrong_names = [(RowFault.BAD_ROW, message) for message in _wrong_names(row)]
    if wrong_names:
        yield from wrong_names
        return
    texts = [partial(_text, name=name) for name in ("task_id", "video", "question")]
    readers: list[Callable[[dict[str, Any]], object]] = [*texts, _kind, _duration_s, _options]
    readers += [_answer, _evidence, _metadata]
    for read in readers:
        try:
            read(row)
        except RowError as error:
            yield error.fault, str(error)


def object_of(line: str) -> dict[str, Any]:
    """Return the JSON object of a line; raises `RowError` if there is none."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        reason = f"not valid JSON ({error.msg} at column {error.colno}); each row is one JSON object"
        raise RowError(RowFault.BAD_ROW, reason) from None
    if not isinstance(row, dict):
        raise RowError(RowFault.BAD_ROW, f"a row must be a JSON object, not {type(row).__name__}")
    return row


def _wrong_names(row: dict[str, Any]) -> Iterator[str]:
    required = [name for name in _REQUIRED if name != "options" or _has_options(row)]
    for name in required:
        if name not in row:
            yield f"field {name!r} is missing; a row needs {', '.join(required)}"
    for name in row:
        if name not in _REQUIRED + _OPTIONAL:
            yield f"unknown field {name!r}; allowed are {', '.join(_REQUIRED + _OPTIONAL)}"


def _text(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise RowError(RowFault.BAD_ROW, f"{name} must be a non-empty text, not {value!r}")
    return value


def _duration_s(row: dict[str, Any]) -> float:
    value = row["duration_s"]
    if not _is_number(value) or value <= 0:
        raise RowError(RowFault.BAD_ROW, f"duration_s must be a positive number of seconds, not {value!r}")
    return float(value)


def _has_options(row: dict[str, Any]) -> bool:
    return bool(row.get("kind", QuestionKind.MULTIPLE_CHOICE) == QuestionKind.MULTIPLE_CHOICE)


def _kind(row: dict[str, Any]) -> QuestionKind:
    value = row.get("kind", QuestionKind.MULTIPLE_CHOICE)
    if value not in _KINDS:
        raise RowError(RowFault.BAD_ROW, f"kind must be one of {', '.join(_KINDS)}, not {value!r}")
    return QuestionKind(value)


def _options(row: dict[str, Any]) -> tuple[str, ...]:
    value = row.get("options", [])
    if not isinstance(value, list) or not all(isinstance(option, str) and option.strip() for option in value):
        raise RowError(RowFault.BAD_OPTIONS, f"options must be a list of non-empty texts, not {value!r}")
    if not _has_options(row):
        if value:
            reason = f"there are options, {value!r}, but only multiple choice has any and kind is {row['kind']!r}"
            raise RowError(RowFault.BAD_OPTIONS, reason)
        return ()
    if not 2 <= len(value) <= len(OPTION_LETTERS):
        reason = f"there must be 2 to {len(OPTION_LETTERS)} options, not {len(value)}"
        raise RowError(RowFault.BAD_OPTIONS, reason)
    if len(set(value)) < len(value):
        raise RowError(RowFault.BAD_OPTIONS, f"options must differ from each other, not {value!r}")
    return tuple(value)


def _answer(row: dict[str, Any]) -> str:
    value, kind = row["answer"], row.get("kind", QuestionKind.MULTIPLE_CHOICE)
    if kind not in _KINDS:
        return ""  # That is told once, as the kind's fault.
    if kind == QuestionKind.TEMPORAL_GROUNDING:
        return write_times(_true_spans(row)[0])
    if kind == QuestionKind.NUMERICAL and _is_number(value):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        what = "a number or a text with one" if kind == QuestionKind.NUMERICAL else "a non-empty text"
        raise RowError(RowFault.BAD_ANSWER, f"answer must be {what}, not {value!r}")
    if _has_options(row):
        return _letter(value, row["options"])
    read = read_answer(QuestionKind(kind), value)
    if isinstance(read, MalformedReason):
        what = "one number" if kind == QuestionKind.NUMERICAL else f"words, and at most {MAX_ANSWER_LENGTH} characters"
        raise RowError(RowFault.BAD_ANSWER, f"answer {_shortened(value)} must have {what}, for kind is {kind!r}")
    return read


def _letter(value: str, options: Any) -> str:
    letters = tuple(OPTION_LETTERS[: len(options)] if isinstance(options, list) else OPTION_LETTERS)
    if value not in letters:
        reason = f"answer {value!r} is none of the option letters {', '.join(letters)}"
        raise RowError(RowFault.BAD_ANSWER, reason)
    return value


def _true_spans(row: dict[str, Any]) -> tuple[Span, ...]:
    """Return the spans that answer a question for a time: one pair of seconds, a list of them, or a text with one."""
    value = row["answer"]
    if isinstance(value, str) and (written := read_times(value)) is not None:
        value = list(written)
    pairs = [value] if isinstance(value, list) and value and all(map(_is_number, value)) else value
    if not isinstance(pairs, list) or not pairs:
        reason = f"answer must be [start_s, end_s], or several of these, for kind is {row['kind']!r}, not {value!r}"
        raise RowError(RowFault.BAD_ANSWER, reason)
    return _spans(pairs, row, "answer", RowFault.BAD_ANSWER)


def _evidence(row: dict[str, Any]) -> tuple[Span, ...]:
    value = row.get("evidence", [])
    if not isinstance(value, list):
        raise RowError(RowFault.BAD_EVIDENCE, f"evidence must be a list of [start_s, end_s] pairs, not {value!r}")
    spans = _spans(value, row, "evidence", RowFault.BAD_EVIDENCE)
    if row.get("kind") != QuestionKind.TEMPORAL_GROUNDING:
        return spans
    try:
        true_spans = _true_spans(row)
    except RowError:
        return spans  # That is told once, as the answer's fault.
    if spans and spans != true_spans:
        reason = "evidence must be what the answer says, or be left out, for the answer is the evidence here"
        raise RowError(RowFault.BAD_EVIDENCE, reason)
    return true_spans


def _spans(pairs: list[Any], row: dict[str, Any], name: str, fault: RowFault) -> tuple[Span, ...]:
    duration_s = float(row["duration_s"]) if _is_number(row["duration_s"]) else math.inf
    spans = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_number, pair)):
            reason = f"{name} must be a list of [start_s, end_s] pairs of numbers, not {pairs!r}"
            raise RowError(fault, reason)
        start_s, end_s = map(float, pair)
        if start_s >= end_s:
            raise RowError(fault, f"{name} span [{start_s:g}, {end_s:g}] must start before it ends")
        if start_s < 0 or end_s > duration_s + _TIME_SLACK_S:
            reason = f"{name} span [{start_s:g}, {end_s:g}] lies outside the video, [0, {duration_s:g}]"
            raise RowError(fault, reason)
        spans.append(Span(start_s, end_s))
    return tuple(spans)


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    value = row.get("metadata", {})
    if not isinstance(value, dict):
        raise RowError(RowFault.BAD_ROW, f"metadata must be an object, not {value!r}")
    return dict(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
