"""Recorded episodes played again, without a model: every step with the prompt it was written to."""

from collections.abc import Iterator
from dataclasses import dataclass

from videozoom.envs.messages import Prompt, SampledPart
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.tasks import Task
from videozoom.envs.trajectory_rows import action_from_row
from videozoom.rollout.runner import MakeEnv, environment_seed
from videozoom.rollout.trace_rows import TraceRow


class PlaybackError(ValueError):
    """The world does not play an episode as it was recorded: its videos, settings or code are not the same."""


@dataclass(frozen=True, slots=True)
class PlayedStep:
    """One step of a recorded episode."""

    prompt: Prompt
    """With all clips, as the policy was shown it."""
    text: str
    """What was written after the prompt and its prefix."""
    index: int
    """From 0."""
    is_last: bool


def play(row: TraceRow, task: Task, make_env: MakeEnv, protocol: Protocol) -> Iterator[PlayedStep]:
    """Yield the steps of a recorded episode of a task, which may know more than its trace; videos are read again.

    Raises:
        PlaybackError: An action is not taken as it was, or the episode does not end as it did.
    """
    env, steps = make_env(), row["steps"]
    options = {"task": task, "episode_kind": row["kind"], "max_steps": row.get("max_steps") or max(len(steps), 1)}
    observation, info = env.reset(seed=environment_seed(row["seed"]), options=options)
    spoken: list[SampledPart] = []
    for index, step in enumerate(steps):
        prompt = protocol.prompt(observation, spoken)
        if prompt.assistant_prefix != step["prefix"]:
            raise PlaybackError(f"step {index + 1} of {task.task_id} began with other words")
        yield PlayedStep(prompt, step["text"], index, is_last=index + 1 == len(steps))
        spoken.append(SampledPart(step["text"]))
        action = action_from_row(step["action"])
        # What was read from a text is read again, for what was refused is kept only as its reason.
        observation, _, _, _, info = env.step(protocol.parse(step["text"], observation) if step["text"] else action)
        if type(info["action"]) is not type(action) or (action != info["action"] and not hasattr(action, "reason")):
            raise PlaybackError(f"step {index + 1} of {task.task_id} is taken otherwise than it was")
    if info["status"] != row["status"]:
        raise PlaybackError(f"{task.task_id} ends as {info['status']}, not {row['status']}")
