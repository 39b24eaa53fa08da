"""`measure_all`: what pieces of work cost, several runs of each, in turn."""

import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from videozoom.envs.observation import VideoDecodeError
from videozoom.experiments import bench_process
from videozoom.experiments.bench_journal import Journal, Outcome
from videozoom.experiments.bench_process import Job, Measurement
from videozoom.experiments.errors import UserError
from videozoom.experiments.progress import console, progress

Results = dict[Job, list[Measurement] | str]
"""What was measured of each job, or why that failed."""


def measure_all(
    jobs: Mapping[Job, str], *, required: Collection[Job], repeats: int, folder: Path, journal: Journal
) -> Results:
    """Return the measurements of all jobs, one round after the other, so that a disturbance hits all alike.

    Args:
        jobs: what is measured, and its name for the progress bar.
        required: jobs that must not fail; what others raise becomes their result.
        repeats: rounds.
        folder: where jobs get their folders; they are removed in the end.
        journal: gets each measurement as it is taken; what is in it already is not measured again.

    Raises:
        UserError: a video of a required job cannot be read.
    """
    runs = _runs(jobs, repeats)
    results: Results = {job: [] for job in jobs}
    num_there = sum(journal.get(job, jobs[job], number) is not None for job, number in runs)
    if num_there:
        console.print(f"Continuing an interrupted run: {num_there} of {len(runs)} measurements are there.")
    with progress("Measuring", len(runs)) as advance, ExitStack() as stack:
        folders = _Folders(folder, stack)
        for job, number in runs:
            name, before = jobs[job], results[job]
            advance(0, note=name)
            if not isinstance(before, str):
                outcome = journal.get(job, name, number)
                if outcome is None:
                    outcome = _outcome(job, folders, may_fail=job not in required)
                    journal.add(job, name, number, outcome)
                results[job] = outcome if isinstance(outcome, str) else [*before, outcome]
            advance(note=name)
    return results


def _runs(jobs: Collection[Job], repeats: int) -> list[tuple[Job, int]]:
    """Return jobs and numbers of their runs, in order."""
    num_runs = {job: min(max(repeats, job.min_runs), job.max_runs or sys.maxsize) for job in jobs}
    rounds = range(max(num_runs.values(), default=0))
    return [(job, number) for number in rounds for job in jobs if number < num_runs[job]]


class _Folders:
    """Folders for jobs: one that is kept over all runs where something is prepared, new ones elsewhere."""

    def __init__(self, parent: Path, stack: ExitStack) -> None:
        self._parent, self._stack = parent, stack
        self._prepared: dict[Job, Path] = {}

    @contextmanager
    def of(self, job: Job) -> Iterator[Path]:
        if not job.is_prepared:
            with self._new() as name:
                yield Path(name)
            return
        if job not in self._prepared:
            path = Path(self._stack.enter_context(self._new()))
            bench_process.prepare(job, path)
            self._prepared[job] = path
        yield self._prepared[job]

    def _new(self) -> "tempfile.TemporaryDirectory[str]":
        return tempfile.TemporaryDirectory(dir=self._parent, prefix="cache_")


def _outcome(job: Job, folders: _Folders, *, may_fail: bool) -> Outcome:
    """Run a job once."""
    try:
        with folders.of(job) as folder:
            return bench_process.measure(job, folder)
    except Exception as error:
        if may_fail:
            return (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, VideoDecodeError):
            raise UserError(f"cannot measure on {error}") from error
        raise
