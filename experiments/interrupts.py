"""Ctrl-C that lets work in progress finish."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from videozoom.experiments.progress import console


class StopRequest:
    """Turns the first Ctrl-C into a request that the block looks at; the second one interrupts at once.

    Example:
        >>> with StopRequest("this iteration") as stop:
        ...     while work and not stop.requested:
        ...         work.do_some()
    """

    def __init__(self, unit: str) -> None:
        """Name the `unit` of work that will still be finished, for the message."""
        self.requested = False
        self._unit = unit
        self._previous: Any = None

    def __enter__(self) -> Self:
        # Python lets only the main thread handle signals; elsewhere Ctrl-C stays what it is.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()
        console.print(f"Stopping after {self._unit}; press Ctrl-C again to stop at once.")

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
