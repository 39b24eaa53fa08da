import errno
import logging
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cache_processes import Asking, ask_at_once
from video_makers import write_numbered_video

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos import bounded_folder, cache_writer, file_ids, frame_cache
from videozoom.envs.videos.file_ids import FileStamp, digest_of
from videozoom.envs.videos.frame_cache import FrameCache, Source
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.reader import DecodedFrames

SHAPE = (4, 28, 28, 3)
FILE_BYTES = 12288
"""What one clip of this shape takes on the disk: 9,408 bytes of pixels, header and note, in blocks of 4,096."""


def clip(number: int, *, filled: tuple[int, ...] = ()) -> DecodedFrames:
    return DecodedFrames(np.random.default_rng(number).integers(0, 256, SHAPE, np.uint8), filled)


def key(number: int) -> str:
    return digest_of("key", number)


class Decoder:
    """Makes the clip of a number, and counts."""

    def __init__(self, number: int) -> None:
        self.number, self.num_calls = number, 0

    def __call__(self) -> DecodedFrames:
        self.num_calls += 1
        return clip(self.number)


def never() -> DecodedFrames:
    raise AssertionError("it was known")


def ask(
    cache: FrameCache, number: int, decode: Callable[[], DecodedFrames] | None = None
) -> tuple[DecodedFrames, Source]:
    return cache.frames(key(number), decode or Decoder(number), lambda: True)


def sources(cache: FrameCache, *numbers: int) -> list[Source]:
    found = [ask(cache, number) for number in numbers]
    for number, (decoded, _) in zip(numbers, found, strict=True):
        assert np.array_equal(decoded.frames, clip(number).frames)
    return [source for _, source in found]


def age(folder: Path, number: int, seconds_ago: float) -> None:
    """Make it look as if a clip had last been used some time ago."""
    used_s = time.time() - seconds_ago
    os.utime(folder / "frames" / key(number)[0] / f"{key(number)}.npy", (used_s, used_s))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def clips(folder: Path) -> set[str]:
    return {name for name in files(folder) if ".npy" in name}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Return the warnings so far; a list that grows."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    cache_writer.log.addHandler(handler)
    yield found
    cache_writer.log.removeHandler(handler)


