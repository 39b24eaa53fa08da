"""What a file is called by its content, without reading it twice."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_SETTLED_S = 2.0
"""A file changed this recently may change again without its time telling: clocks of file systems are coarse."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What changes with a file's content, as far as the file system tells."""

    num_bytes: int
    modified_ns: int
    changed_ns: int
    """Of content or attributes. Tools that copy files also copy the time before; this one nobody can set."""
    inode: int
    device: int

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """Return the stamp of a file as it is now; raises `OSError` if there is none."""
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)

    @property
    def is_settled(self) -> bool:
        """Whether another change would show."""
        return abs(time.time() - self.modified_ns * 1e-9) > _SETTLED_S


def content_digest(path: Path) -> str:
    """Return the digest of a file's content; reads all of it, and raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest_of(*parts: object) -> str:
    """Return a name for a combination of plain values.

    Example:
        >>> digest_of("a", 1) == digest_of("a", 1), digest_of("a", 1) == digest_of("a", "1")
        (True, False)
    """
    return hashlib.blake2b(repr(parts).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def record_of(stamp: FileStamp, digest: str) -> bytes:
    r"""Return the line that remembers a file's digest.

    Example:
        >>> record_of(FileStamp(num_bytes=5, modified_ns=70, changed_ns=80, inode=1, device=2), "ab12")
        b'5 70 80 ab12\n'
    """
    return f"{_known(stamp)}{digest}\n".encode()


def digest_in(record: bytes, stamp: FileStamp) -> str | None:
    r"""Return the digest a line remembers, `None` if the file has changed since or the line is damaged.

    Example:
        >>> record = b'5 70 80 ab12\n'
        >>> digest_in(record, FileStamp(5, 70, 80, 1, 2)), digest_in(record, FileStamp(5, 71, 80, 1, 2))
        ('ab12', None)
    """
    line, known = record.decode(errors="replace"), _known(stamp)
    return line[len(known) : -1] if line.startswith(known) and line.endswith("\n") else None


def _known(stamp: FileStamp) -> str:
    """Return what tells whether a file is still the same, also on a disk that was mounted anew."""
    return f"{stamp.num_bytes} {stamp.modified_ns} {stamp.changed_ns} "
