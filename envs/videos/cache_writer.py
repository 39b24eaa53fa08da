"""Writing into a cache's folder without ever failing a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from videozoom.envs.videos.bounded_folder import BoundedFolder

log = logging.getLogger(__name__)

_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# {contents} of videozoom. Everything here is made again when it is needed: remove it whenever you like.
"""


class CacheWriter:
    """Says whether something may be written, and gives up after the first error of the file system.

    If the folder cannot be written, or the disk is full, there is one warning, and what it holds is still used.
    """

    def __init__(self, folder: Path, *, name: str, contents: str) -> None:
        """Make the object; nothing is written yet.

        Args:
            folder: of the cache.
            name: what warnings call it, like "video cache".
            contents: what is in it, like "Decoded videos", for people who find the folder.
        """
        self.folder, self._name, self._contents = folder, name, contents
        self._has_warned = self.is_broken = False

    def is_ready(self) -> bool:
        """Make the folder if it is not there; return whether anything is to be written."""
        if self.is_broken:
            return False
        tag = self.folder / "CACHEDIR.TAG"
        if not tag.exists():
            # Backup programs leave out folders that hold this file.
            self.folder.mkdir(parents=True, exist_ok=True)
            tag.write_text(_TAG.format(contents=self._contents), encoding="ascii")
        return True

    def has_room(self, files: BoundedFolder, name: str, num_bytes: int) -> bool:
        """Return whether a file may be written, after making room for it; see `BoundedFolder.make_room`."""
        if not self.is_ready():
            return False
        if files.make_room(name, num_bytes):
            return True
        self.warn_once(f"has no room for {num_bytes / 2**20:.1f} MiB, or the disk is almost full")
        return False

    @contextmanager
    def giving_up(self) -> Iterator[None]:
        """Go on without writing after an error of the file system."""
        try:
            yield
        except FileNotFoundError:
            pass  # Somebody removed the folder while it was written into; the next one makes it again.
        except OSError as error:
            self.warn_once(f"cannot be written ({reason(error)})")
            self.is_broken = True

    def warn_once(self, problem: str) -> None:
        """Say what is wrong, once per process."""
        if not self._has_warned:
            log.warning("The %s %s %s; this process goes on without keeping more.", self._name, self.folder, problem)
        self._has_warned = True

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_has_warned": False, "is_broken": False}


def reason(error: OSError) -> str:
    """Return what went wrong, in a few words."""
    return error.strerror or str(error) or type(error).__name__
