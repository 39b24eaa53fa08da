"""Processes that are killed while a run needs them: rollout workers and learners, by SIGKILL to their pids."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from generated_world import smoke_config
from grpo_world import KilledAt, NonsenseProtocol, make_source, make_tasks, make_world

from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.experiments.checkpoints import latest_checkpoint
from videozoom.experiments.config import Config
from videozoom.experiments.errors import UserError
from videozoom.experiments.grpo_algorithm import DecoupledGRPO, IterationRecord
from videozoom.experiments.grpo_config import DecoupledGRPOConfig
from videozoom.experiments.grpo_settings import GrpoSettings, ModelSource
from videozoom.experiments.learner_deaths import is_death
from videozoom.experiments.progress import console
from videozoom.experiments.restarts import LearnerLostError, restarting
from videozoom.experiments.train import run_train
from videozoom.policies.sampling import Sampling
from videozoom.rollout.traces import read_traces

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

GROUP_SIZE = 4
SETTINGS = GrpoSettings(
    seed=3, num_groups=4, group_size=GROUP_SIZE, sampling=Sampling(max_new_tokens=6), lr=1e-3, groups_per_request=1
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return make_source(tmp_path_factory.mktemp("tiny"))


def iterate(source: ModelSource, counter: Path, *, num_env_runners: int, killed_at: int = 0) -> list[IterationRecord]:
    world = make_world(make_tasks(6))
    world = replace(world, make_env=KilledAt(world.make_env, counter, killed_at))
    config = DecoupledGRPOConfig().grpo(world=world, source=source, settings=SETTINGS)
    algorithm: DecoupledGRPO = config.env_runners(num_env_runners=num_env_runners).build_algo()
    records = []
    for _ in range(2):
        algorithm.train()
        records.append(algorithm.record())
    algorithm.stop()
    return records


def trajectories_of(records: list[IterationRecord]) -> list[tuple[Any, ...]]:
    return [
        (t.task_id, t.kind, t.seed, t.status, t.answer, t.reward, [s.completion.text for s in t.steps])
        for record in records
        for group in record.groups
        for t in group.trajectories
    ]


def test_a_killed_rollout_worker_costs_the_group_it_was_sampling_and_no_other(
    ray_started: None, source: ModelSource, tmp_path: Path
) -> None:
    alone = iterate(source, tmp_path / "alone", num_env_runners=0)
    needed = (tmp_path / "alone").stat().st_size
    assert needed == 2 * SETTINGS.num_groups * GROUP_SIZE
    # In the middle of the third group: each worker has finished one, or is about to.
    records = iterate(source, tmp_path / "killed", num_env_runners=2, killed_at=2 * GROUP_SIZE + 2)
    assert [record.metrics["ray/lost_requests/sum"] for record in records] == [1.0, 0.0]
    assert trajectories_of(records) == trajectories_of(alone)
    assert needed < (tmp_path / "killed").stat().st_size <= needed + GROUP_SIZE


def config_of(videos: Path, run_dir: Path, *overrides: str) -> Config:
    sizes = ["policy.tiny.vision_hidden_size=16", "policy.tiny.vision_intermediate_size=32", "policy.tiny.num_heads=2"]
    training = ["grpo.num_iterations=3", "grpo.checkpoint_every=1", "rollout.group_size=4", "reward.format=0.5"]
    return smoke_config(videos, run_dir, *sizes, "policy.tiny.num_kv_heads=1", *training, *overrides)


class LearnerKiller:
    """Sends SIGKILL to the learner when it is to learn, at chosen iterations."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *iterations: int) -> None:
        self.due, self.killed = list(iterations), 0
        update = DecoupledGRPO._update

        def update_and_kill(algorithm: DecoupledGRPO, samples: Any, iteration: int) -> Any:
            if self.due and iteration == self.due[0]:
                self.due.pop(0)
                [pid] = [it.get() for it in algorithm.learner_group.foreach_learner(lambda _: os.getpid())]
                assert pid != os.getpid()
                # At once: one that dies after its last update is never missed.
                os.kill(pid, signal.SIGKILL)
                self.killed += 1
            return update(algorithm, samples, iteration)

        monkeypatch.setattr(DecoupledGRPO, "_update", update_and_kill)


@pytest.fixture
def nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with random weights would never be right; read like this, its texts are something to learn from."""
    monkeypatch.setattr(LoveR1Protocol, "parse", NonsenseProtocol.parse)


def trained_rows(run_dir: Path) -> list[dict[str, Any]]:
    names = ("progress/iteration", "phase", "reward/total/mean", "loss/surrogate", "optim/grad_norm")
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: row.get(name) for name in names} for row in rows]


@pytest.mark.usefixtures("ray_started", "nonsense")
def test_a_killed_learner_is_started_again_from_the_last_checkpoint_by_the_command(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "quiet", False)
    run_train(config_of(videos, tmp_path / "whole", "ray.num_learners=1"))
    killer = LearnerKiller(monkeypatch, 1, 2)
    capsys.readouterr()
    run_train(config_of(videos, tmp_path / "killed", "ray.num_learners=1", "ray.max_restarts=2"))
    assert killer.killed == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "a learner died in iteration 2; going on from the last checkpoint (restart 1 of 2)" in told
    assert "a learner died in iteration 3; going on from the last checkpoint (restart 2 of 2)" in told
    assert trained_rows(tmp_path / "killed") == trained_rows(tmp_path / "whole")
    traces, expected = (list(read_traces(tmp_path / name / "traces.jsonl")) for name in ("killed", "whole"))
    assert traces == expected


@pytest.mark.usefixtures("ray_started", "nonsense")
def test_learners_that_go_on_dying_end_the_command_in_a_sentence(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LearnerKiller(monkeypatch, 1, 1)
    with pytest.raises(UserError) as caught:
        run_train(config_of(videos, tmp_path / "run", "ray.num_learners=1", "ray.max_restarts=1"))
    assert str(caught.value) == (
        "a learner died in iteration 2, as often as ray.max_restarts=1 allows and once more; look for the cause, often "
        f"too little memory, then go on with: videozoom train --resume {tmp_path / 'run'}"
    )
    checkpoint = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "iteration_000001"


def test_our_own_mistakes_are_no_deaths() -> None:
    class Manager:
        def actors(self) -> dict[int, Any]:
            raise AssertionError("nobody has to be asked")

    error = ray.exceptions.RayTaskError("update", "traceback", ValueError("a mistake"))
    assert not is_death(error, Manager())
    assert is_death(ray.exceptions.ActorDiedError(), Manager())


def test_restarts_are_counted() -> None:
    calls = []

    def run() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise LearnerLostError("a learner died in iteration 5")
        return "done"

    assert restarting(run, max_restarts=2, again="") == "done"
    calls.clear()
    with pytest.raises(UserError, match=r"ray\.max_restarts=1 allows"):
        restarting(run, max_restarts=1, again="")
    assert len(calls) == 2
