"""Generated videos that the tests of a session share."""

from collections.abc import Iterator
from pathlib import Path

import grpo_world
import pytest
from generated_world import GeneratedWorld, make_generated_world, smoke_config
from grpo_world import NonsenseProtocol

from videozoom.envs.protocols.love_r1 import LoveR1Protocol


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of generated videos; runs find there what an earlier one rendered."""
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session")
def generated(videos: Path) -> GeneratedWorld:
    return make_generated_world(videos / "world")


@pytest.fixture(scope="session")
def nonsense_run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run whose penalties change, by a model that writes nonsense and a protocol that reads it.

    Tests must not change it.
    """
    from videozoom.experiments.train import run_train

    folder = tmp_path_factory.mktemp("nonsense") / "run"
    rewards = ("reward.format=0.5", "reward.cost=0.1", "grpo.penalties.start=0", "grpo.penalties.end=1")
    config = smoke_config(videos, folder, "grpo.num_iterations=2", "rollout.group_size=4", *rewards)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoveR1Protocol, "parse", NonsenseProtocol.parse)
        run_train(config)
    return folder


@pytest.fixture(scope="module")
def ray_started() -> Iterator[None]:
    """Run Ray with workers that can import what only pytest has on its path."""
    import ray

    from videozoom.experiments.ray_runtime import ray_runtime

    ray.cloudpickle.register_pickle_by_value(grpo_world)
    with ray_runtime(4):
        yield
