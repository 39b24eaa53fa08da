"""Words of the report: names and meanings of policies, and what a run showed in plain sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from videozoom.experiments.report_traces import correct_by_task
from videozoom.experiments.statistics import Difference, Interval, paired_difference, wilson_interval
from videozoom.rollout.trace_rows import TraceRow


@dataclass(frozen=True, slots=True)
class PolicyWords:
    """How a policy is called and what it does, in one line."""

    name: str
    meaning: str


POLICIES = {
    "never": PolicyWords("never zooms", "No clip: the answer comes from the fast view alone."),
    "uniform": PolicyWords("uniform clip", "One clip whose few frames are spread over the whole video."),
    "random": PolicyWords("random clip", "One clip of a span drawn by chance."),
    "cold_start": PolicyWords(
        "cold start", "The agent after supervised learning: where reinforcement learning begins."
    ),
    "multi_step_grpo": PolicyWords("multi-step GRPO", "Reinforcement learning on whole episodes only."),
    "decoupled_grpo": PolicyWords(
        "decoupled GRPO", "Whole episodes mixed with single zooms that are rewarded directly."
    ),
    "oracle": PolicyWords("oracle clip", "Clips of the annotated evidence: the most that zooming can bring."),
}
LEARNED = ("decoupled_grpo", "multi_step_grpo")
"""Policies that reinforcement learning made, the one a report is about first."""
START = "cold_start"


def policy_words(policy: str) -> PolicyWords:
    """Return the words of a policy; an unknown one is called by its key."""
    return POLICIES.get(policy, PolicyWords(policy.replace("_", " "), ""))


def main_policy(policies: Sequence[str]) -> str | None:
    """Return the policy a report is about: the furthest trained, else one without a rule, else the last; or `None`.

    Example:
        >>> main_policy(["never", "cold_start", "multi_step_grpo"]), main_policy(["my_model", "oracle"])
        ('multi_step_grpo', 'my_model')
    """
    known = [policy for policy in (*LEARNED, START) if policy in policies]
    others = [policy for policy in policies if policy not in POLICIES]
    return next(iter([*known, *others, *reversed(policies)]), None)


def interval_of(row: Mapping[str, Any], key: str) -> Interval | None:
    """Return the 95 % interval of a rate in the results: as saved, else Wilson's from the number of tasks."""
    saved = row.get(f"{key.removesuffix('_rate')}_ci95") or row.get(f"{key}_ci95")
    if saved:
        return Interval(*saved)
    value, num_tasks = row.get(key), row.get("num_tasks")
    if value is None or not num_tasks:
        return None
    return wilson_interval(round(value * num_tasks), num_tasks)


@dataclass(frozen=True, slots=True)
class Gain:
    """How much more often one policy answers right than another on the same tasks."""

    difference: Difference
    num_tasks: int


def accuracy_gain(before: Sequence[TraceRow], after: Sequence[TraceRow]) -> Gain | None:
    """Return how much more often `after` answers right than `before`, `None` if they share no task."""
    correct_before, correct_after = correct_by_task(before), correct_by_task(after)
    shared = sorted(correct_before.keys() & correct_after.keys())
    if not shared:
        return None
    values = [[correct[task] for task in shared] for correct in (correct_before, correct_after)]
    return Gain(paired_difference(*values), len(shared))


def chance_of(rows: Sequence[TraceRow]) -> float | None:
    """Return the accuracy of guessing, `None` without tasks, or where one has no options to guess from."""
    counts = [len(row["task"]["options"]) for row in rows]
    return sum(1 / count for count in counts) / len(counts) if counts and all(counts) else None


def evidence_length_s(rows: Sequence[TraceRow]) -> float | None:
    """Return the mean length of the evidence spans, `None` where nothing is annotated."""
    lengths = [end_s - start_s for row in rows for start_s, end_s in row["task"]["evidence"]]
    return sum(lengths) / len(lengths) if lengths else None


def summary(rows: Mapping[str, Mapping[str, Any]], gain: Gain | None) -> list[str]:
    """Return what a results table shows, one sentence each, most important first."""
    policy = main_policy(list(rows))
    if policy is None:
        return ["The run has no results yet."]
    row, start = rows[policy], rows.get(START)
    name = policy_words(policy).name
    if start is None or policy not in LEARNED:
        return [
            f"{_capitalised(name)} answers {_percent(row, 'accuracy')} of the held-out questions right.",
            *_look(row),
        ]
    return [_headline(name, start, row), *_doubts(start, row, gain)]


def _headline(name: str, start: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    looks = f"the agent looks at the right moment in {_percent(row, 'zoom_hit_rate')} of the held-out videos"
    was_looking = f"{_percent(start, 'zoom_hit_rate')} after the cold start"
    answers = f"answers {_percent(row, 'accuracy')} of the questions right ({_percent(start, 'accuracy')} before)"
    return f"After {name}, {looks} ({was_looking}) and {answers}."


def _doubts(start: Mapping[str, Any], row: Mapping[str, Any], gain: Gain | None) -> list[str]:
    """Return how sure the gain is, and what would make a person distrust it."""
    if gain is None:
        if _overlap(interval_of(start, "accuracy"), interval_of(row, "accuracy")):
            return ["The 95 % intervals of both accuracies overlap: the difference may be chance."]
        return []
    low, high = (f"{100 * end:+.1f}" for end in gain.difference.interval)
    text = f"On the same {gain.num_tasks:,} tasks, accuracy changed by {100 * gain.difference.mean:+.1f} points"
    text += f" (95 % interval {low} to {high})"
    if not gain.difference.excludes_zero:
        return [f"{text}: that may be chance."]
    return [text + (": more than chance." if gain.difference.mean > 0 else ": reinforcement learning did harm.")]


def _look(row: Mapping[str, Any]) -> list[str]:
    if row.get("zoom_hit_rate") is None:
        return []
    return [f"It looks at the right moment in {_percent(row, 'zoom_hit_rate')} of them."]


def _overlap(first: Interval | None, second: Interval | None) -> bool:
    return first is not None and second is not None and first.low <= second.high and second.low <= first.high


def _percent(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "an unknown share" if value is None else f"{100 * value:.0f} %"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
