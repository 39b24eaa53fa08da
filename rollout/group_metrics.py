"""Metrics of sampled groups: pure functions from groups to registered names.

A metric whose denominator is empty is left out rather than reported as 0.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.actions import Action, Answer, GetCaption, Malformed, MalformedReason, ZoomIn
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.policies.base import FinishReason
from videozoom.rewards.overlap import any_overlap, iou
from videozoom.rollout.answer_metrics import answer_metrics
from videozoom.rollout.types import Group, Trajectory

_REDUCERS: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "mean": lambda values: float(values.mean()),
    "rate": lambda values: float(values.mean()),
    "std": lambda values: float(values.std()),
    "min": lambda values: float(values.min()),
    "max": lambda values: float(values.max()),
    "p10": lambda values: float(np.percentile(values, 10)),
    "p90": lambda values: float(np.percentile(values, 90)),
}
_Pairs = Sequence[tuple[Task, Trajectory]]


def group_metrics(groups: Sequence[Group], advantages: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """Return everything that can be said of an iteration's groups before learning from them.

    Args:
        groups: Sampled groups of both kinds.
        advantages: `[G]` for each group, as `rollout.advantages` gives them.
    """
    pairs = [(group.task, trajectory) for group in groups for trajectory in group.trajectories]
    readable = [(task, trajectory) for task, trajectory in pairs if trajectory.status != Status.ERROR_DECODE]
    masked = [trajectory.is_masked for _, trajectory in pairs]
    unmasked_advantages = [
        advantage
        for group, advantages_G in zip(groups, advantages, strict=True)
        for trajectory, advantage in zip(group.trajectories, advantages_G, strict=True)
        if not trajectory.is_masked
    ]
    return {
        **_reward_metrics([trajectory for _, trajectory in readable]),
        **_signal_metrics(groups),
        **_episode_metrics([trajectory for _, trajectory in pairs]),
        **zoom_metrics(readable),
        **answer_metrics([(task, t) for task, t in readable if t.kind == EpisodeKind.MULTI_STEP]),
        **_reduced("policy/advantage", unmasked_advantages, "mean std min max"),
        **_reduced("loss/masked_episodes", masked, "rate"),
        **_reduced("video/decode_error", [t.status == Status.ERROR_DECODE for _, t in pairs], "rate"),
    }


def zoom_metrics(pairs: _Pairs) -> dict[str, float]:
    """Return how the agent looked; reading the caption of a span counts as a zoom.

    Properties of a zoom (length, overlap, validity) are over the zooms of both kinds. Habits of an episode (calls, hit,
    accuracy with and without) are over `multi_step` episodes, where zooming is the agent's own choice.
    """
    steps = [step for _, trajectory in pairs for step in trajectory.steps]
    spans = [(task, span) for task, trajectory in pairs for span in trajectory.spans_s]
    tries = [not isinstance(step.action, Malformed) for step in steps if not isinstance(step.action, Answer)]
    overlaps = [max(iou(span, evidence) for evidence in task.evidence) for task, span in spans if task.evidence]
    return {
        **_reduced("zoom/valid", tries, "rate"),
        **_malformed_metrics([step.action for step in steps]),
        **_reduced("zoom/span_s", [span.length_s for _, span in spans], "mean p10 p90"),
        **_reduced("zoom/span_fraction", [span.length_s / task.duration_s for task, span in spans], "mean"),
        **_reduced("zoom/iou", overlaps, "mean p90"),
        **_habit_metrics([(task, t) for task, t in pairs if t.kind == EpisodeKind.MULTI_STEP]),
    }


def _malformed_metrics(actions: Sequence[Action]) -> dict[str, float]:
    metrics = _reduced("zoom/malformed", [isinstance(action, Malformed) for action in actions], "rate")
    for reason in MalformedReason:
        matches = [isinstance(action, Malformed) and action.reason == reason for action in actions]
        metrics.update(_reduced(f"zoom/malformed/{reason}", matches, "rate"))
    return metrics


def _habit_metrics(pairs: _Pairs) -> dict[str, float]:
    calls = [len(trajectory.spans_s) for _, trajectory in pairs]
    annotated = [(task, trajectory) for task, trajectory in pairs if task.evidence]
    first_hits = [_first_hit_step(task.evidence, trajectory) for task, trajectory in annotated]
    answered = [(task, trajectory) for task, trajectory in pairs if trajectory.status == Status.ANSWERED]
    unseen = [_first_hit_step(task.evidence, t) is None for task, t in answered if task.evidence]
    accuracy = {
        f"zoom/accuracy_{name}_zoom": float(np.mean(right))
        for name, zoomed in (("with", True), ("without", False))
        if (right := [t.is_right(task) for task, t in answered if bool(t.spans_s) == zoomed])
    }
    return {
        **_reduced("zoom/calls", calls, "mean max"),
        **_reduced("zoom/used", [num_calls > 0 for num_calls in calls], "rate"),
        **_reduced("zoom/hit", [step is not None for step in first_hits], "rate"),
        **_reduced("zoom/first_hit_step", [step for step in first_hits if step is not None], "mean"),
        **_reduced("zoom/answered_unseen", unseen, "rate"),
        **accuracy,
    }


_LOOKS = (ZoomIn, GetCaption)


def is_hit(task: Task, trajectory: Trajectory) -> bool:
    """Return whether any zoom of the episode overlaps the task's evidence."""
    return _first_hit_step(task.evidence, trajectory) is not None


