import re
from pathlib import Path

import pytest
from measured_jobs import Continuation, Mishap, Tally

from videozoom.envs.observation import VideoDecodeError
from videozoom.experiments import bench_process
from videozoom.experiments.bench_journal import Journal
from videozoom.experiments.bench_process import Job
from videozoom.experiments.bench_rounds import Results, measure_all
from videozoom.experiments.errors import UserError

ABOUT = {"packages": {"av": "1.2"}, "videos": [["clip.mp4", 9, 8]]}


@pytest.fixture(autouse=True)
def _in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_process, "measure", bench_process.measure_here)
    monkeypatch.setattr(bench_process, "prepare", lambda job, folder: job.prepare(folder))


def results_of(*jobs: Job, folder: Path, repeats: int = 1, required: bool = True) -> Results:
    """Measure jobs, going on where an earlier call was interrupted."""
    caches = folder / "caches"
    caches.mkdir(exist_ok=True)
    names = {job: type(job).__name__ for job in jobs}
    with Journal(folder / "journal.jsonl", ABOUT, {}) as journal:
        return measure_all(names, required=jobs if required else (), repeats=repeats, folder=caches, journal=journal)


def facts_of(results: Results) -> list[list[float]]:
    return [[value for run in runs for value in run.facts.values()] for runs in results.values() if runs]


def test_a_prepared_job_keeps_its_folder_over_all_runs(tmp_path: Path) -> None:
    (runs,) = results_of(Continuation(), folder=tmp_path).values()
    assert [run.facts["num_files"] for run in runs if not isinstance(run, str)] == [2, 3, 4]
    assert list((tmp_path / "caches").iterdir()) == []


def test_what_fails_is_a_result_where_it_may_fail(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it broke"):
        results_of(Mishap(), folder=tmp_path)
    with pytest.raises(UserError, match=re.escape("cannot measure on it broke")):
        results_of(Mishap(VideoDecodeError), folder=tmp_path)
    assert results_of(Mishap(), folder=tmp_path, repeats=2, required=False) == {Mishap(): "it broke"}
    assert list((tmp_path / "caches").iterdir()) == []


def test_an_interrupted_run_measures_only_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = Tally(tmp_path / "first"), Tally(tmp_path / "second", interrupt_at=2)
    with pytest.raises(KeyboardInterrupt):
        results_of(first, second, folder=tmp_path, repeats=3)
    assert (first.num_runs, second.num_runs) == (2, 2)
    assert "Continuing" not in capsys.readouterr().err
    results = results_of(first, second, folder=tmp_path, repeats=3)
    assert "Continuing an interrupted run: 3 of 6 measurements are there.\n" in capsys.readouterr().err
    # The second run of the second job was lost and done again; nothing else was.
    assert (first.num_runs, second.num_runs) == (3, 4)
    assert facts_of(results) == [[1, 2, 3], [1, 3, 4]]
    again = results_of(first, second, folder=tmp_path, repeats=3)
    assert again == results
    assert (first.num_runs, second.num_runs) == (3, 4)


def test_what_a_prepared_job_needs_is_prepared_again_for_the_runs_that_are_left(tmp_path: Path) -> None:
    stop = Tally(tmp_path / "stop", interrupt_at=2)
    with pytest.raises(KeyboardInterrupt):
        results_of(Continuation(), stop, folder=tmp_path, repeats=3)
    runs = results_of(Continuation(), stop, folder=tmp_path, repeats=3)[Continuation()]
    # Two runs in one folder, the third in another; each finds what was prepared.
    assert [run.facts["num_files"] for run in runs if not isinstance(run, str)] == [2, 3, 2]


def test_a_failure_is_not_tried_again(tmp_path: Path) -> None:
    failing, stop = Tally(tmp_path / "failing", fail_at=1), Tally(tmp_path / "stop", interrupt_at=1)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            results_of(failing, stop, folder=tmp_path, repeats=2, required=False)
        stop = Tally(tmp_path / "stop", interrupt_at=2)
    assert failing.num_runs == 1
    results = results_of(failing, Tally(tmp_path / "stop"), folder=tmp_path, repeats=2, required=False)
    assert results[failing] == "it broke at run 1"
