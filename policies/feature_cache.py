"""Clip features that were computed before: in memory and, if there is a folder for them, on the disk.

Light: torch is needed only where there are features.
"""

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from videozoom.envs.counters import Counters
from videozoom.envs.videos.bounded_folder import BoundedFolder
from videozoom.envs.videos.cache_writer import CacheWriter
from videozoom.envs.videos.file_locks import LockState
from videozoom.envs.videos.lru import LRU

if TYPE_CHECKING:
    from torch import Tensor

_SUFFIX = ".safetensors"
_NAME = "features"


@dataclass(frozen=True, slots=True)
class FeatureBudget:
    """How much may be kept, and where."""

    memory_bytes: int = 1 << 30
    """In each process."""
    folder: Path | None = None
    """Shared by all processes of a machine; `None` keeps nothing on the disk."""
    disk_bytes: int = 20 << 30


class FeatureSource(StrEnum):
    """Where features came from."""

    MEMORY = "memory"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class FeatureStats(Counters):
    """What asking for the features of clips took; see `Counters`."""

    num_memory_hits: int = 0
    """Clips whose features were in the process' memory."""
    num_disk_hits: int = 0
    """Clips whose features were on the disk."""
    num_computed: int = 0
    """Clips the vision tower was run on."""

    @property
    def num_clips(self) -> int:
        """Clips asked for."""
        return self.num_memory_hits + self.num_disk_hits + self.num_computed


class FeatureCache:
    """Features under names; the least recently used make room.

    It never fails a run: what cannot be written costs a warning, what is damaged counts as missing. The folder can be
    removed at any time.
    """

    def __init__(self, budget: FeatureBudget) -> None:
        """Make the object; the folder is made when there is something to keep."""
        self._memory: LRU[Tensor] = LRU(budget.memory_bytes)
        self._files: BoundedFolder | None = None
        if budget.folder is not None:
            folder = Path(budget.folder).absolute()
            self._files = BoundedFolder(folder / "features", budget.disk_bytes, folder / "locks")
            self._writer = CacheWriter(folder, name="feature cache", contents="Features of videos")

    @property
    def has_folder(self) -> bool:
        """Whether features outlive the process, so that names must say which weights they are of."""
        return self._files is not None

    def clear(self) -> None:
        """Forget what is in memory."""
        self._memory = LRU(self._memory.max_bytes)

    def get(self, name: str) -> "tuple[Tensor, FeatureSource] | None":
        """Return the features of a name, in CPU memory, and where they were; `None` if they are not known.

        `name` is a hexadecimal digest if there is a folder.
        """
        known = self._memory.get(name)
        if known is not None:
            return known, FeatureSource.MEMORY
        found = self._read(name)
        if found is None:
            return None
        self._memory.put(name, found, found.nbytes)
        return found, FeatureSource.DISK

    def put(self, name: str, features: "Tensor") -> None:
        """Keep features, a tensor in CPU memory that nothing else changes."""
        self._memory.put(name, features, features.nbytes)
        if self._files is None:
            return
        from safetensors.torch import save

        file_name = name + _SUFFIX
        # Somebody who writes the same writes the same content: there is nothing to wait for.
        with self._files.lock(file_name, 0.0) as state, self._writer.giving_up():
            if state is LockState.TIMED_OUT or self._files.file(file_name).exists():
                return
            if self._writer.has_room(self._files, file_name, features.nbytes):
                with self._files.writing(file_name) as file:
                    file.write(save({_NAME: features.contiguous()}))

    def num_bytes(self) -> int:
        """Return how many bytes are on the disk, as of a minute ago at most."""
        with suppress(OSError):
            return self._files.num_bytes() if self._files else 0
        return 0

    def _read(self, name: str) -> "Tensor | None":
        if self._files is None:
            return None
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self._files.file(name + _SUFFIX)
        try:
            # Not mapped: the features are moved to a device, or read again and again.
            features = load(path.read_bytes())[_NAME]
        except OSError:
            return None
        except (SafetensorError, KeyError, ValueError):
            with suppress(OSError):
                self._files.remove(path)
            return None
        self._files.touch(path)
        return features
