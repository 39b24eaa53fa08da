import gc
import os
import pickle
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from odd_files import KINDS, NUM_FRAMES, SKIPPABLE, as_it_is, wide_image, wide_numbers
from video_makers import write_numbered_video

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.containers import opened
from videozoom.envs.videos.decode_plan import decode_runs, first_needed
from videozoom.envs.videos.decoding import SKIPPING_CODECS, DecodePass
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.pyav_reader import PyAVReader
from videozoom.envs.videos.reader import Backend, build_reader
from videozoom.envs.videos.resizing import Resize
from videozoom.envs.videos.worker_process import WorkerProcess

READER = PyAVReader()
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return KINDS["open_groups"].make(tmp_path_factory.mktemp("videos") / "v.mp4")


def read(path: Path, frames: list[int], **settings: object) -> NDArray[np.uint8]:
    arguments = {"size": as_it_is, "resize": Resize.BICUBIC, **settings}
    return READER.read(path, scan(path), np.array(frames), **arguments).frames  # type: ignore[arg-type]


def decoded(
    path: Path, index: VideoIndex, wanted: list[int], *, is_skipping: bool, spared: list[int] | None = None
) -> tuple[dict[int, NDArray[np.uint8]], set[int]]:
    """Return the images of wanted frames by packet, and all packets whose frame came out; `spared` are not skipped."""
    images: dict[int, NDArray[np.uint8]] = {}
    needed = first_needed(index.packets)

    def take(position: int, frame: av.VideoFrame) -> None:
        images[position] = frame.to_ndarray(format="rgb24")

    spared = wanted if spared is None else spared
    decode_pass = DecodePass(index.packets, needed, spared, take, is_skipping=is_skipping)
    return images, decode_pass.over(path, decode_runs(needed, wanted))


@pytest.mark.parametrize("name", SKIPPABLE)
def test_leaving_out_what_nothing_refers_to_changes_no_pixel(name: str, tmp_path: Path) -> None:
    path = KINDS[name].make(tmp_path / "v")
    index, num_spared = scan(path), 0
    assert index.codec in SKIPPING_CODECS
    rng = np.random.default_rng(1)
    for num_wanted in (1, 5, 20):
        wanted = index.positions[rng.integers(0, len(index.pts), num_wanted)].tolist()
        plain, all_out = decoded(path, index, wanted, is_skipping=False)
        fast, out = decoded(path, index, wanted, is_skipping=True)
        assert plain.keys() == fast.keys()
        assert all(np.array_equal(plain[position], fast[position]) for position in plain)
        assert plain.keys() <= set(wanted) & out
        num_spared += len(all_out - out)
    has_b_frames = name not in ("groups_of_1", "groups_of_2", "no_b_frames", "intra_refresh", "avi_no_b_frames")
    assert (num_spared > 10) == (has_b_frames and len(index.pts) > 2)


def test_leaving_out_wanted_frames_loses_them(video: Path) -> None:
    index = scan(video)
    wanted = index.positions.tolist()
    assert decoded(video, index, wanted, is_skipping=True)[1] == set(wanted)
    without = decoded(video, index, wanted, is_skipping=True, spared=[])[1]
    assert 10 < len(set(wanted) - without) < 80


def test_a_decoder_that_cannot_skip_is_never_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    make = DecodePass.__init__

    def note(self: DecodePass, *arguments: object, is_skipping: bool = False) -> None:
        asked.append((name, is_skipping))
        make(self, *arguments, is_skipping=is_skipping)  # type: ignore[arg-type]

    monkeypatch.setattr(DecodePass, "__init__", note)
    for name in ("vp9", "av1", "mpeg2", "hevc"):
        if KINDS[name].is_available:
            assert wide_numbers(read(KINDS[name].make(tmp_path / name), [80, 3, 44])) == [80, 3, 44]
    assert all(is_skipping == (name == "hevc") for name, is_skipping in asked)


