"""What can be wrong with a task file and its videos, and how it is reported."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MAX_EXAMPLES = 3
"""Problems of one kind that a person is shown; the JSON has all."""


class Severity(StrEnum):
    """What a problem does to a run."""

    ERROR = "error"
    """A training or its figures would suffer."""
    WARNING = "warning"
    """Most likely a mistake; everything works."""
    INFO = "info"
    """Good to know."""


class ProblemKind(StrEnum):
    """Kinds of problems, in the order in which they are shown."""

    BAD_ROW = "bad_row"
    BAD_OPTIONS = "bad_options"
    BAD_ANSWER = "bad_answer"
    BAD_EVIDENCE = "bad_evidence"
    DUPLICATE_ID = "duplicate_id"
    DUPLICATE_QUESTION = "duplicate_question"
    """The same question with the same options about the same video."""
    MISSING_VIDEO = "missing_video"
    UNREADABLE_VIDEO = "unreadable_video"
    NO_TIMESTAMPS = "no_timestamps"
    """The file does not say when its frames are shown."""
    CUT_SHORT = "cut_short"
    DAMAGED_FRAMES = "damaged_frames"
    WRONG_DURATION = "wrong_duration"
    WRONG_FRAME_COUNT = "wrong_frame_count"
    EVIDENCE_OUTSIDE = "evidence_outside"
    """Evidence inside the duration of the row, but behind the end of the file."""
    REPEATED_QUESTION = "repeated_question"
    """The same question about the same video with other options."""
    SIMILAR_OPTIONS = "similar_options"
    LETTERED_OPTIONS = "lettered_options"
    """Options that bring their letter, which prompts add as well."""
    ANSWER_IN_QUESTION = "answer_in_question"
    VARIABLE_FRAME_RATE = "variable_frame_rate"

    @property
    def severity(self) -> Severity:
        """How much problems of this kind matter."""
        if self is ProblemKind.VARIABLE_FRAME_RATE:
            return Severity.INFO
        return Severity.WARNING if self in _WARNINGS else Severity.ERROR


_WARNINGS = frozenset(
    {
        ProblemKind.REPEATED_QUESTION,
        ProblemKind.SIMILAR_OPTIONS,
        ProblemKind.LETTERED_OPTIONS,
        ProblemKind.ANSWER_IN_QUESTION,
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem and where it is."""

    kind: ProblemKind
    message: str
    """What is wrong, without the place."""
    row: int
    """Line of the task file, from 1; the first that uses the video where the video is at fault."""
    task_id: str | None
    """As the row says it; `None` if it says none."""
    video: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return what programs read."""
        return {"kind": str(self.kind), "severity": str(self.kind.severity)} | {
            key: value for key, value in asdict(self).items() if key != "kind"
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found."""

    file: Path
    num_rows: int
    num_tasks: int
    """Rows that are tasks."""
    num_videos: int
    """Different files the rows name, missing ones too."""
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.num_of(Severity.ERROR)

    def num_of(self, severity: Severity) -> int:
        """Return the number of problems of one severity."""
        return sum(problem.kind.severity is severity for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "file": str(self.file),
            "num_rows": self.num_rows,
            "num_tasks": self.num_tasks,
            "num_videos": self.num_videos,
            "problems": [problem.as_dict() for problem in self.problems],
            "counts": dict(Counter(str(problem.kind) for problem in self.problems)),
            "ok": self.ok,
        }


def print_report(report: Report, console: Console) -> None:
    """Print the problems grouped by kind, with the first examples of each, and one line that sums them up."""
    for kind in ProblemKind:
        problems = [problem for problem in report.problems if problem.kind is kind]
        if problems:
            console.print(f"[{_STYLES[kind.severity]}]{kind.severity}[/] [bold]{kind}[/]: {len(problems)}")
            console.print(_examples(problems))
    console.print(escape(_summary(report)), soft_wrap=True)


_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def _examples(problems: Sequence[Problem]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", min_width=10)
    table.add_column(overflow="fold")
    for problem in problems[:MAX_EXAMPLES]:
        table.add_row(f"row {problem.row}", escape(f"{f'{problem.video}: ' if problem.video else ''}{problem.message}"))
    if len(problems) > MAX_EXAMPLES:
        table.add_row("", f"... and {len(problems) - MAX_EXAMPLES} more; --json lists all")
    return table


def _summary(report: Report) -> str:
    counts = ((report.num_of(severity), name) for severity, name in _COUNTED)
    found = ", ".join(_counted(number, name) for number, name in counts if number) or "no problems"
    tasks, videos = _counted(report.num_tasks, "task"), _counted(report.num_videos, "video")
    wrong = report.num_rows - report.num_tasks
    tasks += f" (and {_counted(wrong, 'row')} that {'is' if wrong == 1 else 'are'} none)" if wrong else ""
    return f"{report.file}: {tasks}, {videos}: {found}."


_COUNTED = ((Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "note"))


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
