"""Locks between processes and threads that the end of their holder gives back, however it ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path

try:
    import fcntl
except ImportError:  # No such locks on this system.
    fcntl = None  # type: ignore[assignment]

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.05


class LockState(Enum):
    """What came of asking for a lock."""

    HELD = auto()
    TIMED_OUT = auto()
    """Somebody else held it all the time."""
    UNAVAILABLE = auto()
    """There are no locks: the system or the file system has none, or the lock's file cannot be opened."""


@contextmanager
def file_lock(path: Path, patience_s: float) -> Iterator[LockState]:
    """Hold the lock of a file while the block runs, if it can be had; what came of it is yielded.

    The lock belongs to the open file, not to the process, so two threads exclude each other as well. The file stays
    where it is: removing it would let two processes hold locks of the same name.

    Args:
        path: the lock's own file; it and its folder are made if they are not there.
        patience_s: how long to wait for another holder; 0 does not wait.
    """
    descriptor = _opened(path)
    if descriptor is None:
        yield LockState.UNAVAILABLE
        return
    try:
        yield _acquired(descriptor, patience_s)
    finally:
        # Closing is not enough: a child forked in the meantime has the file open too, and would hold on to the lock.
        _unlock(descriptor)
        os.close(descriptor)


def _opened(path: Path) -> int | None:
    if fcntl is None:
        return None
    # Some file systems lock only what is open for writing; a file of another user may only be read.
    for mode in (os.O_RDWR, os.O_RDONLY):
        try:
            return os.open(path, mode | os.O_CREAT, 0o666)
        except FileNotFoundError:
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                return os.open(path, mode | os.O_CREAT, 0o666)
        except OSError:
            continue
    return None


def _acquired(descriptor: int, patience_s: float) -> LockState:
    deadline_s, wait_s = time.monotonic() + patience_s, _FIRST_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return LockState.HELD
        except (BlockingIOError, PermissionError):
            pass
        except OSError:
            return LockState.UNAVAILABLE
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return LockState.TIMED_OUT
        time.sleep(min(wait_s, left_s))
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _unlock(descriptor: int) -> None:
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
