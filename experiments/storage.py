"""Disks that are full, read-only or broken: one sentence, and how to go on."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import strerror
from pathlib import Path

from videozoom.experiments.errors import UserError

_ALWAYS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE}
_IN_THE_FOLDER = {errno.EACCES, errno.EPERM}
_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "allow larger files",
    errno.EROFS: "make the folder writable",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
}


@contextmanager
def storage_errors(folder: Path, command: str) -> Iterator[None]:
    """Turn the failure of the disk below a run's folder into the sentence that says how to go on with `command`.

    Raises:
        UserError: Something could not be written.
    """
    try:
        yield
    except UserError:
        # It says already what to do.
        raise
    except Exception as error:
        number = storage_errno(error, folder)
        if number is None:
            raise
        raise UserError(
            f"{folder} cannot be written ({strerror(number)}); what was finished is kept: "
            f"{_REMEDIES.get(number, 'look after the disk')}, then go on with: {command}"
        ) from error


def storage_errno(error: BaseException | None, folder: Path) -> int | None:
    """Return the number of the operating system's error behind an exception, `None` if no disk failed.

    Libraries wrap what the system said: torch and safetensors in errors of their own, Ray in the one it was sent with.

    Example:
        >>> storage_errno(OSError(28, "No space left on device"), Path("runs"))
        28
        >>> storage_errno(ValueError("28"), Path("runs")) is None
        True
    """
    while error is not None:
        number = error.errno if isinstance(error, OSError) else _told_errno(error)
        if number in _ALWAYS or (number in _IN_THE_FOLDER and _is_below(error, folder)):
            return number
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return None


def _told_errno(error: BaseException) -> int | None:
    """Return the number that safetensors, which is written in Rust, says in words."""
    if type(error).__name__ != "SafetensorError":
        return None
    found = re.search(r"Os \{ code: (\d+)|os error (\d+)", str(error))
    return int(found[1] or found[2]) if found else None


def _is_below(error: BaseException, folder: Path) -> bool:
    name = getattr(error, "filename", None)
    return name is not None and Path(str(name)).absolute().is_relative_to(folder.absolute())
