"""One finished episode as plain data: what a line of `traces.jsonl` and of `RecordTrajectory` holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, ZoomIn
from videozoom.envs.tasks import EpisodeKind, QuestionKind, Span, Status, Task
from videozoom.rewards.facts import RewardBreakdown

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""Version 1, when all questions were multiple choice, had the `letter` of an answer where its `text` is now."""

TraceRow = Mapping[str, Any]
"""A line of `traces.jsonl`; `trajectory_row` says what is in it."""


def trajectory_row(
    task: Task,
    *,
    phase: str,
    policy: str,
    iteration: int,
    kind: EpisodeKind,
    member: int,
    seed: Sequence[int],
    status: Status,
    answer: str | None,
    spans_s: Sequence[Span],
    reward: RewardBreakdown,
    steps: Sequence[TraceRow],
    advantage: float | None = None,
    error: str | None = None,
    sampling: TraceRow | None = None,
    max_steps: int | None = None,
    num_clip_frames: int | None = None,
) -> dict[str, Any]:
    """Return a finished episode as plain data.

    Args:
        task: The episode's task.
        phase: `train`, `eval` or `record`.
        policy: Name of who acted, e.g. `decoupled_grpo`.
        iteration: Finished updates of the weights that acted.
        kind: Of the episode.
        member: Position in its group, from 0.
        seed: Names the episode among those of its task, kind and policy.
        status: How it ended.
        answer: The final answer, if there was one.
        spans_s: Accepted zooms in the order they were made.
        reward: What it was worth.
        steps: One `step_row` each.
        advantage: What the learner was given, `None` outside training.
        error: Why the video could not be read, with status `error_decode`.
        sampling: How tokens were drawn, `None` for scripted policies.
        max_steps: How many steps the episode might have taken.
        num_clip_frames: Frames of all slow clips that were shown.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "phase": phase,
        "policy": policy,
        "iteration": iteration,
        "task_id": task.task_id,
        "kind": EpisodeKind(kind).value,
        "member": member,
        "seed": list(seed),
        "status": Status(status).value,
        "answer": answer,
        "spans_s": [list(span) for span in spans_s],
        "reward": reward_row(reward),
        "advantage": advantage,
        "error": error,
        "sampling": sampling,
        "max_steps": max_steps,
        "num_clip_frames": num_clip_frames,
        "steps": list(steps),
        "task": _task_row(task),
    }


def reward_row(reward: RewardBreakdown) -> dict[str, Any]:
    """Return what an episode was worth; whether it is right only where somebody looked."""
    verdict = {} if reward.is_right is None else {"is_right": reward.is_right}
    return {"total": reward.total, "parts": dict(reward.parts), **verdict}


def step_row(
    action: Action,
    *,
    text: str = "",
    prefix: str = "",
    finish_reason: str = "stop",
    num_prompt_tokens: int = 0,
    num_visual_tokens: int = 0,
    num_completion_tokens: int = 0,
) -> dict[str, Any]:
    """Return one step as plain data: the action as it was taken, and the text it was read from, if there was one."""
    return {
        "prefix": prefix,
        "text": text,
        "action": action_row(action),
        "finish_reason": finish_reason,
        "num_prompt_tokens": num_prompt_tokens,
        "num_visual_tokens": num_visual_tokens,
        "num_completion_tokens": num_completion_tokens,
    }


def action_row(action: Action) -> dict[str, Any]:
    """Return an action as plain data, for `action_from_row`."""
    if isinstance(action, ZoomIn):
        rate = {} if action.fps is None else {"fps": action.fps}
        return {"type": "zoom_in", "span_s": list(action.span_s), **rate, **_form_row(action)}
    if isinstance(action, Answer):
        return {"type": "answer", "text": action.text, **_form_row(action)}
    if isinstance(action, GetCaption):
        return {"type": "get_caption", "node": list(action.node)}
    if isinstance(action, AskVideo):
        return {"type": "ask_video", "node": list(action.node), "question": action.question}
    return {"type": "malformed", "reason": str(action.reason)}


def _form_row(action: ZoomIn | Answer) -> dict[str, bool]:
    """Return nothing for what is as it should be."""
    return {} if action.is_well_formed else {"is_well_formed": False}


def action_from_row(row: TraceRow) -> Action:
    """Return the action that `action_row` wrote."""
    if row["type"] == "zoom_in":
        return ZoomIn(Span(*row["span_s"]), row.get("fps"), row.get("is_well_formed", True))
    if row["type"] == "answer":
        return Answer(row["text"] if "text" in row else row["letter"], row.get("is_well_formed", True))
    if row["type"] == "get_caption":
        return GetCaption(tuple(row["node"]))
    if row["type"] == "ask_video":
        return AskVideo(tuple(row["node"]), row["question"])
    return Malformed(row["reason"])


def task_from_row(row: TraceRow) -> Task:
    """Return the task of a row; its metadata is not saved."""
    facts = row["task"]
    return Task(
        task_id=row["task_id"],
        video=Path(facts["video"]),
        duration_s=facts["duration_s"],
        question=facts["question"],
        options=tuple(facts["options"]),
        answer=facts["answer"],
        evidence=tuple(Span(*span) for span in facts["evidence"]),
        kind=QuestionKind(facts.get("kind", QuestionKind.MULTIPLE_CHOICE)),
    )


def _task_row(task: Task) -> dict[str, Any]:
    return {
        "video": str(task.video),
        "duration_s": task.duration_s,
        "question": task.question,
        "options": list(task.options),
        "answer": task.answer,
        "evidence": [list(span) for span in task.evidence],
        **({} if task.kind is QuestionKind.MULTIPLE_CHOICE else {"kind": task.kind.value}),
    }
