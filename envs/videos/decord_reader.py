"""The `decord` backend, for comparison with code that uses it.

decord 0.6.0 (2021) is no longer maintained. Known faults, and what is done about them:

* It returns wrong frames from open groups of pictures, files with edit lists and MPEG-TS (off by up to a whole group).
  The index tells such files, and they are refused.
* Its decoding thread goes on while nobody asks and holds what it decoded (about a gigabyte at 640x360), and it may
  loop without end on damaged files (dmlc/decord issues 157, 208, 269, 373, 375). It lives in a process of its own with
  a time limit, and every request opens the file anew.
* It knows no AV1 and no wheels for macOS or ARM. One damaged frame fails the whole request.

Frames come from its indices, never from times: it takes the average frame rate for the true one.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.index import VideoIndex
from videozoom.envs.videos.libraries import (
    BATCH_FRAMES,
    DecodeRequest,
    Library,
    check_frame_count,
    check_times,
    common_refusal,
    has_leading_pictures,
)


def describe() -> str:
    """Return decord's version."""
    import decord

    return f"decord{decord.__version__}-1"


def decode(request: DecodeRequest) -> Iterator[NDArray[np.uint8]]:
    """Yield batches of full frames; runs in the other process."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(str(request.path), ctx=decord.cpu(0), num_threads=1)
    check_frame_count(request, len(reader))
    # Of its own table; what it decodes says no time.
    starts_s = reader.get_frame_timestamp([0, *request.frames])[:, 0].astype(np.float64)
    check_times(request, 0, starts_s[1:] - starts_s[0])
    for first in range(0, len(request.frames), BATCH_FRAMES):
        yield reader.get_batch(list(request.frames[first : first + BATCH_FRAMES])).asnumpy()


def refusal(index: VideoIndex) -> str | None:
    """Return what decord is known to get wrong in a file."""
    if index.codec == "av1":
        return "AV1, which it does not know"
    if has_leading_pictures(index):
        return "open groups of pictures, where it returns neighbouring frames"
    return common_refusal(index)


LIBRARY = Library(
    name="decord",
    describe=describe,
    decode=decode,
    refusal=refusal,
    needs="it has packages for x86-64 Linux and Windows only",
    environment={},
)
