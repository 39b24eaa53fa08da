"""A whole training: files it leaves, going on after Ctrl-C and after a crash."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from grpo_world import make_source, make_world

from videozoom.experiments.checkpoints import latest_checkpoint
from videozoom.experiments.grpo_settings import GrpoSettings, ModelSource
from videozoom.experiments.grpo_training import Schedule, Trained, train_grpo
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.sampling import Sampling
from videozoom.rollout.traces import TraceWriter, read_traces

SETTINGS = GrpoSettings(seed=5, num_groups=2, group_size=4, sampling=Sampling(max_new_tokens=6), lr=1e-3)
Metrics = list[tuple[int, Mapping[str, float]]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return make_source(tmp_path_factory.mktemp("tiny"))


class Bench:
    """Runs trainings in one folder and keeps what they log."""

    def __init__(self, folder: Path, source: ModelSource) -> None:
        self.folder, self.source = folder, source
        self.metrics: Metrics = []
        self.evaluated: list[int] = []

    def train(self, num_iterations: int, *, at: Callable[[int], None] = lambda _: None, **schedule: int) -> Trained:
        def log(metrics: Mapping[str, float], iteration: int) -> None:
            self.metrics.append((iteration, metrics))
            at(iteration)

        def evaluate(policy: QwenVLPolicy, iteration: int) -> dict[str, float]:
            assert isinstance(policy, QwenVLPolicy)
            self.evaluated.append(iteration)
            return {"eval/held_out/accuracy": 0.5}

        with TraceWriter(self.folder / "traces.jsonl") as traces:
            return train_grpo(
                make_world(),
                self.source,
                SETTINGS,
                Schedule(num_iterations, **schedule),
                name="decoupled_grpo",
                checkpoints=self.folder,
                traces=traces,
                log=log,
                evaluate=evaluate,
                resume=latest_checkpoint(self.folder),
            )

    @property
    def rewards(self) -> list[float]:
        return [metrics["reward/total/mean"] for _, metrics in self.metrics]

    def traces(self) -> list[dict[str, Any]]:
        return list(read_traces(self.folder / "traces.jsonl"))

    def checkpoints(self) -> list[int]:
        return sorted(int(path.name.removeprefix("iteration_")) for path in self.folder.glob("iteration_*"))


@pytest.fixture
def bench(tmp_path: Path, source: ModelSource) -> Bench:
    return Bench(tmp_path, source)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, source: ModelSource) -> Bench:
    """Five iterations without a break."""
    bench = Bench(tmp_path_factory.mktemp("whole"), source)
    bench.train(5, eval_every=2, checkpoint_every=2)
    return bench


def test_a_training_logs_evaluates_and_saves_on_schedule(whole: Bench) -> None:
    assert [iteration for iteration, _ in whole.metrics] == [1, 2, 3, 4, 5]
    assert whole.evaluated == [2, 4, 5]
    assert ["eval/held_out/accuracy" in metrics for _, metrics in whole.metrics] == [False, True, False, True, True]
    assert whole.checkpoints() == [2, 4, 5]


def test_every_trajectory_has_its_trace_with_its_advantage(whole: Bench) -> None:
    traces = whole.traces()
    assert len(traces) == 5 * 2 * 4
    assert [row["iteration"] for row in traces] == [i for i in range(5) for _ in range(8)]
    assert {(row["phase"], row["policy"]) for row in traces} == {("train", "decoupled_grpo")}
    assert {row["kind"] for row in traces} == {"multi_step", "zoom_step"}
    assert any(row["advantage"] for row in traces)


def test_without_a_schedule_only_the_end_is_kept(bench: Bench) -> None:
    trained = bench.train(3, checkpoint_every=0)
    assert (bench.evaluated, bench.checkpoints()) == ([3], [3])
    assert trained.checkpoint == bench.folder / "iteration_000003"
    assert trained.progress.iteration == 3
    QwenVLPolicy.from_checkpoint(trained.checkpoint)


def test_ctrl_c_leaves_a_checkpoint_and_whole_traces_and_the_run_goes_on_from_there(bench: Bench, whole: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.train(5, checkpoint_every=0, at=lambda i: os.kill(os.getpid(), signal.SIGINT) if i == 3 else None)
    assert bench.checkpoints() == [3]
    assert len(bench.traces()) == 3 * 2 * 4
    assert bench.evaluated == []
    bench.train(5, checkpoint_every=0)
    assert bench.rewards == whole.rewards
    assert bench.traces() == whole.traces()


def test_a_crash_loses_nothing_that_was_saved_and_writes_no_trace_twice(bench: Bench, whole: Bench) -> None:
    def crash(iteration: int) -> None:
        if iteration == 3:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        bench.train(5, checkpoint_every=2, at=crash)
    assert bench.checkpoints() == [2]
    assert len(bench.traces()) == 3 * 2 * 4
    bench.train(5, checkpoint_every=2)
    assert [iteration for iteration, _ in bench.metrics] == [1, 2, 3, 3, 4, 5]
    assert bench.rewards[:3] + bench.rewards[4:] == whole.rewards
    assert bench.traces() == whole.traces()


def test_a_run_that_is_done_is_not_done_again(bench: Bench) -> None:
    first = bench.train(1)
    again = bench.train(1)
    assert again.checkpoint == first.checkpoint
    assert again.progress == first.progress
    assert len(bench.metrics) == 1
