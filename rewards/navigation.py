"""Rewards for finding the evidence by visiting spans: how well it was covered, what was visited twice, and the cost."""

import math
from collections.abc import Sequence

from videozoom.envs.tasks import EpisodeKind, Span, Task
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.overlap import intersection_s, union

EVIDENCE_GAP_S = 5.0
"""Evidence spans at most this far apart count as one. Source: released code of LongVideo-R1."""


def span_f1(visited: Sequence[Span], evidence: Sequence[Span]) -> float:
    """Return the F1 score, in [0, 1], of what `visited` covers against what `evidence` covers, both as unions.

    With coverage (found length / length of the evidence) and precision (found length / visited length), it is
    2 * coverage * precision / (coverage + precision) = 2 * found / (evidence + visited).

    Source: released code of LongVideo-R1. Departs from it: there a span that is visited again is found again, so that
    repeats raise the score without bound; here what was seen twice counts once.

    Example:
        >>> span_f1([Span(0.0, 16.0)], [Span(4.0, 8.0)])
        0.4
        >>> span_f1([Span(4.0, 8.0), Span(4.0, 8.0)], [Span(4.0, 8.0)])
        1.0
    """
    seen, wanted = union(visited), union(evidence)
    found_s = math.fsum(intersection_s(one, other) for one in seen for other in wanted)
    if found_s <= 0.0:
        return 0.0
    # Rounding must not push the score above 1.
    return min(1.0, 2.0 * found_s / math.fsum(span.length_s for span in (*seen, *wanted)))


def evidence_f1_reward(task: Task, facts: EpisodeFacts) -> float | None:
    """Return the F1 score of what a `multi_step` episode visited; 0 if it visited nothing.

    `None` for other kinds, and for a task without annotated evidence, where the reward is undefined.

    Source: released code of LongVideo-R1, weight 1.
    """
    if facts.kind is not EpisodeKind.MULTI_STEP or not task.evidence:
        return None
    return span_f1(facts.spans_s, union(task.evidence, EVIDENCE_GAP_S))


def repeat_penalty(task: Task, facts: EpisodeFacts) -> float | None:
    """Return minus the visits that were repeats, per different span; 0 without repeats. `None` for single steps.

    Source: released code of LongVideo-R1, weight 0.2.

    Example:
        Visiting one span three times and another once gives -(4 - 2) / 2 = -1.
    """
    if facts.kind is not EpisodeKind.MULTI_STEP:
        return None
    num_different = len(set(facts.spans_s))
    return (num_different - len(facts.spans_s)) / num_different if num_different else 0.0


def cost_penalty(task: Task, facts: EpisodeFacts) -> float | None:
    """Return minus the steps before the last one, whatever came of them. `None` for single steps.

    Departs from LongVideo-R1, where looking costs nothing.

    Example:
        Two captions and the answer: -2. An answer at once: 0.
    """
    if facts.kind is not EpisodeKind.MULTI_STEP:
        return None
    # A plain 0.0, not the -0.0 that negating it gives.
    return float(min(0, 1 - facts.num_steps))
