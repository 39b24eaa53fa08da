"""`RecordTrajectory`: finished episodes as lines of a file, whoever acted."""

import secrets
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from videozoom.envs.json_lines import append_json_line
from videozoom.envs.observation import Observation
from videozoom.envs.tasks import Status
from videozoom.envs.trajectory_rows import step_row, trajectory_row
from videozoom.envs.wrappers.base import question_env


class RecordTrajectory(gymnasium.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs):
    """Writes every finished episode as one line, in the format of `traces.jsonl`.

    Each wrapped environment writes a file of its own, `trajectories_<random>.jsonl`, so that those of a vector
    environment can share a folder. Around `TextActions` the texts are kept as well. An episode that is left unfinished
    is not written; one that is branched with `restore` is written each time a branch ends.

    Args:
        env: The environment.
        folder: Where the file goes; created when the first episode ends.
        policy: Name of who acts.

    Example:
        >>> env = RecordTrajectory(env, "runs/my_agent", policy="my_agent")
        >>> env.path.name
        'trajectories_9f86d081.jsonl'
    """

    def __init__(self, env: gymnasium.Env[Observation, Any], folder: str | Path, *, policy: str = "agent") -> None:
        RecordConstructorArgs.__init__(self, folder=folder, policy=policy)
        gymnasium.Wrapper.__init__(self, env)
        self._env = question_env(env)
        self._policy = policy
        self._name = secrets.token_hex(4)
        self._num_written = 0
        self._steps: tuple[dict[str, Any], ...] = ()
        self._prefix = ""
        self.path = Path(folder) / f"trajectories_{self._name}.jsonl"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        self._steps, self._prefix = (), _prefix_in(info)
        return observation, info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        num_before = self._env.snapshot().step
        result = super().step(action)
        info = result[4]
        text = action if isinstance(action, str) else ""
        # After a `restore` fewer steps count.
        self._steps = (*self._steps[:num_before], step_row(info["action"], text=text, prefix=self._prefix))
        self._prefix = _prefix_in(info)
        if info["status"] != Status.RUNNING:
            self._write(info)
        return result

    def _write(self, info: dict[str, Any]) -> None:
        facts = info["facts"]
        row = trajectory_row(
            self._env.snapshot().task,
            phase="record",
            policy=self._policy,
            iteration=0,
            kind=facts.kind,
            member=self._num_written,
            seed=(int(self._name, 16), self._num_written),
            status=info["status"],
            answer=facts.answer,
            spans_s=facts.spans_s,
            reward=info["reward_breakdown"],
            steps=self._steps,
            error=info.get("error"),
            max_steps=self._env.snapshot().max_steps,
            num_clip_frames=facts.num_clip_frames,
        )
        append_json_line(self.path, row)
        self._num_written += 1


def _prefix_in(info: dict[str, Any]) -> str:
    """Return what the assistant's next text is written after, where there is a prompt."""
    prompt = info.get("prompt")
    return prompt.assistant_prefix if prompt is not None else ""
