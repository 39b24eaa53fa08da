"""One pass over a file: decodes runs of packets and hands out the frames that are wanted."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from videozoom.envs.videos.containers import opened
from videozoom.envs.videos.decode_plan import DecodeRun, sound
from videozoom.envs.videos.index import PacketTable
from videozoom.envs.videos.packet_feed import PacketFeed

SKIPPING_CODECS = frozenset({"h264", "hevc"})
"""Codecs whose decoder leaves out single frames on request and returns all others unchanged."""

Take = Callable[[int, av.VideoFrame], None]
"""What is done with a frame, given the position of its packet."""


class DecodePass:
    """Decodes with one thread, and notes what is damaged."""

    def __init__(
        self,
        packets: PacketTable,
        needed: NDArray[np.int64],
        wanted: Collection[int],
        take: Take,
        *,
        is_skipping: bool = False,
    ) -> None:
        """Prepare a pass.

        Args:
            packets: the file's packets.
            needed: `[P]`, where decoding starts for each of them.
            wanted: positions of packets.
            take: gets their frames, in the order of display within a run.
            is_skipping: leave out frames that are not wanted and that no other frame refers to.
        """
        self._packets, self._needed, self._wanted, self._take = packets, needed, frozenset(wanted), take
        self._is_skipping = is_skipping
        self._decoded: set[int] = set()
        self._damaged: set[int] = set()

    def over(self, path: Path, runs: Iterable[DecodeRun]) -> set[int]:
        """Decode runs of packets and return the positions of all sound frames, wanted or not.

        That a frame is not sound may turn out only after it was handed out: what is returned counts.
        """
        with opened(path) as (container, stream):
            feed = PacketFeed(container, stream, self._packets)
            for run in runs:
                if feed.go_to(run.first):
                    self._decode_run(stream, feed, run)
        return sound(self._needed, self._damaged, self._decoded)

    def _decode_run(self, stream: VideoStream, feed: PacketFeed, run: DecodeRun) -> None:
        positions = self._positions(run)
        while feed.position <= run.last and (packet := feed.next()) is not None:
            position = feed.position - 1
            if packet.is_corrupt:
                self._damaged.add(position)
            if self._is_skipping:
                is_wanted = positions.get(packet.pts) in self._wanted
                stream.codec_context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
            self._decode(stream, packet, position, positions)
        # What the decoder holds back comes out, and it is ready for another place of the file.
        self._decode(stream, None, feed.position - 1, positions)
        stream.codec_context.flush_buffers()

    def _positions(self, run: DecodeRun) -> dict[int | None, int]:
        """Return the positions of a run's packets by their time of presentation; of equal times the first counts."""
        backwards = slice(run.last, run.first - 1 if run.first else None, -1)
        shown = np.flatnonzero(~self._packets.is_discard[backwards])
        times = self._packets.pts[backwards][shown]
        return dict(zip(times.tolist(), (run.last - shown).tolist(), strict=True))

    def _decode(
        self,
        stream: VideoStream,
        packet: "Packet[VideoStream] | None",
        position: int,
        positions: dict[int | None, int],
    ) -> None:
        """Give the decoder a packet, or its end, and sort what comes out."""
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError:
            self._damaged.add(position)
            return
        for frame in frames:
            source = positions.get(frame.pts)
            if frame.is_corrupt:
                self._damaged.add(position if source is None else source)
            elif source is not None and source not in self._decoded:
                self._decoded.add(source)
                if source in self._wanted:
                    self._take(source, frame)
