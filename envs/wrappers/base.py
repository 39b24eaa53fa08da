"""What wrappers need of the environment below them."""

from typing import Any

import gymnasium

from videozoom.envs.question_env import QuestionEnv
from videozoom.envs.video_zoom import VideoZoomEnv


def zoom_env(env: gymnasium.Env[Any, Any]) -> VideoZoomEnv:
    """Return the `VideoZoomEnv` below any wrappers.

    Raises:
        ValueError: if it is another environment.
    """
    if not isinstance(env.unwrapped, VideoZoomEnv):
        raise ValueError(f"This wrapper goes around a VideoZoom environment, not around {env.unwrapped!r}.")
    return env.unwrapped


def question_env(env: gymnasium.Env[Any, Any]) -> QuestionEnv[Any, Any]:
    """Return the environment of this package below any wrappers, whatever can be looked at in it.

    Raises:
        ValueError: if it is another environment.
    """
    if not isinstance(env.unwrapped, QuestionEnv):
        raise ValueError(f"This wrapper goes around an environment of videozoom, not around {env.unwrapped!r}.")
    return env.unwrapped
