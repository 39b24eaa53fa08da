"""The real libraries, where they are installed; they are no dependencies of the project."""

from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from fake_library import as_it_is, half
from numpy.typing import NDArray
from odd_files import show_as
from video_makers import write_numbered_video

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.index import scan
from videozoom.envs.videos.reader import Backend, BackendError, VideoReader, build_reader
from videozoom.envs.videos.resizing import Resize

STEADY_MS = range(0, 8000, 40)
"""8 s at 25 frames per second."""


@pytest.fixture(scope="module", params=[Backend.DECORD, Backend.TORCHCODEC])
def backend(request: pytest.FixtureRequest) -> Backend:
    if find_spec(str(request.param)) is None:
        pytest.skip(f"needs {request.param}")
    return Backend(request.param)


@pytest.fixture(scope="module")
def reader(backend: Backend) -> VideoReader:
    reader = build_reader(backend, limit_s=120.0)
    try:
        assert reader.fingerprint.startswith(str(backend))
    except BackendError as error:
        pytest.skip(str(error))
    return reader


def write_noise(path: Path, *, turned: bool = False) -> Path:
    """Write frames whose every pixel differs, 128x64."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (64, 128, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20", "g": "10", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for number in range(60):
            frame = np.roll(still, (number, 2 * number), (0, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))
    if turned:
        show_as(0, 1, -1, 0)(path)
    return path


def read(reader: VideoReader, path: Path, frames: list[int], resize: Resize = Resize.AREA) -> NDArray[np.uint8]:
    size = as_it_is if resize is Resize.AREA else half
    return reader.read(path, scan(path), np.array(frames), size, resize).frames


KINDS = {
    "closed": {"options": {"g": "30", "bf": "3", "x264-params": "b-pyramid=normal"}},
    "intra": {"options": {"g": "1"}},
    "no_b": {"options": {"g": "50", "bf": "0"}},
    "one_group": {"options": {"g": "500", "bf": "2"}},
    "matroska": {"container_format": "matroska", "options": {"g": "30", "bf": "2"}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_pyav_bit_for_bit(kind: str, reader: VideoReader, tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v", STEADY_MS, **KINDS[kind])  # type: ignore[arg-type]
    frames = [199, 0, 29, 30, 31, 88, 88, 150, 7, *range(100, 140)]
    expected = read(build_reader(), path, frames)
    assert len(np.unique(expected, axis=0)) == len(set(frames))
    assert np.array_equal(read(reader, path, frames), expected)


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_are_those_of_pyav_also_where_the_picture_is_turned(
    turned: bool, reader: VideoReader, tmp_path: Path
) -> None:
    path = write_noise(tmp_path / "v.mp4", turned=turned)
    expected = read(build_reader(), path, [0, 9, 10, 59])
    assert expected.shape == ((4, 128, 64, 3) if turned else (4, 64, 128, 3))
    assert expected.std() > 20
    assert np.array_equal(read(reader, path, [0, 9, 10, 59]), expected)
    bicubic = read(build_reader(), path, [0, 59], Resize.BICUBIC).astype(int)
    difference = np.abs(read(reader, path, [0, 59], Resize.BICUBIC) - bicubic)
    assert difference.max() <= 8
    assert difference.mean() < 0.5


def test_variable_frame_rates_are_read_by_index(reader: VideoReader, tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", [0, 40, 80, 1000, 1040, 3000, 3500, 3900])
    assert np.array_equal(read(reader, path, [3, 5, 7]), read(build_reader(), path, [3, 5, 7]))


def write_edit_list(folder: Path, source: Path) -> Path:
    """Copy a video from its second group of pictures on, with the frames before 2.5 s hidden by an edit list."""
    path = folder / "edited.mp4"
    with av.open(str(source)) as reading, av.open(str(path), "w") as writing:
        stream = reading.streams.video[0]
        copy = writing.add_stream_from_template(stream)
        start = int(2.5 / stream.time_base)
        reading.seek(start, stream=stream)
        for packet in reading.demux(stream):
            if packet.size:
                packet.pts, packet.dts = packet.pts - start, packet.dts - start
                packet.stream = copy
                writing.mux(packet)
    return path


def odd_file(kind: str, folder: Path) -> Path:
    groups = {"g": "50", "bf": "3"}
    match kind:
        case "open groups":
            options = {"g": "50", "x265-params": "log-level=none:bframes=4"}
            return write_numbered_video(folder / "v.mp4", STEADY_MS, codec="libx265", options=options)
        case "MPEG-TS":
            return write_numbered_video(folder / "v.ts", STEADY_MS, container_format="mpegts", options=groups)
        case _:
            return write_edit_list(folder, write_numbered_video(folder / "v.mp4", STEADY_MS, options=groups))


@pytest.mark.parametrize("kind", ["open groups", "MPEG-TS", "edit list"])
def test_files_that_a_library_gets_wrong_are_refused_with_a_word_for_pyav(
    kind: str, backend: Backend, reader: VideoReader, tmp_path: Path
) -> None:
    path = odd_file(kind, tmp_path)
    wanted = [0, 1, 47, 48, 49, 50, 51, 99, len(scan(path).pts) - 1]
    expected = read(build_reader(), path, wanted)
    assert len(np.unique(expected, axis=0)) == len(wanted)
    if backend is Backend.TORCHCODEC and kind == "open groups":
        assert np.array_equal(read(reader, path, wanted), expected)
        return
    with pytest.raises(VideoDecodeError, match=rf": {backend} cannot be trusted with .*{kind}.*; use pyav\.$"):
        read(reader, path, wanted)


def test_pictures_that_are_shown_mirrored_are_refused(reader: VideoReader, tmp_path: Path) -> None:
    path = write_noise(tmp_path / "v.mp4")
    read(reader, path, [0, 9])
    for matrix in [(-1, 0, 0, 1), (0, 1, 1, 0)]:
        show_as(*matrix)(path)
        with pytest.raises(VideoDecodeError, match=r"v.mp4: the picture is shown mirrored, .*; use pyav\.$"):
            read(reader, path, [0, 9])


def test_broken_files_are_decode_errors(reader: VideoReader, tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", STEADY_MS, options={"g": "50"})
    index = scan(path)
    data = path.read_bytes()
    random = np.random.default_rng(0).bytes(5000)
    for name, content in {"empty": b"", "random": random, "half": data[: len(data) // 2]}.items():
        broken = tmp_path / f"{name}.mp4"
        broken.write_bytes(content)
        with pytest.raises(VideoDecodeError, match=rf"{name}.mp4: .*\.$") as caught:
            reader.read(broken, index, np.array([0, 150]), as_it_is, Resize.AREA)
        assert "\n" not in str(caught.value)
    with pytest.raises(VideoDecodeError, match=r"none.mp4: .*\.$"):
        reader.read(tmp_path / "none.mp4", index, np.array([0]), as_it_is, Resize.AREA)
