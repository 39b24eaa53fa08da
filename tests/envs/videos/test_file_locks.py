import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
from cache_processes import Asking

from videozoom.envs.videos import file_locks
from videozoom.envs.videos.file_locks import LockState, file_lock

HOLDING = """
import time
from pathlib import Path
from videozoom.envs.videos.file_locks import file_lock
with file_lock(Path(sys.argv[1]), 0.0) as state:
    print(state.name, flush=True)
    time.sleep(60)
"""


def state_of(path: Path, patience_s: float = 0.0) -> LockState:
    with file_lock(path, patience_s) as state:
        return state


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with file_lock(tmp_path / "a", 0.0) as state:
        assert state is LockState.HELD
        assert state_of(tmp_path / "a") is LockState.TIMED_OUT
        assert state_of(tmp_path / "b") is LockState.HELD
    assert state_of(tmp_path / "a") is LockState.HELD


def test_the_folder_of_a_lock_is_made(tmp_path: Path) -> None:
    assert state_of(tmp_path / "new" / "folder" / "a") is LockState.HELD


def test_a_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), file_lock(tmp_path / "a", 0.0):
        raise KeyError
    assert state_of(tmp_path / "a") is LockState.HELD


def test_a_killed_process_gives_its_lock_back(tmp_path: Path) -> None:
    holder = Asking("", HOLDING, tmp_path / "a")
    assert holder.line() == "ready"
    holder.go()
    assert holder.line() == "HELD"
    assert state_of(tmp_path / "a", 0.1) is LockState.TIMED_OUT
    holder.process.kill()
    assert state_of(tmp_path / "a", 10.0) is LockState.HELD
    holder.end()


def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    inside, most = 0, 0

    def run() -> None:
        nonlocal inside, most
        for _ in range(5):
            with file_lock(tmp_path / "a", 30.0) as state:
                assert state is LockState.HELD
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    with file_lock(tmp_path / "a", 0.0):
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
    try:
        assert state_of(tmp_path / "a") is LockState.HELD
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_without_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert state_of(tmp_path / "file" / "a") is LockState.UNAVAILABLE

    def unsupported(*_: object) -> None:
        raise OSError(95, "not supported")

    with monkeypatch.context() as patch:
        patch.setattr(file_locks.fcntl, "flock", unsupported)
        assert state_of(tmp_path / "a") is LockState.UNAVAILABLE
    with monkeypatch.context() as patch:
        patch.setattr(file_locks, "fcntl", None)
        assert state_of(tmp_path / "a") is LockState.UNAVAILABLE
    assert state_of(tmp_path / "a") is LockState.HELD


def test_no_file_stays_open(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    before = len(list(folder.iterdir()))
    for _ in range(20):
        with file_lock(tmp_path / "a", 0.0):
            assert state_of(tmp_path / "a") is LockState.TIMED_OUT
    assert len(list(folder.iterdir())) == before
