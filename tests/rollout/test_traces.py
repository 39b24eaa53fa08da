import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, ZoomIn
from videozoom.envs.tasks import EpisodeKind, Span
from videozoom.rollout.groups import GroupSpec, sample_groups
from videozoom.rollout.trace_rows import facts_of, task_from_row, trace_row, trajectory_from_row
from videozoom.rollout.traces import TraceWriter, read_runs, read_traces
from videozoom.rollout.types import Group


def make_group(world: SimpleNamespace) -> Group:
    spec = GroupSpec(world.make_task(), EpisodeKind.MULTI_STEP, (5, 0, 0, 1))
    options = {"group_size": 6, "max_steps": 3, "make_env": world.make_env, "protocol": world.protocol}
    (group,) = sample_groups([spec], policy=world.random, **options)
    return group


@pytest.fixture
def rows(world: SimpleNamespace) -> list[dict[str, Any]]:
    group = make_group(world)
    return [
        trace_row(group.task, trajectory, phase="train", policy="grpo", iteration=3, advantage=0.5)
        for trajectory in group.trajectories
    ]


def test_a_row_starts_with_its_schema_version_and_says_everything_of_a_step(rows: list[dict[str, Any]]) -> None:
    assert next(iter(rows[0])) == "schema_version"
    zoom = next(step for row in rows for step in row["steps"] if step["text"] == "4-8")
    assert zoom["action"] == {"type": "zoom_in", "span_s": [4.0, 8.0]}
    assert zoom["num_completion_tokens"] == 3
    assert rows[0]["task"]["evidence"] == [[4.0, 8.0]]
    assert (rows[0]["iteration"], rows[0]["advantage"]) == (3, 0.5)
    truncation = {"temperature": 1.0, "top_k": 0, "top_p": 0.9}
    assert rows[0]["sampling"] == truncation | {"max_new_tokens": 48, "stop": ["A"], "max_batch": 512}


def test_tasks_and_trajectories_come_back_from_the_file(
    tmp_path: Path, world: SimpleNamespace, rows: list[dict[str, Any]]
) -> None:
    with TraceWriter(tmp_path / "traces.jsonl") as writer:
        assert writer.write(rows) == len(rows)
    group = make_group(world)
    for row, trajectory in zip(read_traces(tmp_path / "traces.jsonl"), group.trajectories, strict=True):
        assert task_from_row(row) == group.task
        loaded = trajectory_from_row(row)
        assert loaded.steps[0].completion.text == trajectory.steps[0].completion.text
        assert [step.action for step in loaded.steps] == [step.action for step in trajectory.steps]
        assert loaded.steps[0].completion.sampling == trajectory.steps[0].completion.sampling
        assert [len(step.completion.token_ids) for step in loaded.steps] == [3] * len(trajectory.steps)
        for name in ("task_id", "kind", "member", "seed", "status", "answer", "spans_s", "reward", "error"):
            assert getattr(loaded, name) == getattr(trajectory, name)


@pytest.mark.parametrize("cut", [1, 20, 400])
def test_a_torn_last_line_is_cut_off_and_written_again(tmp_path: Path, rows: list[dict[str, Any]], cut: int) -> None:
    path = tmp_path / "traces.jsonl"
    with TraceWriter(path) as writer:
        writer.write(rows[:3])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] if cut > 1 else whole[:-2])
    assert len(list(read_traces(path))) == 2
    with TraceWriter(path) as writer:
        assert writer.write(rows[:3]) == 1
    assert path.read_bytes() == whole


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "traces.jsonl"
    with TraceWriter(path) as writer:
        writer.write(rows[:2])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert len(list(read_traces(path))) == 2
    with TraceWriter(path) as writer:
        assert writer.write(rows[:2]) == 0
    assert path.read_bytes() == whole


