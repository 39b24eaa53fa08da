"""Checkpoints of a run: Hugging Face folders with the trainer's state beside the model.

A checkpoint is written beside the others under another name, brought to the disk, and only then given its own: whenever
a run dies, the last whole one is there.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRAINER_STATE = "trainer_state.pt"
"""File with what a run needs to go on and a user of the model does not: optimizer, progress, metrics not yet logged."""

_PREFIX = "iteration_"


def checkpoint_folder(checkpoints: Path, iteration: int) -> Path:
    """Return where the checkpoint after `iteration` finished iterations lies.

    Example:
        >>> checkpoint_folder(Path("runs/demo/checkpoints"), 20).as_posix()
        'runs/demo/checkpoints/iteration_000020'
    """
    return checkpoints / f"{_PREFIX}{iteration:06d}"


def latest_checkpoint(checkpoints: Path) -> Path | None:
    """Return the complete checkpoint with the most iterations, `None` if there is none."""
    folders = [path for path in checkpoints.glob(f"{_PREFIX}*") if (path / TRAINER_STATE).is_file()]
    return max(folders, key=lambda path: int(path.name.removeprefix(_PREFIX)), default=None)


@contextmanager
def atomic_folder(folder: Path, *, is_durable: bool = True) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` when the block ends, and vanishes when it fails.

    Unless it need not be durable, all of it is on the disk before that: it survives a power cut, too.
    """
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in (*temporary.rglob("*"), temporary) if is_durable else ():
            _sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def keep_latest_checkpoint(checkpoints: Path) -> None:
    """Remove all checkpoints but the last."""
    latest = latest_checkpoint(checkpoints)
    for path in checkpoints.glob(f"{_PREFIX}*"):
        if path != latest:
            shutil.rmtree(path, ignore_errors=True)


def save_trainer_state(
    folder: Path,
    optimizer: Mapping[str, Any],
    progress: Mapping[str, Any],
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Write the trainer's state into a checkpoint folder.

    Args:
        folder: Of the checkpoint.
        optimizer: Its state.
        progress: Counts since the start of the run.
        metrics: Of the last iteration, which are logged after the checkpoint.
    """
    import torch

    state = {
        "optimizer": dict(optimizer),
        "progress": dict(progress),
        "metrics": {name: float(value) for name, value in (metrics or {}).items()},
    }
    # Through a file of Python's, whose errors say what is wrong with the disk.
    with (folder / TRAINER_STATE).open("wb") as file:
        torch.save(state, file)


def load_trainer_state(folder: Path) -> dict[str, Any]:
    """Return `{"optimizer": ..., "progress": ..., "metrics": ...}` of a checkpoint folder.

    Raises:
        FileNotFoundError: It was not written by a trainer.
    """
    import torch

    state: dict[str, Any] = torch.load(folder / TRAINER_STATE, map_location="cpu", weights_only=True)
    return state


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
