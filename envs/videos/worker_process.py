"""`WorkerProcess`: another Python process for work that may hang or crash."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from typing import IO, Any, TypeVar, cast

from videozoom.envs.videos.worker_program import Answer, receive, send, serve

T = TypeVar("T")


class WorkerError(Exception):
    """The process did not finish what it was asked for. The message is the end of a sentence about it."""


class WorkerTimeoutError(WorkerError):
    """It took longer than the limit and was killed."""


class WorkerDiedError(WorkerError):
    """It ended by itself, for instance by a crash inside a library."""


class WorkerProcess:
    """Runs functions in a process of its own, one after the other; it is killed when one takes too long.

    The process starts with the first request and is kept for the next ones; after a hang or a crash the next request
    starts another. It is a fresh interpreter, not a fork, so that locks and open files of this one play no part, and it
    ends when this one does, however that happens.

    Functions are named by their module, so lambdas and those of `__main__` cannot be run. May be used by several
    threads, which wait for each other. A pickled copy, and one in a forked process, starts a process of its own.

    Example:
        >>> with WorkerProcess(limit_s=10.0) as worker:
        ...     worker.call(divmod, 7, 2), list(worker.stream(range, 3))
        ((3, 1), [0, 1, 2])
    """

    def __init__(self, *, limit_s: float, environment: Mapping[str, str] | None = None) -> None:
        """Prepare a process.

        Args:
            limit_s: seconds that a request may take, the start of the process included; may be changed later.
            environment: variables of the process, beside those of this one.
        """
        self.limit_s = limit_s
        self._environment = dict(environment or {})
        self._reset()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return `function(*arguments)`; raises what it raises, or `WorkerError`."""
        (value,) = self.stream(_once, function, *arguments)
        return cast(T, value)

    def stream(self, function: Callable[..., Iterable[T]], *arguments: Any) -> Iterator[T]:
        """Yield the items of `function(*arguments)` as they come; raises what it raises, or `WorkerError`.

        The limit holds for all items together. Leaving early kills the process.
        """
        if self._owner != os.getpid():
            # In the child of a fork: the process, its pipes and the lock belong to the parent.
            self._reset()
        with self._lock:
            process = self._running()
            error: Exception | None = None
            is_finished = False
            try:
                with closing(process.answers((function, arguments), self.limit_s)) as answers:
                    for kind, value in answers:
                        if kind is Answer.ITEM:
                            yield value
                        elif kind is Answer.ERROR:
                            error = value
                is_finished = True
            finally:
                if not is_finished:
                    process.end()
            if error is not None:
                raise error

    def close(self) -> None:
        """End the process, if there is one. Another request starts it again."""
        if self._process is not None:
            self._process.end()

    @property
    def process_id(self) -> int | None:
        """Of the running process; `None` if there is none."""
        return self._process.id if self._process is not None and self._process.is_alive else None

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"limit_s": self.limit_s, "_environment": self._environment}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self._process: _Process | None = None
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def _running(self) -> "_Process":
        if self._process is None or not self._process.is_alive:
            self.close()
            self._process = _Process(self._environment)
        return self._process


class _Process:
    """The running process, seen from this side."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Decoders write much to stderr; only a crash makes it interesting. Closed by `_end`.
        self._log = cast(IO[bytes], tempfile.TemporaryFile("a+b"))  # noqa: SIM115
        program = f"import sys; sys.path[:] = {sys.path!r}; from {serve.__module__} import serve; serve()"
        self._popen = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C is for this process alone; the other one follows it.
        )
        self.id = self._popen.pid
        self.end = weakref.finalize(self, _end, self._popen, self._log, os.getpid())

    @property
    def is_alive(self) -> bool:
        """Whether the process can be asked."""
        return self.end.alive and self._popen.poll() is None

    def answers(self, request: object, limit_s: float) -> Generator[tuple[Answer, Any], None, None]:
        """Yield what comes back, the last being `DONE` or `ERROR`; raises `WorkerError`."""
        is_late = threading.Event()

        def kill() -> None:
            is_late.set()
            self._popen.kill()

        timer = threading.Timer(limit_s, kill)
        timer.daemon = True
        timer.start()
        try:
            yield from self._answers(request)
        except (EOFError, OSError):
            if is_late.is_set():
                raise WorkerTimeoutError(f"did not finish within {limit_s:g} s and was stopped") from None
            raise WorkerDiedError(self._last_words()) from None
        finally:
            timer.cancel()
            timer.join()
            if is_late.is_set():
                self.end()

    def _answers(self, request: object) -> Iterator[tuple[Answer, Any]]:
        stdin, stdout = cast(IO[bytes], self._popen.stdin), cast(IO[bytes], self._popen.stdout)
        self._log.truncate(0)
        send(stdin, request)
        kind = Answer.ITEM
        while kind is Answer.ITEM:
            kind, value = pickle.loads(receive(stdout))
            yield kind, value

    def _last_words(self) -> str:
        """Return how the process ended, as the end of a sentence."""
        try:
            code = self._popen.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "stopped answering"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{how} after saying {lines[-1][:200]!r}" if lines else how


def _end(process: "subprocess.Popen[bytes]", log: IO[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, log):
        # Closing writes what was not sent, to a process that is gone.
        with suppress(OSError):
            cast(IO[bytes], pipe).close()


def _once(function: Callable[..., T], *arguments: Any) -> Iterator[T]:
    yield function(*arguments)
