from pathlib import Path

import pytest
import torch

from videozoom.experiments.checkpoints import (
    atomic_folder,
    checkpoint_folder,
    latest_checkpoint,
    load_trainer_state,
    save_trainer_state,
)


def make_checkpoint(checkpoints: Path, iteration: int) -> Path:
    with atomic_folder(checkpoint_folder(checkpoints, iteration)) as folder:
        save_trainer_state(folder, {"optimizers": [{"state": torch.arange(3)}]}, {"iteration": iteration})
    return checkpoint_folder(checkpoints, iteration)


def test_the_latest_checkpoint_has_the_most_iterations(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    for iteration in (2, 1_000_000, 30):
        make_checkpoint(tmp_path, iteration)
    assert latest_checkpoint(tmp_path) == tmp_path / "iteration_1000000"


def test_what_is_not_complete_is_no_checkpoint(tmp_path: Path) -> None:
    whole = make_checkpoint(tmp_path, 1)
    checkpoint_folder(tmp_path, 2).mkdir()
    (tmp_path / ".iteration_000003.partial").mkdir()
    (tmp_path / "cold_start").mkdir()
    assert latest_checkpoint(tmp_path) == whole


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, 1)

    def fail() -> None:
        with atomic_folder(folder) as temporary:
            (temporary / "half").touch()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert load_trainer_state(folder)["progress"] == {"iteration": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["iteration_000001"]


def test_a_checkpoint_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, 1)
    (folder / "stale").touch()
    make_checkpoint(tmp_path, 1)
    assert [path.name for path in folder.iterdir()] == ["trainer_state.pt"]


def test_the_trainer_state_comes_back(tmp_path: Path) -> None:
    state = load_trainer_state(make_checkpoint(tmp_path, 7))
    assert state["progress"] == {"iteration": 7}
    assert state["optimizer"]["optimizers"][0]["state"].tolist() == [0, 1, 2]
