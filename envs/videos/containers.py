"""Opening video files, and one kind of error for all that can be wrong with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from videozoom.envs.observation import VideoDecodeError

MAX_FRAME_PX = 8192 * 8192
"""Larger ones are the doing of damaged headers."""


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


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its best video stream, with one decoding thread; closed afterwards."""
    # Titles and names in the file may be in any encoding, and nobody reads them here.
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise VideoDecodeError(f"{path}: the file has no video stream.")
        if stream.codec_context is None:
            raise VideoDecodeError(f"{path}: the file does not say how its video is encoded.")
        if stream.width * stream.height > MAX_FRAME_PX:
            raise VideoDecodeError(f"{path}: frames of {stream.width}x{stream.height} pixels are too large.")
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        # One thread: libav's own threads deadlock under load and cost more than they bring.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PX)}
        yield container, stream
