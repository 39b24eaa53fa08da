"""The default reader: PyAV, which brings its own FFmpeg."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.containers import decode_errors, opened
from videozoom.envs.videos.index import VideoIndex
from videozoom.envs.videos.reader import DecodedFrames, SizeRule
from videozoom.envs.videos.resizing import Resize, resized


class PyAVReader:
    """Implements `VideoReader`."""

    @property
    def fingerprint(self) -> str:
        major, minor, micro = av.library_versions["libavcodec"]
        return f"pyav-libavcodec{major}.{minor}.{micro}-1"

    def read(
        self, path: Path, index: VideoIndex, frames: NDArray[np.int64], size: SizeRule, resize: Resize
    ) -> DecodedFrames:
        order = index.pts[frames].tolist()
        wanted = set(order)
        with decode_errors(path):
            found = _decode(path, wanted, size, resize, is_seeking=True)
            if len(found) < len(wanted):
                # Some containers seek too late, and some frames need more than the key frame before them.
                found = _decode(path, wanted, size, resize, is_seeking=False)
            if len(found) < len(wanted):
                lost = len(wanted) - len(found)
                raise VideoDecodeError(
                    f"{path}: {lost} of {len(wanted)} frames cannot be decoded; the file is damaged."
                )
        return DecodedFrames(np.stack([found[pts] for pts in order]))


def _decode(
    path: Path, wanted: set[int], size: SizeRule, resize: Resize, *, is_seeking: bool
) -> dict[int, NDArray[np.uint8]]:
    """Return the wanted frames that can be decoded, by presentation time."""
    found: dict[int, NDArray[np.uint8]] = {}
    target: tuple[int, int] | None = None
    # Kept over all frames, with one thread: setting up the conversion costs many times the conversion.
    reformatter = VideoReformatter()
    with opened(path) as (container, stream):
        if is_seeking:
            container.seek(min(wanted), stream=stream, backward=True)
        for frame in _sound_frames(container, stream):
            if frame.pts in wanted:
                rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                image = np.rot90(np.asarray(rgb, np.uint8), frame.rotation // 90)
                target = target or size(image.shape[0], image.shape[1])
                found[frame.pts] = resized(image, target, resize)
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
