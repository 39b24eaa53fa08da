"""SIGKILL at any moment and `--resume`: the run ends with the same numbers, to the bit, as one that nobody killed."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generated_world import TINY
from safetensors.numpy import load_file

from videozoom.experiments.checkpoints import latest_checkpoint, load_trainer_state

SETTINGS = [
    *TINY,
    "policy.tiny.num_heads=2",
    "policy.tiny.num_kv_heads=1",
    "policy.tiny.vision_hidden_size=16",
    "policy.tiny.vision_intermediate_size=32",
    "cold_start.stages.0.num_steps=3",
    "cold_start.stages.0.batch_size=2",
    "cold_start.stages.1.num_steps=3",
    "cold_start.stages.1.batch_size=2",
    "cold_start.checkpoint_every=2",
    # The first try of the cold start is given up.
    "cold_start.tries=2",
    "seed=1",
    "cold_start.stages.1.give_up={after: 1, above: 0.01}",
    "grpo.num_iterations=3",
    "grpo.checkpoint_every=2",
    "grpo.eval_every=1",
    "rollout.group_size=4",
    "reward.format=0.5",
    "eval.num_tasks=2",
    "eval.batch_size=1",
]
KILLED = -9
# Of the rest, nothing may differ.
CLOCKS = ("time/", "perf/", "progress/cpu_s", "progress/gpu_hours", "memory/", "system/", "video/")


class Nursery:
    """See the module of this name."""

    def __init__(self, process: "subprocess.Popen[str]", videos: Path) -> None:
        self.process = process
        self.overrides = [*SETTINGS, f"data.videos={videos}", f"video.cache={videos / 'cache'}"]

    def run(
        self, run_dir: Path, *, resume: bool = False, kill_at: int | None = None, full_at: int | None = None
    ) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        moment = {"kill_at": kill_at, "full_at": full_at}
        job = {"overrides": self.overrides, "run_dir": str(run_dir), "resume": resume, **moment}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert told["status"] in (0, KILLED) or full_at is not None, told
        return told


@pytest.fixture(scope="module")
def nursery(videos: Path) -> Iterator[Nursery]:
    command = [sys.executable, str(Path(__file__).with_name("nursery.py"))]
    # A child that is forked has none of its parent's OpenMP threads and would wait for them for ever.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    yield Nursery(process, videos)
    process.kill()
    process.wait()


class Whole:
    """The run that nobody disturbed."""

    def __init__(self, nursery: Nursery, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.moments: list[str] = nursery.run(run_dir)["moments"]

    def places(self, label: str) -> list[int]:
        """Return the numbers of the moments of a label, from 1."""
        return [number for number, seen in enumerate(self.moments, start=1) if seen == label]


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(nursery, tmp_path_factory.mktemp("whole") / "run")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def metrics_of(run_dir: Path) -> list[dict[str, Any]]:
    rows = lines(run_dir / "metrics.jsonl")
    kept = [{name: value for name, value in row.items() if not name.startswith(CLOCKS)} for row in rows]
    rates = [row.get("video/decode_error/rate") for row in rows]
    return [row | {"video/decode_error/rate": rate} for row, rate in zip(kept, rates, strict=True)]


def results_of(run_dir: Path) -> list[dict[str, Any]]:
    rows = json.loads((run_dir / "results.json").read_text())["rows"]
    return [{name: value for name, value in row.items() if name != "cpu_seconds_training"} for row in rows]


def assert_same(run_dir: Path, expected: Path) -> None:
    assert metrics_of(run_dir) == metrics_of(expected)
    assert (run_dir / "traces.jsonl").read_bytes() == (expected / "traces.jsonl").read_bytes()
    assert results_of(run_dir) == results_of(expected)
    last, other = (latest_checkpoint(folder / "checkpoints") for folder in (run_dir, expected))
    assert last is not None
    assert other is not None
    assert last.name == other.name
    weights, others = (load_file(folder / "model.safetensors") for folder in (last, other))
    assert weights.keys() == others.keys()
    assert all(np.array_equal(value, others[name]) for name, value in weights.items())
    states = [load_trainer_state(folder)["optimizer"]["optimizers"][0]["state"] for folder in (last, other)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(state[name], states[1][key][name]) for key, state in states[0].items() for name in state)
    assert not list(run_dir.rglob("*.partial"))
    assert not (run_dir / "checkpoints" / "cold_start_unfinished").exists()


def go_on(nursery: Nursery, run_dir: Path, kill_at: int | None) -> dict[str, Any]:
    """Resume a run, or start it where it had not got far enough to be one."""
    return nursery.run(run_dir, resume=(run_dir / "config.yaml").is_file(), kill_at=kill_at)


def test_the_run_learns_something(whole: Whole) -> None:
    """Control: weights, rewards and traces are not all the same, so that equality says something."""
    rows = [row for row in metrics_of(whole.run_dir) if row["phase"] == "decoupled_grpo"]
    assert sum(row.get("optim/grad_norm", 0.0) > 0 for row in rows) > 1
    assert len({row["reward/total/mean"] for row in rows}) > 1
    first, last = (whole.run_dir / "checkpoints" / f"iteration_{i:06d}" / "model.safetensors" for i in (2, 3))
    assert first.read_bytes() != last.read_bytes()


def test_the_cold_start_begins_twice(whole: Whole) -> None:
    """Control: what is killed and resumed below has given up a try."""
    phases = [row["phase"] for row in metrics_of(whole.run_dir)]
    assert phases[:3] == ["reading", "reading-try-2", "cot-try-2"]
    assert whole.moments.count("after cold start step") == 3 + 1 + 3 + 3


def test_killed_at_ten_random_moments_one_after_the_other(nursery: Nursery, whole: Whole, tmp_path: Path) -> None:
    rng = random.Random(7)
    told, num_kills = {"status": KILLED}, 0
    while told["status"] == KILLED and num_kills < 10:
        # Some way into what is left: a resumed run passes fewer moments than a whole one.
        told = go_on(nursery, tmp_path / "run", rng.randint(1, len(whole.moments) // 3))
        num_kills += told["status"] == KILLED
    assert num_kills == 10
    assert go_on(nursery, tmp_path / "run", None)["status"] == 0
    assert_same(tmp_path / "run", whole.run_dir)


@pytest.mark.parametrize(
    ("label", "occurrence"),
    [
        ("after replace", 0),
        ("after cold start step", 3),
        ("after cold start step", 4),
        ("after cold start step", 7),
        ("before optimizer", -1),
        ("after metrics.jsonl", -1),
        ("half of a line of traces.jsonl", 3),
        ("after evaluation", -1),
    ],
)
def test_killed_where_it_hurts(nursery: Nursery, whole: Whole, tmp_path: Path, label: str, occurrence: int) -> None:
    assert nursery.run(tmp_path / "run", kill_at=whole.places(label)[occurrence])["status"] == KILLED
    assert go_on(nursery, tmp_path / "run", None)["status"] == 0
    assert_same(tmp_path / "run", whole.run_dir)


@pytest.mark.parametrize(
    ("label", "occurrence"),
    [
        ("before traces.jsonl", 3),
        ("inside traces.jsonl", 4),
        ("before metrics.jsonl", -2),
        ("after model", 1),
        ("before optimizer", -1),
        ("before replace", -1),
    ],
)
def test_a_disk_that_is_full_is_told_in_a_sentence_and_nothing_is_lost(
    nursery: Nursery, whole: Whole, tmp_path: Path, label: str, occurrence: int
) -> None:
    told = nursery.run(tmp_path / "run", full_at=whole.places(label)[occurrence])
    assert told["error"] == (
        f"{tmp_path / 'run'} cannot be written (No space left on device); what was finished is kept: make room, then "
        f"go on with: videozoom train --resume {tmp_path / 'run'}"
    )
    assert go_on(nursery, tmp_path / "run", None)["status"] == 0
    assert_same(tmp_path / "run", whole.run_dir)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_every_tenth_moment(nursery: Nursery, whole: Whole, tmp_path: Path) -> None:
    for moment in range(1, len(whole.moments) + 1, 10):
        run_dir = tmp_path / str(moment)
        assert nursery.run(run_dir, kill_at=moment)["status"] == KILLED
        assert go_on(nursery, run_dir, None)["status"] == 0
        assert_same(run_dir, whole.run_dir)
        shutil.rmtree(run_dir)


def test_a_change_of_one_number_is_noticed(nursery: Nursery, whole: Whole, tmp_path: Path) -> None:
    """Control: a run whose resumption lost the state of the optimizer does not pass for the whole one."""
    run_dir = tmp_path / "run"
    shutil.copytree(whole.run_dir, run_dir)
    shutil.rmtree(run_dir / "checkpoints" / "iteration_000003")
    state_file = run_dir / "checkpoints" / "iteration_000002" / "trainer_state.pt"
    state = torch.load(state_file, weights_only=True)
    for moments in state["optimizer"]["optimizers"][0]["state"].values():
        moments["exp_avg"] *= 1.01
    torch.save(state, state_file)
    assert nursery.run(run_dir, resume=True)["status"] == 0
    with pytest.raises(AssertionError):
        assert_same(run_dir, whole.run_dir)
