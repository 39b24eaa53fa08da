"""RLlib's PPO, unchanged, on the environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from videozoom.envs.wrappers import BoxActions, DictActions, DiscreteActions, FixedShape, MultiDiscreteActions
from videozoom.experiments.examples import small_world

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module", autouse=True)
def _stop_ray() -> Iterator[None]:
    import ray

    yield
    ray.shutdown()


@pytest.mark.timeout(1800)
def test_it_learns_to_zoom(tmp_path: Path) -> None:
    from videozoom.experiments.examples.train_rllib import train

    shares = train(tmp_path)
    assert shares["hits"] > shares["random_hits"] + 0.3
    assert shares["right"] > shares["random_right"] + 0.1


@pytest.mark.parametrize("form", [DiscreteActions, MultiDiscreteActions, BoxActions, DictActions])
def test_it_takes_the_forms_of_actions_it_knows(form: Any, tmp_path: Path) -> None:
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.connectors.env_to_module import FlattenObservations
    from ray.tune.registry import register_env

    tasks = small_world.make_tasks(tmp_path, num_videos=1, seed=3)
    base = small_world.make_env(tasks, small_world.make_frames()).unwrapped

    def make(_: Any) -> Any:
        return FixedShape(form(base), num_fast_frames=4, fast_px=(8, 8), num_clip_frames=2, clip_px=(8, 8))

    register_env(form.__name__, make)
    config = (
        PPOConfig()
        .environment(form.__name__)
        .env_runners(num_env_runners=0, env_to_module_connector=lambda *_: FlattenObservations())
        .training(train_batch_size=64, minibatch_size=32, num_epochs=1)
    )
    algorithm = config.build_algo()
    try:
        result = algorithm.train()
        assert result["env_runners"]["num_env_steps_sampled"] >= 64
    finally:
        algorithm.stop()
