"""The folder of a replay: a run folder of its own, which takes the place of an earlier replay and of nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videozoom.experiments.checkpoints import atomic_folder
from videozoom.experiments.errors import UserError
from videozoom.experiments.run_folder import RunFolder

_MARK = "replay.jsonl"


@contextmanager
def replay_folder(path: Path, run: RunFolder) -> Iterator[RunFolder]:
    """Yield a new run folder that stands at `path` when the block ends.

    Raises:
        UserError: `path` is the run's own or holds something else than a replay, or cannot be written.
    """
    if path.resolve() == run.path.resolve() or run.path.resolve() in path.resolve().parents:
        raise UserError(
            f"{path} is in the run that is replayed, which stays as it is; choose another folder with --out"
        )
    if path.exists() and not (path / _MARK).is_file() and not _is_empty(path):
        raise UserError(f"{path} is there already and is no replay; choose another place with --out")
    try:
        with atomic_folder(path, is_durable=False) as temporary:
            yield RunFolder(temporary)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another place with --out") from error


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
