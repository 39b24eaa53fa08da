"""Reading video files with PyAV: the one place where frames are decoded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from videozoom.envs.observation import VideoDecodeError


class Resize(StrEnum):
    """How frames are made smaller or larger."""

    BICUBIC = "bicubic"
    """Antialiased bicubic, as LOVE-R1 does."""
    AREA = "area"
    """Mean over the box of source pixels; rounded once, and so exact, where the size divides the source's."""


_FILTERS = {Resize.BICUBIC: Image.Resampling.BICUBIC, Resize.AREA: Image.Resampling.BOX}


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """When each frame of a file is presented; N frames in display order."""

    pts: NDArray[np.int64]
    """`[N]`, in units of the stream's time base, strictly ascending."""
    times_s: NDArray[np.float64]
    """`[N]`, seconds since the first frame."""
    duration_s: float
    """From the first frame to the end of the last one."""
    num_missing: int
    """Frames that the file's header announces and the file does not hold."""


@contextmanager
def decode_errors(path: Path) -> Iterator[None]:
    """Turn every error of the file system and the decoder into a `VideoDecodeError` that names the file."""
    try:
        yield
    except VideoDecodeError:
        raise
    except (av.FFmpegError, OSError, ValueError, IndexError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise VideoDecodeError(f"{path}: cannot read the video ({reason}).") from error


def read_index(path: Path) -> VideoIndex:
    """Return a file's index, from its packets and without decoding; raises `VideoDecodeError`."""
    with decode_errors(path), _opened(path) as (container, stream):
        announced = stream.frames
        packets = [packet for packet in container.demux(stream) if packet.size]
        shown = [packet for packet in packets if not packet.is_discard]
        if not shown:
            raise VideoDecodeError(f"{path}: the video has no frames.")
        if any(packet.pts is None for packet in shown) or stream.time_base is None:
            raise VideoDecodeError(f"{path}: the file does not say when its frames are shown; convert it to .mp4.")
        pts, order = np.unique(np.array([packet.pts for packet in shown], np.int64), return_index=True)
        last_length = shown[int(order[-1])].duration or (pts[-1] - pts[-2] if len(pts) > 1 else 0)
        times_s = (pts - pts[0]) * float(stream.time_base)
        duration_s = float((pts[-1] - pts[0] + last_length) * stream.time_base)
        return VideoIndex(pts, times_s, duration_s, max(0, announced - len(packets)))


def read_frames(
    path: Path,
    wanted_pts: NDArray[np.int64],
    size: Callable[[int, int], tuple[int, int]],
    resize: Resize,
) -> NDArray[np.uint8]:
    """Return `[F, H, W, 3]` RGB frames, resized; raises `VideoDecodeError` if any cannot be decoded.

    Decodes from the key frame before the first wanted frame to the last one, and converts only the wanted ones.

    Args:
        path: the file.
        wanted_pts: `[F]`, presentation times in units of the stream's time base, ascending, repeats allowed.
        size: gives the height and width to resize to, from those of the upright source frame.
        resize: the filter.
    """
    order = wanted_pts.tolist()
    wanted = set(order)
    with decode_errors(path):
        found = _decode(path, wanted, size, resize, is_seeking=True)
        if len(found) < len(wanted):
            # Some containers seek too late, and some frames need more than the key frame before them.
            found = _decode(path, wanted, size, resize, is_seeking=False)
        if len(found) < len(wanted):
            lost = len(wanted) - len(found)
            raise VideoDecodeError(f"{path}: {lost} of {len(wanted)} frames cannot be decoded; the file is damaged.")
    return np.stack([found[pts] for pts in order])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise VideoDecodeError(f"{path}: the file has no video stream.")
        # One thread: libav's own threads deadlock under load and cost more than they bring.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def _decode(
    path: Path, wanted: set[int], size: Callable[[int, int], tuple[int, int]], resize: Resize, *, is_seeking: bool
) -> dict[int, NDArray[np.uint8]]:
    """Return the wanted frames that can be decoded, by presentation time."""
    found: dict[int, NDArray[np.uint8]] = {}
    target: tuple[int, int] | None = None
    # Kept over all frames, with one thread: setting up the conversion costs many times the conversion.
    reformatter = VideoReformatter()
    with _opened(path) as (container, stream):
        if is_seeking:
            container.seek(min(wanted), stream=stream, backward=True)
        for frame in _sound_frames(container, stream):
            if frame.pts in wanted:
                rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                image = np.rot90(np.asarray(rgb, np.uint8), frame.rotation // 90)
                target = target or size(image.shape[0], image.shape[1])
                found[frame.pts] = _resized(image, target, resize)
                if len(found) == len(wanted):
                    break
    return found


def _sound_frames(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Yield the frames that do not depend on damaged data: after any, none up to the next key frame."""
    packets = container.demux(stream)
    is_damaged = False
    while True:
        try:
            packet = next(packets)
            is_damaged |= packet.is_corrupt
            decoded = packet.decode()
        except StopIteration:
            return
        except av.InvalidDataError:
            is_damaged = True
            continue
        for frame in decoded:
            is_damaged = frame.is_corrupt or (is_damaged and not frame.key_frame)
            if not is_damaged:
                yield frame


def _resized(image: NDArray[np.uint8], target: tuple[int, int], resize: Resize) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if (height, width) == target:
        return np.ascontiguousarray(image)
    picture = Image.fromarray(image)
    if resize is Resize.AREA and height % target[0] == 0 and width % target[1] == 0:
        # Rows and columns in one go: `resize` rounds in between, and by that turns fine patterns into brightness.
        return np.asarray(picture.reduce((width // target[1], height // target[0])))
    return np.asarray(picture.resize((target[1], target[0]), _FILTERS[resize]))
