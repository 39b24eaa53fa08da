"""Which rollouts a report shows, and their cards: best, worst and a random few, before and after."""

from collections.abc import Mapping, Sequence

import numpy as np

from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import Span, Status
from videozoom.experiments.report_traces import is_right_row
from videozoom.experiments.report_words import LEARNED, START, main_policy, policy_words
from videozoom.rewards.overlap import iou
from videozoom.rollout.markup import Html
from videozoom.rollout.trace_rows import TraceRow, task_from_row, trajectory_from_row
from videozoom.rollout.viewer import LabelledRollout, rollout_card

NUM_BEST = 2
NUM_WORST = 2
NUM_RANDOM = 4


def rollout_cards(
    evaluations: Mapping[str, Sequence[TraceRow]],
    frame_source: FrameSource | None,
    *,
    seed: int,
    is_short: bool = False,
) -> list[Html]:
    """Return the cards of the chosen rollouts, each beside the cold start's rollout of the same task.

    Args:
        evaluations: Episodes of each policy's last evaluation.
        frame_source: Where frames are read again.
        seed: Chooses the random ones.
        is_short: The best and the worst only, where a page has many runs.
    """
    policy = main_policy(list(evaluations))
    if policy is None:
        return []
    before = {row["task_id"]: row for row in evaluations.get(START, ())} if policy in LEARNED else {}
    cards = []
    chosen = chosen_rollouts(evaluations[policy], before, seed=seed)
    if is_short:
        first_of = {tag: row for tag, row in reversed(chosen) if tag != "random"}
        chosen = [(tag, first_of[tag]) for tag in ("best", "worst") if tag in first_of]
    for tag, row in chosen:
        rollouts = [_labelled(before[row["task_id"]])] if row["task_id"] in before else []
        tags = [tag, "right" if is_right_row(row) else "wrong"]
        cards.append(rollout_card(task_from_row(row), [*rollouts, _labelled(row)], frame_source, tags=tags))
    return cards


def chosen_rollouts(
    rows: Sequence[TraceRow], before: Mapping[str, TraceRow], *, seed: int
) -> list[tuple[str, TraceRow]]:
    """Return `(tag, row)` of the best, the worst and some random rollouts, none twice.

    Best is the highest reward, then the tightest zoom, then the task that the cold start did worst; worst is the lowest
    reward, then the zoom furthest from the evidence. Videos that could not be read are left out.
    """
    readable = [row for row in rows if row["status"] != Status.ERROR_DECODE]
    ranked = sorted(readable, key=lambda row: (*_quality(row, before), row["task_id"]))
    # One rollout alone is the best; the worst and the random ones come from what is left.
    best = ranked[-min(NUM_BEST, max(1, len(ranked) // 2)) :][::-1]
    worst = ranked[: min(NUM_WORST, len(ranked) - len(best))]
    rest = sorted(ranked[len(worst) : len(ranked) - len(best)], key=lambda row: str(row["task_id"]))
    picked = np.random.default_rng(seed).permutation(len(rest))[:NUM_RANDOM]
    tagged = [("best", row) for row in best] + [("worst", row) for row in worst]
    return tagged + [("random", rest[index]) for index in picked]


def _quality(row: TraceRow, before: Mapping[str, TraceRow]) -> tuple[float, float, float]:
    earlier = before.get(row["task_id"])
    return (row["reward"]["total"], _best_iou(row), -earlier["reward"]["total"] if earlier else 0.0)


def _best_iou(row: TraceRow) -> float:
    overlaps = [iou(Span(*span), Span(*evidence)) for span in row["spans_s"] for evidence in row["task"]["evidence"]]
    return max(overlaps, default=0.0)


def _labelled(row: TraceRow) -> LabelledRollout:
    return LabelledRollout(
        label=policy_words(row["policy"]).name,
        trajectory=trajectory_from_row(row),
        style=row["policy"],
        advantage=row.get("advantage"),
    )
