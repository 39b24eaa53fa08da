"""What a library must offer to decode in a process of its own, and what is done with it there."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.index import VideoIndex
from videozoom.envs.videos.orientation import is_mirror_image
from videozoom.envs.videos.reader import SizeRule
from videozoom.envs.videos.resizing import Resize, resized

BATCH_FRAMES = 16
"""Frames that are held at full resolution at a time."""

_SOURCE_PLACE = re.compile(r"(\[[\d:]+\] )?\S*/\S+:\d+[:,] ")
"""Where in its source code a library failed, and when."""


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """What the other process is asked for; F frames."""

    path: Path
    frames: tuple[int, ...]
    """`[F]`, display indices, strictly ascending."""
    times_s: NDArray[np.float64]
    """`[F]`, seconds since the first frame of the file."""
    num_frames: int
    """Frames of the whole file."""
    slack_s: float
    """A frame whose time is off by more is another one."""
    size: SizeRule
    resize: Resize


@dataclass(frozen=True, slots=True)
class Library:
    """A library that decodes. Its functions run in the other process and are named by their module."""

    name: str
    """Of the package, and of the extra that installs it."""
    describe: Callable[[], str]
    """Imports the library and returns its name and version, and those of what it decodes with."""
    decode: Callable[[DecodeRequest], Iterator[NDArray[np.uint8]]]
    """Yields batches of full frames `[B, H, W, 3]`, in order, at most `BATCH_FRAMES` each."""
    refusal: Callable[[VideoIndex], str | None]
    """Says, as the end of a sentence, why a file cannot be read right; runs in this process."""
    needs: str
    """What the package needs besides, as a sentence; shown when it is there and cannot be loaded."""
    environment: Mapping[str, str]
    """Variables of the other process."""


def decode_resized(
    decode: Callable[[DecodeRequest], Iterator[NDArray[np.uint8]]], request: DecodeRequest
) -> Iterator[NDArray[np.uint8]]:
    """Yield batches of resized frames. Runs in the other process.

    Raises:
        VideoDecodeError: for whatever the library raises, and for pictures that are shown mirrored.
        ImportError: the library cannot be loaded.
    """
    _check_is_no_mirror_image(request)
    try:
        for batch in decode(request):
            target = request.size(*batch.shape[1:3])
            yield np.stack([resized(image, target, request.resize) for image in batch])
    except (VideoDecodeError, ImportError):
        raise
    except Exception as error:
        last_line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        reason = _SOURCE_PLACE.sub("", last_line).strip().rstrip(".")
        raise VideoDecodeError(f"{request.path}: cannot read the video ({reason[:200]}).") from None


def _check_is_no_mirror_image(request: DecodeRequest) -> None:
    try:
        is_mirrored = is_mirror_image(request.path)
    except VideoDecodeError:
        return  # For the library to say.
    if is_mirrored:
        raise VideoDecodeError(
            f"{request.path}: the picture is shown mirrored, which the library does not do; use pyav."
        )


def check_frame_count(request: DecodeRequest, num_frames: int) -> None:
    """Raise `VideoDecodeError` if a library sees another number of frames than the index."""
    if num_frames != request.num_frames:
        raise VideoDecodeError(
            f"{request.path}: the library sees {num_frames} frames where the file has {request.num_frames}; use pyav."
        )


def check_times(request: DecodeRequest, first: int, times_s: NDArray[np.float64]) -> None:
    """Raise `VideoDecodeError` if a library gives another frame than was asked for.

    Args:
        request: what was asked for.
        first: position in the request of the first of these frames.
        times_s: `[B]`, times of the frames it gives, in seconds since the first frame.
    """
    wrong = np.abs(times_s - request.times_s[first : first + len(times_s)]) > request.slack_s
    if wrong.any():
        place = first + int(wrong.argmax())
        raise VideoDecodeError(
            f"{request.path}: the library gives another frame for frame {request.frames[place]}; use pyav."
        )


def common_refusal(index: VideoIndex) -> str | None:
    """Return what libraries get wrong that count frames as the container lists them, and seek by that."""
    if index.container_format == "mpegts":
        return "MPEG-TS, where it returns frames of another group of pictures"
    if index.packets.is_discard.any():
        return "frames that are not shown (as an edit list wants it), which it counts"
    return None


def has_leading_pictures(index: VideoIndex) -> bool:
    """Return whether pictures behind a key frame in the file are shown before it: open groups of pictures."""
    packets = index.packets
    keys = np.flatnonzero(packets.is_key)
    if not len(keys):
        return False
    after_first = np.arange(keys[0], len(packets.pts))
    last_key = keys[np.searchsorted(keys, after_first, side="right") - 1]
    return bool((packets.pts[after_first] < packets.pts[last_key]).any())
