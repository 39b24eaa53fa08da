"""The folder of a run: where each result lies, and what the run was made with."""

import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from videozoom.envs.task_files import write_atomically
from videozoom.experiments.errors import UserError

PACKAGES = ("videozoom", "torch", "transformers", "tokenizers", "ray", "gymnasium", "numpy", "av", "pillow", "wandb")
"""Packages whose versions a run records."""


class RunFolder:
    """Paths of a run's files.

    Example:
        >>> RunFolder(Path("runs/demo")).metrics_file.as_posix()
        'runs/demo/metrics.jsonl'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.environment_file = path / "run.json"
        self.metrics_file = path / "metrics.jsonl"
        self.traces_file = path / "traces.jsonl"
        self.alarms_file = path / "alarms.jsonl"
        self.results_file = path / "results.json"
        self.report_file = path / "report.html"
        self.checkpoints = path / "checkpoints"
        self.probes = path / "probes"
        """A run folder of its own: what `videozoom probe` found out about this run's model."""

    @classmethod
    def create(cls, path: Path, config_text: str, *, seed: int, overwrite: bool = False) -> Self:
        """Make the folder of a new run, write `config.yaml` and `run.json`, and return it.

        An earlier run of the same configuration is set aside, as `<path>.1` and so on. One of another configuration is
        removed only with `overwrite`; what is no run folder is never touched.

        Raises:
            UserError: `path` holds something else, or cannot be written.
        """
        run = cls(path)
        if path.exists() and not path.is_dir():
            raise UserError(f"run_dir {path} is a file; choose another folder with run_dir=...")
        try:
            if path.is_dir() and any(path.iterdir()):
                run._make_way(config_text, overwrite=overwrite)
            run.checkpoints.mkdir(parents=True, exist_ok=True)
            write_atomically(run.environment_file, json.dumps(environment(seed), indent=2).encode() + b"\n")
            write_atomically(run.config_file, config_text.encode())
        except OSError as error:
            raise UserError(
                f"run_dir {path} cannot be written ({error.strerror}); choose another folder with run_dir=..."
            ) from error
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the folder of an earlier run.

        Raises:
            UserError: `path` is none.
        """
        run = cls(path)
        if not run.config_file.is_file():
            raise UserError(f"{path} is no run folder: it holds no config.yaml; give the run_dir of an earlier run")
        return run

    @classmethod
    def resume(cls, path: Path, config_text: str, *, seed: int) -> Self:
        """Return the folder of an earlier run that goes on, with the settings and the machine it goes on with.

        Raises:
            UserError: `path` is none.
        """
        run = cls.open(path)
        write_atomically(run.config_file, config_text.encode())
        run._note_resumption(seed)
        return run

    def _note_resumption(self, seed: int) -> None:
        """Add to `run.json` what the run goes on with: versions and machine may be others now."""
        known = json.loads(self.environment_file.read_text(encoding="utf-8")) if self.environment_file.is_file() else {}
        known["resumed"] = [*known.get("resumed", []), environment(seed)]
        write_atomically(self.environment_file, json.dumps(known, indent=2).encode() + b"\n")

    def write_results(self, results: dict[str, Any]) -> None:
        """Write `results.json`, whole or not at all."""
        write_atomically(self.results_file, json.dumps(results, indent=2, allow_nan=False).encode() + b"\n")

    def _make_way(self, config_text: str, *, overwrite: bool) -> None:
        if self._was_never_begun():
            return
        if not self.environment_file.is_file():
            raise UserError(
                f"run_dir {self.path} is not empty and is no run folder; choose another with run_dir=... or empty it"
            )
        is_same = self.config_file.is_file() and self.config_file.read_text(encoding="utf-8") == config_text
        if overwrite:
            shutil.rmtree(self.path)
        elif is_same:
            self.path.rename(_next_free(self.path))
        else:
            raise UserError(
                f"run_dir {self.path} holds a run of another configuration; "
                "choose another folder with run_dir=..., or replace that run with --overwrite"
            )

    def _was_never_begun(self) -> bool:
        """Return whether a run was killed while its folder was made."""
        others = [path for path in self.path.iterdir() if path not in (self.checkpoints, self.environment_file)]
        is_empty = not self.checkpoints.is_dir() or not any(self.checkpoints.iterdir())
        # Configurations are written last, through a file of their own.
        return is_empty and all(path.name.startswith(".") and path.name.endswith(".tmp") for path in others)


def environment(seed: int) -> dict[str, Any]:
    """Return what a result may depend on besides the configuration: versions, commit, machine, command."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": seed,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": _gpu_names(),
        "threads": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ},
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _next_free(path: Path) -> Path:
    number = 1
    while (free := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return free


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> dict[str, Any] | None:
    """Return the commit of the source and whether it was changed since; `None` when not run from a checkout."""
    root = Path(__file__).resolve().parent.parent
    head = _output("git", "-C", str(root), "rev-parse", "HEAD")
    if not head or not (root / "pyproject.toml").is_file():
        return None
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return {"hash": head, "is_changed": bool(changed)}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu_names() -> list[str]:
    return _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()


def _output(*command: str) -> str:
    """Return what a program prints, empty when it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
