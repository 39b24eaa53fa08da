import pickle
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import fake_library
import numpy as np
import pytest
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.sampling import frame_size
from videozoom.envs.videos import libraries
from videozoom.envs.videos.index import PacketTable, VideoIndex
from videozoom.envs.videos.libraries import DecodeRequest, check_frame_count, check_times, has_leading_pictures
from videozoom.envs.videos.reader import Backend, BackendError, build_reader
from videozoom.envs.videos.resizing import Resize, resizing_fingerprint
from videozoom.envs.videos.subprocess_reader import SubprocessReader

VIDEO = Path("v.mp4")
SMALL = partial(frame_size, budget_px=28 * 28)


def index_of(pts: list[int], *, keys: tuple[int, ...] = (0,)) -> VideoIndex:
    """Return the index of packets with these times, in milliseconds, in the order of the file."""
    shown = np.array(sorted(pts), np.int64)
    is_key = np.isin(np.arange(len(pts)), keys)
    table = PacketTable(np.array(pts, np.int64), is_key, np.zeros(len(pts), np.bool_), np.arange(len(pts)))
    return VideoIndex(
        pts=shown,
        times_s=(shown - shown[0]) / 1000,
        duration_s=(shown[-1] - shown[0]) / 1000,
        num_missing=0,
        packets=table,
        time_base=Fraction(1, 1000),
        container_format="mp4",
        codec="h264",
    )


INDEX = index_of(list(range(0, 12_000, 40)))  # 300 frames


@pytest.fixture(scope="module")
def reader() -> SubprocessReader:
    return SubprocessReader(fake_library.library(), limit_s=60.0)


def read(reader: SubprocessReader, *frames: int) -> NDArray[np.uint8]:
    decoded = reader.read(VIDEO, INDEX, np.array(frames, np.int64), SMALL, Resize.AREA)
    assert decoded.filled == ()
    return decoded.frames


def test_frames_come_resized_in_the_order_of_the_request_with_repeats(reader: SubprocessReader) -> None:
    frames = read(reader, 9, 3, 3, 150, 0)
    assert frames.shape == (5, 28, 28, 3)
    assert frames[:, 0, 0, 0].tolist() == [9, 3, 3, 150, 0]
    assert (frames == frames[:, :1, :1, :1]).all()


@pytest.mark.parametrize("number", [1, 15, 16, 17, 32, 100])
def test_requests_of_any_length_are_whole(number: int, reader: SubprocessReader) -> None:
    assert read(reader, *range(number))[:, 0, 0, 0].tolist() == list(range(number))


def test_a_hang_is_an_error_that_names_file_and_limit_and_the_reader_goes_on() -> None:
    reader = SubprocessReader(fake_library.library(), limit_s=1.0)
    with pytest.raises(VideoDecodeError, match=r"^v.mp4: json did not finish within 1 s and was stopped\.$"):
        read(reader, 0, fake_library.HANGS)
    reader._worker.limit_s = 60.0
    assert read(reader, 5)[0, 0, 0, 0] == 5


def test_a_crash_is_an_error_that_names_the_file_and_the_reader_goes_on(reader: SubprocessReader) -> None:
    with pytest.raises(VideoDecodeError, match=r"^v.mp4: json was killed by SIGABRT after saying 'bad memory'\.$"):
        read(reader, *range(40), fake_library.CRASHES)
    assert read(reader, 5)[0, 0, 0, 0] == 5


def test_what_the_library_raises_is_one_sentence_about_the_file(reader: SubprocessReader) -> None:
    with pytest.raises(VideoDecodeError, match=r"^v.mp4: cannot read the video \(packet 7 is bad\)\.$"):
        read(reader, fake_library.FAILS)


def test_frames_that_do_not_come_are_an_error(reader: SubprocessReader) -> None:
    with pytest.raises(VideoDecodeError, match=r"json gave 32 of 33 frames"):
        read(reader, *range(32), fake_library.IS_SHORT)
    with pytest.raises(VideoDecodeError, match=r"json gave 0 of 1 frames"):
        read(reader, fake_library.IS_SHORT)


def test_a_library_that_cannot_be_loaded_is_no_fault_of_the_video(reader: SubprocessReader) -> None:
    with pytest.raises(ImportError, match="it went away"):
        read(reader, fake_library.NEEDS_A_PACKAGE)


