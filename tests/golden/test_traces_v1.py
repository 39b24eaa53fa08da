"""Traces of schema version 1, as written when it was new, mean the same for ever.

The file holds one group of each kind on one task: answer A, evidence [0, 4) of 16 s. If a test here fails, traces that
users keep can no longer be trusted: raise the schema version and keep reading the old one.
"""

import copy
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from videozoom.envs.actions import Malformed
from videozoom.envs.tasks import EpisodeKind, Span, Status
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.rubric import Rubric
from videozoom.rollout.advantages import advantages_of
from videozoom.rollout.trace_rows import task_from_row, trace_row, trajectory_from_row
from videozoom.rollout.traces import read_traces
from videozoom.rollout.types import Group, Trajectory


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return list(read_traces(Path(__file__).with_name("traces_v1.jsonl")))


def facts_of(trajectory: Trajectory) -> EpisodeFacts:
    num_malformed = sum(isinstance(step.action, Malformed) for step in trajectory.steps)
    return EpisodeFacts(
        trajectory.kind,
        trajectory.status,
        trajectory.answer,
        trajectory.spans_s,
        len(trajectory.steps),
        num_malformed,
    )


def as_version_2(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as it is written today, where answers need not be letters."""
    steps = copy.deepcopy(row["steps"])
    for action in (step["action"] for step in steps):
        if action["type"] == "answer":
            action["text"] = action.pop("letter")
    return {**row, "schema_version": 2, "steps": steps}


def test_a_row_comes_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        whose = {name: row[name] for name in ("phase", "policy", "iteration", "advantage")}
        again = trace_row(task_from_row(row), trajectory_from_row(row), **whose)
        # These rows are older than the fields.
        assert [again.pop(name) for name in ("sampling", "max_steps", "num_clip_frames")] == [None] * 3
        assert again == as_version_2(row)
        assert list(again) == list(row)


def test_rewards_are_what_the_rubric_still_says(rows: list[dict[str, Any]]) -> None:
    rubric = Rubric.love_r1()
    for row in rows:
        trajectory = trajectory_from_row(row)
        # Whether they are right is newer than these rows.
        reward = replace(rubric.score(task_from_row(row), facts_of(trajectory)), is_right=None)
        assert reward == trajectory.reward


def test_advantages_are_what_the_groups_still_give(rows: list[dict[str, Any]]) -> None:
    members = defaultdict(list)
    for row in rows:
        members[row["kind"]].append(row)
    assert len(members) == 2
    for kind, group_rows in members.items():
        trajectories = tuple(trajectory_from_row(row) for row in group_rows)
        group = Group(task_from_row(group_rows[0]), EpisodeKind(kind), trajectories)
        assert list(advantages_of(group)) == [row["advantage"] for row in group_rows]


def test_what_happened_is_what_a_person_reads_in_the_texts(rows: list[dict[str, Any]]) -> None:
    summary = [(row["status"], row["answer"], row["spans_s"], row["reward"]["total"]) for row in rows]
    assert summary == [
        (Status.ANSWERED, "A", [[2.0, 5.0]], 1.0),
        (Status.ANSWERED, "B", [], 0.0),
        (Status.ANSWERED, "A", [], 1.0),
        (Status.NO_ANSWER, None, [[0.0, 3.0], [8.0, 12.0]], 0.0),
        (Status.ZOOMED, None, [[1.0, 3.0]], 1.0),
        (Status.ZOOMED, None, [[12.0, 15.0]], 0.0),
        (Status.MALFORMED, None, [], 0.0),
        (Status.ZOOMED, None, [[3.0, 7.0]], 1.0),
    ]
    # Among 1, 0, 1: mean 2/3 and unbiased variance 1/3; among 1, 0, 0, 1: mean 1/2 and unbiased variance 1/3.
    deviation = (1 / 3) ** 0.5 + 1e-4
    expected = [1 / 3, -2 / 3, 1 / 3, 0.0, 0.5, -0.5, -0.5, 0.5]
    assert [row["advantage"] for row in rows] == pytest.approx([value / deviation for value in expected])
    assert task_from_row(rows[0]).evidence == (Span(0.0, 4.0),)
