"""A library that decodes without a video: frame 7 is all sevens. It can be told to hang, crash or fail."""

import os
from collections.abc import Iterator

import misbehaviour
import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.index import VideoIndex
from videozoom.envs.videos.libraries import BATCH_FRAMES, DecodeRequest, Library

HANGS, CRASHES, FAILS, IS_SHORT, NEEDS_A_PACKAGE = 201, 202, 203, 204, 205
"""Asked for one of these frames, it does so."""


def as_it_is(height: int, width: int) -> tuple[int, int]:
    return height, width


def half(height: int, width: int) -> tuple[int, int]:
    return height // 2, width // 2


def describe() -> str:
    return "fake1"


def describe_without_its_library() -> str:
    raise ImportError("libav.so: cannot open shared object file\n[start of a long traceback]")


def decode(request: DecodeRequest) -> Iterator[NDArray[np.uint8]]:
    for first in range(0, len(request.frames), BATCH_FRAMES):
        numbers = request.frames[first : first + BATCH_FRAMES]
        if HANGS in numbers:
            misbehaviour.hang()
        if CRASHES in numbers:
            misbehaviour.crash("bad memory")
        if FAILS in numbers:
            raise RuntimeError("first line\n[10:59:39] source/of/file.cc:12: source/b.cc:1, packet 7 is bad.\n")
        if NEEDS_A_PACKAGE in numbers:
            raise ImportError("it went away")
        if IS_SHORT in numbers:
            return
        yield np.stack([np.full((32, 48, 3), number, np.uint8) for number in numbers])


def decode_process_id(request: DecodeRequest) -> Iterator[NDArray[np.uint8]]:
    """Yield one frame that spells the number of the process."""
    digits = np.array([int(digit) for digit in f"{os.getpid():012d}"], np.uint8).reshape(1, 2, 2, 3)
    yield np.repeat(digits, len(request.frames), axis=0)


def no_refusal(index: VideoIndex) -> str | None:
    return None


def refuse_short(index: VideoIndex) -> str | None:
    return "files of 300 frames" if len(index.pts) == 300 else None


def library(**changes: object) -> Library:
    """Return the fake one; its package is one that is always there."""
    settings = {
        "name": "json",
        "describe": describe,
        "decode": decode,
        "refusal": no_refusal,
        "needs": "it needs libav",
        "environment": {},
    }
    return Library(**(settings | changes))  # type: ignore[arg-type]