def test_frames_are_decoded_once_and_mapped_from_then_on(folder: Path) -> None:
    decode = Decoder(1)
    first, source = ask(FrameCache(folder), 1, decode)
    again, source_again = ask(FrameCache(folder), 1, decode)
    assert (source, source_again, decode.num_calls) == (Source.DECODED, Source.DISK, 1)
    for decoded in (first, again):
        assert np.array_equal(decoded.frames, clip(1).frames)
        assert type(decoded.frames) is np.ndarray
        assert isinstance(decoded.frames.base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            decoded.frames[0] = 0


def test_the_file_is_an_ordinary_array(folder: Path) -> None:
    ask(FrameCache(folder), 1, lambda: clip(1, filled=(0, 3)))
    [path] = folder.rglob("*.npy")
    assert np.array_equal(np.load(path), clip(1).frames)
    assert isinstance(np.load(path, mmap_mode="r"), np.memmap)


def test_what_was_filled_is_remembered(folder: Path) -> None:
    ask(FrameCache(folder), 1, lambda: clip(1, filled=(0, 3)))
    assert ask(FrameCache(folder), 1, never)[0].filled == (0, 3)
    ask(FrameCache(folder), 2)
    assert ask(FrameCache(folder), 2, never)[0].filled == ()


def test_other_keys_are_other_frames(folder: Path) -> None:
    cache = FrameCache(folder)
    assert sources(cache, 1, 2, 1, 2) == [Source.DECODED] * 2 + [Source.DISK] * 2


def test_a_name_depends_on_every_part_and_on_the_order() -> None:
    parts = [("a", 1, [2, 3]), ("a", 1, [3, 2]), ("a", 1, [2]), ("b", 1, [2, 3]), ("a", "1", [2, 3]), (1, "a", [2, 3])]
    assert len({digest_of(*part) for part in parts}) == len(parts)


def test_what_decoding_raises_goes_through_and_the_next_one_asks_again(folder: Path) -> None:
    def fail() -> DecodedFrames:
        raise VideoDecodeError("no")

    with pytest.raises(VideoDecodeError, match="no"):
        ask(FrameCache(folder), 1, fail)
    assert sources(FrameCache(folder), 1) == [Source.DECODED]


def test_nothing_is_kept_of_a_file_that_changed_meanwhile(folder: Path) -> None:
    cache = FrameCache(folder)
    decoded, _ = cache.frames(key(1), Decoder(1), lambda: False)
    assert np.array_equal(decoded.frames, clip(1).frames)
    assert clips(folder) == set()


ASKING = """
import time
from pathlib import Path
import numpy as np
from videozoom.envs.videos.file_ids import digest_of
from videozoom.envs.videos.frame_cache import FrameCache
from videozoom.envs.videos.reader import DecodedFrames
folder, marks = Path(sys.argv[1]), Path(sys.argv[2])
def decode():
    with marks.open("a") as file:
        file.write("x")
    time.sleep(0.3)
    return DecodedFrames(np.full((4, 28, 28, 3), 7, np.uint8))
def ask():
    return FrameCache(folder).frames(digest_of("key", 1), decode, lambda: True)
"""


def test_of_eight_processes_that_ask_at_once_one_decodes(folder: Path, tmp_path: Path) -> None:
    tell = "decoded, source = ask(); print(source, int(decoded.frames.min()), type(decoded.frames.base).__name__)"
    said = ask_at_once([Asking(ASKING, tell, folder, tmp_path / "marks") for _ in range(8)])
    assert (tmp_path / "marks").read_text() == "x"
    assert sorted(line for lines in said for line in lines) == ["decoded 7 memmap"] + ["disk 7 memmap"] * 7


def test_of_eight_threads_that_ask_at_once_one_decodes(folder: Path) -> None:
    cache, barrier, found = FrameCache(folder), threading.Barrier(8), []

    def decode() -> DecodedFrames:
        time.sleep(0.1)
        return clip(1)

    def run() -> None:
        barrier.wait()
        found.append(ask(cache, 1, decode)[1])

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [Source.DECODED] + [Source.DISK] * 7


KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
KILLED_WHILE = {
    "decoding": f"def decode():\n    {KILL}\nask()",
    "writing": (
        "from videozoom.envs.videos import frame_cache\n"
        "def half(file, decoded):\n"
        f"    file.write(b'x' * 5000); file.flush(); {KILL}\n"
        "frame_cache.write_frames = half\n"
        "ask()"
    ),
    "naming": f"import os\ndef replace(*paths):\n    {KILL}\nos.replace = replace\nask()",
}


@pytest.mark.parametrize("moment", KILLED_WHILE)
def test_a_killed_process_leaves_nothing_that_another_would_read(folder: Path, tmp_path: Path, moment: str) -> None:
    killed = Asking(ASKING, KILLED_WHILE[moment], folder, tmp_path / "marks")
    killed.go()
    assert killed.end()[0] == -9
    left = {name for name in files(folder) if name.endswith(".tmp")}
    assert len(left) == (0 if moment == "decoding" else 1)
    assert clips(folder) == left
    cache = FrameCache(folder)
    assert sources(cache, 1, 1) == [Source.DECODED, Source.DISK]
    assert clips(folder) == {f"{key(1)}.npy"}  # what was left is gone as well


def test_who_waits_for_a_process_that_is_killed_takes_over(folder: Path, tmp_path: Path) -> None:
    holder = Asking(ASKING, "def decode():\n    print('holds', flush=True); time.sleep(60)\nask()", folder, tmp_path)
    assert holder.line() == "ready"
    holder.go()
    assert holder.line() == "holds"
    found: list[Source] = []
    waiting = threading.Thread(target=lambda: found.extend(sources(FrameCache(folder), 1)))
    waiting.start()
    time.sleep(0.2)
    assert waiting.is_alive()
    holder.process.kill()
    waiting.join(20)
    assert found == [Source.DECODED]
    holder.end()


def test_who_waited_too_long_decodes_and_leaves_the_file_to_the_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_cache, "_PATIENCE_S", 0.05)
    cache = FrameCache(folder)
    with cache._only_one(f"{key(1)}.npy"):
        assert sources(cache, 1) == [Source.DECODED]
        assert clips(folder) == set()
    assert sources(cache, 1, 1) == [Source.DECODED, Source.DISK]


@pytest.mark.parametrize("size", [0, 3, 60, 128, 5000, 9535, 9536, 9540, -1])
def test_a_file_that_is_cut_short_is_made_again(folder: Path, size: int) -> None:
    ask(FrameCache(folder), 1)
    [path] = folder.rglob("*.npy")
    assert path.stat().st_size > 128 + clip(1).frames.nbytes == 9536
    os.truncate(path, path.stat().st_size + size if size < 0 else size)
    assert sources(FrameCache(folder), 1, 1) == [Source.DECODED, Source.DISK]


