import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.videos.decode_plan import DecodeRun, decode_runs, first_needed, sound
from videozoom.envs.videos.index import PacketTable


def table(pts: list[int], keys: list[int]) -> PacketTable:
    is_key = np.isin(np.arange(len(pts)), keys)
    return PacketTable(np.array(pts), is_key, np.zeros(len(pts), np.bool_), np.arange(len(pts)))


OPEN_GROUPS = table([0, 2, 1, 6, 4, 5, 8, 7], [0, 3])
"""Packets 4 and 5 are stored behind the key frame 3 and shown before it."""


def test_decoding_starts_at_the_key_frame_and_one_earlier_for_leading_pictures() -> None:
    assert first_needed(OPEN_GROUPS).tolist() == [0, 0, 0, 3, 0, 0, 3, 3]


def test_packets_before_the_first_key_frame_start_at_the_first_packet() -> None:
    assert first_needed(table([3, 4, 7, 5, 6, 8], [2])).tolist() == [0, 0, 2, 0, 0, 2]
    assert first_needed(table([3, 4, 5], [])).tolist() == [0, 0, 0]


def test_only_the_groups_with_wanted_frames_are_decoded_and_only_so_far() -> None:
    needed = first_needed(table(list(range(12)), [0, 4, 8]))
    assert decode_runs(needed, [9, 1]) == [DecodeRun(0, 1), DecodeRun(8, 9)]
    assert decode_runs(needed, [5, 6, 4]) == [DecodeRun(4, 6)]
    assert decode_runs(needed, []) == []


def test_groups_that_overlap_are_decoded_once() -> None:
    needed = first_needed(OPEN_GROUPS)
    assert decode_runs(needed, [6, 4]) == [DecodeRun(0, 6)]
    assert decode_runs(needed, [3, 5, 1]) == [DecodeRun(0, 5)]


def test_a_frame_is_sound_if_nothing_before_it_in_its_group_is_damaged() -> None:
    needed = first_needed(table(list(range(12)), [0, 4, 8]))
    assert sound(needed, [5], range(12)) == {0, 1, 2, 3, 4, 8, 9, 10, 11}
    assert sound(needed, [4, 10], range(12)) == {0, 1, 2, 3, 8, 9}
    assert sound(needed, [], {7, 2}) == {2, 7}
    assert sound(needed, [3], []) == set()


def test_leading_pictures_need_the_group_before() -> None:
    needed = first_needed(OPEN_GROUPS)
    assert sound(needed, [1], range(8)) == {0, 3, 6, 7}
    assert sound(needed, [3], range(8)) == {0, 1, 2}


@st.composite
def tables(draw: st.DrawFn) -> PacketTable:
    num_packets = draw(st.integers(1, 30))
    pts = draw(st.permutations(range(num_packets)))
    return table(list(pts), draw(st.lists(st.integers(0, num_packets - 1))))


@given(tables(), st.data())
def test_runs_are_ascending_apart_and_hold_all_that_is_needed(packets: PacketTable, data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.integers(0, len(packets.pts) - 1)))
    needed = first_needed(packets)
    runs = decode_runs(needed, wanted)
    covered = [position for run in runs for position in range(run.first, run.last + 1)]
    assert covered == sorted(set(covered))
    for position in wanted:
        assert set(range(int(needed[position]), position + 1)) <= set(covered)
    assert {run.last for run in runs} <= wanted
    assert all(run.first == 0 or packets.is_key[run.first] for run in runs)


@given(tables(), st.data())
def test_sound_frames_are_those_whose_packets_are_all_undamaged(packets: PacketTable, data: st.DataObject) -> None:
    positions = st.sets(st.integers(0, len(packets.pts) - 1))
    damaged, decoded, needed = data.draw(positions), data.draw(positions), first_needed(packets)
    expected = {place for place in decoded if not damaged & set(range(int(needed[place]), place + 1))}
    assert sound(needed, damaged, decoded) == expected
