"""What code a result was made with: a hash of everything that computes, so that no result outlives a change of it."""

import ast
import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_FOLDERS = ("envs", "rewards", "policies", "rollout", "experiments")
_LOOKERS = (
    "experiments/bench*",
    "experiments/cli.py",
    "experiments/commands/*",
    "experiments/config*",
    "experiments/data_*",
    "experiments/demo.py",
    "experiments/env_overhead.py",
    "experiments/errors.py",
    "experiments/examples/*",
    "experiments/export*",
    "experiments/interrupts.py",
    "experiments/parity*",
    "experiments/play*",
    "experiments/progress.py",
    "experiments/replay*",
    "experiments/report*",
    "experiments/result_rows.py",
    "experiments/run_folder.py",
    "experiments/seeds.py",
    "experiments/statistics.py",
    "experiments/study*",
    "experiments/sweep*",
    "experiments/tracking*",
    "rollout/markup.py",
    "rollout/metrics.py",
    "rollout/probe*",
    "rollout/replay*",
    "rollout/timeline.py",
    "rollout/viewer*",
)
"""Modules that only look, show or write down; what a configuration says is in every hash anyway."""
_STEPS_VERSION = 1
"""Raised when the steps of a study themselves (`study_steps.py`) do something else."""
_PACKAGES = ("torch", "transformers", "numpy", "av")


@cache
def code_version() -> str:
    """Return a hash of the modules and packages that results depend on; comments and docstrings do not count."""
    digest = hashlib.sha256(f"{_STEPS_VERSION}".encode())
    for package in _PACKAGES:
        digest.update(f"{package}={version(package)}\n".encode())
    for file in _files():
        digest.update(f"{file.relative_to(_ROOT).as_posix()}\n".encode())
        digest.update(_content(file))
    return digest.hexdigest()[:12]


def _files() -> list[Path]:
    """Return the modules that compute and the texts of prompts."""
    files = [file for folder in _FOLDERS for pattern in ("*.py", "*.txt") for file in (_ROOT / folder).rglob(pattern)]
    skipped = {file for pattern in _LOOKERS for file in _ROOT.glob(pattern)}
    return sorted(set(files) - skipped)


def _content(file: Path) -> bytes:
    text = file.read_text(encoding="utf-8")
    return meaning(text).encode() if file.suffix == ".py" else text.encode()


def meaning(source: str) -> str:
    """Return Python source without what does not change what it does: comments, layout, docstrings.

    Example:
        >>> meaning("x = 1  # one") == meaning("x  =  1")
        True
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # Texts that nothing uses: docstrings, also those behind assignments.
            node.body = [it for it in body if not _is_text(it)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
