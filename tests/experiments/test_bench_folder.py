import os
from pathlib import Path

import pytest

from videozoom.experiments.bench_folder import measuring_in
from videozoom.experiments.errors import UserError


def test_a_second_run_is_told_that_another_is_measuring(tmp_path: Path) -> None:
    with measuring_in(tmp_path) as caches:
        (caches / "cache_1").mkdir()
        with pytest.raises(UserError, match="another videozoom bench is measuring in"), measuring_in(tmp_path):
            pass
        assert (caches / "cache_1").exists()
    with measuring_in(tmp_path):
        pass


def test_caches_of_a_killed_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    with measuring_in(tmp_path) as caches:
        pass
    for folder in (caches / "cache_abc", tmp_path / "cache_of_the_user"):
        folder.mkdir(parents=True)
        (folder / "frames.npy").touch()
    with measuring_in(tmp_path) as caches:
        assert list(caches.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "cache_of_the_user"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot be written \(Permission denied\); choose another"):
        measuring_in(tmp_path).__enter__()
