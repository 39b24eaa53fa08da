import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import misbehaviour
import numpy as np
import pytest

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.worker_process import WorkerDiedError, WorkerProcess, WorkerTimeoutError


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    with WorkerProcess(limit_s=60.0) as process:
        yield process


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process_id}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_results_come_back_and_the_process_stays(worker: WorkerProcess) -> None:
    assert worker.call(divmod, 7, 2) == (3, 1)
    assert list(worker.stream(range, 3)) == [0, 1, 2]
    first, second = (worker.call(misbehaviour.process_id) for _ in range(2))
    assert first == second == worker.process_id != os.getpid()


def test_arrays_of_many_megabytes_come_back(worker: WorkerProcess) -> None:
    zeros = worker.call(np.zeros, (3, 4_000_000), np.uint8)
    assert zeros.shape == (3, 4_000_000)
    assert not zeros.any()


def test_errors_of_a_function_are_raised_here_and_the_process_stays(worker: WorkerProcess) -> None:
    before = worker.call(misbehaviour.process_id)
    with pytest.raises(ZeroDivisionError):
        worker.call(divmod, 7, 0)
    with pytest.raises(VideoDecodeError, match="a reason"):
        worker.call(misbehaviour.raise_it, VideoDecodeError("a reason"))
    with pytest.raises(RuntimeError, match="UnreadableError: 3 of its own kind"):
        worker.call(misbehaviour.raise_unreadable)
    with pytest.raises(RuntimeError, match="SystemExit: enough"):
        worker.call(misbehaviour.leave_by_sys_exit)
    assert worker.call(misbehaviour.process_id) == before


def test_what_came_before_an_error_is_delivered(worker: WorkerProcess) -> None:
    stream = worker.stream(misbehaviour.count_then_fail, 2)
    items = [next(stream), next(stream)]
    with pytest.raises(ValueError, match="after 2"):
        next(stream)
    assert items == [0, 1]


def test_a_function_that_cannot_be_found_is_an_error_here(worker: WorkerProcess) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        worker.call(lambda: 1)
    assert worker.call(divmod, 7, 2) == (3, 1)


def test_what_a_library_prints_does_not_come_between(worker: WorkerProcess) -> None:
    assert worker.call(misbehaviour.print_much) == "answer"
    assert worker.call(divmod, 7, 2) == (3, 1)


def test_a_hang_is_killed_and_the_next_request_gets_another_process() -> None:
    with WorkerProcess(limit_s=60.0) as worker:
        before = worker.call(misbehaviour.process_id)
        worker.limit_s = 0.5
        with pytest.raises(WorkerTimeoutError, match=r"did not finish within 0.5 s and was stopped"):
            worker.call(misbehaviour.hang)
        assert worker.process_id is None
        assert not is_running(before)
        worker.limit_s = 60.0
        assert worker.call(misbehaviour.process_id) != before


def test_the_limit_holds_for_a_stream_that_stops_flowing() -> None:
    with WorkerProcess(limit_s=60.0) as worker:
        worker.call(misbehaviour.process_id)
        worker.limit_s = 2.0
        stream = worker.stream(misbehaviour.count_then_hang, 3)
        assert [next(stream) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(WorkerTimeoutError):
            next(stream)


def test_a_crash_says_how_and_the_next_request_gets_another_process(worker: WorkerProcess) -> None:
    before = worker.call(misbehaviour.process_id)
    with pytest.raises(WorkerDiedError, match=r"was killed by SIGABRT after saying 'bad memory'"):
        worker.call(misbehaviour.crash, "x\nbad memory\n")
    with pytest.raises(WorkerDiedError, match=r"^ended with exit code 3$"):
        worker.call(misbehaviour.exit_quietly, 3)
    assert worker.call(misbehaviour.process_id) != before


def test_a_process_that_was_killed_between_requests_is_replaced(worker: WorkerProcess) -> None:
    before = worker.call(misbehaviour.process_id)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: worker.process_id is None)
    assert worker.call(misbehaviour.process_id) != before


def test_leaving_a_stream_early_gives_no_old_items_to_the_next_request(worker: WorkerProcess) -> None:
    for item in worker.stream(range, 1000):
        if item == 1:
            break
    assert list(worker.stream(range, 3)) == [0, 1, 2]


def test_threads_wait_for_each_other(worker: WorkerProcess) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: list(worker.stream(range, number)), range(40)))
    assert found == [list(range(number)) for number in range(40)]


def test_a_pickled_copy_has_its_own_process(worker: WorkerProcess) -> None:
    worker.call(misbehaviour.process_id)
    with pickle.loads(pickle.dumps(worker)) as copy:
        assert copy.process_id is None
        assert copy.call(misbehaviour.process_id) != worker.process_id


def test_variables_of_the_process_are_its_own() -> None:
    with WorkerProcess(limit_s=30.0, environment={"VIDEOZOOM_TEST": "there"}) as worker:
        assert worker.call(misbehaviour.environment_variable, "VIDEOZOOM_TEST") == "there"
    assert "VIDEOZOOM_TEST" not in os.environ


def test_the_process_ends_when_it_is_closed_or_forgotten() -> None:
    worker = WorkerProcess(limit_s=30.0)
    before = worker.call(misbehaviour.process_id)
    worker.close()
    worker.close()
    assert not is_running(before)
    again = worker.call(misbehaviour.process_id)
    del worker
    gc.collect()
    assert not is_running(again)


def test_no_descriptor_is_left_over() -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    before = len(list(folder.iterdir()))
    worker = WorkerProcess(limit_s=30.0)
    for _ in range(3):
        with pytest.raises(WorkerDiedError):
            worker.call(misbehaviour.exit_quietly, 0)
    assert len(list(folder.iterdir())) == before
    assert threading.active_count() < 10


OWNER = """
import os, sys
import misbehaviour
from videozoom.envs.videos.worker_process import WorkerProcess

worker = WorkerProcess(limit_s=60.0)
{body}
"""


def owner(body: str) -> "subprocess.Popen[str]":
    program = f"import sys; sys.path[:] = {sys.path!r}\n" + OWNER.format(body=body)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_a_hanging_process_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "hangs"
    with owner(f"worker.call(misbehaviour.hang, {str(marker)!r})") as process:
        wait_for(lambda: marker.exists() and marker.read_text() != "")
        hanging = int(marker.read_text())
        assert is_running(hanging)
        process.kill()
    wait_for(lambda: not is_running(hanging))


def test_the_child_of_a_fork_starts_its_own_process_and_leaves_the_parents_alone() -> None:
    body = """
before = worker.call(misbehaviour.process_id)
child = os.fork()
own = worker.call(misbehaviour.process_id)
if child == 0:
    sys.exit(0 if own != before else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), own == before, worker.call(misbehaviour.process_id) == before)
"""
    with owner(body) as process:
        assert process.communicate(timeout=60)[0].split() == ["0", "True", "True"]
