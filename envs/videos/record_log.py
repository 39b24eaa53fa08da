"""Small records under names, in few files: a file for each would cost more than what is in it."""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from videozoom.envs.videos.file_locks import LockState, file_lock

_HEADER = struct.Struct("<16sII")
"""Name, bytes of the record, and a checksum of these two and the record, which follows."""
_NUM_FILES = 256
_LEAST_BYTES = 2**16
_PATIENCE_S = 5.0


class RecordLog:
    """Records of some kilobytes that can be made again, in a folder that many processes read and append to.

    Records are appended and never changed; the newest of a name counts. What a killed writer left unfinished is
    noticed by its checksum and cut off by the next one. A file that grows too large loses its older half.

    Names are digests of 32 hexadecimal digits.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Make the object; the folder is made with the first record.

        Args:
            path: the folder.
            max_bytes: the most bytes of all files, 16 MiB at least.
        """
        self._path, self._max_bytes = path, max(max_bytes // _NUM_FILES, _LEAST_BYTES)

    def get(self, name: str) -> bytes | None:
        """Return the newest record of a name, `None` if there is no sound one."""
        try:
            data = self._file(name).read_bytes()
        except OSError:
            return None
        wanted, found = bytes.fromhex(name), None
        for start, end in _records(data):
            if data[start : start + len(wanted)] == wanted:
                found = data[start:end]
        return found[_HEADER.size :] if found is not None and _is_sound(found) else None

    def put(self, name: str, record: bytes) -> None:
        """Append a record; one that alone is too large is left out. Raises `OSError`."""
        added = _packed(name, record)
        if len(added) > self._max_bytes:
            return
        with file_lock(self._file(name), _PATIENCE_S) as state:
            if state is not LockState.TIMED_OUT:
                descriptor = os.open(self._file(name), os.O_RDWR | os.O_CREAT, 0o666)
                with open(descriptor, "r+b") as file:
                    data = file.read()
                    kept = self._kept(data, len(added))
                    file.seek(len(kept))
                    if len(kept) < len(data):
                        file.seek(0)
                        file.truncate()
                        file.write(kept)
                    file.write(added)

    def num_bytes(self) -> int:
        """Return how many bytes all files take."""
        with suppress(FileNotFoundError), os.scandir(self._path) as found:
            return sum(entry.stat().st_size for entry in found)
        return 0

    def _file(self, name: str) -> Path:
        return self._path / name[:2]

    def _kept(self, data: bytes, added_bytes: int) -> bytes:
        """Return the beginning of a file that stays as it is or, if it would grow too large, what is kept of it."""
        records = []
        for start, end in _records(data):
            if not _is_sound(data[start:end]):
                break
            records.append(data[start:end])
        num_bytes = sum(map(len, records))
        if num_bytes + added_bytes <= self._max_bytes:
            return data[:num_bytes]
        newest: dict[bytes, bytes] = {}
        left_bytes = self._max_bytes // 2 - added_bytes
        for record in reversed(records):
            if record[:16] not in newest:
                left_bytes -= len(record)
                if left_bytes < 0:
                    break
                newest[record[:16]] = record
        return b"".join(reversed(newest.values()))


def _packed(name: str, record: bytes) -> bytes:
    digest = bytes.fromhex(name)
    checksum = zlib.crc32(record, zlib.crc32(digest + len(record).to_bytes(4, "little")))
    return _HEADER.pack(digest, len(record), checksum) + record


def _is_sound(record: bytes) -> bool:
    name = record[: _HEADER.size - 8].hex()
    return record[: _HEADER.size] == _packed(name, record[_HEADER.size :])[: _HEADER.size]


def _records(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each record begins and ends; one that is cut short ends it."""
    start = 0
    while start + _HEADER.size <= len(data):
        end = start + _HEADER.size + _HEADER.unpack_from(data, start)[1]
        if end > len(data):
            return
        yield start, end
        start = end
