"""One trajectory as plain data, and back: what a line of `traces.jsonl` holds."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, ZoomIn
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.policies.base import Completion, FinishReason
from videozoom.policies.sampling import Sampling
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.types import Step, Trajectory

SCHEMA_VERSION = 1

TraceRow = Mapping[str, Any]
"""A line of `traces.jsonl`; `trace_row` says what is in it."""


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
    return {
        "schema_version": SCHEMA_VERSION,
        "phase": phase,
        "policy": policy,
        "iteration": iteration,
        "task_id": trajectory.task_id,
        "kind": trajectory.kind.value,
        "member": trajectory.member,
        "seed": list(trajectory.seed),
        "status": trajectory.status.value,
        "answer": trajectory.answer,
        "spans_s": [list(span) for span in trajectory.spans_s],
        "reward": {"total": trajectory.reward.total, "parts": dict(trajectory.reward.parts)},
        "advantage": advantage,
        "error": trajectory.error,
        "sampling": _sampling_row(trajectory),
        "steps": [_step_row(step) for step in trajectory.steps],
        "task": {
            "video": str(task.video),
            "duration_s": task.duration_s,
            "question": task.question,
            "options": list(task.options),
            "answer": task.answer,
            "evidence": [list(span) for span in task.evidence],
        },
    }


def _sampling_row(trajectory: Trajectory) -> dict[str, Any] | None:
    """Return how the tokens of an episode were drawn; `None` for scripted policies."""
    sampling = next((step.completion.sampling for step in trajectory.steps if step.completion.sampling), None)
    return asdict(sampling) | {"stop": list(sampling.stop)} if sampling else None


def _step_row(step: Step) -> dict[str, Any]:
    return {
        "prefix": step.prompt.assistant_prefix,
        "text": step.completion.text,
        "action": _action_row(step.action),
        "finish_reason": step.completion.finish_reason.value,
        "num_prompt_tokens": step.completion.num_prompt_tokens,
        "num_visual_tokens": step.completion.num_visual_tokens,
        "num_completion_tokens": len(step.completion.token_ids),
    }


def _action_row(action: Action) -> dict[str, Any]:
    if isinstance(action, ZoomIn):
        row = {"type": "zoom_in", "span_s": list(action.span_s)}
        return row if action.fps is None else row | {"fps": action.fps}
    if isinstance(action, Answer):
        return {"type": "answer", "letter": action.letter}
    if isinstance(action, GetCaption):
        return {"type": "get_caption", "node": list(action.node)}
    if isinstance(action, AskVideo):
        return {"type": "ask_video", "node": list(action.node), "question": action.question}
    return {"type": "malformed", "reason": str(action.reason)}


def task_from_row(row: TraceRow) -> Task:
    """Return the task of a trace; its metadata is not saved."""
    facts = row["task"]
    return Task(
        task_id=row["task_id"],
        video=Path(facts["video"]),
        duration_s=facts["duration_s"],
        question=facts["question"],
        options=tuple(facts["options"]),
        answer=facts["answer"],
        evidence=tuple(Span(*span) for span in facts["evidence"]),
    )


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
        reward=RewardBreakdown(row["reward"]["total"], dict(row["reward"]["parts"])),
        error=row["error"],
    )


def _step_from_row(row: TraceRow, sampling: Sampling | None) -> Step:
    completion = Completion(
        text=row["text"],
        finish_reason=FinishReason(row["finish_reason"]),
        token_ids=np.zeros(row["num_completion_tokens"], np.int32),
        num_prompt_tokens=row["num_prompt_tokens"],
        num_visual_tokens=row["num_visual_tokens"],
        sampling=sampling if row["num_completion_tokens"] else None,
    )
    return Step(Prompt((), row["prefix"]), completion, _action_from_row(row["action"]))


def _action_from_row(row: TraceRow) -> Action:
    if row["type"] == "zoom_in":
        return ZoomIn(Span(*row["span_s"]), row.get("fps"))
    if row["type"] == "answer":
        return Answer(row["letter"])
    if row["type"] == "get_caption":
        return GetCaption(tuple(row["node"]))
    if row["type"] == "ask_video":
        return AskVideo(tuple(row["node"]), row["question"])
    return Malformed(row["reason"])
