"""`FrameCache`: what was decoded once, on the disk, for every process of a machine.

Files are known by the digest of their content, so a video that was moved or copied is found again. The folder holds

    frames/a/<digest>.npy     frames, by content, reader, frame numbers, size and filter
    cold/a/<digest>.npy.zst   frames that were not used lately, compressed, if a budget is given for them
    records/ab                packet tables, by content, and what the content of the file at a path is called
    locks/ab                  nothing

and can be removed at any time, also while it is in use.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

import av

from videozoom.envs.videos.bounded_folder import BoundedFolder
from videozoom.envs.videos.cache_writer import CacheWriter, reason
from videozoom.envs.videos.cold_tier import ColdTier
from videozoom.envs.videos.file_ids import FileStamp, content_digest, digest_in, digest_of, record_of
from videozoom.envs.videos.file_locks import LockState
from videozoom.envs.videos.frame_files import map_frames, write_frames
from videozoom.envs.videos.index import VideoIndex
from videozoom.envs.videos.reader import DecodedFrames
from videozoom.envs.videos.record_log import RecordLog

DEFAULT_BYTES = 20 * 2**30
_PATIENCE_S = 600.0
"""Longest wait for another process that decodes the same; after it, decoding twice is better than hanging."""
_RECORDS_SHARE = 32
"""Part of the bound (one 32nd) that packet tables and names may take: enough for many times the frames."""
_SMALL_BYTES = 2**20
_SUFFIX = ".npy"


class Source(StrEnum):
    """Where frames came from."""

    DISK = "disk"
    COLD = "cold"
    """From the disk, where they were compressed."""
    DECODED = "decoded"


class FrameCache:
    """Frames, packet tables and names of files, each made once, however many processes and threads ask at once.

    Whoever asks first makes it, the others wait; if the first one dies, the next one makes it. Frames are mapped into
    memory, so all processes share one copy and a second use costs no reading. A file that is damaged is made again.

    The cache never fails a run. If its folder cannot be written, or the disk is full, there is one warning and what
    it holds is still used; a part of the disk always stays free (5 %, at most 5 GiB).

    Example:
        >>> cache = FrameCache(Path("runs/cache"))
        >>> digest = cache.digest(video, FileStamp.of(video))
        >>> decoded, source = cache.frames(digest_of(digest, reader.fingerprint, numbers), decode, lambda: True)
    """

    def __init__(self, folder: Path, *, max_bytes: int = DEFAULT_BYTES, cold_bytes: int = 0) -> None:
        """Make a cache; the folder is made when there is something to keep.

        Args:
            folder: where files go; a relative path stays relative to the folder the process is in now.
            max_bytes: the most bytes of files; the least recently used make room.
            cold_bytes: the most bytes of compressed frames kept besides; 0 keeps none.
        """
        self.folder = Path(folder).absolute()
        locks = self.folder / "locks"
        self._cold = ColdTier(self.folder / "cold", cold_bytes, locks) if cold_bytes else None
        self._records = RecordLog(self.folder / "records", max_bytes // _RECORDS_SHARE)
        frames_bytes = max_bytes - max_bytes // _RECORDS_SHARE
        self._frames = BoundedFolder(self.folder / "frames", frames_bytes, locks, on_evict=self._freeze)
        self._writer = CacheWriter(self.folder, name="video cache", contents="Decoded videos")

    def digest(self, video: Path, stamp: FileStamp) -> str:
        """Return the digest of a file's content; a file whose stamp is known is not read. Raises `OSError`."""
        if not stamp.is_settled:
            return content_digest(video)
        name = digest_of("file", str(video.resolve()))
        known = self._recorded_digest(name, stamp)
        if known is None and stamp.num_bytes < _SMALL_BYTES:
            # Reading it twice costs less than asking who reads it.
            return self._read_digest(name, video, stamp, may_write=True)
        if known is None:
            with self._only_one(name) as may_write:
                known = self._recorded_digest(name, stamp) or self._read_digest(name, video, stamp, may_write=may_write)
        return known

    def index(
        self, digest: str, scan: Callable[[], VideoIndex], is_current: Callable[[], bool]
    ) -> tuple[VideoIndex, Source]:
        """Return the index of a file, from `scan` if it is not known; what that raises goes through.

        Args:
            digest: of the file's content.
            scan: makes the index.
            is_current: asked after `scan`: whether the file still has this content; if not, nothing is kept.
        """
        # Another version of the library may see other packets.
        name = digest_of("index", digest, av.__version__)
        index = self._recorded_index(name)
        if index is not None:
            return index, Source.DISK
        with self._only_one(name) as may_write:
            index = self._recorded_index(name)
            if index is not None:
                return index, Source.DISK
            index = scan()
            if may_write and is_current():
                self._record(name, index.to_bytes())
        return index, Source.DECODED

    def frames(
        self, key: str, decode: Callable[[], DecodedFrames], is_current: Callable[[], bool]
    ) -> tuple[DecodedFrames, Source]:
        """Return the frames of a key, read-only, from `decode` if they are not known; what that raises goes through.

        Args:
            key: from `digest_of` the content and everything else that decides the pixels.
            decode: makes the frames.
            is_current: asked after `decode`: whether the file still has this content; if not, nothing is kept.
        """
        name = key + _SUFFIX
        known = self._mapped(name)
        if known is not None:
            return known, Source.DISK
        with self._only_one(name) as may_write:
            known = self._mapped(name)
            if known is not None:
                return known, Source.DISK
            if may_write and (known := self._thawed(name)) is not None:
                return known, Source.COLD
            decoded = decode()
            if may_write and is_current():
                decoded = self._kept(name, decoded)
        return decoded, Source.DECODED

    def num_bytes(self) -> int:
        """Return how many bytes the cache takes on the disk, as of a minute ago at most."""
        try:
            cold_bytes = self._cold.num_bytes() if self._cold else 0
            return self._frames.num_bytes() + self._records.num_bytes() + cold_bytes
        except OSError:
            return 0

    @contextmanager
    def _only_one(self, name: str) -> Iterator[bool]:
        """Keep others from making the same while the block runs; yields whether the result may be written."""
        with self._frames.lock(name, _PATIENCE_S) as state:
            yield state is not LockState.TIMED_OUT and not self._writer.is_broken

    def _read_digest(self, name: str, video: Path, stamp: FileStamp, *, may_write: bool) -> str:
        digest = content_digest(video)
        if may_write and FileStamp.of(video) == stamp:
            self._record(name, record_of(stamp, digest))
        return digest

    def _recorded_digest(self, name: str, stamp: FileStamp) -> str | None:
        record = self._records.get(name)
        return None if record is None else digest_in(record, stamp)

    def _recorded_index(self, name: str) -> VideoIndex | None:
        record = self._records.get(name)
        with suppress(ValueError):  # Of another version.
            return None if record is None else VideoIndex.from_bytes(record)
        return None

    def _record(self, name: str, record: bytes) -> None:
        with self._writer.giving_up():
            if self._writer.is_ready():
                self._records.put(name, record)

    def _mapped(self, name: str) -> DecodedFrames | None:
        path = self._frames.file(name)
        try:
            mapped = map_frames(path)
        except OSError:
            return None
        except ValueError:
            self._remove(path)
            return None
        self._frames.touch(path)
        return mapped

    def _kept(self, name: str, decoded: DecodedFrames) -> DecodedFrames:
        """Return the same frames, mapped from the file they are now in; those in memory if they cannot be kept."""
        with self._writer.giving_up():
            if self._writer.has_room(self._frames, name, decoded.frames.nbytes):
                with self._frames.writing(name) as file:
                    write_frames(file, decoded)
        return self._mapped(name) or decoded

    def _thawed(self, name: str) -> DecodedFrames | None:
        """Return frames that were compressed, mapped from the file they are in again."""
        if self._cold is None:
            return None
        with self._writer.giving_up():
            try:
                num_bytes = self._cold.thawed_bytes(name)
                if num_bytes is not None and self._writer.has_room(self._frames, name, num_bytes):
                    with self._frames.writing(name) as file:
                        self._cold.thaw(name, file)
                    return self._mapped(name)
            except ValueError:
                self._cold.remove(name)
        return None

    def _freeze(self, path: Path) -> None:
        """Compress frames that have to go, if there is a place for them."""
        if self._cold is not None:
            try:
                self._cold.freeze(path)
            except OSError as error:
                self._writer.warn_once(f"cannot keep compressed frames ({reason(error)})")

    def _remove(self, path: Path) -> None:
        with suppress(OSError):
            self._frames.remove(path)
