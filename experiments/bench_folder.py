"""`measuring_in`: the folder of a benchmark, for one run at a time."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videozoom.envs.videos.file_locks import LockState, file_lock
from videozoom.experiments.errors import UserError

CACHES = "caches"
"""Where a run keeps caches for as long as they are measured."""


@contextmanager
def measuring_in(folder: Path) -> Iterator[Path]:
    """Keep other runs out of a folder while the block runs, and yield an empty folder in it for caches.

    What a killed run left there is removed.

    Raises:
        UserError: another run is measuring in the folder, or it cannot be written.
    """
    caches = folder / CACHES
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    with file_lock(folder / ".lock", patience_s=0.0) as state:
        if state is LockState.TIMED_OUT:
            raise UserError(
                f"another videozoom bench is measuring in {folder}; wait until it is done, or choose another folder "
                "with --folder"
            )
        try:
            # Without locks the caches may be another's that is at work.
            if state is LockState.HELD and caches.exists():
                shutil.rmtree(caches)
            caches.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error
        try:
            yield caches
        finally:
            if state is LockState.HELD:
                shutil.rmtree(caches, ignore_errors=True)


def unwritable(folder: Path, error: OSError) -> UserError:
    """Return what to say to the user of a folder where something could not be written."""
    return UserError(f"{folder} cannot be written ({error.strerror}); choose another folder with --folder")
