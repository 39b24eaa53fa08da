"""What decoders do wrong, as functions that a process of its own can run."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class UnreadableError(Exception):
    """Cannot be unpickled: its constructor wants more than its message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")


def hang(marker: str = "") -> None:
    """Never return; `marker` is a file that exists once the hang has begun."""
    if marker:
        Path(marker).write_text(str(os.getpid()))
    while True:
        time.sleep(60.0)


def crash(last_words: str = "") -> None:
    """End the process as a fault in a library does."""
    print(last_words, file=sys.stderr, flush=True)
    os.abort()


def crash_when_asked_for_a_size(height_px: int, width_px: int) -> tuple[int, int]:
    """A size rule on which the process ends."""
    os.abort()


def exit_quietly(code: int) -> None:
    os._exit(code)


def leave_by_sys_exit() -> None:
    sys.exit("enough")


def raise_it(error: Exception) -> None:
    raise error


def raise_unreadable() -> None:
    raise UnreadableError(3, "of its own kind")


def print_much() -> str:
    """Write to both outputs, by Python and past it."""
    print("noise", flush=True)
    os.write(1, b"noise" * 1000)
    os.write(2, b"noise" * 100_000)
    return "answer"


def count_then_hang(number: int) -> Iterator[int]:
    yield from range(number)
    hang()


def count_then_fail(number: int) -> Iterator[int]:
    yield from range(number)
    raise ValueError(f"after {number}")


def environment_variable(name: str) -> str | None:
    return os.environ.get(name)


def process_id() -> int:
    return os.getpid()
