import threading

import pytest

from videozoom.policies.parallel import as_completed


def test_results_come_as_they_are_finished() -> None:
    is_second_done = threading.Event()

    def call(name: str) -> str:
        if name == "first":
            assert is_second_done.wait(10)
        return name.upper()

    results = []
    for pair in as_completed(call, ["first", "second"], num_threads=2):
        results.append(pair)
        is_second_done.set()
    assert results == [(1, "SECOND"), (0, "FIRST")]


def test_no_more_than_the_bound_are_at_work() -> None:
    lock, barrier = threading.Lock(), threading.Barrier(3)
    at_work, most = 0, 0

    def call(_: int) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        barrier.wait(10)
        with lock:
            at_work -= 1

    assert len(list(as_completed(call, range(9), num_threads=3))) == 9
    assert most == 3


def test_one_thread_is_the_callers() -> None:
    threads = dict(as_completed(lambda _: threading.current_thread(), range(2), num_threads=1))
    assert set(threads.values()) == {threading.current_thread()}
    others = dict(as_completed(lambda _: threading.current_thread(), range(2), num_threads=2))
    assert threading.current_thread() not in others.values()


def test_the_first_exception_is_raised_and_nothing_more_begun() -> None:
    begun: list[int] = []
    is_raised = threading.Event()

    def call(number: int) -> int:
        begun.append(number)
        if number == 0:
            raise ValueError("item 0")
        assert is_raised.wait(10)
        return number

    with pytest.raises(ValueError, match="item 0"):
        list(as_completed(call, range(100), num_threads=2))
    is_raised.set()
    assert len(begun) <= 4


def test_a_caller_that_stops_leaves_the_rest_undone() -> None:
    done: list[int] = []
    is_left, lock = threading.Event(), threading.Lock()

    def call(number: int) -> int:
        if number >= 2:
            is_left.wait(10)
        with lock:
            done.append(number)
        return number

    results = as_completed(call, range(100), num_threads=2)
    next(results)
    results.close()
    is_left.set()
    assert len(done) <= 6