def test_a_file_of_something_else_is_made_again(folder: Path, tmp_path: Path) -> None:
    ask(FrameCache(folder), 1)
    [path] = folder.rglob("*.npy")
    good = path.read_bytes()
    np.save(tmp_path / "floats.npy", np.zeros(SHAPE, np.float32))
    notes = [b'{"filled": []}', b"[]", b"7", b'{"start": 0, "shape": [9536], "filled": []}', b"x", b""]
    ends = [note + f"{len(note):8d}".encode() + good[-8:] for note in notes]
    ends += [b"%8d" % length + good[-8:] for length in (-1, 99_999)]
    floats = (tmp_path / "floats.npy").read_bytes()
    for bad in (b"noise" * 3000, floats, good + b"more", good[:-20] + b"x" * 20, *(good[:9536] + end for end in ends)):
        path.write_bytes(bad)
        assert sources(FrameCache(folder), 1, 1) == [Source.DECODED, Source.DISK]


def test_a_damaged_file_is_removed_even_if_it_cannot_be_made_again(folder: Path) -> None:
    def fail() -> DecodedFrames:
        raise VideoDecodeError("no")

    ask(FrameCache(folder), 1)
    [path] = folder.rglob("*.npy")
    os.truncate(path, 100)
    with pytest.raises(VideoDecodeError):
        ask(FrameCache(folder), 1, fail)
    assert not path.exists()


def bounded(folder: Path, num_clips: int, **settings: int) -> FrameCache:
    """Return a cache with room for so many clips, after the parts for records and for other writers."""
    return FrameCache(folder, max_bytes=int(num_clips * FILE_BYTES * 32 / 31 * 8 / 7) + 100, **settings)


def test_the_least_recently_used_makes_room(folder: Path) -> None:
    cache = bounded(folder, 3)
    for number in (1, 2, 3):
        ask(cache, number)
        age(folder, number, 100 - number)
    ask(cache, 1)  # used again
    ask(cache, 4)
    assert clips(folder) == {f"{key(number)}.npy" for number in (1, 3, 4)}
    assert sources(FrameCache(folder), 1, 3, 4) == [Source.DISK] * 3


def test_the_cache_stays_within_its_bound_whatever_comes(folder: Path) -> None:
    cache = bounded(folder, 5)
    for number in range(30):
        ask(cache, number)
        assert 1 <= len(clips(folder)) <= 5
        assert FrameCache(folder).num_bytes() <= 5 * FILE_BYTES


def test_a_process_notices_what_others_wrote_before_it(folder: Path) -> None:
    for number in range(10):
        ask(FrameCache(folder), number)
        age(folder, number, 100 - number)
    ask(bounded(folder, 3), 10)
    assert clips(folder) == {f"{key(number)}.npy" for number in (8, 9, 10)}


def test_frames_that_are_in_use_outlive_their_file(folder: Path) -> None:
    cache = bounded(folder, 1)
    held = ask(cache, 1)[0].frames
    ask(cache, 2)
    assert clips(folder) == {f"{key(2)}.npy"}
    assert np.array_equal(held, clip(1).frames)


def test_what_is_being_written_is_not_taken_for_a_leftover(folder: Path) -> None:
    cache = bounded(folder, 1)
    with cache._only_one(f"{key(1)}.npy"), cache._frames.writing(f"{key(1)}.npy") as file:
        file.write(b"half of it")
        ask(cache, 2)
        ask(cache, 3)
        assert len([name for name in clips(folder) if name.endswith(".tmp")]) == 1
    assert f"{key(1)}.npy" in clips(folder)


def test_a_file_that_may_not_be_removed_does_no_harm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = bounded(folder, 1)
    ask(cache, 1)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert sources(cache, 2, 1) == [Source.DECODED, Source.DISK]


def test_frames_larger_than_the_whole_cache_are_not_kept(folder: Path, warnings: list[str]) -> None:
    cache = FrameCache(folder, max_bytes=5000)
    assert sources(cache, 1, 1, 2) == [Source.DECODED] * 3
    assert clips(folder) == set()
    [warning] = warnings
    assert "has no room for 0.0 MiB" in warning


