import os
import pickle
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from cache_processes import Asking, ask_at_once
from odd_files import show_as
from PIL import Image
from video_makers import frame_numbers, numbered_image, write_numbered_video

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.tasks import Span
from videozoom.envs.video_store import VideoStore
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.reader import DecodedFrames

STEADY_MS = range(0, 8000, 40)
"""8 s at 25 frames per second."""


def small_store(**settings: object) -> VideoStore:
    return VideoStore(**{"fast_frame_tokens": 1, "slow_frame_tokens": 4, "resize": "area", **settings})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "steady.mp4"
    return write_numbered_video(
        path, STEADY_MS, options={"g": "50", "bf": "2"}, container_options={"movflags": "faststart"}
    )


def test_the_fast_view_shows_the_frames_its_times_name(steady: Path) -> None:
    store = small_store()
    clip = store.fast_view(steady)
    numbers = np.rint(np.linspace(0, 199, 16)).astype(int).tolist()
    assert store.duration_s(steady) == pytest.approx(8.0)
    assert clip.span_s == (0.0, pytest.approx(8.0))
    assert clip.frames.shape == (16, 28, 28, 3)
    assert frame_numbers(clip.frames) == numbers
    assert clip.times_s.tolist() == pytest.approx([number * 0.04 for number in numbers])


def test_a_slow_clip_shows_the_frames_of_its_half_open_span(steady: Path) -> None:
    clip = small_store().slow_clip(steady, Span(3.0, 5.0))
    assert clip.frames.shape == (4, 56, 56, 3)
    assert frame_numbers(clip.frames) == [75, 91, 108, 124]
    assert clip.times_s.tolist() == pytest.approx([3.0, 3.64, 4.32, 4.96])
    assert clip.span_s == Span(3.0, 5.0)


@pytest.mark.parametrize(
    ("container_format", "codec", "options"),
    [
        ("mp4", "libx264", {"g": "30", "bf": "0"}),
        ("mp4", "libx264", {"g": "50", "bf": "3", "x264-params": "open-gop=1:b-pyramid=normal"}),
        ("matroska", "libx264", {"g": "50", "bf": "2"}),
        ("mpegts", "libx264", {"g": "50", "bf": "2"}),
        ("mp4", "libx265", {"g": "50", "x265-params": "log-level=none:bframes=4"}),
    ],
)
def test_every_container_gives_the_right_frames(
    tmp_path: Path, container_format: str, codec: str, options: dict[str, str]
) -> None:
    path = write_numbered_video(
        tmp_path / "v", STEADY_MS, container_format=container_format, codec=codec, options=options
    )
    store = small_store(slow_fps=25.0)
    for start in (0, 49, 51, 99, 148, 190):
        clip = store.slow_clip(path, Span(start * 0.04, (start + 8) * 0.04))
        assert frame_numbers(clip.frames) == list(range(start, start + 8)), start


def test_times_come_from_the_file_where_the_frame_rate_varies(tmp_path: Path) -> None:
    times_ms = [0, 40, 80, 1000, 1040, 3000, 3500, 3900]
    path = write_numbered_video(tmp_path / "v.mp4", times_ms)
    clip = small_store(fast_fps=100.0).fast_view(path)
    assert clip.times_s.tolist() == pytest.approx([time / 1000 for time in times_ms], abs=1e-3)
    assert frame_numbers(clip.frames) == list(range(8))
    clip = small_store().slow_clip(path, Span(0.9, 3.5))
    assert frame_numbers(clip.frames) == [3, 5]


