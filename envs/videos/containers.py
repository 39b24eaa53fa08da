"""Opening video files, and one kind of error for all that can be wrong with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from videozoom.envs.observation import VideoDecodeError


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
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise VideoDecodeError(f"{path}: the file has no video stream.")
        # One thread: libav's own threads deadlock under load and cost more than they bring.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream
