"""`VideoIndex`: when each frame of a file is shown, and what a reader must know to find it."""

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.containers import decode_errors, opened

_VERSION = 1
"""Of the form that `VideoIndex.to_bytes` returns, and of what `scan` finds."""


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
        packets, buffer = self.packets, io.BytesIO()
        np.savez_compressed(
            buffer,
            version=np.int64(_VERSION),
            pts=np.diff(packets.pts, prepend=0),
            flags=packets.is_key + 2 * packets.is_discard.astype(np.uint8),
            position=np.diff(packets.position, prepend=0),
            numbers=np.array([self.num_missing, *self.time_base.as_integer_ratio()], np.int64),
            duration_s=np.float64(self.duration_s),
            names=np.array([self.container_format, self.codec]),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "VideoIndex":
        """Return what `to_bytes` wrote; raises `ValueError` if it did not, or was of another version."""
        try:
            with np.load(io.BytesIO(data)) as arrays:
                if arrays["version"] != _VERSION:
                    raise ValueError(f"version {arrays['version']}, not {_VERSION}")
                flags = arrays["flags"]
                packets = PacketTable(
                    np.cumsum(arrays["pts"]), flags % 2 == 1, flags >= 2, np.cumsum(arrays["position"])
                )
                num_missing, numerator, denominator = arrays["numbers"].tolist()
                container_format, codec = arrays["names"].tolist()
                duration_s, time_base = float(arrays["duration_s"]), Fraction(numerator, denominator)
        except Exception as error:
            raise ValueError(f"not the index of a video ({type(error).__name__}: {error})") from error
        return cls._of(packets, duration_s, num_missing, time_base, container_format, codec)

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
        pts = np.unique(packets.pts[~packets.is_discard])
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
        codec, time_base = stream.codec.canonical_name, stream.time_base
        rows = [_row(packet, codec) for packet in container.demux(stream) if packet.size]
        if not rows:
            raise VideoDecodeError(f"{path}: the video has no frames.")
        pts, is_key, is_discard, position, length = zip(*rows, strict=True)
        if not time_base or None in pts or _has_guessed_pts(container, stream):
            raise NoTimestampsError(
                f"{path}: the file does not say when its frames are shown; encode it again, for instance as .mp4."
            )
        packets = PacketTable(
            np.array(pts, np.int64),
            np.array(is_key, np.bool_),
            np.array(is_discard, np.bool_),
            np.array(position, np.int64),
        )
        num_missing = max(0, stream.frames - len(rows))
        shown = np.flatnonzero(~packets.is_discard)
        if not len(shown):
            raise VideoDecodeError(f"{path}: the video has no frames.")
        last = shown[packets.pts[shown].argmax()]
        shown_pts = np.unique(packets.pts[shown])
        last_length = length[last] or int(shown_pts[-1] - shown_pts[-2 if len(shown_pts) > 1 else -1])
        duration_s = float((int(shown_pts[-1] - shown_pts[0]) + last_length) * time_base)
        return VideoIndex._of(packets, duration_s, num_missing, time_base, container.format.name, codec)


def _row(packet: "Packet[VideoStream]", codec: str) -> tuple[int | None, bool, bool, int, int | None]:
    """Return what is kept of a packet, and its duration; the packets of a long video would fill the memory."""
    # VP8 stores frames that only others refer to, and gives them times as if they were shown; one bit tells.
    is_hidden = codec == "vp8" and not memoryview(packet)[0] & 0x10
    position = -1 if packet.pos is None else packet.pos
    return packet.pts, packet.is_keyframe, packet.is_discard or is_hidden, position, packet.duration


def _has_guessed_pts(container: InputContainer, stream: VideoStream) -> bool:
    """Return whether FFmpeg counts frames in the order of decoding where another order was meant."""
    codec = stream.codec_context
    return container.format.name == "avi" and codec.name in ("h264", "hevc") and bool(codec.has_b_frames)