def test_a_file_the_library_gets_wrong_is_refused_before_it_is_asked() -> None:
    reader = SubprocessReader(fake_library.library(refusal=fake_library.refuse_short, decode=None), limit_s=60.0)
    with pytest.raises(VideoDecodeError, match=r"^v.mp4: json cannot be trusted with files of 300 frames; use pyav\.$"):
        read(reader, 1)


def test_the_fingerprint_is_asked_for_once_and_travels_with_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SubprocessReader(fake_library.library(), limit_s=60.0)
    assert reader.fingerprint == f"fake1-{resizing_fingerprint()}"
    copy = pickle.loads(pickle.dumps(reader))
    monkeypatch.setattr(copy, "_worker", None)
    assert copy.fingerprint == reader.fingerprint


def test_the_fingerprint_names_what_resizes(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SubprocessReader(fake_library.library(), limit_s=60.0)
    before = reader.fingerprint
    monkeypatch.setattr("PIL.__version__", "99.9")
    assert "99.9" in reader.fingerprint
    assert reader.fingerprint != before


def test_a_copy_in_another_process_has_a_process_of_its_own() -> None:
    reader = SubprocessReader(fake_library.library(decode=fake_library.decode_process_id), limit_s=60.0)
    numbers = set()
    for each in (reader, pickle.loads(pickle.dumps(reader))):
        frames = each.read(VIDEO, INDEX, np.array([0]), fake_library.as_it_is, Resize.AREA).frames
        numbers.add("".join(map(str, frames.ravel())))
    assert len(numbers) == 2


def test_a_library_that_does_not_load_says_what_it_needs() -> None:
    broken = fake_library.library(describe=fake_library.describe_without_its_library)
    with pytest.raises(BackendError) as caught:
        SubprocessReader(broken, limit_s=60.0).fingerprint  # noqa: B018
    assert str(caught.value) == (
        "video backend 'json' cannot be loaded (libav.so: cannot open shared object file); it needs libav, or use "
        "'pyav'"
    )


@pytest.mark.parametrize("backend", [Backend.DECORD, Backend.TORCHCODEC])
def test_a_package_that_is_missing_is_one_sentence_with_the_command(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError) as caught:
        build_reader(backend)
    assert str(caught.value) == (
        f"video backend '{backend}' needs the package {backend}, which is not installed; run: "
        f"pip install 'videozoom[{backend}]', or use 'pyav'"
    )


def request_for(*frames: int) -> DecodeRequest:
    wanted = np.array(frames)
    return DecodeRequest(VIDEO, frames, INDEX.times_s[wanted], 300, 0.02, SMALL, Resize.AREA)


def test_another_number_of_frames_is_noticed() -> None:
    check_frame_count(request_for(1), 300)
    with pytest.raises(VideoDecodeError, match=r"v.mp4: the library sees 299 frames where the file has 300; use pyav"):
        check_frame_count(request_for(1), 299)


def test_another_frame_than_the_one_asked_for_is_noticed_by_its_time() -> None:
    request = request_for(1, 2, 3, 10)
    check_times(request, 0, np.array([0.04, 0.08, 0.12]))
    check_times(request, 2, np.array([0.1201, 0.4]))
    with pytest.raises(VideoDecodeError, match=r"v.mp4: the library gives another frame for frame 3; use pyav"):
        check_times(request, 1, np.array([0.08, 0.16, 0.4]))


def test_leading_pictures_are_told_from_reordered_ones() -> None:
    closed = [0, 120, 40, 80, 160, 280, 200, 240]
    assert not has_leading_pictures(index_of(closed, keys=(0, 4)))
    open_group = [0, 120, 40, 80, 240, 160, 200, 280]
    assert has_leading_pictures(index_of(open_group, keys=(0, 4)))
    assert not has_leading_pictures(index_of(open_group, keys=(0,)))


def test_a_batch_bounds_what_is_held_at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def decode(request: DecodeRequest) -> Iterator[NDArray[np.uint8]]:
        for batch in fake_library.decode(request):
            lengths.append(len(batch))
            yield batch

    shapes = [batch.shape for batch in libraries.decode_resized(decode, request_for(*range(40)))]
    assert lengths == [16, 16, 8]
    assert shapes == [(16, 28, 28, 3), (16, 28, 28, 3), (8, 28, 28, 3)]
