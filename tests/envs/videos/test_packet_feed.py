"""Jumps that end elsewhere than they should, as those of some containers do."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import av
import numpy as np
import pytest

from videozoom.envs.videos.index import PacketTable
from videozoom.envs.videos.packet_feed import PacketFeed

KEYS = [0, 20, 40, 60, 80]
TABLE = PacketTable(
    pts=10 * np.arange(100),
    is_key=np.isin(np.arange(100), KEYS),
    is_discard=np.zeros(100, np.bool_),
    position=1000 + 7 * np.arange(100),
)


@dataclass
class FakePacket:
    pts: int
    pos: int | None
    size: int = 1


@dataclass
class FakeContainer:
    """Jumps to the packet with the asked time, and `error` packets further."""

    error: int = 0
    jumps: list[int] = field(default_factory=list)
    at: int = 0
    are_places_known: bool = True
    unreadable: tuple[int, ...] = ()

    def seek(self, offset: int, **_: object) -> None:
        self.jumps.append(offset // 10)
        if offset // 10 in self.unreadable:
            raise av.InvalidDataError(1, "damaged")
        self.at = max(0, offset // 10 + self.error)

    def demux(self, _: object) -> Iterator[FakePacket]:
        while self.at < 100:
            place = 1000 + 7 * self.at if self.are_places_known else None
            self.at += 1
            yield FakePacket(10 * (self.at - 1), place)
        yield FakePacket(-1, None, size=0)


def feed_from(container: FakeContainer, table: PacketTable = TABLE) -> PacketFeed:
    return PacketFeed(container, None, table)  # type: ignore[arg-type]


def next_pts(feed: PacketFeed) -> int | None:
    packet = feed.next()
    return None if packet is None else packet.pts


def test_packets_come_in_order_up_to_the_end() -> None:
    feed = feed_from(FakeContainer())
    assert [next_pts(feed) for _ in range(101)] == [*range(0, 1000, 10), None]


@pytest.mark.parametrize("error", [0, -1, -3, -25])
def test_a_jump_that_ends_too_early_is_made_up_for_by_reading_on(error: int) -> None:
    container = FakeContainer(error)
    feed = feed_from(container)
    assert feed.go_to(60)
    assert (feed.position, next_pts(feed), container.jumps) == (60, 600, [60])


@pytest.mark.parametrize(("error", "jumps"), [(1, [60, 40]), (25, [60, 40, 0]), (20, [60, 40])])
def test_a_jump_that_ends_too_late_is_repeated_from_an_earlier_key_frame(error: int, jumps: list[int]) -> None:
    container = FakeContainer(error)
    feed = feed_from(container)
    assert feed.go_to(60)
    assert (feed.position, next_pts(feed), container.jumps) == (60, 600, jumps)


def test_a_jump_that_never_ends_early_enough_fails() -> None:
    container = FakeContainer(error=70)
    assert not feed_from(container).go_to(60)
    assert container.jumps == [60, 40, 0]


def test_a_jump_that_fails_is_repeated_from_an_earlier_key_frame() -> None:
    feed = feed_from(FakeContainer(unreadable=(60, 40)))
    assert feed.go_to(60)
    assert next_pts(feed) == 600


def test_nothing_is_read_twice_and_short_ways_are_read() -> None:
    container = FakeContainer()
    feed = feed_from(container)
    assert feed.go_to(0)
    assert [next_pts(feed) for _ in range(10)] == list(range(0, 100, 10))
    assert feed.go_to(20)
    assert container.jumps == []
    assert next_pts(feed) == 200
    assert feed.go_to(80)
    assert container.jumps == [80]
    assert feed.go_to(20)
    assert next_pts(feed) == 200


def test_without_places_packets_are_told_by_their_times() -> None:
    container = FakeContainer(error=1, are_places_known=False)
    nowhere = PacketTable(TABLE.pts, TABLE.is_key, TABLE.is_discard, np.full(100, -1))
    feed = feed_from(container, nowhere)
    assert feed.go_to(60)
    assert (next_pts(feed), container.jumps) == (600, [60, 40])


def test_a_packet_that_is_not_in_the_table_is_no_place_to_start() -> None:
    moved = PacketTable(TABLE.pts, TABLE.is_key, TABLE.is_discard, TABLE.position + 1)
    assert not feed_from(FakeContainer(), moved).go_to(60)
