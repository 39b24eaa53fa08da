"""Stable-Baselines3's PPO, unchanged, on the environment."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from videozoom.envs.wrappers import BoxActions, DiscreteActions, FixedShape, MultiDiscreteActions
from videozoom.experiments.examples import small_world

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed: pip install 'videozoom[sb3]'")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_learns_to_zoom_and_to_answer(tmp_path: Path) -> None:
    train = importlib.import_module("videozoom.experiments.examples.train_sb3").train
    shares = train(tmp_path)
    assert shares["hits"] > shares["random_hits"] + 0.4
    # Reading the signs comes later than finding them, and how much later depends on the seed.
    assert shares["right"] > shares["random_right"] + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("form", [DiscreteActions, MultiDiscreteActions, BoxActions])
def test_it_takes_the_forms_of_actions_it_knows(form: Any, tmp_path: Path) -> None:
    from stable_baselines3 import PPO

    tasks = small_world.make_tasks(tmp_path, num_videos=1, seed=3)
    base = small_world.make_env(tasks, small_world.make_frames()).unwrapped
    env = FixedShape(form(base), num_fast_frames=4, fast_px=(8, 8), num_clip_frames=2, clip_px=(8, 8))
    model = PPO("MultiInputPolicy", env, n_steps=16, batch_size=16, n_epochs=1)
    model.learn(32)
    observation, _ = env.reset(seed=0)
    assert env.action_space.contains(model.predict(observation)[0])
