"""`PacketFeed`: the packets of an open file from wherever they are needed."""

from collections.abc import Iterator

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from videozoom.envs.videos.index import PacketTable

_SHORT_GAP = 16
"""Reading this many packets costs no more than a jump."""


class PacketFeed:
    """Reads packets in the order of the file, and jumps to key frames.

    Where a jump ends is up to the container: some go by times of decoding, some to the middle of a group. So the
    packet found there is looked up in the table by its place in the file, and the jump repeated from an earlier key
    frame if it went too far.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, table: PacketTable) -> None:
        self._container, self._stream, self._table = container, stream, table
        self._packets: Iterator[Packet[VideoStream]] = container.demux(stream)
        self._pending: Packet[VideoStream] | None = None
        self.position = 0
        """Of the next packet."""

    def next(self) -> "Packet[VideoStream] | None":
        """Return the next packet, `None` at the end."""
        packet, self._pending = self._pending or self._read(), None
        self.position += 1
        return packet

    def go_to(self, first: int) -> bool:
        """Make a key frame's packet the next one; returns whether that was possible."""
        if not 0 <= first - self.position <= _SHORT_GAP and not self._jump(first):
            return False
        while self.position < first:
            if self.next() is None:
                return False
        return True

    def _jump(self, first: int) -> bool:
        """Go to a packet at or before `first`, as near as possible."""
        keys = np.flatnonzero(self._table.is_key[: first + 1])[::-1]
        distance = 0
        while distance < len(keys):
            try:
                self._container.seek(int(self._table.pts[keys[distance]]), stream=self._stream, backward=True)
                self._packets = self._container.demux(self._stream)
                packet = self._read()
            except av.FFmpegError:
                packet = None
            position = None if packet is None else self._find(packet, first)
            if position is not None and position <= first:
                self._pending, self.position = packet, position
                return True
            distance = 2 * distance + 1
        return False

    def _find(self, packet: "Packet[VideoStream]", expected: int) -> int | None:
        """Return a packet's position in the table, `None` if it is not there."""
        table, place = self._table, -1 if packet.pos is None else packet.pos
        if table.pts[expected] == packet.pts and table.position[expected] == place:
            return expected
        found = np.flatnonzero((table.pts == packet.pts) & (table.position == place))
        return int(found[0]) if len(found) else None

    def _read(self) -> "Packet[VideoStream] | None":
        # Empty packets mark the end; some containers also have them for frames that repeat the one before.
        return next((packet for packet in self._packets if packet.size), None)
