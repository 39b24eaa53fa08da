"""Real footage and odd files of other projects, where there are some: `VIDEOZOOM_SAMPLE_VIDEOS` names their folder."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
from odd_files import as_it_is

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.index import scan
from videozoom.envs.videos.pyav_reader import PyAVReader
from videozoom.envs.videos.resizing import Resize

FOLDER = Path(os.environ.get("VIDEOZOOM_SAMPLE_VIDEOS") or os.devnull)
VIDEOS = sorted(file for file in FOLDER.glob("*") if file.suffix in (".mp4", ".mkv", ".webm"))
pytestmark = pytest.mark.skipif(not VIDEOS, reason="VIDEOZOOM_SAMPLE_VIDEOS names no folder of videos")


@pytest.mark.parametrize("path", VIDEOS, ids=lambda path: path.name)
def test_frames_equal_those_of_sequential_decoding(path: Path) -> None:
    """In a damaged file: those that are not reported as filled, up to where sequential decoding gives up."""
    index = scan(path)
    wanted = np.random.default_rng(0).integers(0, len(index.pts), 60)
    try:
        decoded = PyAVReader().read(path, index, wanted, as_it_is, Resize.BICUBIC)
    except VideoDecodeError:
        return
    places: dict[int, list[int]] = {}
    for place in sorted(set(range(len(wanted))) - set(decoded.filled)):
        places.setdefault(int(index.pts[wanted[place]]), []).append(place)
    num_checked = 0
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        try:
            for frame in container.decode(stream):
                for place in places.pop(frame.pts, []):
                    image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                    assert np.array_equal(decoded.frames[place], image), wanted[place]
                    num_checked += 1
        except av.InvalidDataError:
            assert decoded.filled
            return
    assert num_checked == len(wanted) - len(decoded.filled)
    assert decoded.filled == ()
