"""Traces scored again: what training and evaluation recorded, to the bit, and other rubrics by hand."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from videozoom.envs.tasks import Status
from videozoom.experiments.build import build_env_maker, build_frames
from videozoom.experiments.cli import main
from videozoom.experiments.config_files import load_config
from videozoom.rollout.trace_rows import facts_of, task_from_row, trajectory_from_row
from videozoom.rollout.traces import read_runs, read_traces


@pytest.fixture(scope="module")
def run_dir(nonsense_run: Path) -> Path:
    return nonsense_run


def replay(run_dir: Path, out: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["replay", str(run_dir), "--json", "--quiet", "--no-report", "--out", str(out), *arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {"error": captured.err}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_same_rubric_gives_what_was_recorded(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(run_dir)
    code, told = replay(run_dir, tmp_path / "out", capsys=capsys)
    assert (code, [row["num_changed"] for row in told["rows"]]) == (0, [0] * len(told["rows"]))
    assert {(row["phase"], row["policy"]) for row in told["rows"]} == {
        ("eval", "cold_start"),
        ("train", "decoupled_grpo"),
        ("eval", "decoupled_grpo"),
    }
    assert files_of(run_dir) == before
    traces, replayed = (list(read_traces(folder / "traces.jsonl")) for folder in (run_dir, tmp_path / "out"))
    without_run = [
        [{name: value for name, value in row.items() if name != "run"} for row in it] for it in (traces, replayed)
    ]
    assert without_run[0] == without_run[1]
    results, again = (json.loads((folder / "results.json").read_text()) for folder in (run_dir, tmp_path / "out"))
    assert again["rows"] == results["rows"]
    # There is something to get wrong: advantages of both signs, and penalties.
    advantages = [row["advantage"] for row in traces if row["phase"] == "train"]
    assert min(advantages) < 0 < max(advantages)
    assert any(row["reward"]["parts"].get("cost") for row in traces)


def test_one_wrong_number_is_found(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control: a reward, a part, an answer, an advantage that is off in one row ends in exit code 1."""
    rows = [json.loads(line) for line in (run_dir / "traces.jsonl").read_text().splitlines()]
    index = next(index for index, row in enumerate(rows) if row["phase"] == "train" and row["advantage"])
    changes: list[dict[str, Any]] = [
        {"reward": rows[index]["reward"] | {"total": rows[index]["reward"]["total"] + 1e-15}},
        {"reward": rows[index]["reward"] | {"parts": rows[index]["reward"]["parts"] | {"format": 0.25}}},
        {"advantage": rows[index]["advantage"] * (1 + 1e-15)},
        {"steps": rows[index]["steps"][:-1]},
    ]
    for number, change in enumerate(changes):
        folder = tmp_path / str(number)
        shutil.copytree(run_dir, folder, ignore=shutil.ignore_patterns("checkpoints"))
        changed = [row | change if place == index else row for place, row in enumerate(rows)]
        (folder / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
        code, told = replay(folder, tmp_path / f"out{number}", capsys=capsys)
        assert code == 1, change
        assert sum(row["num_changed"] for row in told["rows"]) > 0


def test_another_rubric_by_hand(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = replay(run_dir, tmp_path / "out", "reward.format=2", "reward.cost=0", "reward.overlap=0", capsys=capsys)
    assert code == 0
    rows, replayed = (list(read_traces(folder / "traces.jsonl")) for folder in (run_dir, tmp_path / "out"))
    for row, new in zip(rows, replayed, strict=True):
        parts = row["reward"]["parts"]
        assert new["reward"]["total"] == parts.get("outcome", 0.0) + 2 * parts["format"]
        assert new["reward"]["parts"] == parts
    train = [row for row in replayed if row["phase"] == "train"]
    assert [row["advantage"] for row in train] != [row["advantage"] for row in rows if row["phase"] == "train"]
    # Without the standard deviation, advantages of a group are distances from its mean.
    replay(run_dir, tmp_path / "plain", "grpo.advantage_norm=none", "reward.format=2", "reward.cost=0", capsys=capsys)
    group = [row for row in read_traces(tmp_path / "plain" / "traces.jsonl") if row["phase"] == "train"][:4]
    valid = [row for row in group if row["status"] != Status.NO_ANSWER]
    mean = sum(row["reward"]["total"] for row in valid) / len(valid)
    assert [row["advantage"] for row in valid] == pytest.approx([row["reward"]["total"] - mean for row in valid])
    runs = read_runs(tmp_path / "plain" / "traces.jsonl")
    assert [run["replayed"] for run in runs.values()] == [
        ["grpo.advantage_norm=none", "reward.format=2", "reward.cost=0"]
    ]


def test_the_report_is_drawn_again_without_a_model(run_dir: Path, tmp_path: Path) -> None:
    assert main(["replay", str(run_dir), "--quiet", "--out", str(tmp_path / "out"), "reward.format=1"]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert len(page) > 10_000
    assert not (tmp_path / "out" / "checkpoints").exists()
    # Once more into the same folder: a replay takes the place of a replay.
    assert main(["replay", str(run_dir), "--quiet", "--no-report", "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["env.max_steps=2"], "a replay can change what episodes are worth (reward.*, reward_rules.*, "),
        (["reward.formt=1"], "Unknown key 'reward.formt' in the overrides; did you mean 'reward.format'?"),
        (["--out", "{run_dir}"], "is in the run that is replayed"),
        (["--out", "{taken}"], "is there already and is no replay"),
    ],
)
def test_what_a_replay_refuses(
    run_dir: Path, tmp_path: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    before = files_of(run_dir)
    filled = [argument.format(run_dir=run_dir, taken=tmp_path / "taken") for argument in arguments]
    assert main(["replay", str(run_dir), "--quiet", *filled]) == 2
    assert problem in capsys.readouterr().err
    assert files_of(run_dir) == before
    assert not run_dir.with_name("run.replay").exists()


def test_traces_of_version_1_are_scored_as_far_as_they_tell(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old_run = tmp_path / "old"
    shutil.copytree(run_dir, old_run, ignore=shutil.ignore_patterns("checkpoints"))
    rows = [json.loads(line) for line in (run_dir / "traces.jsonl").read_text().splitlines()]
    for row in rows:
        row["schema_version"] = 1
        for name in ("run", "max_steps", "num_clip_frames"):
            row.pop(name)
        row["reward"].pop("is_right", None)
        # A part that was not measured then.
        row["reward"]["parts"].pop("evidence_f1", None)
        for step in row["steps"]:
            if step["action"]["type"] == "answer":
                step["action"]["letter"] = step["action"].pop("text")
    (old_run / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, told = replay(old_run, tmp_path / "out", capsys=capsys)
    assert (code, sum(row["num_changed"] for row in told["rows"])) == (0, 0)


def test_rewards_see_of_a_trace_what_they_saw_of_the_episode(run_dir: Path) -> None:
    config = load_config(run_dir / "config.yaml")
    rows = [row for row in read_traces(run_dir / "traces.jsonl") if row["status"] != Status.ERROR_DECODE]
    assert any(row["num_clip_frames"] for row in rows)
    make_env = build_env_maker(config, tuple(map(task_from_row, rows)), build_frames(config))
    for row in rows:
        trajectory, env = trajectory_from_row(row), make_env()
        options = {"task": task_from_row(row), "episode_kind": row["kind"], "max_steps": row["max_steps"]}
        _, info = env.reset(options=options)
        for step in trajectory.steps:
            *_, info = env.step(step.action)
        assert facts_of(trajectory) == info["facts"]
