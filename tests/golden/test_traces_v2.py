"""Traces of schema version 2, as written when it was new: the same group, with frames, run and a second attempt."""

from pathlib import Path

from videozoom.rollout.trace_rows import facts_of, task_from_row, trajectory_from_row
from videozoom.rollout.traces import read_runs, read_traces

FILE = Path(__file__).with_name("traces_v2.jsonl")
FIRST = FILE.with_name("traces_v1.jsonl")


def test_what_both_versions_tell_is_the_same() -> None:
    rows = list(read_traces(FILE))
    # The first episode was run again and ended otherwise: it stands last now.
    assert (rows[-1]["attempt"], rows[-1]["answer"]) == (2, "B")
    first, *old = read_traces(FIRST)
    assert task_from_row(rows[-1]) == task_from_row(first)
    for row, other in zip(rows, old, strict=False):
        now, before = trajectory_from_row(row), trajectory_from_row(other)
        assert [step.action for step in now.steps] == [step.action for step in before.steps]
        assert (now.status, now.answer, now.spans_s, now.seed) == (
            before.status,
            before.answer,
            before.spans_s,
            before.seed,
        )
        assert (now.reward.total, now.reward.parts) == (before.reward.total, before.reward.parts)
    assert len(rows) == len(old) + 1


def test_what_is_new_in_this_version() -> None:
    for row in read_traces(FILE):
        assert row["max_steps"] == (3 if row["kind"] == "multi_step" else 1)
        assert facts_of(trajectory_from_row(row)).num_clip_frames == 4 * len(row["spans_s"])
    [run] = read_runs(FILE).values()
    assert run["packages"]["torch"] == "2.13.0"
    assert {row["run"]["id"] for row in read_traces(FILE)} == {run["id"]}
