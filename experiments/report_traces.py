"""What a report needs of a trace file, gathered in one pass: files of long runs are larger than what is shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from videozoom.envs.tasks import EpisodeKind, Span, Status
from videozoom.rewards.answers import is_right
from videozoom.rewards.overlap import any_overlap
from videozoom.rollout.trace_rows import TraceRow, task_from_row

Rows = tuple[TraceRow, ...]


class StepKind(StrEnum):
    """What a step of a training episode was, for the account of credit."""

    ZOOM = "zoom"
    """A zoom, or the reading of a caption, of a whole episode."""
    ZOOM_SEES = "zoom_sees"
    """Those that overlap the evidence."""
    ZOOM_MISSES = "zoom_misses"
    ANSWER = "answer"
    INVALID = "invalid"
    """A step of a whole episode that was no valid action."""
    SINGLE_ZOOM = "single_zoom"
    """The step of a `zoom_step` episode."""


class CreditKey(NamedTuple):
    """Whose credit it is."""

    policy: str
    iteration: int
    kind: StepKind


@dataclass(slots=True)
class Credit:
    """Advantages of the steps of one kind in one iteration."""

    num_steps: int = 0
    total: float = 0.0
    num_positive: int = 0

    def add(self, advantage: float) -> None:
        """Count one step."""
        self.num_steps += 1
        self.total += advantage
        self.num_positive += advantage > 0

    @property
    def mean(self) -> float:
        """Mean advantage of a step."""
        return self.total / self.num_steps

    @property
    def positive_rate(self) -> float:
        """Share of steps with an advantage above 0."""
        return self.num_positive / self.num_steps


@dataclass(slots=True)
class TraceDigest:
    """What is kept of a trace file.

    Example:
        >>> digest = TraceDigest.of(read_traces(run_dir / "traces.jsonl"))
        >>> digest.credit[CreditKey("decoupled_grpo", 0, StepKind.ANSWER)].mean
        0.25
    """

    evaluations: dict[str, Rows] = field(default_factory=dict)
    """Multi-step episodes of each policy's last evaluation, sorted by task."""
    credit: dict[CreditKey, Credit] = field(default_factory=dict)
    first_groups: dict[str, list[Rows]] = field(default_factory=dict)
    """Groups of each policy's first iteration, as far as they are there."""
    last_groups: dict[str, list[Rows]] = field(default_factory=dict)
    """Groups of each policy's last iteration, if it is another."""

    @classmethod
    def of(cls, rows: Iterable[TraceRow]) -> "TraceDigest":
        """Return the digest of trace rows, in any order."""
        evaluated: dict[str, _Latest] = {}
        first: dict[str, _Latest] = {}
        last: dict[str, _Latest] = {}
        digest = cls()
        for row in rows:
            if row["phase"] == "eval" and row["kind"] == EpisodeKind.MULTI_STEP:
                evaluated.setdefault(row["policy"], _Latest()).add(row)
            elif row["phase"] == "train":
                digest._account(row)
                first.setdefault(row["policy"], _Latest(-1)).add(row)
                last.setdefault(row["policy"], _Latest()).add(row)
        digest.evaluations = {policy: _by_task(latest.rows) for policy, latest in evaluated.items()}
        digest.first_groups = {policy: _groups(earliest.rows) for policy, earliest in first.items()}
        digest.last_groups = {
            policy: _groups(latest.rows)
            for policy, latest in last.items()
            if latest.iteration != first[policy].iteration
        }
        return digest

    def _account(self, row: TraceRow) -> None:
        """Count the credit of an episode's steps; what is masked gets none."""
        if row.get("advantage") is None or row["status"] in (Status.NO_ANSWER, Status.ERROR_DECODE):
            return
        for step, kind in step_kinds(row):
            # Learners that give each step its own say so.
            own = step.get("advantage")
            advantage = row["advantage"] if own is None else own
            key = CreditKey(row["policy"], row["iteration"], kind)
            self.credit.setdefault(key, Credit()).add(advantage)


def step_kinds(row: TraceRow) -> list[tuple[TraceRow, StepKind]]:
    """Return the steps of an episode with their kinds; a zoom has two: that it is one, and whether it saw evidence."""
    kinds: list[tuple[TraceRow, StepKind]] = []
    looks = list(row["spans_s"])
    evidence = [Span(*span) for span in row["task"]["evidence"]]
    for step in row["steps"]:
        action = step["action"]["type"]
        if action in ("zoom_in", "get_caption"):
            span = step["action"].get("span_s") or (looks[0] if looks else None)
            looks = looks[1:]
            if row["kind"] == EpisodeKind.ZOOM_STEP:
                kinds.append((step, StepKind.SINGLE_ZOOM))
                continue
            kinds.append((step, StepKind.ZOOM))
            if span is not None and evidence:
                sees = any_overlap(Span(*span), evidence)
                kinds.append((step, StepKind.ZOOM_SEES if sees else StepKind.ZOOM_MISSES))
        elif row["kind"] == EpisodeKind.ZOOM_STEP:
            kinds.append((step, StepKind.SINGLE_ZOOM))
        elif action == "answer":
            kinds.append((step, StepKind.ANSWER))
        elif action == "malformed":
            kinds.append((step, StepKind.INVALID))
    return kinds


def is_right_row(row: TraceRow) -> bool:
    """Return whether an episode ended with the right answer."""
    said = row["reward"].get("is_right")
    return is_right(task_from_row(row), row["answer"]) if said is None else bool(said)


def correct_by_task(rows: Iterable[TraceRow]) -> dict[str, float]:
    """Return 1 for each task that was answered right, 0 for the others; unreadable videos are left out."""
    return {row["task_id"]: float(is_right_row(row)) for row in rows if row["status"] != Status.ERROR_DECODE}


@dataclass(slots=True)
class _Latest:
    """The rows of the highest iteration so far, or with `sign` -1 of the lowest."""

    sign: int = 1
    iteration: int | None = None
    rows: list[TraceRow] = field(default_factory=list)

    def add(self, row: TraceRow) -> None:
        if self.iteration is None or self.sign * (row["iteration"] - self.iteration) > 0:
            self.iteration, self.rows = row["iteration"], []
        if row["iteration"] == self.iteration:
            self.rows.append(row)


def _by_task(rows: Iterable[TraceRow]) -> Rows:
    return tuple(sorted(rows, key=lambda row: (row["task_id"], row["member"])))


def _groups(rows: Iterable[TraceRow]) -> list[Rows]:
    """Return rows of one iteration by group: members share task, kind and all of the seed but its last number."""
    found: dict[tuple[object, ...], list[TraceRow]] = {}
    for row in rows:
        found.setdefault((row["kind"], row["task_id"], *row["seed"][:-1]), []).append(row)
    return [tuple(sorted(group, key=lambda row: int(row["member"]))) for group in found.values()]


def policies_with_credit(credit: Mapping[CreditKey, Credit]) -> list[str]:
    """Return the policies that credit is known of, in order of appearance."""
    return list(dict.fromkeys(key.policy for key in credit))
