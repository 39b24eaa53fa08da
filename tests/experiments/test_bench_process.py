import os
from pathlib import Path

import pytest
from measured_jobs import Allocation, Mishap

from videozoom.experiments.bench_process import measure


def test_a_job_is_measured_in_a_process_of_its_own_with_its_children(tmp_path: Path) -> None:
    runs = [measure(Allocation(96), tmp_path) for _ in range(2)]
    assert len({run.facts["process"] for run in runs} | {os.getpid()}) == 3
    for run in runs:
        assert run.facts["num_bytes"] == 48 * 2**20
        assert run.peak_mib == pytest.approx(144, abs=8)
        assert run.private_mib == pytest.approx(48, abs=8)
        assert 0.02 < run.cpu_s < 10


def test_what_a_job_raises_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it broke"):
        measure(Mishap(), tmp_path)
