"""What reading videos took, and what the caches spared."""

from dataclasses import dataclass

from videozoom.envs.counters import Counters


@dataclass(frozen=True, slots=True)
class VideoStoreStats(Counters):
    """Counters of a `VideoStore`; they add up over processes, and two readings of one store subtract.

    Example:
        >>> VideoStoreStats(num_decodes=3) + VideoStoreStats(num_disk_hits=1)
        VideoStoreStats(num_memory_hits=0, num_disk_hits=1, num_cold_hits=0, num_decodes=3, num_scans=0, num_frames=0, \
num_bytes=0, num_filled=0, num_errors=0, decode_s=0.0)
    """

    num_memory_hits: int = 0
    """Clips that were in this process' memory, or mapped into it."""
    num_disk_hits: int = 0
    """Clips that were in the cache on the disk."""
    num_cold_hits: int = 0
    """Clips that were there compressed."""
    num_decodes: int = 0
    """Clips that had to be decoded."""
    num_scans: int = 0
    """Files whose packets had to be listed."""
    num_frames: int = 0
    """Frames decoded."""
    num_bytes: int = 0
    """Bytes of those frames."""
    num_filled: int = 0
    """Frames that could not be decoded and show a neighbour, in accepted clips that were decoded or on the disk."""
    num_errors: int = 0
    """Requests that ended in a `VideoDecodeError`."""
    decode_s: float = 0.0
    """Seconds of wall time spent decoding and resizing."""

    @property
    def num_hits(self) -> int:
        """Clips that were not decoded."""
        return self.num_memory_hits + self.num_disk_hits + self.num_cold_hits

    @property
    def num_clips(self) -> int:
        """Clips delivered."""
        return self.num_hits + self.num_decodes
