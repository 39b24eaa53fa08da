"""Overlap of time spans, and the zoom reward built on it. The interval functions of the whole project.

Spans are half-open: two spans that only touch do not overlap, and an empty span overlaps nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from videozoom.envs.tasks import EpisodeKind, Span, Task
from videozoom.rewards.facts import EpisodeFacts


def intersection_s(first: Span, second: Span) -> float:
    """Return the length of what both spans share, in seconds, 0 if nothing.

    Example:
        >>> intersection_s(Span(0.0, 6.0), Span(4.0, 8.0))
        2.0
        >>> intersection_s(Span(0.0, 4.0), Span(4.0, 8.0))
        0.0
    """
    return max(0.0, min(first.end_s, second.end_s) - max(first.start_s, second.start_s))


def iou(first: Span, second: Span) -> float:
    """Return the intersection over union of two spans, in [0, 1]; 0 if both are empty.

    Example:
        >>> iou(Span(0.0, 6.0), Span(4.0, 8.0))
        0.25
    """
    shared_s = intersection_s(first, second)
    if shared_s <= 0.0:
        return 0.0
    # The union is at least the intersection; rounding must not push the ratio above 1.
    return min(1.0, shared_s / (first.length_s + second.length_s - shared_s))


def any_overlap(span: Span, others: Iterable[Span]) -> bool:
    """Return whether `span` shares more than a point with any of `others`.

    Example:
        >>> any_overlap(Span(0.0, 4.0), [Span(4.0, 8.0), Span(3.5, 3.6)])
        True
    """
    return any(intersection_s(span, other) > 0.0 for other in others)


def union(spans: Iterable[Span], gap_s: float = 0.0) -> tuple[Span, ...]:
    """Return what the spans cover, as spans in order of time that share nothing; empty ones leave no trace.

    Args:
        spans: in any order.
        gap_s: spans at most this far apart become one, and what lies between them is covered, too.

    Example:
        >>> union([Span(8.0, 12.0), Span(0.0, 4.0), Span(4.0, 5.0)])
        (Span(start_s=0.0, end_s=5.0), Span(start_s=8.0, end_s=12.0))
    """
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.length_s > 0.0):
        if merged and span.start_s - merged[-1].end_s <= gap_s:
            merged[-1] = Span(merged[-1].start_s, max(merged[-1].end_s, span.end_s))
        else:
            merged.append(span)
    return tuple(merged)


def overlap_reward(task: Task, facts: EpisodeFacts) -> float | None:
    """Return 1 if the single zoom of a `zoom_step` episode overlaps any evidence span, else 0.

    `None` for other kinds, and for a task without annotated evidence, where the reward is undefined.

    Source: LOVE-R1, eq. (2). The paper compares with one evidence span; with several, any of them counts, as in the
    released training code.
    """
    if facts.kind is not EpisodeKind.ZOOM_STEP or not task.evidence:
        return None
    return float(any(any_overlap(span, task.evidence) for span in facts.spans_s))


class OverlapMeasure(StrEnum):
    """What a single zoom is worth."""

    BINARY = "binary"
    """1 if it overlaps the evidence at all. Source: LOVE-R1, eq. (2)."""
    IOU = "iou"
    """Its intersection over union with the evidence span it fits best."""


@dataclass(frozen=True, slots=True)
class OverlapReward:
    """The overlap of a `zoom_step` episode's zoom with the evidence, by a measure; `overlap_reward` if it is binary.

    Departs from the paper: `iou` also tells how well a zoom fits, which `binary` leaves to the answer.

    Example:
        >>> OverlapReward(OverlapMeasure.IOU)(task_with_evidence_at_4_to_8, facts_of_a_zoom_from_6_to_10)
        0.3333333333333333
    """

    measure: OverlapMeasure = OverlapMeasure.BINARY

    def __call__(self, task: Task, facts: EpisodeFacts) -> float | None:
        """Return the reward."""
        reward = overlap_reward(task, facts)
        if reward is None or self.measure is OverlapMeasure.BINARY:
            return reward
        return max((iou(span, evidence) for span in facts.spans_s for evidence in task.evidence), default=0.0)
