"""Finished episodes as lines of a file."""

import copy
import json
from pathlib import Path
from typing import Any

import gymnasium
from memory_world import EVIDENCE, MemoryFrames, make_env, make_tasks

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.json_lines import read_json_lines
from videozoom.envs.protocols.love_r1 import ANSWER_PREFIX, LoveR1Protocol
from videozoom.envs.tasks import Span, Status
from videozoom.envs.trajectory_rows import action_from_row
from videozoom.envs.wrappers.record_trajectory import RecordTrajectory
from videozoom.envs.wrappers.text_actions import TextActions
from videozoom.rollout.trace_rows import task_from_row, trajectory_from_row
from videozoom.rollout.traces import read_traces


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.jsonl")) for row in read_json_lines(path)]


def test_a_finished_episode_is_a_trace_that_can_be_read_back(tmp_path: Path) -> None:
    env = RecordTrajectory(make_env(), tmp_path / "deep" / "er", policy="mine")
    env.reset(options={"task": "t2"})
    env.step(ZoomIn(Span(0.0, 64.0)))
    env.step(ZoomIn(EVIDENCE))
    assert not env.path.exists()  # Not before the episode ends.
    env.step(Answer("B"))
    (row,) = read_traces(env.path)
    trajectory, task = trajectory_from_row(row), task_from_row(row)
    assert (row["phase"], row["policy"], task) == ("record", "mine", make_tasks()[2])
    assert [step.action for step in trajectory.steps] == [Malformed("too_long"), ZoomIn(EVIDENCE), Answer("B")]
    assert (trajectory.status, trajectory.answer, trajectory.spans_s) == (Status.ANSWERED, "B", (EVIDENCE,))
    assert (trajectory.reward.total, trajectory.error) == (1.0, None)


def test_episodes_that_end_otherwise_are_rows_too_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    env = RecordTrajectory(make_env("slow_clip"), tmp_path)
    env.reset()
    env.step(ZoomIn(EVIDENCE))
    env.reset()
    env.step(Malformed("x"))
    env.reset(options={"episode_kind": "zoom_step"})
    env.step(ZoomIn(EVIDENCE))
    rows = rows_of(tmp_path)
    assert [(row["status"], row["kind"]) for row in rows] == [("error_decode", "multi_step"), ("zoomed", "zoom_step")]
    assert rows[0]["error"].endswith("slow_clip is broken")
    assert len({json.dumps(row["seed"]) for row in rows}) == 2


def test_texts_are_kept_with_what_they_were_written_after(tmp_path: Path) -> None:
    env = RecordTrajectory(TextActions(make_env(max_steps=2), LoveR1Protocol()), tmp_path)
    env.reset()
    env.step("nothing of use")
    env.step("\\boxed{C}")
    (row,) = rows_of(tmp_path)
    steps = [(step["prefix"], step["text"]) for step in row["steps"]]
    assert steps == [("", "nothing of use"), (ANSWER_PREFIX, "\\boxed{C}")]


def test_every_branch_that_ends_is_written_with_its_own_steps(tmp_path: Path) -> None:
    env = RecordTrajectory(make_env(), tmp_path)
    env.reset()
    env.step(ZoomIn(EVIDENCE))
    after_zoom = env.unwrapped.snapshot()
    for letter in "AB":
        env.unwrapped.restore(after_zoom)
        env.step(Answer(letter))
    twin = copy.deepcopy(env)
    twin.reset()
    twin.step(Answer("C"))
    actions = [[action_from_row(step["action"]) for step in row["steps"]] for row in rows_of(tmp_path)]
    assert actions == [[ZoomIn(EVIDENCE), Answer("A")], [ZoomIn(EVIDENCE), Answer("B")], [Answer("C")]]


def test_vector_environments_share_a_folder(tmp_path: Path) -> None:
    for mode, vector_kwargs in (("sync", {}), ("async", {"shared_memory": False})):
        envs = gymnasium.make_vec(
            "videozoom.envs:VideoZoom-v0",
            num_envs=3,
            vectorization_mode=mode,
            vector_kwargs=vector_kwargs,
            wrappers=[lambda env, folder=tmp_path / mode: RecordTrajectory(env, folder)],
            tasks=make_tasks(),
            frames=MemoryFrames(),
        )
        envs.reset(seed=0)
        envs.action_space.seed(0)
        for _ in range(12):
            envs.step(envs.action_space.sample())
        envs.close()
        assert len(list((tmp_path / mode).glob("*.jsonl"))) == 3
        assert len(rows_of(tmp_path / mode)) >= 6
