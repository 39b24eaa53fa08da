"""What a call costs in this process: CPU seconds and memory, or seconds and memory of the GPU."""

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from videozoom.experiments.bench_process import Job, measure_here

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call took."""

    seconds: float
    """CPU seconds of the process; wall-clock seconds where a GPU does the work."""
    peak_mib: float
    """Most memory in use at a time above what was in use before, its result included; that of the GPU if one is at
    work."""


def timed(function: Callable[[], T], device: torch.device) -> tuple[T, Cost]:
    """Return what `function` returns, and what that cost."""
    if device.type == "cuda":
        return _timed_on_gpu(function, device)
    results: list[T] = []
    measured = measure_here(_Call(lambda: results.append(function())), Path())
    return results[0], Cost(measured.cpu_s, measured.peak_mib or 0.0)


def _timed_on_gpu(function: Callable[[], T], device: torch.device) -> tuple[T, Cost]:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.synchronize(device)
    started_s = time.perf_counter()
    result = function()
    torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started_s
    return result, Cost(seconds, (torch.cuda.max_memory_allocated(device) - before) / 2**20)


@dataclass(frozen=True, eq=False)
class _Call(Job):
    function: Callable[[], None]

    def load(self) -> None:
        if sys.platform == "linux":
            # What the allocator kept of a call before would be used again without counting.
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)

    def run(self, folder: Path) -> Any:
        self.function()
