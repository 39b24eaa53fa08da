"""Problems that a task file shows by itself, before any video is opened."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from videozoom.envs.task_files import TaskRow
from videozoom.envs.tasks import OPTION_LETTERS, QuestionKind, Task
from videozoom.experiments.data_problems import Problem, ProblemKind

MIN_LEAK_LENGTH = 4
"""Shorter answers stand in many a question by chance."""


def row_problems(rows: Sequence[TaskRow]) -> Iterator[Problem]:
    """Yield what is wrong with the rows of a task file, in their order."""
    row_of_id: dict[str, int] = {}
    row_of_question: dict[tuple[str, ...], int] = {}
    for row in rows:
        for fault, message in row.faults:
            yield problem_of(row, ProblemKind(fault), message)
        task_id = row.fields.get("task_id")
        if isinstance(task_id, str) and task_id:
            first = row_of_id.setdefault(task_id, row.row)
            if first != row.row:
                message = f"task_id {task_id!r} is already used in row {first}"
                yield problem_of(row, ProblemKind.DUPLICATE_ID, message)
        if row.task is not None:
            yield from _repeated_question(row, row.task, row_of_question)
            has_options = row.task.kind is QuestionKind.MULTIPLE_CHOICE
            for kind, message in _option_problems(row.task) if has_options else _text_problems(row.task):
                yield problem_of(row, kind, message)


def problem_of(row: TaskRow, kind: ProblemKind, message: str) -> Problem:
    """Return a problem of a row."""
    return Problem(kind, message, row.row, _text(row, "task_id"), _text(row, "video"))


def real_path(video: Path) -> Path:
    """Return one path for all spellings of it, links followed."""
    return Path(os.path.realpath(video))


def _text(row: TaskRow, name: str) -> str | None:
    value = row.fields.get(name)
    return value if isinstance(value, str) else None


def _repeated_question(row: TaskRow, task: Task, row_of_question: dict[tuple[str, ...], int]) -> Iterator[Problem]:
    question = (str(real_path(task.video)), _normal(task.question))
    with_options = (*question, *sorted(map(_normal, task.options)))
    first_same = row_of_question.setdefault(with_options, row.row)
    first = row_of_question.setdefault(question, row.row)
    if first_same != row.row:
        message = f"the same question about the same video, with the same options, is asked in row {first_same}"
        yield problem_of(row, ProblemKind.DUPLICATE_QUESTION, message)
    elif first != row.row:
        message = f"the same question about the same video, with other options, is asked in row {first}"
        yield problem_of(row, ProblemKind.REPEATED_QUESTION, message)


def _option_problems(task: Task) -> Iterator[tuple[ProblemKind, str]]:
    options = [_normal(option) for option in task.options]
    if len(set(options)) < len(options):
        yield ProblemKind.SIMILAR_OPTIONS, f"options differ only in case or spaces: {list(task.options)}"
    pairs = zip(OPTION_LETTERS, task.options, strict=False)
    if all(re.match(rf"\s*\(?{letter}\s*[.):]", option) for letter, option in pairs):
        yield ProblemKind.LETTERED_OPTIONS, f"options start with their letters, which prompts add: {list(task.options)}"
    question, words = f" {_words(task.question)} ", [_words(option) for option in task.options]
    answer = words[task.answer_index]
    is_named = [f" {option} " in question for option in words]
    if len(answer) >= MIN_LEAK_LENGTH and is_named[task.answer_index] and sum(is_named) == 1:
        message = f"the question contains the right option, {task.options[task.answer_index]!r}, and no other"
        yield ProblemKind.ANSWER_IN_QUESTION, message


def _text_problems(task: Task) -> Iterator[tuple[ProblemKind, str]]:
    answer = _words(task.answer)
    is_text = task.kind in (QuestionKind.TRANSCRIPTION, QuestionKind.OPEN)
    if is_text and len(answer) >= MIN_LEAK_LENGTH and f" {answer} " in f" {_words(task.question)} ":
        yield ProblemKind.ANSWER_IN_QUESTION, f"the question contains the answer, {task.answer!r}"


def _normal(text: str) -> str:
    """Return a text without what two writers do differently: case and spaces."""
    return " ".join(text.casefold().split())


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
