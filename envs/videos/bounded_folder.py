"""A folder of files that many processes fill and read, bounded by bytes."""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from videozoom.envs.videos.file_locks import LockState, file_lock

TEMPORARY = ".tmp"
_BLOCK_BYTES = 4096
"""Disks give room to files in blocks."""
_SWEEP_SHARE = 64
"""A process looks how full the folder is after it wrote this part of the bound (one 64th)."""
_HEADROOM_SHARE = 8
"""Part of the bound (one 8th) that is emptied then: as much as 8 processes write before they look again."""
_MIN_FREE_SHARE, _MIN_FREE_BYTES = 0.05, 5 * 2**30
"""What stays free on the disk, the smaller of the two."""
_RETRY_S = 60.0
_LEFTOVER_S = 86400.0
"""Age at which a temporary file nobody can have the lock of is given up."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    num_bytes: int
    used_ns: int


class BoundedFolder:
    """Files under their names, the least recently used of which make room for new ones.

    A file appears whole or not at all, also when its writer is killed; what a killed writer leaves is removed. Removing
    a file never disturbs those who have it open or mapped. Time of last use is the file's time of modification.
    Every `OSError` of writing is the caller's to handle.
    """

    def __init__(
        self, path: Path, max_bytes: int, locks: Path, *, on_evict: Callable[[Path], None] | None = None
    ) -> None:
        """Make the object; nothing is written yet.

        Args:
            path: the folder, made when something is written.
            max_bytes: the most bytes of all files. Up to 8 writers at once keep to it, more may exceed it shortly.
            locks: folder of the locks.
            on_evict: called with each file that has to go, before it goes.
        """
        self.path, self.max_bytes, self._locks, self._on_evict = path, max_bytes, locks, on_evict
        self._sweeping = threading.Lock()
        self._held_bytes: int | None = None
        self._unswept_bytes = 0
        self._swept_s = self._full_until_s = 0.0

    def file(self, name: str) -> Path:
        """Return where a file lies; `name` is a hexadecimal digest with a suffix."""
        return self.path / name[:1] / name

    def touch(self, path: Path) -> None:
        """Note that a file was used."""
        with suppress(OSError):
            os.utime(path)

    def remove(self, path: Path) -> bool:
        """Remove a file if it is there; return whether it is gone."""
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            return False  # It belongs to another user, or the system refuses while somebody has it open.
        return True

    @contextmanager
    def lock(self, name: str, patience_s: float) -> Iterator[LockState]:
        """Hold the lock of a name, which it shares with few others; see `file_lock`."""
        # A fixed set of files, so that they need not be removed: that cannot be done safely.
        with file_lock(self._locks / _lock_name(name), patience_s) as state:
            yield state

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Give a file to write into, which gets its name when the block ends well.

        The caller holds the lock of `name`, or there are no locks.
        """
        path = self.file(name)
        temporary = path.with_name(f"{name}.{secrets.token_hex(8)}{TEMPORARY}")
        try:
            with _new_file(temporary) as file:
                yield file
                num_bytes = file.tell()
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        with self._sweeping:
            self._unswept_bytes += _on_disk(num_bytes)

    def make_room(self, name: str, num_bytes: int) -> bool:
        """Return whether a file of this size may be written, after removing what has to go for it.

        The caller holds the lock of `name`, or there are no locks.
        """
        with self._sweeping:
            is_due = self._held_bytes is None or self._unswept_bytes >= self.max_bytes // _SWEEP_SHARE
            if not is_due and self._spare_bytes() >= num_bytes:
                return True
            if num_bytes > self.max_bytes or time.monotonic() < self._full_until_s:
                return False
            has_room = self._sweep(name, _on_disk(num_bytes))
            # Looking again at once would only cost time.
            self._full_until_s = 0.0 if has_room else time.monotonic() + _RETRY_S
            return has_room

    def num_bytes(self, max_age_s: float = 60.0) -> int:
        """Return how many bytes the files take, as of at most this long ago."""
        with self._sweeping:
            if self._held_bytes is None or time.monotonic() - self._swept_s > max_age_s:
                self._note_held(sum(entry.num_bytes for entry in self._entries(None)))
            return (self._held_bytes or 0) + self._unswept_bytes

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sweeping": None, "_held_bytes": None, "_unswept_bytes": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_sweeping": threading.Lock()})

    def _sweep(self, name: str, wanted_bytes: int) -> bool:
        """Remove leftovers and the least recently used files until there is room; return whether there is."""
        entries = sorted(self._entries(name), key=lambda entry: entry.used_ns)
        held_bytes = sum(entry.num_bytes for entry in entries)
        bound = self.max_bytes - self.max_bytes // _HEADROOM_SHARE
        excess_bytes = max(held_bytes + wanted_bytes - bound, wanted_bytes - self._spare_bytes())
        for entry in entries:
            if excess_bytes <= 0:
                break
            if self._on_evict is not None:
                self._on_evict(entry.path)
            if self.remove(entry.path):
                held_bytes -= entry.num_bytes
                excess_bytes -= entry.num_bytes
        self._note_held(held_bytes)
        return held_bytes + wanted_bytes <= self.max_bytes and self._spare_bytes() >= wanted_bytes

    def _note_held(self, held_bytes: int) -> None:
        self._held_bytes, self._unswept_bytes, self._swept_s = held_bytes, 0, time.monotonic()

    def _spare_bytes(self) -> int:
        """Return how many bytes the disk has beyond those that stay free."""
        try:
            usage = shutil.disk_usage(self.path)
        except FileNotFoundError:
            self.path.mkdir(parents=True, exist_ok=True)
            usage = shutil.disk_usage(self.path)
        return usage.free - min(int(usage.total * _MIN_FREE_SHARE), _MIN_FREE_BYTES)

    def _entries(self, name: str | None) -> Iterator[_Entry]:
        """Yield the files, and remove temporary ones whose writer is gone; the caller has the lock of `name`."""
        for folder in _folders(self.path):
            for found in _files(folder):
                try:
                    status = found.stat()
                except OSError:
                    continue  # Removed by another process.
                if not found.name.endswith(TEMPORARY):
                    yield _Entry(Path(found.path), _on_disk(status.st_size), status.st_mtime_ns)
                elif name is not None and _lock_name(found.name) == _lock_name(name):
                    self.remove(Path(found.path))
                else:
                    self._remove_leftover(Path(found.path), time.time() - status.st_mtime)

    def _remove_leftover(self, path: Path, age_s: float) -> None:
        with self.lock(path.name, 0.0) as state:
            # A living writer holds the lock.
            if state is LockState.HELD or (state is LockState.UNAVAILABLE and age_s > _LEFTOVER_S):
                self.remove(path)


def _new_file(path: Path) -> BinaryIO:
    try:
        return path.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


def _lock_name(name: str) -> str:
    return name[:2]


def _folders(path: Path) -> list[Path]:
    with suppress(FileNotFoundError), os.scandir(path) as found:
        return [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]
    return []


def _files(path: Path) -> list["os.DirEntry[str]"]:
    with suppress(FileNotFoundError), os.scandir(path) as found:
        return [entry for entry in found if entry.is_file(follow_symlinks=False)]
    return []


def _on_disk(num_bytes: int) -> int:
    return -(-num_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
