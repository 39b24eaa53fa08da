"""`videozoom train` end to end on a few generated videos; too short to learn anything."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.task_files import save_tasks
from videozoom.envs.tasks import Task
from videozoom.experiments.checkpoints import latest_checkpoint
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.train import run_train
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.rollout.traces import read_traces

TINY = [
    *(f"data.{part}.generated.num_videos=3" for part in ("train", "eval", "cold_start.mixed")),
    "policy.tiny.hidden_size=32",
    "policy.tiny.num_layers=1",
    "rollout.max_new_tokens=6",
    "eval.max_new_tokens=6",
    "eval.num_tasks=3",
    "grpo.checkpoint_every=1",
]


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    videos = tmp_path_factory.mktemp("videos")
    return [*TINY, f"data.videos={videos}", f"video.cache={videos / 'cache'}"]


def smoke(overrides: list[str], run_dir: Path, *more: str) -> Config:
    return load_config("smoke", [*overrides, f"run_dir={run_dir}", *more])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return metrics without what depends on the clock, or on what is in a cache already."""
    clocks = ("time/", "perf/", "progress/cpu_s", "video/")
    return [{name: value for name, value in row.items() if not name.startswith(clocks)} for row in rows]


@pytest.fixture(scope="module")
def finished(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    run_train(smoke(overrides, run_dir, "grpo.num_iterations=3"))
    return run_dir


def test_a_run_leaves_a_folder_that_says_everything(finished: Path) -> None:
    assert (finished / "report.html").stat().st_size > 1000
    assert load_config(finished / "config.yaml").grpo.num_iterations == 3
    results = json.loads((finished / "results.json").read_text())
    assert [row["policy"] for row in results["rows"]] == ["cold_start", "decoupled_grpo"]
    assert results["rows"][1]["num_tasks"] == 3
    assert results["rows"][1]["cpu_seconds_training"] > 0


def test_metrics_hold_every_phase(finished: Path) -> None:
    rows = lines(finished / "metrics.jsonl")
    stages = [stage.name for stage in load_config(finished / "config.yaml").cold_start.stages]
    assert [row["phase"] for row in rows] == [*stages, *["decoupled_grpo"] * 3]
    assert [row["progress/iteration"] for row in rows if row["phase"] == "decoupled_grpo"] == [1, 2, 3]
    assert all("eval/held_out/accuracy" in row for row in rows[2:])
    for row in rows:
        assert row["video/decodes/sum"] + row["video/cache_hit/rate"] > 0
        assert row["video/cache_bytes"] > 0


def test_a_second_run_decodes_no_fast_view_again(finished: Path, overrides: list[str], tmp_path: Path) -> None:
    before = lines(finished / "metrics.jsonl")
    assert sum(row["video/scans/sum"] for row in before) > 0
    start = ["cold_start.stages=[]", f"policy.checkpoint={finished / 'checkpoints' / 'cold_start'}"]
    run_train(smoke(overrides, tmp_path / "again", *start, "grpo.num_iterations=1", "eval.num_tasks=1"))
    [row] = lines(tmp_path / "again" / "metrics.jsonl")
    assert row["video/scans/sum"] == 0
    assert row["video/disk_hit/rate"] > 0
    assert row["reward/total/mean"] == before[2]["reward/total/mean"]


def test_traces_hold_training_and_every_evaluation(finished: Path) -> None:
    traces = list(read_traces(finished / "traces.jsonl"))
    evaluations = [(row["policy"], row["iteration"]) for row in traces if row["phase"] == "eval"]
    assert sorted(set(evaluations)) == [("cold_start", 0), *(("decoupled_grpo", i) for i in (1, 2, 3))]
    assert len(evaluations) == 4 * 3
    assert sum(row["phase"] == "train" for row in traces) == 3 * 2 * 2


def test_checkpoints_are_models(finished: Path) -> None:
    for name in ("cold_start", "iteration_000003"):
        QwenVLPolicy.from_checkpoint(finished / "checkpoints" / name)


def test_a_resumed_run_ends_like_one_that_never_stopped(finished: Path, overrides: list[str], tmp_path: Path) -> None:
    """The run was killed after the second iteration was logged and before it was saved."""
    run_dir = tmp_path / "killed"
    shutil.copytree(finished, run_dir)
    for iteration in (2, 3):
        shutil.rmtree(run_dir / "checkpoints" / f"iteration_{iteration:06d}")
    for name in ("results.json", "report.html"):
        (run_dir / name).unlink()
    for name, kept in (("metrics.jsonl", 4), ("traces.jsonl", 22)):
        whole = (run_dir / name).read_text().splitlines(keepends=True)
        (run_dir / name).write_text("".join(whole[:kept]) + whole[kept][:40])
    run_train(smoke(overrides, run_dir, "grpo.num_iterations=3"), resume=run_dir)
    assert timeless(lines(run_dir / "metrics.jsonl")) == timeless(lines(finished / "metrics.jsonl"))
    assert lines(run_dir / "traces.jsonl") == lines(finished / "traces.jsonl")
    assert json.loads((run_dir / "results.json").read_text())["rows"][0]["num_tasks"] == 3
    assert [it["seed"] for it in json.loads((run_dir / "run.json").read_text())["resumed"]] == [0]


def test_a_run_can_be_made_longer(finished: Path, overrides: list[str], tmp_path: Path) -> None:
    run_dir = tmp_path / "longer"
    shutil.copytree(finished, run_dir)
    run_train(smoke(overrides, run_dir, "grpo.num_iterations=4"), resume=run_dir)
    rows = [row for row in lines(run_dir / "metrics.jsonl") if row["phase"] == "decoupled_grpo"]
    assert [row["progress/iteration"] for row in rows] == [1, 2, 3, 4]
    assert load_config(run_dir / "config.yaml").grpo.num_iterations == 4


def test_single_zooms_without_evidence_are_refused_before_anything_is_written(
    overrides: list[str], tmp_path: Path
) -> None:
    video = generate(VideoRecipe(num_videos=1, length_s=16.0), tmp_path).parent / "videos" / "00000.mp4"
    task = Task("t0", video, 16.0, "Which?", ("a", "b"), "A")
    save_tasks([task], tmp_path / "tasks.jsonl")
    source = [f"data.train.tasks={tmp_path / 'tasks.jsonl'}", "data.train.generated=null"]
    kept = [override for override in overrides if not override.startswith("data.train")]
    with pytest.raises(UserError, match=r"zoom_step_fraction is 0\.5, but no task of data\.train has evidence"):
        run_train(smoke(kept, tmp_path / "run", *source))
    assert not (tmp_path / "run").exists()


@pytest.mark.timeout(120)
def test_ctrl_c_ends_the_command_with_a_checkpoint_and_whole_traces(overrides: list[str], tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = [*overrides, f"run_dir={run_dir}", "grpo.num_iterations=100000", "grpo.eval_every=0"]
    command = [sys.executable, "-m", "videozoom.experiments.cli", "train", "smoke", *arguments]
    process = subprocess.Popen([*command, "grpo.checkpoint_every=0"], stderr=subprocess.PIPE, text=True)
    try:
        metrics = run_dir / "metrics.jsonl"
        while process.poll() is None and (not metrics.exists() or "decoupled_grpo" not in metrics.read_text()):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert f"what was finished is kept, go on with: videozoom train --resume {run_dir}" in errors
    checkpoint = latest_checkpoint(run_dir / "checkpoints")
    assert checkpoint is not None
    QwenVLPolicy.from_checkpoint(checkpoint)
    iterations = [row["progress/iteration"] for row in lines(metrics) if row["phase"] == "decoupled_grpo"]
    assert checkpoint.name == f"iteration_{iterations[-1]:06d}"
    assert sum(row["phase"] == "train" for row in lines(run_dir / "traces.jsonl")) == iterations[-1] * 2 * 2
