"""Work of known cost; in a module of its own, because other processes import it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from videozoom.experiments.bench_process import Job


@dataclass(frozen=True)
class Allocation(Job):
    """Takes memory, gives half of it back, and computes in a child."""

    num_mib: int

    def run(self, folder: Path) -> np.ndarray:
        whole = np.ones(self.num_mib * 2**20, np.uint8)
        half = whole[: len(whole) // 2].copy()
        subprocess.run([sys.executable, "-c", "sum(range(5_000_000))"], check=True)
        return half

    def facts(self, result: np.ndarray) -> Mapping[str, float]:
        return {"process": os.getpid(), "num_bytes": len(result)}


@dataclass(frozen=True)
class Continuation(Job):
    """Finds what was prepared, and counts its runs in its folder."""

    is_prepared: ClassVar[bool] = True
    min_runs: ClassVar[int] = 3

    def prepare(self, folder: Path) -> None:
        (folder / "prepared").write_text(str(os.getpid()), encoding="ascii")

    def run(self, folder: Path) -> float:
        (folder / f"run_{len(list(folder.iterdir()))}").touch()
        return len(list(folder.iterdir()))

    def facts(self, result: float) -> Mapping[str, float]:
        return {"num_files": result}


@dataclass(frozen=True)
class Mishap(Job):
    """Fails."""

    error: type[Exception] = ValueError

    def run(self, folder: Path) -> None:
        raise self.error("it broke\nbadly")


@dataclass(frozen=True)
class Tally(Job):
    """Counts its runs in a file; fails, or is interrupted, in one of them."""

    path: Path
    interrupt_at: int = 0
    fail_at: int = 0

    @property
    def num_runs(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def run(self, folder: Path) -> int:
        with self.path.open("a", encoding="ascii") as file:
            file.write("x")
        if self.num_runs == self.interrupt_at:
            raise KeyboardInterrupt
        if self.num_runs == self.fail_at:
            raise ValueError(f"it broke at run {self.num_runs}")
        return self.num_runs

    def facts(self, result: int) -> Mapping[str, float]:
        return {"num_runs": result}
