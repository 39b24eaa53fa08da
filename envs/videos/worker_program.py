"""What runs in the process of a `WorkerProcess`, and how the two sides talk."""

import os
import pickle
import queue
import struct
import sys
import threading
from enum import Enum, auto
from typing import IO, Any

_LENGTH = struct.Struct("<Q")


class Answer(Enum):
    """What a message to the one that asks holds."""

    ITEM = auto()
    """One item of the result; more messages follow."""
    DONE = auto()
    ERROR = auto()
    """The exception that ended the function."""


def serve() -> None:
    """Answer requests from standard input on standard output until it closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints must not come between the answers.
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # A thread listens, so that this process ends with the one that asks even while a function runs.
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    while True:
        _answer(answers, requests.get())


def send(stream: IO[bytes], value: object) -> None:
    """Write a value as one message."""
    message = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Return the next message, still pickled; raises `EOFError` if there is no whole one."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    return _read(stream, length)


def _read(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _listen(stream: IO[bytes], requests: "queue.SimpleQueue[bytes]") -> None:
    while True:
        try:
            requests.put(receive(stream))
        except (EOFError, OSError):
            os._exit(0)


def _answer(stream: IO[bytes], request: bytes) -> None:
    try:
        function, arguments = pickle.loads(request)
        for item in function(*arguments):
            send(stream, (Answer.ITEM, item))
    except BaseException as error:
        send(stream, (Answer.ERROR, _portable(error)))
    else:
        send(stream, (Answer.DONE, None))


def _portable(error: BaseException) -> Any:
    """Return an error that the other side can read: the same one where its class allows that."""
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, Exception):
        # `SystemExit` in a library is its failure, and must not end the one that asked.
        return RuntimeError(text)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    return error
