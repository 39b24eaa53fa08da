import threading
from pathlib import Path

import pytest
from cache_processes import Asking, ask_at_once

from videozoom.envs.videos.file_ids import FileStamp, digest_in, digest_of, record_of
from videozoom.envs.videos.record_log import RecordLog

MANY = 2**30


def name(number: int, file: str = "ab") -> str:
    return file + digest_of(number)[2:]


@pytest.fixture
def log(tmp_path: Path) -> RecordLog:
    return RecordLog(tmp_path / "log", MANY)


def test_the_newest_record_of_a_name_counts(log: RecordLog) -> None:
    assert log.get(name(1)) is None
    for number, record in ((1, b"one"), (2, b""), (1, b"another"), (3, b"three" * 999)):
        log.put(name(number), record)
    assert [log.get(name(number)) for number in (1, 2, 3, 4)] == [b"another", b"", b"three" * 999, None]


def test_names_go_to_few_files(log: RecordLog, tmp_path: Path) -> None:
    for number in range(50):
        log.put(name(number, "ab"), b"x")
    log.put(name(1, "cd"), b"y")
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["ab", "cd"]
    assert (log.get(name(1, "ab")), log.get(name(1, "cd"))) == (b"x", b"y")
    assert log.num_bytes() == 51 * 25


@pytest.mark.parametrize("num_cut", range(1, 30))
def test_a_record_that_was_not_finished_is_cut_off_by_the_next_one(
    log: RecordLog, tmp_path: Path, num_cut: int
) -> None:
    log.put(name(1), b"first")
    log.put(name(2), b"second")
    path = tmp_path / "log" / "ab"
    path.write_bytes(path.read_bytes()[:-num_cut])
    assert [log.get(name(1)), log.get(name(2))] == [b"first", None]
    log.put(name(3), b"third")
    assert [log.get(name(number)) for number in (1, 2, 3)] == [b"first", None, b"third"]
    assert path.stat().st_size == 2 * 29


def test_a_changed_byte_is_noticed_wherever_it_is(log: RecordLog, tmp_path: Path) -> None:
    log.put(name(1), b"first")
    path = tmp_path / "log" / "ab"
    data = path.read_bytes()
    for where in range(len(data)):
        path.write_bytes(data[:where] + bytes([data[where] ^ 4]) + data[where + 1 :])
        assert log.get(name(1)) is None, where
        log.put(name(1), b"again")
        assert log.get(name(1)) == b"again", where


def test_a_file_that_grows_too_large_keeps_its_newest_records(tmp_path: Path) -> None:
    log = RecordLog(tmp_path, 0)  # 64 KiB for each file
    for number in range(200):
        log.put(name(number % 150), bytes([number]) * 1000)
        assert (tmp_path / "ab").stat().st_size <= 2**16
        assert log.get(name(number % 150)) == bytes([number]) * 1000
    known = [number for number in range(150) if log.get(name(number)) is not None]
    assert 30 <= len(known) <= 64
    assert set(known) >= set(range(20, 50))  # the last ones


def test_a_record_that_is_too_large_is_left_out(tmp_path: Path) -> None:
    log = RecordLog(tmp_path, 0)
    log.put(name(1), bytes(2**16))
    assert log.get(name(1)) is None
    assert log.num_bytes() == 0


def test_no_record_of_many_threads_is_lost(log: RecordLog) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 50):
            log.put(name(number), bytes([number]) * 100)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 50, 100, 150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(log.get(name(number)) == bytes([number]) * 100 for number in range(200))


def test_no_record_of_many_processes_is_lost(log: RecordLog, tmp_path: Path) -> None:
    preparation = (
        "from pathlib import Path\nfrom videozoom.envs.videos.record_log import RecordLog\n"
        "log, mine = RecordLog(Path(sys.argv[1]), 2 ** 30), sys.argv[2]"
    )
    program = "for number in range(100): log.put('ab' + mine * 2 + f'{number:028x}', mine.encode() * 500)"
    ask_at_once([Asking(preparation, program, tmp_path / "log", mine) for mine in "0123"])
    names = [(mine, f"ab{mine * 2}{number:028x}") for mine in "0123" for number in range(100)]
    assert all(log.get(its_name) == mine.encode() * 500 for mine, its_name in names)


def test_a_line_remembers_a_digest_until_size_or_time_change() -> None:
    stamp = FileStamp(num_bytes=5, modified_ns=70, changed_ns=80, inode=1, device=2)
    line = record_of(stamp, "ab12")
    assert digest_in(line, FileStamp(5, 70, 80, 8, 9)) == "ab12"  # a disk that was mounted anew
    assert digest_in(line, FileStamp(6, 70, 80, 1, 2)) is None
    assert digest_in(line, FileStamp(5, 71, 80, 1, 2)) is None
    assert digest_in(line, FileStamp(5, 70, 81, 1, 2)) is None
    for cut in range(len(line)):
        assert digest_in(line[:cut], stamp) is None
