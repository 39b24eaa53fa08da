"""`measure`: what a piece of work costs, run in a process of its own."""

import gc
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from videozoom.envs.videos.worker_process import WorkerProcess

_LIMIT_S = 6 * 3600.0
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads that wait in a loop for others would count as work."""


class Job(ABC):
    """A piece of work. Subclasses are frozen dataclasses: equal jobs are measured once and shown wherever they belong.

    Each call gets a folder of its own for files; with `prepare`, runs find in it what that left there.
    """

    min_runs: ClassVar[int] = 1
    """Runs behind a median, at least."""
    max_runs: ClassVar[int | None] = None
    """At most; `None` for as many as asked for."""
    is_in_child: ClassVar[bool] = False
    """Whether a child process does the work; its memory is not known, because it counts that of its parent as well."""
    is_prepared: ClassVar[bool] = False
    """Whether `prepare` does something."""

    def prepare(self, folder: Path) -> None:  # noqa: B027  # Most need nothing.
        """Do once, in another process, what has happened before the first run; not measured."""

    def load(self) -> None:  # noqa: B027
        """Import what the work needs; not measured."""

    @abstractmethod
    def run(self, folder: Path) -> Any:
        """Do the work and return its result."""

    def facts(self, result: Any) -> Mapping[str, float]:
        """Return what else there is to say about a run, from its result; not measured."""
        return {}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run took."""

    cpu_s: float
    """User and system time of the process and its children."""
    wall_s: float
    peak_mib: float | None
    """Most memory the process had in use at a time, above the interpreter with everything imported."""
    private_mib: float | None
    """Memory that the process holds afterwards and shares with none; `None` where the system does not say."""
    facts: Mapping[str, float]


def measure(job: Job, folder: Path) -> Measurement:
    """Return what one run of a job takes in a fresh process; raises what it raises, or `WorkerError`."""
    with WorkerProcess(limit_s=_LIMIT_S, environment=_ENVIRONMENT) as process:
        return process.call(_measure_pinned, job, folder)


def prepare(job: Job, folder: Path) -> None:
    """Prepare a job in a fresh process; raises what that raises, or `WorkerError`."""
    with WorkerProcess(limit_s=_LIMIT_S, environment=_ENVIRONMENT) as process:
        process.call(job.prepare, folder)


def _measure_pinned(job: Job, folder: Path) -> Measurement:
    if hasattr(os, "sched_setaffinity"):
        # Caches of several cores would be filled one after the other, and decoders would start threads for them.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return measure_here(job, folder)


def measure_here(job: Job, folder: Path) -> Measurement:
    """Return what one run of a job takes in this process; its peak is right in a fresh one."""
    job.load()
    gc.collect()
    reset_peak()
    before_mib, private_mib = memory_mib("VmRSS"), _private_mib()
    wall_s, cpu_s = time.perf_counter(), used_cpu_s()
    result = job.run(folder)
    cpu_s, wall_s = used_cpu_s() - cpu_s, time.perf_counter() - wall_s
    peak_mib = None if job.is_in_child else memory_mib("VmHWM") - before_mib
    facts = dict(job.facts(result))
    now_mib = _private_mib()
    kept_mib = None if private_mib is None or now_mib is None else now_mib - private_mib
    return Measurement(cpu_s, wall_s, peak_mib, kept_mib, facts)


def used_cpu_s() -> float:
    """Return user and system time of this process and its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def reset_peak() -> None:
    """Let the peak start from now: imports may have needed more for a moment."""
    # Where the system cannot do that, the peak may include that moment.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory_mib(name: str) -> float:
    """Return a memory figure of this process; the peak so far where the system knows nothing better."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        # In bytes on macOS, in KiB elsewhere.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def _private_mib() -> float | None:
    """Return how much memory belongs to this process alone and to no file."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(float(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024