def test_an_episode_is_never_written_twice(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "traces.jsonl"
    with TraceWriter(path) as writer:
        assert writer.write([*rows, *rows]) == len(rows)
        assert writer.write(rows[:2]) == 0
    with TraceWriter(path) as writer:
        assert writer.write(rows) == 0
        # Another iteration, policy or phase is another episode.
        assert writer.write([{**rows[0], "iteration": 4}, {**rows[0], "phase": "eval"}]) == 2
    assert len(path.read_text().splitlines()) == len(rows) + 2


def test_a_broken_line_in_the_middle_is_reported_with_file_and_line(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(rows[0]) + "\n{torn\n" + json.dumps(rows[1]) + "\n")
    with pytest.raises(ValueError, match=r"traces\.jsonl, line 2: no JSON object"):
        list(read_traces(path))


def test_another_schema_version_is_refused(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps({**rows[0], "schema_version": 99}) + "\n")
    with pytest.raises(ValueError, match="row 1: schema_version 99; this code reads 1 and 2"):
        list(read_traces(path))


def test_rows_that_do_not_say_how_they_were_drawn_are_read(rows: list[dict[str, Any]]) -> None:
    old = {name: value for name, value in rows[0].items() if name != "sampling"}
    assert trajectory_from_row(old).steps[0].completion.sampling is None


@pytest.mark.parametrize(
    "action",
    [
        ZoomIn(Span(4.0, 8.0), fps=2.0),
        ZoomIn(Span(4.0, 8.0), is_well_formed=False),
        Answer("B", is_well_formed=False),
        GetCaption((2, 3)),
        AskVideo((2, 3, 1), "What colour?"),
    ],
)
def test_every_action_comes_back(world: SimpleNamespace, action: Action) -> None:
    group = make_group(world)
    trajectory = group.trajectories[0]
    trajectory = replace(trajectory, steps=(replace(trajectory.steps[0], action=action),))
    row = trace_row(group.task, trajectory, phase="train", policy="grpo", iteration=0)
    loaded = trajectory_from_row(json.loads(json.dumps(row)))
    assert [step.action for step in loaded.steps] == [action]


def test_an_episode_that_ended_otherwise_the_second_time_takes_the_place_of_the_first_for_readers(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path / "traces.jsonl"
    other = {**rows[0], "answer": "C"}
    with TraceWriter(path) as writer:
        writer.write(rows)
        before = path.read_bytes()
        assert writer.write([rows[0], other]) == 1
        # The same once more changes nothing.
        assert writer.write([other]) == 0
    with TraceWriter(path) as writer:
        assert writer.write([other]) == 0
        assert writer.write([{**rows[0], "answer": "D"}]) == 1
    # Nothing that was written is gone.
    assert path.read_bytes().startswith(before)
    assert len(path.read_text().splitlines()) == len(rows) + 2
    read = list(read_traces(path))
    assert [row["answer"] for row in read] == [*(row["answer"] for row in rows[1:]), "D"]
    assert [row.get("attempt") for row in read] == [*[None] * (len(rows) - 1), 3]


def test_what_a_run_was_made_with_stands_once_in_its_file(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "traces.jsonl"
    first, second = {"packages": {"torch": "2.13"}}, {"packages": {"torch": "2.14"}}
    with TraceWriter(path, first) as writer:
        writer.write(rows[:2])
        writer.write(rows[2:3])
    with TraceWriter(path, first) as writer:
        writer.write(rows[3:4])
    with TraceWriter(path, second) as writer:
        writer.write(rows[4:6])
    lines = [json.loads(line)["run"] for line in path.read_text().splitlines()]
    assert [len(line) > 1 for line in lines] == [True, False, False, False, True, False]
    runs = read_runs(path)
    assert [runs[row["run"]["id"]]["packages"]["torch"] for row in read_traces(path)] == ["2.13"] * 4 + ["2.14"] * 2
    assert task_from_row(lines_of(path)[0]) == task_from_row(rows[0])


def test_a_torn_first_line_is_told_again(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path, run = tmp_path / "traces.jsonl", {"python": "3.11"}
    with TraceWriter(path, run) as writer:
        writer.write(rows[:1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with TraceWriter(path, run) as writer:
        writer.write(rows[:1])
    assert path.read_bytes() == whole


def test_a_trace_of_version_1_does_not_pretend_to_know_the_frames(rows: list[dict[str, Any]]) -> None:
    old = {name: value for name, value in rows[0].items() if name not in ("num_clip_frames", "max_steps")}
    with pytest.raises(ValueError, match="does not tell how many frames"):
        facts_of(trajectory_from_row(old))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
