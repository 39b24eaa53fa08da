"""Rollout workers and learners as processes: the same run as in one process, also when a worker dies.

Starting processes is what takes the time, so a few runs serve all tests.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from grpo_world import make_source, make_tasks, make_world

from videozoom.envs.tasks import Status
from videozoom.experiments.checkpoints import load_trainer_state
from videozoom.experiments.grpo_algorithm import DecoupledGRPO, IterationRecord
from videozoom.experiments.grpo_config import DecoupledGRPOConfig
from videozoom.experiments.grpo_settings import GrpoSettings, ModelSource
from videozoom.experiments.weights import PackedTensor, pack_weights
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.sampling import Sampling

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SETTINGS = GrpoSettings(seed=3, num_groups=4, group_size=4, sampling=Sampling(max_new_tokens=6), lr=1e-3)
TASKS = make_tasks(6, broken=(4,))


class Run(NamedTuple):
    records: list[IterationRecord]
    weights: dict[str, PackedTensor]
    num_healthy: int


def train(
    source: ModelSource,
    *,
    num_env_runners: int,
    num_learners: int,
    marker: Path | None = None,
    checkpoint: Path | None = None,
) -> Run:
    world = make_world(TASKS, fatal_marker=marker)
    config = DecoupledGRPOConfig().grpo(world=world, source=source, settings=SETTINGS)
    config.env_runners(num_env_runners=num_env_runners).learners(num_learners=num_learners)
    algorithm: DecoupledGRPO = config.build_algo()
    records = []
    for _ in range(2):
        algorithm.train()
        records.append(algorithm.record())
    weights = pack_weights(algorithm.policy().trained_parameters())
    group = algorithm.env_runner_group
    if checkpoint is not None:
        algorithm.write_checkpoint(checkpoint)
    num_healthy = group.num_healthy_remote_workers() if group else 0
    algorithm.stop()
    return Run(records, weights, num_healthy)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return make_source(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def alone(source: ModelSource) -> Run:
    return train(source, num_env_runners=0, num_learners=0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints") / "iteration_000002"


@pytest.fixture(scope="module")
def spread(ray_started: None, source: ModelSource, checkpoint: Path) -> Run:
    """Two rollout workers and two learners."""
    return train(source, num_env_runners=2, num_learners=2, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def survived(ray_started: None, source: ModelSource, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two rollout workers, of which one dies at its first episode; the learner is in this process."""
    marker = tmp_path_factory.mktemp("fatal") / "died"
    run = train(source, num_env_runners=2, num_learners=0, marker=marker)
    assert marker.exists()
    return run


def trajectories_of(run: Run) -> list[tuple[object, ...]]:
    return [
        (t.task_id, t.kind, t.seed, t.status, t.answer, t.spans_s, [s.completion.token_ids.tolist() for s in t.steps])
        for record in run.records
        for group in record.groups
        for t in group.trajectories
    ]


def assert_same_updates(run: Run, expected: Run) -> None:
    for record, other in zip(run.records, expected.records, strict=True):
        for name in ("loss/surrogate", "loss/trained_tokens/sum", "optim/grad_norm", "policy/entropy/mean"):
            assert record.metrics[name] == pytest.approx(other.metrics[name], rel=1e-4, abs=1e-6), name
        assert record.metrics["policy/sampler_logprob_gap/max"] < 1e-5
    for name, weight in run.weights.items():
        np.testing.assert_allclose(weight.bits, expected.weights[name].bits, rtol=0, atol=2e-5, err_msg=name)


def test_two_workers_and_two_learners_do_the_same_run(spread: Run, alone: Run) -> None:
    assert trajectories_of(spread) == trajectories_of(alone)
    assert_same_updates(spread, alone)
    # Control: the updates did something.
    first, last = alone.records
    assert first.metrics["optim/grad_norm"] > 0
    assert trajectories_of(alone._replace(records=[first])) != trajectories_of(alone._replace(records=[last]))


def test_learners_write_the_checkpoint_that_one_process_would(spread: Run, checkpoint: Path) -> None:
    saved = pack_weights(QwenVLPolicy.from_checkpoint(checkpoint).trained_parameters())
    assert saved.keys() == spread.weights.keys()
    assert all(np.array_equal(weight.bits, spread.weights[name].bits) for name, weight in saved.items())
    state = load_trainer_state(checkpoint)
    assert state["progress"]["iteration"] == 2
    assert state["optimizer"]["optimizers"][0]["state"]


def test_a_broken_video_kills_no_worker(spread: Run) -> None:
    statuses = [t.status for record in spread.records for group in record.groups for t in group.trajectories]
    assert statuses.count(Status.ERROR_DECODE) >= 4
    assert spread.num_healthy == 2


def test_a_dead_worker_loses_no_group(survived: Run, alone: Run) -> None:
    assert [record.metrics["ray/lost_requests/sum"] for record in survived.records] == [1.0, 0.0]
    assert trajectories_of(survived) == trajectories_of(alone)
    assert_same_updates(survived, alone)


def test_the_cpu_time_of_all_processes_is_counted(spread: Run, alone: Run) -> None:
    assert spread.records[-1].metrics["progress/cpu_s"] > alone.records[-1].metrics["progress/cpu_s"]


def test_what_all_workers_read_is_counted(spread: Run, alone: Run) -> None:
    for name in ("video/decodes/sum", "video/decoded_frames/sum", "video/read_errors/sum"):
        counts, expected = ([record.metrics[name] for record in run.records] for run in (spread, alone))
        assert counts == expected
        assert sum(counts) > 0
