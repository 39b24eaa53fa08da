"""A world that a small network learns in minutes: videos of 32 s, one zoom, one answer.

A question asks for the sign in the scene with a frame of some colour. The colour can be seen in the fast view, the sign
only in a slow clip: without looking in the right place an agent guesses among four signs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import Task
from videozoom.envs.video_store import Resize, VideoStore
from videozoom.envs.wrappers import DiscreteActions, FixedShape
from videozoom.rewards.overlap import any_overlap

LENGTH_S = 32.0
SCENE_S = 4.0

ZoomPolicy = Callable[[dict[str, Any]], int]
"""Chooses an action for an observation of `make_env`."""


def make_tasks(folder: Path, num_videos: int, seed: int) -> tuple[Task, ...]:
    """Return two questions for each of some generated videos, which are kept in `folder`."""
    recipe = VideoRecipe(
        num_videos=num_videos, length_s=LENGTH_S, num_events=2, questions_per_video=2, fps=1.0, seed=seed
    )
    return load_tasks(generate(recipe, folder / f"{recipe.content_hash}-{num_videos}"))


def make_frames() -> VideoStore:
    """Return a reader of fast views of 16 frames, 28 pixels wide, and slow clips of 2 frames, 56 pixels wide."""
    return VideoStore(
        fast_fps=0.5, fast_frame_tokens=1, slow_fps=0.5, slow_max_frames=2, slow_frame_tokens=4, resize=Resize.AREA
    )


def make_env(
    tasks: tuple[Task, ...], frames: VideoStore, zoom_step_fraction: float = 0.0
) -> gymnasium.Env[dict[str, Any], Any]:
    """Return an environment of arrays: zoom into one of 8 segments or give one of 4 answers, within two steps.

    Some episodes may consist of one zoom alone, which is rewarded by whether it hits the evidence: that teaches where
    to look before answers can be right.
    """
    env = gymnasium.make(
        "videozoom.envs:VideoZoom-v0", tasks=tasks, frames=frames, max_steps=2, zoom_step_fraction=zoom_step_fraction
    )
    env = DiscreteActions(env, num_segments=int(LENGTH_S / SCENE_S))
    return FixedShape(
        env,
        num_fast_frames=16,
        fast_px=(28, 28),
        num_clips=1,
        num_clip_frames=2,
        clip_px=(56, 56),
        num_text_features=64,
    )


def score(policy: ZoomPolicy, tasks: tuple[Task, ...], frames: VideoStore) -> tuple[float, float]:
    """Return the shares of tasks that are answered right, and in which a zoom hits the evidence."""
    env = make_env(tasks, frames)
    num_right = num_hits = 0
    for task in tasks:
        observation, info = env.reset(options={"task": task})
        is_over = False
        while not is_over:
            observation, _, terminated, truncated, info = env.step(policy(observation))
            is_over = terminated or truncated
        num_right += info["facts"].answer == task.answer
        num_hits += any(any_overlap(span_s, task.evidence) for span_s in info["facts"].spans_s)
    return num_right / len(tasks), num_hits / len(tasks)


def random_policy(num_actions: int, seed: int = 0) -> ZoomPolicy:
    """Return a policy that draws every action."""
    rng = np.random.default_rng(seed)
    return lambda observation: int(rng.integers(num_actions))
