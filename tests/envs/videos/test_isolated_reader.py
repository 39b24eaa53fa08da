"""PyAV in a process of its own: the same frames, and no more than one request is lost to a bad file."""

import os
import pickle
from functools import partial
from pathlib import Path

import misbehaviour
import numpy as np
import pytest
from video_makers import write_numbered_video

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.sampling import frame_size
from videozoom.envs.tasks import Span
from videozoom.envs.video_store import VideoStore
from videozoom.envs.videos.isolated_reader import IsolatedReader
from videozoom.envs.videos.pyav_reader import PyAVReader
from videozoom.envs.videos.reader import Backend, build_reader
from videozoom.envs.videos.resizing import Resize

SIZE = partial(frame_size, budget_px=4 * 28 * 28)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_numbered_video(tmp_path / "v.mp4", [500 * number for number in range(20)])


def test_index_and_frames_are_those_of_pyav(video: Path) -> None:
    isolated, pyav = build_reader(Backend.PYAV_PROCESS), PyAVReader()
    index, frames = isolated.scan(video), np.array([3, 1, 3, 19])
    assert np.array_equal(index.times_s, pyav.scan(video).times_s)
    decoded, expected = (reader.read(video, index, frames, SIZE, Resize.BICUBIC) for reader in (isolated, pyav))
    assert np.array_equal(decoded.frames, expected.frames)
    assert decoded.filled == expected.filled == ()
    assert isolated.fingerprint == pyav.fingerprint


def test_a_store_gives_the_same_clips_and_copies_start_their_own_process(video: Path) -> None:
    stores = [VideoStore(backend=backend, slow_frame_tokens=4) for backend in (Backend.PYAV, Backend.PYAV_PROCESS)]
    stores.append(pickle.loads(pickle.dumps(stores[1])))
    views = [store.fast_view(video) for store in stores]
    clips = [store.slow_clip(video, Span(2.0, 6.0)) for store in stores]
    assert views[0] == views[1] == views[2]
    assert clips[0] == clips[1] == clips[2]
    processes = [store._reader._worker.process_id for store in stores[1:]]
    assert len({os.getpid(), *processes}) == 3


def test_what_cannot_be_read_is_a_decode_error_with_the_readers_words(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video")
    store = VideoStore(backend=Backend.PYAV_PROCESS)
    for video in (tmp_path / "v.mp4", tmp_path / "none.mp4"):
        with pytest.raises(VideoDecodeError) as isolated:
            store.fast_view(video)
        with pytest.raises(VideoDecodeError) as direct:
            VideoStore().fast_view(video)
        assert str(isolated.value) == str(direct.value)


def test_a_file_on_which_reading_hangs_is_given_up_and_the_next_one_is_read(tmp_path: Path, video: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)  # Opening it waits for somebody to write.
    store = VideoStore(backend=Backend.PYAV_PROCESS, decode_limit_s=2.0, fast_frame_tokens=4)
    with pytest.raises(VideoDecodeError, match=r"pipe.mp4: decoding did not finish within 2 s and was stopped\.$"):
        store.fast_view(pipe)
    store._reader._worker.limit_s = 120.0  # type: ignore[attr-defined]
    assert len(store.fast_view(video).frames) == 20


def test_a_decoder_that_dies_costs_one_request(video: Path) -> None:
    reader = IsolatedReader(limit_s=60.0)
    index = reader.scan(video)
    process_id = reader._worker.process_id
    assert process_id is not None
    with pytest.raises(VideoDecodeError, match=r"v.mp4: decoding was killed by SIGABRT\.$"):
        reader.read(video, index, np.array([0]), misbehaviour.crash_when_asked_for_a_size, Resize.AREA)
    assert len(reader.read(video, index, np.array([0, 1]), SIZE, Resize.AREA).frames) == 2
    assert reader._worker.process_id != process_id
