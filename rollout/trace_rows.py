"""One trajectory as plain data, and back: what a line of `traces.jsonl` holds."""

from dataclasses import asdict
from typing import Any

import numpy as np

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.envs.trajectory_rows import (
    SCHEMA_VERSION,
    TraceRow,
    action_from_row,
    reward_row,
    step_row,
    task_from_row,
    trajectory_row,
)
from videozoom.policies.base import Completion, FinishReason
from videozoom.policies.sampling import Sampling
from videozoom.rewards.facts import EpisodeFacts, RewardBreakdown
from videozoom.rollout.types import Step, Trajectory

__all__ = ["SCHEMA_VERSION", "TraceRow", "facts_of", "reward_row", "task_from_row", "trace_row", "trajectory_from_row"]


def trace_row(
    task: Task,
    trajectory: Trajectory,
    *,
    phase: str,
    policy: str,
    iteration: int,
    advantage: float | None = None,
) -> dict[str, Any]:
    """Return a trajectory as plain data.

    Args:
        task: The trajectory's task.
        trajectory: A finished episode.
        phase: `train` or `eval`.
        policy: Name of who acted, e.g. `decoupled_grpo`.
        iteration: Finished updates of the weights that acted.
        advantage: What the learner was given, `None` outside training.
    """
    return trajectory_row(
        task,
        phase=phase,
        policy=policy,
        iteration=iteration,
        kind=trajectory.kind,
        member=trajectory.member,
        seed=trajectory.seed,
        status=trajectory.status,
        answer=trajectory.answer,
        spans_s=trajectory.spans_s,
        reward=trajectory.reward,
        steps=[_step_row(step) for step in trajectory.steps],
        advantage=advantage,
        error=trajectory.error,
        sampling=_sampling_row(trajectory),
        max_steps=trajectory.max_steps,
        num_clip_frames=trajectory.num_clip_frames,
    )


def _sampling_row(trajectory: Trajectory) -> dict[str, Any] | None:
    """Return how the tokens of an episode were drawn; `None` for scripted policies."""
    sampling = next((step.completion.sampling for step in trajectory.steps if step.completion.sampling), None)
    return asdict(sampling) | {"stop": list(sampling.stop)} if sampling else None


def _step_row(step: Step) -> dict[str, Any]:
    row = step_row(
        step.action,
        text=step.completion.text,
        prefix=step.prompt.assistant_prefix,
        finish_reason=step.completion.finish_reason.value,
        num_prompt_tokens=step.completion.num_prompt_tokens,
        num_visual_tokens=step.completion.num_visual_tokens,
        num_completion_tokens=step.completion.num_tokens,
    )
    said = {"brought": step.brought, "error": step.completion.error}
    return row | {name: text for name, text in said.items() if text}


def trajectory_from_row(row: TraceRow) -> Trajectory:
    """Return the trajectory of a trace.

    Messages, token ids and log-probabilities are not saved: prompts have their prefix only, and token ids are zeros of
    the right number.
    """
    # Rows of earlier versions do not say.
    values = row.get("sampling")
    sampling = Sampling(**{**values, "stop": tuple(values["stop"])}) if values else None
    return Trajectory(
        task_id=row["task_id"],
        kind=EpisodeKind(row["kind"]),
        member=row["member"],
        seed=tuple(row["seed"]),
        steps=tuple(_step_from_row(step, sampling) for step in row["steps"]),
        status=Status(row["status"]),
        answer=row["answer"],
        spans_s=tuple(Span(*span) for span in row["spans_s"]),
        reward=RewardBreakdown(
            row["reward"]["total"], dict(row["reward"]["parts"]), is_right=row["reward"].get("is_right")
        ),
        error=row["error"],
        max_steps=row.get("max_steps"),
        num_clip_frames=row.get("num_clip_frames"),
    )


def facts_of(trajectory: Trajectory) -> EpisodeFacts:
    """Return what rewards may look at.

    Raises:
        ValueError: The trajectory comes from a file of version 1, which does not tell how many frames it was shown.
    """
    if trajectory.num_clip_frames is None:
        raise ValueError("the trace does not tell how many frames were shown")
    actions = [step.action for step in trajectory.steps]
    return EpisodeFacts(
        kind=trajectory.kind,
        status=trajectory.status,
        answer=trajectory.answer,
        spans_s=trajectory.spans_s,
        num_steps=len(actions),
        num_malformed=sum(isinstance(action, Malformed) for action in actions),
        num_ill_formed=sum(isinstance(action, ZoomIn | Answer) and not action.is_well_formed for action in actions),
        num_clip_frames=trajectory.num_clip_frames,
    )


def _step_from_row(row: TraceRow, sampling: Sampling | None) -> Step:
    completion = Completion(
        text=row["text"],
        finish_reason=FinishReason(row["finish_reason"]),
        token_ids=np.zeros(row["num_completion_tokens"], np.int32),
        num_prompt_tokens=row["num_prompt_tokens"],
        num_visual_tokens=row["num_visual_tokens"],
        sampling=sampling if row["num_completion_tokens"] else None,
        error=row.get("error", ""),
    )
    return Step(Prompt((), row["prefix"]), completion, action_from_row(row["action"]), row.get("brought", ""))
