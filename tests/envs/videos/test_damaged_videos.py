from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from damage import outcomes
from numpy.typing import NDArray
from odd_files import KINDS, NUM_FRAMES, Kind, as_it_is, decoded_in_sequence, wide_numbers

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos import containers, decoding
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.pyav_reader import PyAVReader
from videozoom.envs.videos.reader import DecodedFrames
from videozoom.envs.videos.resizing import Resize
from videozoom.envs.videos.worker_process import WorkerProcess

GROUP = 20
"""Frames between key frames, where there is no other reason for one."""
HEADER_FIRST = {"movflags": "faststart"}


@pytest.fixture(scope="module", params=["b_frames", "no_b_frames", "open_groups", "hevc", "matroska", "vp9"])
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    forms = {
        "b_frames": Kind(options={"g": "20", "bf": "3", "sc_threshold": "0"}),
        "no_b_frames": Kind(options={"g": "20", "bf": "0", "sc_threshold": "0"}),
        "open_groups": Kind(options={"g": "20", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
        "hevc": Kind("libx265", options={"g": "20", "x265-params": "log-level=none:scenecut=0"}),
        "matroska": Kind(container="matroska", options={"g": "20", "bf": "3", "sc_threshold": "0"}),
        "vp9": Kind("libvpx-vp9", "webm", {"g": "20", "cpu-used": "8"}),
    }
    kind = forms[request.param]
    if not kind.is_available:
        pytest.skip("this build of PyAV has no encoder for it")
    header_first = HEADER_FIRST if kind.container == "mp4" else {}
    return Kind(kind.codec, kind.container, kind.options, settings={"container_options": header_first}).make(
        tmp_path_factory.mktemp("whole") / request.param
    )


def read_all(path: Path, index: VideoIndex | None = None) -> tuple[VideoIndex, DecodedFrames]:
    index = index or scan(path)
    return index, PyAVReader().read(path, index, np.arange(len(index.pts)), as_it_is, Resize.AREA)


def overwrite(source: Path, path: Path, packet: int) -> Path:
    """Copy a video with the inside of a packet overwritten, so that no decoder can miss it."""
    start, end = scan(source).packets.position[packet : packet + 2].tolist()
    whole, start = source.read_bytes(), start + 5
    path.write_bytes(whole[:start] + b"\xff" * (end - 12 - start) + whole[end - 12 :])
    return path


def check_filled(index: VideoIndex, decoded: DecodedFrames, right: dict[int, NDArray[np.uint8]]) -> None:
    """Check that frames are right where they are said to be, and show the nearest right frame elsewhere."""
    sound = np.array([place for place in range(len(index.pts)) if place not in decoded.filled])
    for place in sound:
        assert np.array_equal(decoded.frames[place], right[int(index.pts[place])]), place
    for place in decoded.filled:
        distance = np.abs(index.pts[sound] - index.pts[place])
        nearest = sound[distance == distance.min()]
        assert any(np.array_equal(decoded.frames[place], decoded.frames[other]) for other in nearest), place


@pytest.mark.parametrize("packet", [5, 20, 25, 47, 60, 86])
def test_what_depends_on_a_damaged_packet_is_filled_and_reported(packet: int, video: Path, tmp_path: Path) -> None:
    index, decoded = read_all(overwrite(video, tmp_path / "v", packet), scan(video))
    check_filled(index, decoded, decoded_in_sequence(video))
    hit = int(np.flatnonzero(index.positions == packet)[0])
    assert hit in decoded.filled
    assert len(decoded.filled) <= GROUP + 4  # one group, and the leading pictures of the next
    assert max(abs(place - hit) for place in decoded.filled) < GROUP + 4


def test_frames_that_refer_to_damage_look_whole_to_the_decoder(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above goes red without our own account of what depends on what."""
    monkeypatch.setattr(decoding, "sound", lambda needed, damaged, decoded: set(decoded))
    num_wrong, right = 0, decoded_in_sequence(video)
    for packet in (5, 25, 47):
        index, decoded = read_all(overwrite(video, tmp_path / "v", packet), scan(video))
        wrong = [
            not np.array_equal(image, right[int(pts)]) for image, pts in zip(decoded.frames, index.pts, strict=True)
        ]
        num_wrong += len(set(np.flatnonzero(wrong)) - set(decoded.filled))
    assert (num_wrong > 5) == (video.name != "hevc")  # whose decoder keeps account itself


def test_frames_of_other_groups_are_read_as_if_nothing_had_happened(video: Path, tmp_path: Path) -> None:
    index, right = scan(video), decoded_in_sequence(video)
    path = overwrite(video, tmp_path / "v", 25)
    frames = [3, 75, 75, 61, 10]
    decoded = PyAVReader().read(path, index, np.array(frames), as_it_is, Resize.AREA)
    assert decoded.filled == ()
    assert np.array_equal(decoded.frames, [right[int(index.pts[frame])] for frame in frames])


def test_filled_positions_are_those_of_the_request(video: Path, tmp_path: Path) -> None:
    index = scan(video)
    path = overwrite(video, tmp_path / "v", 25)
    hit = int(np.flatnonzero(index.positions == 25)[0])
    decoded = PyAVReader().read(path, index, np.array([80, hit, 3, hit]), as_it_is, Resize.AREA)
    assert decoded.filled == (1, 3)
    assert np.array_equal(decoded.frames[1], decoded.frames[3])


@pytest.mark.parametrize("name", ["b_frames", "fragmented", "matroska", "transport_stream", "avi_no_b_frames", "vp9"])
def test_of_a_file_cut_short_the_beginning_is_right_and_the_end_reported(name: str, tmp_path: Path) -> None:
    kind = KINDS.get(name) or KINDS["header_first"]
    if not kind.is_available:
        pytest.skip("this build of PyAV has no encoder for it")
    whole = kind.make(tmp_path / "whole")
    path = tmp_path / "cut"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    index, decoded = read_all(path)
    assert 45 < len(index.pts) < 65
    if name in ("b_frames", "avi_no_b_frames"):
        assert index.num_missing == NUM_FRAMES - len(index.pts)
    assert set(decoded.filled) <= set(range(len(index.pts) - 3, len(index.pts)))
    check_filled(index, decoded, decoded_in_sequence(whole))


def test_of_a_file_with_a_zeroed_tail_the_beginning_is_right_and_the_rest_reported(video: Path, tmp_path: Path) -> None:
    if video.name in ("hevc", "vp9"):
        pytest.skip("its decoder does not notice that a frame ends in zeros")
    data = video.read_bytes()
    path = tmp_path / "zeroed"
    # Early in a packet: a frame that lost only its last bytes decodes, and nobody can tell.
    positions = scan(video).packets.position
    start = int(positions[positions >= len(data) * 6 // 10].min()) + 16
    path.write_bytes(data[:start] + bytes(len(data) - start))
    index, decoded = read_all(path, scan(video))
    assert 15 < len(decoded.filled) < 60
    assert set(decoded.filled) >= set(range(min(decoded.filled) + 4, NUM_FRAMES))
    check_filled(index, decoded, decoded_in_sequence(video))


def test_a_file_without_a_single_sound_frame_is_an_error(tmp_path: Path) -> None:
    path = Kind(options={"g": "20"}, settings={"container_options": HEADER_FIRST}).make(tmp_path / "v.mp4")
    index, data = scan(path), path.read_bytes()
    start = int(index.packets.position[0])
    path.write_bytes(data[:start] + b"\xff" * (len(data) - start))
    with pytest.raises(VideoDecodeError, match=r"v.mp4: no frame can be decoded; the file is damaged\.$"):
        read_all(path, index)


def test_only_as_much_is_filled_as_is_missing_of_one_frame(tmp_path: Path) -> None:
    path = Kind(options={"g": "1"}, settings={"container_options": HEADER_FIRST}).make(tmp_path / "v")
    decoded = read_all(overwrite(path, tmp_path / "w", 40), scan(path))[1]
    assert decoded.filled == (40,)
    assert wide_numbers(decoded.frames)[38:43] in ([38, 39, 39, 41, 42], [38, 39, 41, 41, 42])


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 50, bytes(20_000), np.random.default_rng(0).bytes(20_000)])
def test_what_is_no_video_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(VideoDecodeError, match=r"v.mp4: cannot read the video \(.*\)\.$"):
        scan(tmp_path / "v.mp4")


def test_frames_too_large_for_any_camera_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = KINDS["one_frame"].make(tmp_path / "v.mp4")
    assert read_all(path)[1].filled == ()
    monkeypatch.setattr(containers, "MAX_FRAME_PX", 96 * 48 - 1)
    with pytest.raises(VideoDecodeError, match=r"v.mp4: frames of 96x48 pixels are too large\.$"):
        scan(path)


@pytest.mark.parametrize("batch", range(10))
def test_damaged_files_end_in_frames_or_one_error_in_time(batch: int, tmp_path: Path, sources: list[bytes]) -> None:
    with WorkerProcess(limit_s=60.0) as worker:  # a hang or a crash ends this with its own error
        results = list(worker.stream(outcomes, sources, tmp_path, range(100 * batch, 100 * batch + 100)))
    kinds = Counter(what for _, what, _, _ in results)
    assert set(kinds) == {"frames", "error"}, results
    assert len(results) == 100
    assert min(kinds.values()) > 15  # neither is rare
    assert any(num_filled for _, _, num_filled, _ in results)
    assert max(cpu_s for _, _, _, cpu_s in results) < 10


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("sources")
    names = ["header_first", "groups_of_30", "open_groups", "matroska", "transport_stream", "hevc", "fragmented"]
    names += ["vp9", "av1", "avi_mpeg4", "mpeg2", "flash", "sound_first", "edit_list", "groups_of_1"]
    return [KINDS[name].make(folder / name).read_bytes() for name in names if KINDS[name].is_available]
