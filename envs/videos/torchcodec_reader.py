"""The `torchcodec` backend: FFmpeg as the machine has it, driven by the PyTorch team's library.

It runs in a process of its own: it brings torch, whose threads spin while they wait (twice the CPU time on a busy
machine unless held to one), and its large tensors are not given back to the system by glibc 2.36. Known faults of 0.13,
and what is done about them:

* It returns wrong frames, or none, from MPEG-TS and files with edit lists. The index tells such files, and they are
  refused. Besides, every frame it returns says its time, which is compared with the index.
* One damaged frame fails the whole request.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.libraries import (
    BATCH_FRAMES,
    DecodeRequest,
    Library,
    check_frame_count,
    check_times,
    common_refusal,
)


def describe() -> str:
    """Return the versions of torchcodec and of the FFmpeg it found."""
    import torchcodec

    return f"torchcodec{torchcodec.__version__}-ffmpeg{torchcodec.ffmpeg_major_version}-1"


def decode(request: DecodeRequest) -> Iterator[NDArray[np.uint8]]:
    """Yield batches of full frames; runs in the other process."""
    import torch
    from torchcodec.decoders import VideoDecoder

    torch.set_num_threads(1)
    decoder = VideoDecoder(request.path, seek_mode="exact", num_ffmpeg_threads=1, dimension_order="NHWC")
    check_frame_count(request, decoder.metadata.num_frames or 0)
    start_s = decoder.metadata.begin_stream_seconds or 0.0
    for first in range(0, len(request.frames), BATCH_FRAMES):
        batch = decoder.get_frames_at(list(request.frames[first : first + BATCH_FRAMES]))
        check_times(request, first, batch.pts_seconds.numpy() - start_s)
        yield batch.data.numpy()


LIBRARY = Library(
    name="torchcodec",
    describe=describe,
    decode=decode,
    refusal=common_refusal,
    needs="it needs the shared libraries of FFmpeg 4 to 8 on the system and the version that fits the installed torch",
    # Large freed blocks go back to the system at once (glibc keeps aligned ones otherwise).
    environment={"MALLOC_MMAP_THRESHOLD_": "1000000", "OMP_NUM_THREADS": "1"},
)