def _first_hit_step(evidence: Sequence[Span], trajectory: Trajectory) -> int | None:
    zoom_steps = [index for index, step in enumerate(trajectory.steps) if isinstance(step.action, _LOOKS)]
    # A zoom at the last step is taken but not accepted, so there may be one step more than there are spans.
    for index, span in zip(zoom_steps, trajectory.spans_s, strict=False):
        if any_overlap(span, evidence):
            return index
    return None


def _reward_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    metrics = _reduced("reward/total", [t.reward.total for t in trajectories], "mean std min max")
    for part in sorted({part for trajectory in trajectories for part in trajectory.reward.parts}):
        values = [t.reward.parts[part] for t in trajectories if part in t.reward.parts]
        metrics.update(_reduced(f"reward/{part}", values, "mean"))
    for kind in EpisodeKind:
        metrics.update(_reduced(f"reward/{kind}", [t.reward.total for t in trajectories if t.kind == kind], "mean"))
    return metrics


def _signal_metrics(groups: Sequence[Group]) -> dict[str, float]:
    valid = [[t for t in group.trajectories if not t.is_masked] for group in groups]
    stds = [float(np.std([t.reward.total for t in members])) for members in valid if members]
    solved = [[_is_solved(group.task, t) for t in group.trajectories] for group in groups]
    return {
        **_reduced("group/reward_std", stds, "mean"),
        **_reduced("group/zero_std", [std == 0.0 for std in stds], "rate"),
        **_reduced("group/solved_none", [not any(members) for members in solved], "rate"),
        **_reduced("group/solved_some", [any(members) and not all(members) for members in solved], "rate"),
        **_reduced("group/solved_all", [all(members) for members in solved], "rate"),
        **_reduced("group/valid_members", [len(members) for members in valid], "mean"),
    }


def _is_solved(task: Task, trajectory: Trajectory) -> bool:
    """Return whether the right answer was given, or in a `zoom_step` episode the evidence was met."""
    if trajectory.kind == EpisodeKind.ZOOM_STEP:
        return is_hit(task, trajectory)
    return trajectory.is_right(task)


def _episode_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    completions = [step.completion for trajectory in trajectories for step in trajectory.steps]
    response_tokens = [sum(len(step.completion.token_ids) for step in t.steps) for t in trajectories]
    visual_tokens = [sum(step.completion.num_visual_tokens for step in t.steps) for t in trajectories]
    metrics = {
        **_reduced("episode/num_steps", [len(t.steps) for t in trajectories], "mean max"),
        **_reduced("episode/response_tokens", response_tokens, "mean p90 max"),
        **_reduced("episode/prompt_tokens", [c.num_prompt_tokens for c in completions], "mean max"),
        **_reduced("episode/visual_tokens", visual_tokens, "mean p90"),
        **_reduced("episode/truncated", [c.finish_reason == FinishReason.LENGTH for c in completions], "rate"),
    }
    for status in Status:
        if status != Status.RUNNING:
            metrics.update(_reduced(f"episode/status/{status}", [t.status == status for t in trajectories], "rate"))
    return metrics


def _reduced(noun: str, values: Iterable[float], stats: str) -> dict[str, float]:
    """Return `{noun/stat: value}`, nothing when there are no values."""
    array = np.asarray(list(values), dtype=np.float64)
    return dict(_items(noun, array, stats)) if array.size else {}


def _items(noun: str, array: NDArray[np.float64], stats: str) -> Iterator[tuple[str, float]]:
    for stat in stats.split():
        yield f"{noun}/{stat}", _REDUCERS[stat](array)
