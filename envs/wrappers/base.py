"""What wrappers need of the environment below them."""

from typing import Any

import gymnasium

from videozoom.envs.question_env import QuestionEnv
from videozoom.envs.tasks import QuestionKind
from videozoom.envs.video_zoom import VideoZoomEnv


def zoom_env(env: gymnasium.Env[Any, Any]) -> VideoZoomEnv:
    """Return the `VideoZoomEnv` below any wrappers.

    Raises:
        ValueError: if it is another environment.
    """
    if not isinstance(env.unwrapped, VideoZoomEnv):
        raise ValueError(f"This wrapper goes around a VideoZoom environment, not around {env.unwrapped!r}.")
    return env.unwrapped


def num_options(env: VideoZoomEnv, wrapper: str) -> int:
    """Return the most options that a task of the environment has.

    Raises:
        ValueError: if a task has none to choose from, for `wrapper` has no room for other answers.
    """
    for task in env.tasks:
        check_kind(task.kind, wrapper)
    return max(len(task.options) for task in env.tasks)


def check_kind(kind: QuestionKind, wrapper: str) -> None:
    """Raise `ValueError` if a question is not multiple choice."""
    if kind is not QuestionKind.MULTIPLE_CHOICE:
        raise ValueError(
            f"{wrapper} is for multiple choice, but there is a question of kind {kind}: leave such tasks out, or "
            "answer in words (TextActions)."
        )


def question_env(env: gymnasium.Env[Any, Any]) -> QuestionEnv[Any, Any]:
    """Return the environment of this package below any wrappers, whatever can be looked at in it.

    Raises:
        ValueError: if it is another environment.
    """
    if not isinstance(env.unwrapped, QuestionEnv):
        raise ValueError(f"This wrapper goes around an environment of videozoom, not around {env.unwrapped!r}.")
    return env.unwrapped
