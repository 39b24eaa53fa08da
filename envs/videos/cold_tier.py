"""Files that were not used lately, kept compressed without loss."""

from pathlib import Path
from typing import BinaryIO

from videozoom.envs.videos.bounded_folder import BoundedFolder
from videozoom.envs.videos.file_locks import LockState

_SUFFIX = ".zst"
_LEVEL = 1
"""Higher levels take several times as long and save little on frames."""
_LONGEST_HEADER_BYTES = 18


class ColdTier:
    """Compressed copies of files, in a folder with its own bound.

    Frames of real footage become half as large; bringing 50 MB back takes about 0.1 s, decoding them again seconds.
    """

    def __init__(self, path: Path, max_bytes: int, locks: Path) -> None:
        self._folder = BoundedFolder(path, max_bytes, locks)

    def freeze(self, file: Path) -> None:
        """Keep a compressed copy of a file, if there is room; one that somebody brings back now is left out."""
        import zstandard

        name = file.name + _SUFFIX
        kept = self._folder.file(name)
        if kept.exists():
            self._folder.touch(kept)
            return
        with self._folder.lock(name, 0.0) as state:
            if state is LockState.TIMED_OUT:
                return
            try:
                with file.open("rb") as source:
                    num_bytes = file.stat().st_size
                    if self._folder.make_room(name, num_bytes):
                        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
                        with self._folder.writing(name) as target:
                            compressor.copy_stream(source, target, size=num_bytes)
            except FileNotFoundError:
                return  # Removed by another process.

    def thawed_bytes(self, name: str) -> int | None:
        """Return how many bytes a file has when it is brought back, `None` if there is no copy.

        Raises:
            ValueError: the copy is damaged.
        """
        import zstandard

        try:
            with self._folder.file(name + _SUFFIX).open("rb") as source:
                num_bytes: int = zstandard.frame_content_size(source.read(_LONGEST_HEADER_BYTES))
        except FileNotFoundError:
            return None
        except zstandard.ZstdError as error:
            raise ValueError(f"the compressed copy of {name} is damaged ({error})") from error
        if num_bytes < 0:
            raise ValueError(f"the compressed copy of {name} does not say how large the file is")
        return num_bytes

    def thaw(self, name: str, target: BinaryIO) -> None:
        """Write a file's content into `target`.

        The compressed copy stays until its folder needs the room: the file need not be compressed a second time.

        Raises:
            FileNotFoundError: there is no copy.
            ValueError: the copy is damaged.
        """
        import zstandard

        kept = self._folder.file(name + _SUFFIX)
        try:
            with kept.open("rb") as source:
                _, num_bytes = zstandard.ZstdDecompressor().copy_stream(source, target)
        except zstandard.ZstdError as error:
            raise ValueError(f"{kept} is damaged ({error})") from error
        if num_bytes != self.thawed_bytes(name):
            raise ValueError(f"{kept} is cut short")
        self._folder.touch(kept)

    def remove(self, name: str) -> None:
        """Remove the compressed copy of a file."""
        self._folder.remove(self._folder.file(name + _SUFFIX))

    def num_bytes(self) -> int:
        """Return how many bytes the compressed copies take."""
        return self._folder.num_bytes()
