"""`VisualTokenBudget`: how much an episode may look at."""

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from videozoom.envs.actions import Malformed
from videozoom.envs.episode import Episode
from videozoom.envs.observation import Observation, VideoClip
from videozoom.envs.sampling import num_visual_tokens
from videozoom.envs.wrappers.base import zoom_env

OVER_BUDGET = "over_budget"
"""Reason of a `Malformed` zoom that would have shown more than the budget allows."""


class VisualTokenBudget(gymnasium.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs):
    """Refuses zooms that would take an episode above a number of visual tokens.

    A refused zoom costs a step and shows nothing: its action is `Malformed("over_budget")`. Tokens are those of the
    frames themselves, one per pair of frames and square of 28 pixels, without timestamps and other text. `info` has
    `visual_tokens`, those the episode has shown so far, and `visual_tokens_left`.

    Args:
        env: The environment.
        max_tokens: The most visual tokens of an episode, the fast view included.

    Raises:
        ValueError: from `reset`, if the fast view alone takes more.

    Example:
        >>> env = VisualTokenBudget(env, max_tokens=8192)
        >>> env.reset(seed=0)[1]["visual_tokens"]
        6144
    """

    def __init__(self, env: gymnasium.Env[Observation, Any], max_tokens: int) -> None:
        RecordConstructorArgs.__init__(self, max_tokens=max_tokens)
        gymnasium.Wrapper.__init__(self, env)
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {max_tokens}.")
        self.max_tokens = max_tokens
        self._env = zoom_env(env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        num_tokens = shown_tokens(self._env.snapshot())
        if num_tokens > self.max_tokens:
            raise ValueError(
                f"The fast view of task {info['task_id']!r} takes {num_tokens} visual tokens, more than the budget of "
                f"{self.max_tokens}: raise max_tokens, or give the fast view fewer or smaller frames."
            )
        return observation, self._with_tokens(info)

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        before = self._env.snapshot()
        result = super().step(action)
        if shown_tokens(self._env.snapshot()) > self.max_tokens:
            taken = result[4]["action"]
            self._env.restore(before)
            result = super().step(Malformed(OVER_BUDGET, taken))
        observation, reward, terminated, truncated, info = result
        return observation, reward, terminated, truncated, self._with_tokens(info)

    def _with_tokens(self, info: dict[str, Any]) -> dict[str, Any]:
        num_tokens = shown_tokens(self._env.snapshot())
        return info | {"visual_tokens": num_tokens, "visual_tokens_left": self.max_tokens - num_tokens}


def shown_tokens(episode: Episode) -> int:
    """Return the visual tokens of everything an episode has shown so far."""
    return sum(clip_tokens(clip) for clip in (episode.fast_view, *episode.clips))


def clip_tokens(clip: VideoClip) -> int:
    """Return the visual tokens of a clip."""
    num_frames, height_px, width_px, _ = clip.frames.shape
    return num_visual_tokens(num_frames, height_px, width_px)
