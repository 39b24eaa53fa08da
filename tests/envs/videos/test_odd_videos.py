"""The asked frames come out, bit for bit, whatever the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from odd_files import (
    FIRST_NUMBER,
    KINDS,
    NUM_FRAMES,
    UNKNOWN_TIMES,
    Kind,
    as_it_is,
    decoded_in_sequence,
    wide_image,
    wide_numbers,
)

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.tasks import Span
from videozoom.envs.video_store import VideoStore
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.pyav_reader import PyAVReader
from videozoom.envs.videos.resizing import Resize, resized


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("odd")
    return {name: kind.make(folder / name) for name, kind in KINDS.items() if kind.is_available}


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest, made: dict[str, Path]) -> str:
    if request.param not in made:
        pytest.skip("this build of PyAV has no encoder for it")
    return str(request.param)


def orders(num_frames: int) -> list[list[int]]:
    """Return requests: one frame, few, many; unsorted, repeated, all."""
    rng = np.random.default_rng(num_frames)
    some = rng.integers(0, num_frames, 6).tolist()
    return [
        [num_frames - 1],
        [0],
        some,
        [*some, *some[:2], 0, num_frames - 1],
        rng.integers(0, num_frames, 25).tolist(),
        sorted(rng.choice(num_frames, num_frames // 3, replace=False).tolist()) or [0],
        list(range(num_frames)),
    ]


def test_the_asked_frames_come_out_and_equal_those_of_sequential_decoding(name: str, made: dict[str, Path]) -> None:
    index, in_sequence = scan(made[name]), decoded_in_sequence(made[name])
    num_expected = len(KINDS[name].times_ms) - KINDS[name].first
    assert (len(index.pts), index.num_missing) == (num_expected, 0)
    for frames in orders(num_expected):
        decoded = PyAVReader().read(made[name], index, np.array(frames), as_it_is, Resize.BICUBIC)
        assert decoded.filled == ()
        assert wide_numbers(decoded.frames) == [KINDS[name].first + frame for frame in frames]
        expected = [in_sequence[int(index.pts[frame])] for frame in frames]
        assert np.array_equal(decoded.frames, expected)


def test_the_groups_are_as_long_as_their_names_say(made: dict[str, Path]) -> None:
    num_groups = {name: int(scan(made[name]).packets.is_key.sum()) for name in made if name.startswith("groups_of")}
    assert num_groups == {"groups_of_1": 90, "groups_of_2": 45, "groups_of_30": 3, "groups_of_250": 1}
    assert 4 <= int(scan(made["open_groups"]).packets.is_key.sum()) <= 5


def test_times_are_those_of_the_file(name: str, made: dict[str, Path]) -> None:
    index, kind = scan(made[name]), KINDS[name]
    times_s = np.array(kind.times_ms[kind.first :]) / 1000
    assert index.times_s == pytest.approx(times_s - times_s[0], abs=1e-3)
    assert index.times_s[0] == 0.0
    if name != "uneven_times":
        assert index.duration_s == pytest.approx(0.04 * len(times_s), abs=1e-3)


def test_clips_of_any_span_show_the_frames_that_are_on_screen_then(name: str, made: dict[str, Path]) -> None:
    kind, tokens = KINDS[name], 18  # 84x168 pixels
    if name == "sides_not_of_8":
        pytest.skip("numbers cannot be read off its frames at the size of clips")
    store = VideoStore(slow_fps=25.0, slow_max_frames=6, slow_frame_tokens=tokens)
    times_s = np.array(kind.times_ms[kind.first :]) / 1000
    times_s -= times_s[0]
    duration_s = store.duration_s(made[name])
    ends_s = np.sort(np.random.default_rng(2).uniform(0, duration_s, (8, 2))).tolist()
    for start_s, end_s in [*ends_s, ends_s[0], (0.0, duration_s), (0.0, 0.02), (duration_s - 0.02, duration_s)]:
        clip = store.slow_clip(made[name], Span(start_s, end_s))
        shown = np.array(wide_numbers(clip.frames)) - kind.first
        within = np.flatnonzero((times_s >= start_s - 1e-3) & (times_s < end_s + 1e-3))
        before = np.flatnonzero(times_s < start_s)[-1:]
        assert set(shown) <= {*within.tolist(), *(() if len(within) > 2 else before.tolist())}
        assert clip.times_s == pytest.approx(times_s[shown], abs=1e-3)
        assert len(set(shown)) >= min(len(within) - 2, 6)


@pytest.mark.parametrize("resize", Resize)
def test_frames_are_resized_as_full_images_are(name: str, resize: Resize, made: dict[str, Path]) -> None:
    index, in_sequence = scan(made[name]), decoded_in_sequence(made[name])
    frames = [len(index.pts) - 1, 0, len(index.pts) // 2]
    decoded = PyAVReader().read(made[name], index, np.array(frames), lambda height, width: (28, 56), resize)
    whole = [in_sequence[int(index.pts[frame])] for frame in frames]
    expected = np.array([resized(image, (28, 56), resize) for image in whole])
    if resize is Resize.SWSCALE:  # in one step with the conversion of colours: near, and no more
        assert np.abs(decoded.frames.astype(int) - expected).mean() < 10
    else:
        assert np.array_equal(decoded.frames, expected)


def test_an_index_survives_being_written(name: str, made: dict[str, Path]) -> None:
    index = scan(made[name])
    data = index.to_bytes()
    copy = VideoIndex.from_bytes(data)
    for field in ("pts", "times_s"):
        assert np.array_equal(getattr(copy, field), getattr(index, field))
    for field in ("pts", "is_key", "is_discard", "position"):
        assert np.array_equal(getattr(copy.packets, field), getattr(index.packets, field))
    for field in ("duration_s", "num_missing", "time_base", "container_format", "codec"):
        assert getattr(copy, field) == getattr(index, field)
    assert len(data) < 4000
    frames = np.arange(0, len(index.pts), 7)
    read = [PyAVReader().read(made[name], each, frames, as_it_is, Resize.AREA).frames for each in (index, copy)]
    assert np.array_equal(*read)


@pytest.mark.parametrize("name", UNKNOWN_TIMES)
def test_files_that_do_not_say_when_frames_are_shown_are_refused(name: str, tmp_path: Path) -> None:
    path = UNKNOWN_TIMES[name].make(tmp_path / name)
    with pytest.raises(VideoDecodeError, match=rf"{name}: the file does not say when its frames are shown; encode"):
        scan(path)


def test_files_joined_end_to_end_are_refused(tmp_path: Path) -> None:
    first = KINDS["transport_stream"].make(tmp_path / "v.ts").read_bytes()
    between = (
        Kind(container="mpegts", times_ms=range(20, 20 + 40 * NUM_FRAMES, 40)).make(tmp_path / "v.ts").read_bytes()
    )
    for second in (first, between):
        (tmp_path / "v.ts").write_bytes(first + second)
        with pytest.raises(VideoDecodeError, match=r"v.ts: the clock jumps back in the middle of the file"):
            scan(tmp_path / "v.ts")


def test_a_file_that_calls_every_frame_a_key_frame_is_read_right(tmp_path: Path) -> None:
    path = KINDS["groups_of_30"].make(tmp_path / "v.mp4")
    index = scan(path)
    index = replace(index, packets=replace(index.packets, is_key=np.full(NUM_FRAMES, True)))
    decoded = PyAVReader().read(path, index, np.array([70, 3, 44]), as_it_is, Resize.AREA)
    assert (wide_numbers(decoded.frames), decoded.filled) == ([70, 3, 44], ())


def test_a_number_is_read_right_and_a_blurred_one_is_not_read() -> None:
    images = np.stack([wide_image(number) for number in (0, 7, 2**18 - 1 - FIRST_NUMBER)])
    assert wide_numbers(images) == [0, 7, 2**18 - 1 - FIRST_NUMBER]
    with pytest.raises(ValueError, match="not one of the numbered"):
        wide_numbers(images[:1] // 2 + images[1:2] // 2)
