from pathlib import Path
from typing import Any

import pytest
from measured_jobs import Allocation, Mishap

from videozoom.experiments.bench_journal import Journal
from videozoom.experiments.bench_process import Measurement

ABOUT = {"packages": {"av": "1.2"}, "videos": (("clip.mp4", 9, 8),)}
MEASURED = Measurement(0.1, 0.3, None, 2.5, {"num_frames": 4})


def opened(folder: Path, about: Any = ABOUT, kept: int = 1, *, overwrite: bool = False) -> Journal:
    return Journal(folder / "journal.jsonl", about, {"memory_bytes": kept}, overwrite=overwrite)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with opened(tmp_path) as journal:
        assert not journal.is_replaced
        journal.add(Allocation(1), "fast ours", 0, MEASURED)
        journal.add(Mishap(), "fast decord", 0, "it broke")
    return tmp_path


def test_what_was_measured_is_there_for_the_next_run(folder: Path) -> None:
    with opened(folder, kept=2) as journal:
        assert journal.get(Allocation(1), "fast ours", 0) == MEASURED
        assert journal.get(Mishap(), "fast decord", 0) == "it broke"
        assert journal.get(Allocation(1), "fast ours", 1) is None
        assert journal.get(Allocation(2), "fast ours", 0) is None
        assert journal.get(Allocation(1), "slow ours", 0) is None
        assert (journal.kept, journal.is_replaced) == ({"memory_bytes": 1}, False)


@pytest.mark.parametrize("about", [{**ABOUT, "packages": {"av": "1.3"}}, {**ABOUT, "videos": (("clip.mp4", 9, 7),)}])
def test_measurements_of_something_else_do_not_count(folder: Path, about: Any) -> None:
    with opened(folder, about, kept=2) as journal:
        assert journal.get(Allocation(1), "fast ours", 0) is None
        assert (journal.kept, journal.is_replaced) == ({"memory_bytes": 2}, True)
    with opened(folder, about) as journal:
        assert not journal.is_replaced


def test_one_may_begin_anew(folder: Path) -> None:
    with opened(folder, overwrite=True) as journal:
        assert journal.get(Allocation(1), "fast ours", 0) is None


def test_a_torn_last_line_is_left_out(folder: Path) -> None:
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    with opened(folder) as journal:
        assert journal.get(Allocation(1), "fast ours", 0) == MEASURED
        assert journal.get(Mishap(), "fast decord", 0) is None
        journal.add(Mishap(), "fast decord", 0, "it broke again")
    with opened(folder) as journal:
        assert journal.get(Mishap(), "fast decord", 0) == "it broke again"


@pytest.mark.parametrize("text", ["", "{", "[]\n", "{}\n", '{"about": {}}\n', "no\njournal\n"])
def test_a_file_that_makes_no_sense_is_replaced(folder: Path, text: str) -> None:
    (folder / "journal.jsonl").write_text(text, encoding="ascii")
    with opened(folder) as journal:
        assert journal.is_replaced
        journal.add(Allocation(1), "fast ours", 0, MEASURED)
    with opened(folder) as journal:
        assert journal.get(Allocation(1), "fast ours", 0) == MEASURED


def test_a_complete_run_leaves_nothing(folder: Path) -> None:
    with opened(folder) as journal:
        journal.remove()
    assert list(folder.iterdir()) == []