def test_a_video_that_starts_late_starts_at_zero(tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.ts", range(5000, 7000, 40), container_format="mpegts")
    store = small_store()
    assert store.fast_view(path).times_s[0] == 0.0
    assert store.duration_s(path) == pytest.approx(2.0, abs=0.05)
    assert frame_numbers(store.slow_clip(path, Span(1.0, 2.0)).frames) == [25, 49]


def test_a_span_between_frames_shows_the_frame_on_screen(tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", range(0, 8000, 2000))
    clip = small_store().slow_clip(path, Span(2.5, 3.5))
    assert frame_numbers(clip.frames) == [1, 1]
    assert clip.times_s.tolist() == pytest.approx([2.0, 2.0])


def test_a_single_frame_is_shown_twice(tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", [0])
    assert frame_numbers(small_store().fast_view(path).frames) == [0, 0]


def test_rotation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    image = np.zeros((64, 128, 3), np.uint8)
    image[:32, :64] = 255  # top left; turned clockwise it is top right
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    upright = small_store(fast_frame_tokens=2).fast_view(path).frames[0]
    assert upright.shape == (28, 56, 3)
    show_as(0, 1, -1, 0)(path)
    turned = small_store(fast_frame_tokens=2).fast_view(path).frames[0]
    assert np.array_equal(turned, np.rot90(upright, -1))
    assert turned[:20, 16:].mean() > 250
    assert turned[:20, :12].mean() < 5


def test_area_resize_is_the_rounded_mean_over_the_box(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 112, 112, "yuv420p"
        for _ in range(4):
            image = rng.integers(0, 256, (112, 112, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    whole = small_store(fast_frame_tokens=16).fast_view(path).frames
    assert whole.shape == (4, 112, 112, 3)
    assert whole.std() > 10
    means = whole.reshape(4, 28, 4, 28, 4, 3).mean((2, 4))
    assert np.abs(small_store().fast_view(path).frames - means).max() <= 0.5 + 1e-6
    bicubic = small_store(resize="bicubic").fast_view(path).frames
    expected = [np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)) for image in whole]
    assert np.abs(bicubic.astype(int) - expected).max() <= 2  # each is within rounding of the true value


def test_short_videos_get_twice_the_pixels_if_asked_for(steady: Path) -> None:
    assert small_store(fast_frame_tokens=8, double_fast_below_s=8.1).fast_view(steady).frames.shape[1:3] == (112, 112)
    assert small_store(fast_frame_tokens=8, double_fast_below_s=7.9).fast_view(steady).frames.shape[1:3] == (84, 84)
    assert (
        small_store(slow_frame_tokens=8, double_fast_below_s=60.0).slow_clip(steady, Span(0, 2)).frames.shape[1] == 84
    )
    assert (
        small_store(slow_frame_tokens=8, double_slow_below_s=60.0).slow_clip(steady, Span(0, 2)).frames.shape[1] == 112
    )


def test_strides_give_an_overview_and_clips_at_the_rate_that_was_asked_for(steady: Path) -> None:
    store = small_store(fast_fps=0.5, fast_max_frames=64, slow_max_frames=16, spacing="stride")
    assert frame_numbers(store.fast_view(steady).frames) == [0, 50, 100, 150]
    span = Span(2.0, 3.5)
    assert frame_numbers(store.slow_clip(steady, span, 2.0).frames) == [50, 68, 87]
    assert frame_numbers(store.slow_clip(steady, span, 1.0).frames) == [50]
    assert len(store.slow_clip(steady, span, 25.0).frames) == 16
    assert store.slow_clip(steady, span, 2.0) is store.slow_clip(steady, span)  # the store's own rate is 2, too


def test_frames_keep_their_size_within_bounds_if_asked_for(steady: Path) -> None:
    def side_px(**settings: object) -> int:
        return small_store(**settings).slow_clip(steady, Span(0.0, 1.0)).frames.shape[1]

    assert side_px(slow_frame_tokens=64) == 224  # as many pixels as its tokens are, whatever the video has: 56 x 56
    assert side_px(slow_frame_tokens=64, sizing="bounds") == 56
    assert side_px(slow_frame_tokens=64, sizing="bounds", min_frame_tokens=36) == 168
    assert side_px(slow_frame_tokens=1, sizing="bounds", min_frame_tokens=36) == 28  # what is allowed counts more


def test_keys_name_the_content(steady: Path) -> None:
    store = small_store(slow_max_frames=4)
    key = store.slow_clip(steady, Span(3.0, 5.0)).key
    assert small_store(slow_max_frames=4).slow_clip(steady, Span(3.0, 5.0)).key == key
    assert store.slow_clip(steady, Span(2.99, 5.0)).key == key  # the same frames
    others = [
        store.slow_clip(steady, Span(2.0, 5.0)).key,
        store.fast_view(steady).key,
        small_store(slow_max_frames=4, slow_frame_tokens=1).slow_clip(steady, Span(3.0, 5.0)).key,
        small_store(slow_max_frames=4, resize="bicubic").slow_clip(steady, Span(3.0, 5.0)).key,
        key,
    ]
    assert len(set(others)) == 5


def test_clips_are_read_only_and_remembered(steady: Path) -> None:
    store = small_store()
    first = store.slow_clip(steady, Span(0.0, 2.0))
    assert store.slow_clip(steady, Span(0.0, 2.0)) is first
    with pytest.raises(ValueError, match="read-only"):
        first.frames[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        first.times_s[0] = 1
    store.fast_view(steady)
    assert (store.stats.num_memory_hits, store.stats.num_decodes, store.stats.num_frames) == (1, 2, 4 + 16)
    assert store.stats.decode_s > 0


def test_the_memory_is_bounded_and_drops_what_was_used_longest_ago(steady: Path) -> None:
    index_bytes, clip_bytes = 200 * 34, 4 * 56 * 56 * 3
    store = small_store(memory_bytes=index_bytes + 2 * clip_bytes)
    a, b, c = Span(0.0, 2.0), Span(2.0, 4.0), Span(4.0, 6.0)
    for span in (a, b, a, c, a, b):
        store.slow_clip(steady, span)
    assert (store.stats.num_memory_hits, store.stats.num_decodes) == (2, 4)  # c drove out b, not a
    nothing = small_store(memory_bytes=0)
    nothing.slow_clip(steady, a)
    nothing.slow_clip(steady, a)
    assert nothing.stats.num_decodes == 2


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", range(0, 2000, 40))
    store = small_store()
    before = store.fast_view(path)
    write_numbered_video(path, range(0, 4000, 40))
    after = store.fast_view(path)
    assert store.duration_s(path) == pytest.approx(4.0)
    assert before.key != after.key


def test_a_pickled_store_starts_empty_and_reads_the_same(steady: Path) -> None:
    store = small_store()
    clip = store.fast_view(steady)
    data = pickle.dumps(store)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert copy.fast_view(steady) == clip
    assert (copy.stats.num_memory_hits, copy.stats.num_decodes) == (0, 1)
    assert store.stats.num_decodes == 1


def test_files_are_closed(steady: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    store = small_store(memory_bytes=0)
    before = len(list(folder.iterdir()))
    for _ in range(3):
        store.fast_view(steady)
        with pytest.raises(VideoDecodeError):
            store.slow_clip(steady, Span(7.0, 9.0))
    assert len(list(folder.iterdir())) == before


@pytest.mark.parametrize("span", [Span(7.0, 9.0), Span(9.0, 10.0), Span(-1.0, 2.0), Span(3.0, 3.0), Span(4.0, 3.0)])
def test_a_span_outside_the_video_is_a_decode_error(steady: Path, span: Span) -> None:
    store = small_store()
    with pytest.raises(VideoDecodeError, match=r"steady.mp4: span .* is not within the video, \[0, 8\)"):
        store.slow_clip(steady, span)
    assert store.stats.num_errors == 1


def broken_files(folder: Path, steady: Path) -> dict[str, Path]:
    data = steady.read_bytes()
    contents = {
        "empty": b"",
        "random": np.random.default_rng(0).bytes(20_000),
        "text": b"not a video\n" * 50,
        "header only": data[: data.index(b"mdat") + 4],
        "half a header": data[: data.index(b"mdat") // 2],
        "no header": data[data.index(b"mdat") - 4 :],
        "all zeros": bytes(20_000),
    }
    for name, content in contents.items():
        (folder / f"{name}.mp4").write_bytes(content)
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (folder / "folder.mp4").mkdir()
    names = [*contents, "sound", "folder", "missing"]
    return {name: folder / f"{name}.mp4" for name in names}


def test_broken_files_are_decode_errors_and_nothing_else(tmp_path: Path, steady: Path) -> None:
    store = small_store()
    for name, path in broken_files(tmp_path, steady).items():
        for read in (store.duration_s, store.fast_view, lambda video: store.slow_clip(video, Span(1.0, 2.0))):
            with pytest.raises(VideoDecodeError, match=rf"{name}.mp4: .*\.$") as caught:
                read(path)
            assert "\n" not in str(caught.value)
    assert store.stats.num_frames == 0


def test_a_truncated_file_gives_what_it_holds_and_an_error_for_the_rest(tmp_path: Path, steady: Path) -> None:
    data = steady.read_bytes()
    start = data.index(b"mdat")
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: start + (len(data) - start) * 6 // 10])
    store = small_store()
    with pytest.raises(VideoDecodeError, match=r"cut.mp4: the file is cut short; \d+ frames are missing"):
        store.fast_view(path)
    assert frame_numbers(store.slow_clip(path, Span(1.0, 3.0)).frames) == [25, 41, 58, 74]
    with pytest.raises(VideoDecodeError, match=r"cut.mp4: .*"):
        store.slow_clip(path, Span(6.0, 8.0))


def test_damaged_data_gives_right_frames_or_an_error(tmp_path: Path, steady: Path) -> None:
    data = steady.read_bytes()
    start = data.index(b"mdat") + 4
    whole, rng, lost = small_store(slow_fps=25.0), np.random.default_rng(1), []
    for trial in range(6):
        where = int(rng.integers(start, len(data) - 1000))
        path = tmp_path / f"damaged{trial}.mp4"
        path.write_bytes(data[:where] + rng.bytes(600) + data[where + 600 :])
        store = small_store(slow_fps=25.0)
        for second in range(8):
            span = Span(second, second + 1.0)
            try:
                clip = store.slow_clip(path, span)
            except VideoDecodeError:
                lost.append((path, span))
            else:
                assert np.array_equal(clip.frames, whole.slow_clip(steady, span).frames), (trial, span)
    assert 6 <= len(lost) <= 24  # a damage is felt, and at most to the end of its two seconds
    with pytest.raises(VideoDecodeError, match=r"frames cannot be decoded; the file is damaged\.$"):
        small_store(slow_fps=25.0).slow_clip(*lost[0])


def one_by_one(store: VideoStore, steady: Path) -> tuple[int, ...]:
    """Return where the last clip came from: memory, disk, compressed, decoded; and how many files were scanned."""
    before = store.stats
    store.fast_view(steady)
    took = store.stats - before
    return took.num_memory_hits, took.num_disk_hits, took.num_cold_hits, took.num_decodes, took.num_scans


@pytest.mark.parametrize("resize", ["area", "bicubic", "swscale"])
def test_the_cache_on_the_disk_changes_no_pixel_time_or_key(steady: Path, tmp_path: Path, resize: str) -> None:
    plain = small_store(resize=resize).fast_view(steady)
    for _ in range(2):
        cached = small_store(resize=resize, cache=tmp_path / "cache").fast_view(steady)
        assert np.array_equal(cached.frames, plain.frames)
        assert np.array_equal(cached.times_s, plain.times_s)
        assert cached.span_s == plain.span_s


def test_a_known_video_is_neither_scanned_nor_decoded_again(steady: Path, tmp_path: Path) -> None:
    first = small_store(cache=tmp_path / "cache")
    assert one_by_one(first, steady) == (0, 0, 0, 1, 1)
    assert one_by_one(first, steady) == (1, 0, 0, 0, 0)
    second = small_store(cache=tmp_path / "cache")
    assert second.duration_s(steady) == pytest.approx(8.0)
    assert one_by_one(second, steady) == (0, 1, 0, 0, 0)
    assert one_by_one(second, steady) == (1, 0, 0, 0, 0)
    # Control: with other settings, the frames are others and the packets the same.
    assert one_by_one(small_store(cache=tmp_path / "cache", fast_fps=1.0), steady) == (0, 0, 0, 1, 0)
    assert one_by_one(small_store(cache=tmp_path / "cache", fast_frame_tokens=2), steady) == (0, 0, 0, 1, 0)
    assert one_by_one(small_store(cache=tmp_path / "cache", resize="bicubic"), steady) == (0, 0, 0, 1, 0)
    assert one_by_one(small_store(), steady) == (0, 0, 0, 1, 1)


def test_fast_views_are_mapped_and_never_copied(steady: Path, tmp_path: Path) -> None:
    store = small_store(cache=tmp_path / "cache")
    views = [store.fast_view(steady), small_store(cache=tmp_path / "cache").fast_view(steady)]
    assert store.fast_view(steady) is views[0]
    for view in views:
        assert type(view.frames) is np.ndarray
        assert isinstance(view.frames.base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            view.frames[0] = 0


ASK_A_STORE = """
import numpy as np
from videozoom.envs.video_store import VideoStore
from pathlib import Path
store = VideoStore(fast_frame_tokens=1, slow_frame_tokens=4, resize="area", cache=Path(sys.argv[2]))
"""
TELL = """
view, stats = store.fast_view(Path(sys.argv[1])), store.stats
print(stats.num_decodes, stats.num_scans, stats.num_disk_hits, view.key, type(view.frames.base).__name__)
"""


def test_eight_processes_that_ask_at_once_decode_and_scan_once(steady: Path, tmp_path: Path) -> None:
    asking = [Asking(ASK_A_STORE, TELL, steady, tmp_path / "cache") for _ in range(8)]
    said = sorted(line.split() for [line] in ask_at_once(asking))
    keys = {words[3] for words in said}
    assert len(keys) == 1
    assert [[int(number) for number in words[:3]] for words in said].count([0, 0, 1]) in (6, 7)
    assert sum(int(words[0]) for words in said) == 1
    assert sum(int(words[1]) for words in said) == 1
    assert {words[4] for words in said} == {"memmap"}


def test_threads_share_a_store(steady: Path, tmp_path: Path) -> None:
    store, barrier, clips = small_store(cache=tmp_path / "cache"), threading.Barrier(6), []

    def run(number: int) -> None:
        barrier.wait()
        clips.append((store.fast_view(steady), store.slow_clip(steady, Span(number, number + 1.0))))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({view.key for view, _ in clips}) == 1
    for _, clip in clips:
        first = round(clip.span_s.start_s * 25)
        assert frame_numbers(clip.frames) == [first, first + 24]
    assert store.stats.num_clips == 12
    assert store.stats.num_decodes == 7


def test_a_copy_and_a_moved_video_are_recognised(steady: Path, tmp_path: Path) -> None:
    store = small_store(cache=tmp_path / "cache")
    view = store.fast_view(shutil.copyfile(steady, tmp_path / "a.mp4"))
    shutil.copyfile(tmp_path / "a.mp4", tmp_path / "b.mp4")
    (tmp_path / "a.mp4").rename(tmp_path / "c.mp4")
    for name in ("b.mp4", "c.mp4"):
        other = small_store(cache=tmp_path / "cache")
        assert other.fast_view(tmp_path / name) == view
        assert (other.stats.num_decodes, other.stats.num_scans) == (0, 0)


def test_a_file_that_was_replaced_is_read_again_despite_the_cache(tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", range(0, 2000, 40))
    store = small_store(cache=tmp_path / "cache")
    before = store.fast_view(path)
    # Of the same size and, as far as the clock of the file system tells, written at the same time.
    status = path.stat()
    other = write_numbered_video(tmp_path / "w.mp4", range(40, 2040, 40)).read_bytes()
    path.write_bytes(other + bytes(max(0, status.st_size - len(other))))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = store.fast_view(path)
    assert before.key != after.key
    assert small_store(cache=tmp_path / "cache").fast_view(path) == after


@pytest.mark.parametrize("has_cache", [True, False])
def test_another_file_of_the_same_name_size_and_time_is_not_taken_for_the_old_one(
    has_cache: bool, tmp_path: Path
) -> None:
    path, long_ago_ns = tmp_path / "v.mp4", 10**18
    contents = [
        write_numbered_video(
            path, range(0, 2000, 40), image=lambda number, first=first: numbered_image(first + number)
        ).read_bytes()
        for first in (0, 100)
    ]
    longest = max(map(len, contents))
    settings = {"cache": tmp_path / "cache"} if has_cache else {}
    store, seen = small_store(**settings), []
    for content in contents:
        path.unlink()
        path.write_bytes(content + bytes(longest - len(content)))
        # As tools do that unpack archives.
        os.utime(path, ns=(long_ago_ns, long_ago_ns))
        seen.append([frame_numbers(each.fast_view(path).frames) for each in (store, small_store(**settings))])
    (old, _), (new, _) = seen
    assert new == [number + 100 for number in old]
    assert [first == second for first, second in seen] == [True, True]


def test_slow_clips_stay_in_memory(steady: Path, tmp_path: Path) -> None:
    span = Span(1.0, 3.0)
    store = small_store(cache=tmp_path / "cache")
    store.slow_clip(steady, span)
    store.slow_clip(steady, span)
    assert (store.stats.num_memory_hits, store.stats.num_decodes) == (1, 1)
    other = small_store(cache=tmp_path / "cache")
    assert other.slow_clip(steady, span) == store.slow_clip(steady, span)
    assert (other.stats.num_decodes, other.stats.num_scans) == (1, 0)
    assert list(tmp_path.rglob("*.npy")) == []


def test_a_pickled_store_is_on_the_same_cache(steady: Path, tmp_path: Path) -> None:
    store = small_store(cache=tmp_path / "cache")
    view = store.fast_view(steady)
    data = pickle.dumps(store)
    assert len(data) < 3000
    copy = pickle.loads(data)
    assert copy.stats.num_clips == 0
    assert copy.fast_view(steady) == view
    assert (copy.stats.num_disk_hits, copy.stats.num_decodes, copy.stats.num_scans) == (1, 0, 0)


def test_open_fast_views_are_bounded_too(tmp_path: Path) -> None:
    paths = [write_numbered_video(tmp_path / f"{n}.mp4", range(0, 2000, 40 + n)) for n in range(3)]
    view_bytes = 4 * 28 * 28 * 3
    store = small_store(cache=tmp_path / "cache", memory_bytes=2 * view_bytes)
    for path in (*paths, paths[2], paths[0]):
        assert store.fast_view(path).frames.nbytes == view_bytes
    assert (store.stats.num_memory_hits, store.stats.num_disk_hits, store.stats.num_decodes) == (1, 1, 3)


def test_compressed_fast_views_count_on_their_own(tmp_path: Path) -> None:
    paths = [write_numbered_video(tmp_path / f"{n}.mp4", range(0, 2000, 40 + n)) for n in range(2)]
    settings = {"cache": tmp_path / "cache", "disk_bytes": 20_000, "cold_bytes": 10**6}
    for path in paths:
        small_store(**settings).fast_view(path)
    assert one_by_one(small_store(**settings), paths[0]) == (0, 0, 1, 0, 0)


def test_counters_add_up_and_subtract(steady: Path) -> None:
    store = small_store()
    store.fast_view(steady)
    before = store.stats
    store.fast_view(steady)
    assert (store.stats - before).num_clips == (store.stats - before).num_memory_hits == 1
    assert before + (store.stats - before) == store.stats
    assert (before.num_frames, before.num_bytes) == (16, 16 * 28 * 28 * 3)


class Patching:
    """A reader that cannot decode some frames of each request, and counts the requests."""

    fingerprint = "patching"

    def __init__(self, *filled: int) -> None:
        self.filled, self.num_reads = filled, 0

    def scan(self, path: Path) -> VideoIndex:
        return scan(path)

    def read(self, path: Path, index: object, frames: np.ndarray, size: object, resize: object) -> DecodedFrames:
        self.num_reads += 1
        return DecodedFrames(np.zeros((len(frames), 28, 28, 3), np.uint8), self.filled)


def patched(reader: Patching, **settings: object) -> VideoStore:
    store = small_store(**settings)
    store._reader = reader
    return store


def test_frames_that_show_a_neighbour_are_an_error_unless_allowed(steady: Path) -> None:
    for num_filled, max_filled, is_allowed in ((0, 0.0, True), (1, 0.0, False), (4, 0.25, True), (5, 0.25, False)):
        store = patched(Patching(*range(num_filled)), max_filled=max_filled)
        for read in (store.fast_view, store.fast_view):
            if is_allowed:
                assert len(read(steady).frames) == 16
            else:
                with pytest.raises(
                    VideoDecodeError, match=rf"{num_filled} of 16 frames cannot be decoded; the file is damaged\.$"
                ):
                    read(steady)
        assert store.stats.num_filled == (num_filled if is_allowed else 0)
        assert store.stats.num_errors == (0 if is_allowed else 2)


def test_a_damaged_video_is_decoded_once_whether_or_not_it_is_accepted(steady: Path, tmp_path: Path) -> None:
    reader = Patching(1, 2)
    for max_filled in (0.0, 0.5, 0.0):
        for _ in range(2):
            store = patched(reader, max_filled=max_filled, cache=tmp_path / "cache")
            if max_filled:
                store.fast_view(steady)
                assert store.stats.num_filled == 2
            else:
                for _ in range(2):
                    with pytest.raises(VideoDecodeError, match="2 of 16 frames"):
                        store.fast_view(steady)
    assert reader.num_reads == 1


def test_a_file_that_is_replaced_while_it_is_read_is_an_error_and_not_kept(tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", range(0, 2000, 40))

    class Replacing(Patching):
        def read(self, path: Path, *arguments: object) -> DecodedFrames:
            later_s = time.time() + 100
            os.utime(path, (later_s, later_s))
            return super().read(path, *arguments)  # type: ignore[arg-type]

    for settings in ({"cache": tmp_path / "cache"}, {}):
        store = patched(Replacing(), **settings)
        for read in (store.fast_view, partial(store.slow_clip, span_s=Span(0.0, 1.0))):
            with pytest.raises(VideoDecodeError, match=r"v.mp4: the file was changed while it was read\.$"):
                read(path)
        store._reader = Patching()
        assert len(store.fast_view(path).frames) == 4
        assert store.stats.num_memory_hits == 0
    shutil.rmtree(tmp_path / "cache")
    patched(Patching(), cache=tmp_path / "cache").fast_view(path)
    assert len(list(tmp_path.rglob("*.npy"))) == 1


def test_a_file_that_is_cut_short_has_no_fast_view_with_a_cache_either(tmp_path: Path, steady: Path) -> None:
    data = steady.read_bytes()
    start = data.index(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(data[: start + (len(data) - start) * 6 // 10])
    for num_scans in (1, 0):
        store = small_store(cache=tmp_path / "cache")
        with pytest.raises(VideoDecodeError, match=r"cut.mp4: the file is cut short; \d+ frames are missing"):
            store.fast_view(tmp_path / "cut.mp4")
        assert (store.stats.num_scans, store.stats.num_decodes, store.stats.num_errors) == (num_scans, 0, 1)


def test_broken_files_are_decode_errors_with_a_cache_as_well(tmp_path: Path, steady: Path) -> None:
    store = small_store(cache=tmp_path / "cache")
    for name, path in broken_files(tmp_path, steady).items():
        with pytest.raises(VideoDecodeError, match=rf"{name}.mp4: .*\.$"):
            store.fast_view(path)
