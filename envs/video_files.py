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
    with decode_errors(path), _opened(path) as (container, stream):
        found = _decode(container, stream, set(wanted_pts.tolist()), size, resize)
        lost = [pts for pts in wanted_pts.tolist() if pts not in found]
        if lost:
            raise VideoDecodeError(f"{path}: {len(lost)} of {len(wanted_pts)} frames cannot be decoded; it is damaged.")
        return np.stack([found[pts] for pts in wanted_pts.tolist()])


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
    container: InputContainer,
    stream: VideoStream,
    wanted: set[int],
    size: Callable[[int, int], tuple[int, int]],
    resize: Resize,
) -> dict[int, NDArray[np.uint8]]:
    found: dict[int, NDArray[np.uint8]] = {}
    first, last = min(wanted), max(wanted)
    container.seek(first, stream=stream, backward=True)
    target: tuple[int, int] | None = None
    # Kept over all frames, with one thread: setting up the conversion costs many times the conversion.
    reformatter = VideoReformatter()
    for frame in _frames(container, stream):
        if frame.pts in wanted and not frame.is_corrupt:
            rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
            image = np.rot90(np.asarray(rgb, np.uint8), frame.rotation // 90)
            target = target or size(image.shape[0], image.shape[1])
            found[frame.pts] = _resized(image, target, resize)
        if frame.pts is not None and frame.pts >= last:
            break
    return found


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Yield what can be decoded; a damaged packet is skipped, and its frame will be found missing."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            yield from packet.decode()
        except StopIteration:
            return
        except av.InvalidDataError:
            continue


def _resized(image: NDArray[np.uint8], target: tuple[int, int], resize: Resize) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if (height, width) == target:
        return np.ascontiguousarray(image)
    picture = Image.fromarray(image)
    if resize is Resize.AREA and height % target[0] == 0 and width % target[1] == 0:
        # Rows and columns in one go: `resize` rounds in between, and by that turns fine patterns into brightness.
        return np.asarray(picture.reduce((width // target[1], height // target[0])))
    return np.asarray(picture.resize((target[1], target[0]), _FILTERS[resize]))
