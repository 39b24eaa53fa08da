import os
import re
from pathlib import Path

import pytest
from measured_jobs import Allocation, Continuation, Mishap

from videozoom.envs.observation import VideoDecodeError
from videozoom.experiments.bench_process import Job, Results, measure_all
from videozoom.experiments.errors import UserError


def results_of(*jobs: Job, folder: Path, repeats: int = 1, required: bool = True) -> Results:
    names = {job: type(job).__name__ for job in jobs}
    return measure_all(names, required=jobs if required else (), repeats=repeats, folder=folder)


def test_a_job_is_measured_in_a_process_of_its_own_with_its_children(tmp_path: Path) -> None:
    (runs,) = results_of(Allocation(96), folder=tmp_path, repeats=2).values()
    assert not isinstance(runs, str)
    assert len({run.facts["process"] for run in runs} | {os.getpid()}) == 3
    for run in runs:
        assert run.facts["num_bytes"] == 48 * 2**20
        assert run.peak_mib == pytest.approx(144, abs=8)
        assert run.private_mib == pytest.approx(48, abs=8)
        assert 0.02 < run.cpu_s < 10


def test_a_prepared_job_keeps_its_folder_over_all_runs(tmp_path: Path) -> None:
    (runs,) = results_of(Continuation(), folder=tmp_path).values()
    assert not isinstance(runs, str)
    assert [run.facts["num_files"] for run in runs] == [2, 3, 4]
    assert list(tmp_path.iterdir()) == []


def test_what_fails_is_a_result_where_it_may_fail(tmp_path: Path) -> None:
    assert results_of(Mishap(), folder=tmp_path, repeats=2, required=False) == {Mishap(): "it broke"}
    with pytest.raises(ValueError, match="it broke"):
        results_of(Mishap(), folder=tmp_path)
    with pytest.raises(UserError, match=re.escape("cannot measure on it broke")):
        results_of(Mishap(VideoDecodeError), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
