"""Generated videos that the tests of a session share."""

from pathlib import Path

import pytest
from generated_world import GeneratedWorld, make_generated_world


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of generated videos; runs find there what an earlier one rendered."""
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session")
def generated(videos: Path) -> GeneratedWorld:
    return make_generated_world(videos / "world")