def test_wanted_frames_are_found_in_one_pass_over_the_groups_they_are_in(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    over = DecodePass.over

    def note(self: DecodePass, path: Path, runs: list[object]) -> set[int]:
        passes.append(list(runs))
        return over(self, path, passes[-1])

    monkeypatch.setattr(DecodePass, "over", note)
    read(video, [85, 2, 45, 45])
    assert len(passes) == 1
    assert sum(run.last - run.first + 1 for run in passes[0]) < NUM_FRAMES


@pytest.mark.parametrize("frames", [[], [90], [-1], [3, 1000]])
def test_frames_that_do_not_exist_are_the_callers_mistake(video: Path, frames: list[int]) -> None:
    with pytest.raises(IndexError, match="frames are numbered from 0 to 89"):
        READER.read(video, scan(video), np.array(frames, np.int64), as_it_is, Resize.AREA)


def test_many_frames_are_read_into_one_array(tmp_path: Path) -> None:
    """Memory: the result, and little else."""
    path = write_numbered_video(tmp_path / "v.mp4", range(0, 600 * 40, 40), image=wide_image, options={"g": "50"})
    with WorkerProcess(limit_s=120.0) as worker:
        result_mib, more_mib = worker.call(memory_of_reading, path, 600)
    assert result_mib == pytest.approx(600 * 112 * 196 * 3 / 2**20)
    assert more_mib < result_mib + 40


def memory_of_reading(path: Path, num_frames: int) -> tuple[float, float]:
    """Return the size of the frames, and by how much reading them raised the peak; both in MiB."""
    index = scan(path)
    READER.read(path, index, np.arange(2), small, Resize.BICUBIC)
    before = peak_mib()
    frames = READER.read(path, index, np.arange(num_frames), small, Resize.BICUBIC).frames
    return frames.nbytes / 2**20, peak_mib() - before


def small(height: int, width: int) -> tuple[int, int]:
    return 112, 196


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def cycles(path: Path, broken: Path, num: int) -> Iterator[tuple[int, int, float]]:
    """Open, read and close; yield the numbers of open files and of threads, and the memory in MiB."""
    index = scan(path)
    while True:
        for number in range(num):
            frames = [number % NUM_FRAMES, (7 * number) % NUM_FRAMES]
            scan(path)
            READER.read(path, index, np.array(frames), as_it_is, (Resize.BICUBIC, Resize.AREA)[number % 2])
            READER.read(path, index, np.array(frames), small, list(Resize)[number % 3])
            with suppress(VideoDecodeError):
                scan(broken)
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        yield len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), resident / 2**20


@NEEDS_PROC
def test_files_threads_and_memory_stay_flat_over_hundreds_of_cycles(video: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes()[:3000])
    # glibc then gives back every large block, so that what grows is a leak and not the scatter of free blocks.
    environment = {"MALLOC_MMAP_THRESHOLD_": "32768"}
    with WorkerProcess(limit_s=150.0, environment=environment) as worker:
        measured = worker.stream(cycles, video, broken, 50)
        files, threads, mib = zip(*(next(measured) for _ in range(7)), strict=True)
    assert len(set(files)) == 1
    assert len(set(threads)) == 1
    assert mib[6] - mib[1] < 2


@NEEDS_PROC
def test_nothing_is_held_between_calls(video: Path) -> None:
    num_threads = len(os.listdir("/proc/self/task"))
    with opened(video):
        assert [link for link in open_files() if "v.mp4" in link] != []
    read(video, [1, 88])
    assert [link for link in open_files() if "v.mp4" in link] == []
    assert len(os.listdir("/proc/self/task")) == num_threads


def open_files() -> list[str]:
    links = []
    for file in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(file))
        except FileNotFoundError:  # that of the listing itself
            continue
    return links


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_reading_goes_on_in_both_processes_after_a_fork(video: Path) -> None:
    frames = [77, 5, 40]
    expected = read(video, frames)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if np.array_equal(read(video, frames), expected) else 2
        finally:
            os._exit(code)
    assert np.array_equal(read(video, frames), expected)
    ended = threading.Event()
    killer = threading.Timer(60.0, lambda: ended.is_set() or os.kill(child, 9))
    killer.start()
    status = os.waitpid(child, 0)[1]
    ended.set()
    killer.cancel()
    assert os.waitstatus_to_exitcode(status) == 0
    assert np.array_equal(read(video, frames), expected)


def test_threads_may_read_at_once(video: Path) -> None:
    expected, results = read(video, [3, 50, 88], size=small), {}

    def work(number: int) -> None:
        results[number] = [read(video, [3, 50, 88], size=small) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(images, expected) for number in range(4) for images in results[number])


def test_a_reader_travels_and_is_named(video: Path) -> None:
    reader = build_reader(Backend.PYAV)
    assert isinstance(reader, PyAVReader)
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.fingerprint == reader.fingerprint
    assert ".".join(map(str, av.library_versions["libavcodec"])) in reader.fingerprint
