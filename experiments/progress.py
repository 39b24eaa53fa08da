"""What a person sees while a command works: bars on a terminal, plain lines elsewhere. All of it on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)
"""For people; `console.quiet` silences it. What programs read goes to stdout."""

LINES_PER_BAR = 10
"""Plain lines that stand for one bar where there is no terminal."""


class Advance(Protocol):
    """Moves a bar."""

    def __call__(self, num_done: int = 1, note: str = "") -> None:
        """Add `num_done` finished items and show `note` behind them."""
        ...


class Listener(Protocol):
    """Hears what would be shown."""

    def __call__(self, description: str, num_done: int, total: int, /) -> None:
        """Take how many of `total` items are finished."""
        ...


_listeners: list[Listener] = []


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Tell a listener about the progress of everything in the block, instead of showing it."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.pop()


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """Show the progress of `total` items while the block runs.

    Example:
        >>> with progress("Rendering videos", total=2) as advance:
        ...     advance()
        ...     advance(note="loss 0.31")
    """
    if _listeners:
        yield _told(description, total, _listeners[-1])
        return
    if not console.is_terminal:
        yield _plain(description, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(description, total=total, note="")

        def advance(num_done: int = 1, note: str = "") -> None:
            bars.update(bar, advance=num_done, note=note)

        yield advance


def _told(description: str, total: int, listener: Listener) -> Advance:
    done = 0
    listener(description, done, total)

    def advance(num_done: int = 1, note: str = "") -> None:
        nonlocal done
        done += num_done
        listener(description, done, total)

    return advance


def _plain(description: str, total: int) -> Advance:
    done = 0

    def advance(num_done: int = 1, note: str = "") -> None:
        nonlocal done
        before, done = done, done + num_done
        # A line whenever another tenth is finished, so that a log file stays short.
        if total and done * LINES_PER_BAR // total > before * LINES_PER_BAR // total:
            console.print(f"{description}: {done}/{total}{f', {note}' if note else ''}", markup=False, soft_wrap=True)

    return advance
