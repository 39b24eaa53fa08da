"""`VideoIndex`: when each frame of a file is shown, and what a reader must know to find it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.containers import decode_errors, opened
from videozoom.envs.videos.packed_arrays import pack, unpack

_VERSION = 2
"""Of the form that `VideoIndex.to_bytes` returns, and of what `scan` finds."""
_MAX_SHIFT = 64
"""No codec stores a frame so many places away from where it is shown."""
_AVI_SLACK_S = 1
"""An AVI file may end in so many seconds without packets and still be whole."""


class NoTimestampsError(VideoDecodeError):
    """A file does not say when its frames are shown."""


@dataclass(frozen=True, slots=True, eq=False)
class PacketTable:
    """The packets of the video stream in the order of the file, which is the order of decoding; P packets."""

    pts: NDArray[np.int64]
    """`[P]`, presentation times, in units of the stream's time base."""
    is_key: NDArray[np.bool_]
    """`[P]`, whether decoding can start here."""
    is_discard: NDArray[np.bool_]
    """`[P]`, whether the frame is decoded and not shown, as edit lists want it."""
    position: NDArray[np.int64]
    """`[P]`, byte offset in the file; -1 where the container does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """When each frame of a file is presented; N frames in display order."""

    pts: NDArray[np.int64]
    """`[N]`, in units of the stream's time base, strictly ascending."""
    times_s: NDArray[np.float64]
    """`[N]`, seconds since the first frame."""
    duration_s: float
    """From the first frame to the end of the last one."""
    num_missing: int
    """Frames that the file's header announces and the file does not hold."""
    packets: PacketTable
    time_base: Fraction
    """Seconds per unit of `pts`."""
    container_format: str
    """FFmpeg's name, such as `mov,mp4,m4a,3gp,3g2,mj2` or `mpegts`."""
    codec: str
    """FFmpeg's name, such as `h264`."""

    @property
    def positions(self) -> NDArray[np.int64]:
        """Return `[N]`, where each frame's packet is in the table."""
        shown = np.flatnonzero(~self.packets.is_discard)
        return shown[np.unique(self.packets.pts[shown], return_index=True)[1]]

    def to_bytes(self) -> bytes:
        """Return a compact form for `from_bytes`: 22 KB for an hour of video."""
        packets = self.packets
        facts = {
            "version": _VERSION,
            "duration_s": self.duration_s,
            "num_missing": self.num_missing,
            "time_base": self.time_base.as_integer_ratio(),
            "container_format": self.container_format,
            "codec": self.codec,
        }
        flags = packets.is_key + 2 * packets.is_discard.astype(np.uint8)
        return pack(facts, {"pts": packets.pts, "position": packets.position}, flags.tobytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> "VideoIndex":
        """Return what `to_bytes` wrote; raises `ValueError` if it did not, or was of another version."""
        facts: Any
        facts, arrays, rest = unpack(data)
        if facts.get("version") != _VERSION:
            raise ValueError(f"this index is of version {facts.get('version')}, not {_VERSION}")
        flags = np.frombuffer(rest, np.uint8)
        packets = PacketTable(arrays["pts"], flags & 1 == 1, flags >= 2, arrays["position"])
        return cls._of(
            packets,
            facts["duration_s"],
            facts["num_missing"],
            Fraction(*facts["time_base"]),
            facts["container_format"],
            facts["codec"],
        )

    @classmethod
    def _of(
        cls,
        packets: PacketTable,
        duration_s: float,
        num_missing: int,
        time_base: Fraction,
        container_format: str,
        codec: str,
    ) -> "VideoIndex":
        # They are almost in order, which this sort makes use of: `numpy.unique` takes ten times as long.
        pts = packets.pts[~packets.is_discard]
        pts.sort(kind="stable")
        if (pts[1:] == pts[:-1]).any():
            pts = np.unique(pts)
        times_s = (pts - pts[0]) * float(time_base)
        return cls(pts, times_s, duration_s, num_missing, packets, time_base, container_format, codec)


def scan(path: Path) -> VideoIndex:
    """Return a file's index, from its packets and without decoding.

    Raises:
        VideoDecodeError: if the file cannot be read.
        NoTimestampsError: if it does not say when its frames are shown. AVI files with B-frames do not: they store the
            order of decoding alone. (MPEG-4 part 2 is readable in them nevertheless, because its frames carry their
            times themselves.)
    """
    with decode_errors(path), opened(path) as (container, stream):
        codec = stream.codec.canonical_name
        # Only these few numbers are kept: the packets of a long video would fill the memory.
        rows = [_row(packet, codec) for packet in container.demux(stream) if packet.size]
        if not any(not is_discard for _, _, is_discard, _, _, _ in rows):
            raise VideoDecodeError(f"{path}: the video has no frames.")
        pts, is_key, is_discard, position, duration, dts = zip(*rows, strict=True)
        if not stream.time_base or None in pts or _has_guessed_pts(container, stream):
            raise NoTimestampsError(
                f"{path}: the file does not say when its frames are shown; encode it again, for instance as .mp4."
            )
        packets = PacketTable(
            np.array(pts, np.int64),
            np.array(is_key, np.bool_),
            np.array(is_discard, np.bool_),
            np.array(position, np.int64),
        )
        if _has_broken_clock(packets):
            raise VideoDecodeError(f"{path}: the clock jumps back in the middle of the file; encode it again.")
        return VideoIndex._of(
            packets,
            float(_shown_for(packets, duration) * stream.time_base),
            _num_missing(container, stream, len(rows), dts[-1]),
            stream.time_base,
            container.format.name,
            codec,
        )


def _row(packet: "Packet[VideoStream]", codec: str) -> tuple[int | None, bool, bool, int, int | None, int | None]:
    """Return what is kept of a packet, and its duration and time of decoding."""
    # VP8 stores frames that only others refer to, and gives them times as if they were shown; one bit tells.
    is_hidden = codec == "vp8" and not memoryview(packet)[0] & 0x10
    position = -1 if packet.pos is None else packet.pos
    is_discard = packet.is_discard or is_hidden
    return packet.pts, packet.is_keyframe, is_discard, position, packet.duration, packet.dts


def _has_guessed_pts(container: InputContainer, stream: VideoStream) -> bool:
    """Return whether FFmpeg counts frames in the order of decoding where another order was meant."""
    codec = stream.codec_context
    return container.format.name == "avi" and codec.name in ("h264", "hevc") and bool(codec.has_b_frames)


def _has_broken_clock(packets: PacketTable) -> bool:
    """Return whether the file was put together from parts that each have their own times."""
    shown = packets.pts[~packets.is_discard]
    num_repeated = len(shown) - len(np.unique(shown))
    shifts = np.abs(np.argsort(shown, kind="stable") - np.arange(len(shown)))
    return num_repeated > 2 + len(shown) // 100 or int(shifts.max()) > _MAX_SHIFT


def _shown_for(packets: PacketTable, duration: Sequence[int | None]) -> int:
    """Return the time from the first frame to the end of the last one, in units of `pts`."""
    shown = np.flatnonzero(~packets.is_discard)
    pts = np.unique(packets.pts[shown]).tolist()
    last = int(shown[packets.pts[shown].argmax()])
    return int(pts[-1] - pts[0] + (duration[last] or pts[-1] - pts[-2:][0]))


def _num_missing(container: InputContainer, stream: VideoStream, num_packets: int, last_dts: int | None) -> int:
    """Return how many frames the header announces and the file does not hold."""
    if container.format.name == "avi":
        # AVI announces its length in frame times, and has no packets for frames that repeat the one before.
        missing = stream.frames - 1 - (last_dts or 0)
        return missing if missing * (stream.time_base or 0) > _AVI_SLACK_S else 0
    # Where an edit list leaves out frames, the demuxer's own list is shorter than the header's.
    announced = min(stream.frames, len(stream.index_entries)) if "mov" in container.format.name else stream.frames
    return max(0, announced - num_packets)