def test_a_full_disk_costs_the_cache_and_not_the_run(
    folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FrameCache(folder)
    ask(cache, 1)
    usage = shutil.disk_usage(folder)
    # One GiB is free of a hundred: less than the share that stays free.
    monkeypatch.setattr(bounded_folder.shutil, "disk_usage", lambda _: usage._replace(total=100 << 30, free=1 << 30))
    assert sources(cache, 2, 3, 2) == [Source.DECODED] * 3
    assert clips(folder) == set()  # its own files made room for others
    [warning] = warnings
    assert "the disk is almost full" in warning


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_write_that_fails_ends_writing_with_one_warning(
    folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    ask(FrameCache(folder), 1)
    cache = FrameCache(folder)

    num_tries = 0

    def fail(*_: object) -> None:
        nonlocal num_tries
        num_tries += 1
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(frame_cache, "write_frames", fail)
    assert sources(cache, 2, 2, 3) == [Source.DECODED] * 3
    assert num_tries == 1
    assert sources(cache, 1) == [Source.DISK]  # what is there is still used
    assert clips(folder) == {f"{key(1)}.npy"}
    assert warnings == [
        f"The video cache {folder} cannot be written ({os.strerror(code)}); this process goes on without keeping more."
    ]


def test_a_folder_that_cannot_be_made_ends_writing_with_one_warning(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FrameCache(tmp_path / "file" / "cache")
    assert sources(cache, 1, 1) == [Source.DECODED] * 2
    assert cache.num_bytes() == 0
    [warning] = warnings
    assert "cannot be written (Not a directory)" in warning


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_read(folder: Path, warnings: list[str]) -> None:
    ask(FrameCache(folder), 1)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert sources(FrameCache(folder), 1, 2) == [Source.DISK, Source.DECODED]
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
    assert len(warnings) == 1


def test_a_folder_that_disappears_is_made_again(folder: Path, warnings: list[str]) -> None:
    cache = FrameCache(folder)
    ask(cache, 1)
    shutil.rmtree(folder)
    assert sources(cache, 1, 1) == [Source.DECODED, Source.DISK]
    assert warnings == []


def test_the_folder_says_what_it_is(folder: Path) -> None:
    ask(FrameCache(folder), 1)
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_pickled_cache_is_on_the_same_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = FrameCache(Path("cache"))
    ask(cache, 1)
    copy = pickle.loads(pickle.dumps(cache))
    monkeypatch.chdir("/")
    assert copy.folder == folder
    assert sources(copy, 1, 2) == [Source.DISK, Source.DECODED]
    assert sources(cache, 2) == [Source.DISK]


def test_frames_that_had_to_go_come_back_from_the_cold(folder: Path) -> None:
    cache = bounded(folder, 1, cold_bytes=10**6)
    ask(cache, 1, lambda: clip(1, filled=(2,)))
    ask(cache, 2)
    assert clips(folder) == {f"{key(2)}.npy", f"{key(1)}.npy.zst"}
    decoded, source = ask(FrameCache(folder, cold_bytes=10**6), 1, never)
    assert source is Source.COLD
    assert np.array_equal(decoded.frames, clip(1).frames)
    assert decoded.filled == (2,)
    assert isinstance(decoded.frames.base, np.memmap)
    assert sources(FrameCache(folder), 1) == [Source.DISK]


def test_nothing_is_kept_in_the_cold_unless_asked_for(folder: Path) -> None:
    cache = bounded(folder, 1)
    ask(cache, 1)
    ask(cache, 2)
    assert clips(folder) == {f"{key(2)}.npy"}
    assert not (folder / "cold").exists()


def test_the_cold_has_its_own_bound(folder: Path) -> None:
    cache = bounded(folder, 1, cold_bytes=int(2 * FILE_BYTES * 8 / 7) + 10)
    for number in range(8):
        ask(cache, number)
        if number:
            age(folder, number, 100 - number)
    assert 1 <= len({name for name in clips(folder) if name.endswith(".zst")}) <= 2
    assert cache.num_bytes() <= 4 * FILE_BYTES


@pytest.mark.parametrize("damage", ["cut", "noise", "flipped", "empty"])
def test_a_damaged_compressed_copy_is_removed_and_the_frames_are_decoded(folder: Path, damage: str) -> None:
    cache = bounded(folder, 1, cold_bytes=10**6)
    ask(cache, 1)
    ask(cache, 2)
    [path] = folder.rglob("*.zst")
    data = path.read_bytes()
    changed = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    path.write_bytes({"cut": data[:-200], "noise": b"noise" * 99, "flipped": changed, "empty": b""}[damage])
    roomy = FrameCache(folder, cold_bytes=10**6)
    assert sources(roomy, 1, 1) == [Source.DECODED, Source.DISK]
    assert not path.exists()


def settled(path: Path) -> FileStamp:
    """Make a file look as if it had not been changed for a while."""
    changed_s = time.time() - 100
    os.utime(path, (changed_s, changed_s))
    return FileStamp.of(path)


@pytest.fixture
def num_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return how many files were read for their digest so far."""
    read: list[Path] = []

    def count(path: Path) -> str:
        read.append(path)
        return file_ids.content_digest(path)

    monkeypatch.setattr(frame_cache, "content_digest", count)
    return lambda: len(read)


def test_a_known_file_is_not_read_again(folder: Path, tmp_path: Path, num_read: Callable[[], int]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    stamp = settled(path)
    digest = FrameCache(folder).digest(path, stamp)
    assert FrameCache(folder).digest(path, stamp) == digest
    (tmp_path / "link").symlink_to(path)
    assert FrameCache(folder).digest(tmp_path / "link", stamp) == digest
    assert num_read() == 1


def test_a_file_that_was_moved_or_copied_is_recognised(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    digest = FrameCache(folder).digest(path, settled(path))
    shutil.copyfile(path, tmp_path / "copy")
    path.rename(tmp_path / "moved")
    for name in ("copy", "moved"):
        assert FrameCache(folder).digest(tmp_path / name, settled(tmp_path / name)) == digest


def test_a_changed_file_is_read_again(folder: Path, tmp_path: Path, num_read: Callable[[], int]) -> None:
    path, cache, digests = tmp_path / "a", FrameCache(folder), set()
    for content, seconds_ago in ((b"one", 50), (b"two", 40), (b"longer", 40)):
        path.write_bytes(content)
        os.utime(path, (time.time() - seconds_ago,) * 2)
        digests.add(cache.digest(path, FileStamp.of(path)))
    assert (len(digests), num_read()) == (3, 3)


def test_the_name_of_a_file_that_has_just_changed_is_not_remembered(
    folder: Path, tmp_path: Path, num_read: Callable[[], int]
) -> None:
    """It may change again within the same tick of the file system's clock."""
    path, cache = tmp_path / "a", FrameCache(folder)
    now_s = time.time()
    digests = set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        os.utime(path, (now_s, now_s))
        digests.add(cache.digest(path, FileStamp.of(path)))
    assert (len(digests), num_read()) == (2, 2)


def test_a_file_that_is_not_there_is_an_error_of_the_file_system(folder: Path, tmp_path: Path) -> None:
    stamp = FileStamp(1, 1, 1, 1, 1)
    with pytest.raises(FileNotFoundError):
        FrameCache(folder).digest(tmp_path / "missing", stamp)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    return scan(write_numbered_video(tmp_path_factory.mktemp("videos") / "v.mp4", range(0, 2000, 40)))


def unasked() -> VideoIndex:
    raise AssertionError("it was known")


def test_a_file_is_scanned_once(folder: Path, index: VideoIndex) -> None:
    assert FrameCache(folder).index("aa", lambda: index, lambda: True) == (index, Source.DECODED)
    known, source = FrameCache(folder).index("aa", unasked, lambda: True)
    assert source is Source.DISK
    assert np.array_equal(known.times_s, index.times_s)
    assert np.array_equal(known.packets.position, index.packets.position)
    assert FrameCache(folder).index("bb", lambda: index, lambda: True)[1] is Source.DECODED


def test_the_index_of_a_file_that_changed_meanwhile_is_not_kept(folder: Path, index: VideoIndex) -> None:
    FrameCache(folder).index("aa", lambda: index, lambda: False)
    assert FrameCache(folder).index("aa", lambda: index, lambda: True)[1] is Source.DECODED


def test_a_damaged_index_is_made_again(folder: Path, index: VideoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    FrameCache(folder).index("aa", lambda: index, lambda: True)
    [path] = (folder / "records").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for source in (Source.DECODED, Source.DISK):
        assert FrameCache(folder).index("aa", lambda: index, lambda: True)[1] is source
    # One of another version is whole, and not to be read.
    monkeypatch.setattr(VideoIndex, "to_bytes", lambda _: b"of another version")
    FrameCache(folder).index("bb", lambda: index, lambda: True)
    monkeypatch.undo()
    for source in (Source.DECODED, Source.DISK):
        assert FrameCache(folder).index("bb", lambda: index, lambda: True)[1] is source
