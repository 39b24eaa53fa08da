"""Many waits at once: calls that mostly wait for somebody else, in a bounded number of threads."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def as_completed(
    call: Callable[[_Item], _Result], items: Sequence[_Item], num_threads: int
) -> Iterator[tuple[int, _Result]]:
    """Yield the position and the result of each item as it is finished, at most `num_threads` at work at once.

    With one thread everything happens in the caller's, one after the other. The first exception is raised here; then,
    and when the caller stops early or is interrupted, no further item is begun, and nobody waits for those at work:
    their threads are daemons and their results are dropped.

    Example:
        >>> dict(as_completed(str.upper, ["a", "b"], num_threads=2))
        {0: 'A', 1: 'B'}
    """
    if min(num_threads, len(items)) <= 1:
        yield from ((index, call(item)) for index, item in enumerate(items))
        return
    owed: queue.SimpleQueue[tuple[int, _Item]] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[int, _Result | None, BaseException | None]] = queue.SimpleQueue()
    is_stopped = threading.Event()

    def work() -> None:
        while not is_stopped.is_set():
            try:
                index, item = owed.get_nowait()
            except queue.Empty:
                return
            try:
                finished.put((index, call(item), None))
            except BaseException as error:
                finished.put((index, None, error))

    for pair in enumerate(items):
        owed.put(pair)
    for _ in range(min(num_threads, len(items))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in items:
            index, result, error = finished.get()
            if error is not None:
                raise error
            yield index, result  # type: ignore[misc]
    finally:
        is_stopped.set()
