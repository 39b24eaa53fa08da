"""`VideoIndex`: when each frame of a file is shown, and what a reader must know to find it."""

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.containers import decode_errors, opened


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

    def to_bytes(self) -> bytes:
        """Return a compact form for `from_bytes`."""
        packets, buffer = self.packets, io.BytesIO()
        np.savez_compressed(
            buffer,
            pts=np.diff(packets.pts, prepend=0),
            flags=packets.is_key + 2 * packets.is_discard.astype(np.uint8),
            position=np.diff(packets.position, prepend=0),
            shown_pts=np.diff(self.pts, prepend=0),
            numbers=np.array([self.num_missing, *self.time_base.as_integer_ratio()], np.int64),
            duration_s=np.float64(self.duration_s),
            names=np.array([self.container_format, self.codec]),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "VideoIndex":
        """Return what `to_bytes` wrote; raises `ValueError` if it did not."""
        try:
            with np.load(io.BytesIO(data)) as arrays:
                pts = np.cumsum(arrays["shown_pts"])
                num_missing, numerator, denominator = arrays["numbers"].tolist()
                time_base, flags = Fraction(numerator, denominator), arrays["flags"]
                packets = PacketTable(
                    np.cumsum(arrays["pts"]), flags % 2 == 1, flags >= 2, np.cumsum(arrays["position"])
                )
                times_s = (pts - pts[0]) * float(time_base)
                names = arrays["names"].tolist()
                return cls(pts, times_s, float(arrays["duration_s"]), num_missing, packets, time_base, *names)
        except Exception as error:
            raise ValueError(f"not the index of a video ({type(error).__name__}: {error})") from error


def scan(path: Path) -> VideoIndex:
    """Return a file's index, from its packets and without decoding; raises `VideoDecodeError`."""
    with decode_errors(path), opened(path) as (container, stream):
        announced = stream.frames
        packets = [packet for packet in container.demux(stream) if packet.size]
        shown = [packet for packet in packets if not packet.is_discard]
        if not shown:
            raise VideoDecodeError(f"{path}: the video has no frames.")
        if any(packet.pts is None for packet in packets) or stream.time_base is None:
            raise VideoDecodeError(f"{path}: the file does not say when its frames are shown; convert it to .mp4.")
        pts, order = np.unique(np.array([packet.pts for packet in shown], np.int64), return_index=True)
        last_length = shown[int(order[-1])].duration or (pts[-1] - pts[-2] if len(pts) > 1 else 0)
        table = PacketTable(
            np.array([packet.pts for packet in packets], np.int64),
            np.array([packet.is_keyframe for packet in packets], np.bool_),
            np.array([packet.is_discard for packet in packets], np.bool_),
            np.array([-1 if packet.pos is None else packet.pos for packet in packets], np.int64),
        )
        return VideoIndex(
            pts,
            times_s=(pts - pts[0]) * float(stream.time_base),
            duration_s=float((pts[-1] - pts[0] + last_length) * stream.time_base),
            num_missing=max(0, announced - len(packets)),
            packets=table,
            time_base=stream.time_base,
            container_format=container.format.name,
            codec=stream.codec.canonical_name,
        )
