"""The algorithm in one process: what an iteration does, and going on from a checkpoint. Ray is never started."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from grpo_world import make_source, make_tasks, make_world

from videozoom.envs.tasks import EpisodeKind, Status
from videozoom.experiments.checkpoints import latest_checkpoint
from videozoom.experiments.grpo_algorithm import DecoupledGRPO
from videozoom.experiments.grpo_config import DecoupledGRPOConfig
from videozoom.experiments.grpo_learner import split_samples
from videozoom.experiments.grpo_settings import GrpoSettings, ModelSource, World
from videozoom.experiments.ray_runtime import quiet_rllib
from videozoom.experiments.weights import pack_weights
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.sampling import Sampling
from videozoom.rollout.metrics import check_names

SETTINGS = GrpoSettings(seed=3, num_groups=4, group_size=4, sampling=Sampling(max_new_tokens=6), lr=1e-3)
Build = Callable[..., DecoupledGRPO]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    quiet_rllib()
    return make_source(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def build(source: ModelSource) -> Build:
    def build(
        settings: GrpoSettings = SETTINGS, world: World | None = None, source: ModelSource = source
    ) -> DecoupledGRPO:
        config = DecoupledGRPOConfig().grpo(world=world or make_world(), source=source, settings=settings)
        return config.build_algo()

    return build


def weights_of(algorithm: DecoupledGRPO) -> dict[str, np.ndarray]:
    return {name: tensor.bits for name, tensor in pack_weights(algorithm.policy().trained_parameters()).items()}


_CLOCKS = ("time/", "perf/", "progress/cpu", "video/feature")
"""What depends on the clock, or on what this process did before."""


def run(algorithm: DecoupledGRPO, num_iterations: int) -> list[dict[str, float]]:
    """Return the metrics of each iteration that say what was sampled and learned."""
    metrics = []
    for _ in range(num_iterations):
        algorithm.train()
        record = algorithm.record()
        timeless = {n: v for n, v in record.metrics.items() if not n.startswith(_CLOCKS)}
        metrics.append(timeless)
    return metrics


def test_an_iteration_samples_both_kinds_and_learns_from_them(build: Build) -> None:
    algorithm = build()
    before = weights_of(algorithm)
    result = algorithm.train()
    record = algorithm.record()
    kinds = [group.kind for group in record.groups]
    assert kinds == [EpisodeKind.MULTI_STEP] * 2 + [EpisodeKind.ZOOM_STEP] * 2
    assert all(len(group.trajectories) == 4 for group in record.groups)
    assert all(len(t.steps) == 1 for group in record.groups[2:] for t in group.trajectories)
    after = weights_of(algorithm)
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    assert not any("visual" in name for name in before)
    assert record.metrics["loss/trained_tokens/sum"] > 0
    assert result["grpo"]["reward/total/mean"] == record.metrics["reward/total/mean"]
    check_names(record.metrics)


def test_sampler_and_learner_agree_on_every_trained_token(build: Build) -> None:
    for metrics in run(build(), 3):
        assert metrics["policy/sampler_logprob_gap/max"] < 1e-5
        assert metrics["policy/ratio/max"] == pytest.approx(1.0, abs=1e-5)


def test_the_learner_and_later_iterations_know_the_features_that_sampling_computed(build: Build) -> None:
    algorithm = build()
    seen: set[str] = set()
    for _ in range(3):
        algorithm.train()
        record = algorithm.record()
        steps = [step for group in record.groups for trajectory in group.trajectories for step in trajectory.steps]
        clips = {clip.key for step in steps for clip in step.prompt.clips()}
        assert record.metrics["video/features_computed/sum"] == len(clips - seen)
        assert record.metrics["video/feature_hit/rate"] > 0
        seen |= clips


def test_everything_in_one_process_starts_no_ray_and_leaves_nothing_at_home(
    build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    build().train()
    assert not ray.is_initialized()
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_gives_the_same_run_and_another_another(build: Build) -> None:
    first, second = build(), build()
    assert run(first, 2) == run(second, 2)
    weights = weights_of(second)
    assert all(np.array_equal(value, weights[name]) for name, value in weights_of(first).items())
    assert run(build(replace(SETTINGS, seed=4)), 2) != run(build(), 2)


def test_going_on_from_a_checkpoint_is_going_on(build: Build, source: ModelSource, tmp_path: Path) -> None:
    settings = replace(SETTINGS, warmup_iterations=3, weight_decay=0.1)
    whole = build(settings)
    expected = run(whole, 4)
    first = build(settings)
    assert run(first, 2) == expected[:2]
    first.write_checkpoint(tmp_path / "iteration_000002")
    folder = latest_checkpoint(tmp_path)
    assert folder is not None
    second = build(settings, source=replace(source, checkpoint=folder))
    second.resume_from(folder)
    assert second.progress.iteration == 2
    assert run(second, 2) == expected[2:]
    weights = weights_of(whole)
    assert all(np.array_equal(value, weights[name]) for name, value in weights_of(second).items())
    # Control: without the optimizer's state the third step is another one.
    forgetful = build(settings, source=replace(source, checkpoint=folder))
    forgetful.progress = second.progress.__class__(iteration=2)
    run(forgetful, 1)
    assert run(forgetful, 1)[0]["optim/grad_norm"] != expected[3]["optim/grad_norm"]


def test_a_checkpoint_is_an_ordinary_hugging_face_folder(build: Build, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

    algorithm = build()
    algorithm.train()
    algorithm.write_checkpoint(tmp_path / "c")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "c")
    mine = dict(algorithm.policy().model.named_parameters())
    assert all(torch.equal(value, mine[name]) for name, value in model.named_parameters())
    assert len(AutoTokenizer.from_pretrained(tmp_path / "c")) > 256
    QwenVLPolicy.from_checkpoint(tmp_path / "c")


def test_rllibs_own_checkpoints_restore_weights_optimizer_and_progress(build: Build, tmp_path: Path) -> None:
    algorithm = build()
    run(algorithm, 1)
    algorithm.save_to_path(tmp_path / "rllib")
    expected = run(algorithm, 2)
    algorithm.restore_from_path(tmp_path / "rllib")
    assert algorithm.progress.iteration == 1
    assert run(algorithm, 2) == expected
    other = build()
    other.restore_from_path(tmp_path / "rllib")
    assert run(other, 2) == expected


def test_a_broken_video_is_counted_and_left_out(build: Build) -> None:
    world = make_world(make_tasks(4, broken=(1,)))
    algorithm = build(replace(SETTINGS, num_groups=8), world)
    (metrics,) = run(algorithm, 1)
    record = algorithm.record()
    broken = [group for group in record.groups if group.task.task_id == "t1"]
    assert len(broken) == 2
    assert all(t.status == Status.ERROR_DECODE and t.error for group in broken for t in group.trajectories)
    assert metrics["video/decode_error/rate"] == 2 / 8
    assert metrics["loss/masked_episodes/rate"] >= 2 / 8
    assert metrics["loss/trained_tokens/sum"] > 0
    for group, advantages in zip(record.groups, record.advantages, strict=True):
        assert group.task.task_id != "t1" or not advantages.any()


def test_without_any_signal_nothing_is_learned(build: Build) -> None:
    algorithm = build(world=make_world(make_tasks(2, broken=(0, 1))))
    before = weights_of(algorithm)
    (metrics,) = run(algorithm, 1)
    after = weights_of(algorithm)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert metrics["loss/trained_tokens/sum"] == 0
    assert "optim/grad_norm" not in metrics


def test_a_mistake_in_our_code_reaches_the_user(build: Build) -> None:
    world = make_world()

    def fail() -> Any:
        raise KeyError("no such environment")

    with pytest.raises(RuntimeError, match="no such environment"):
        build(world=replace(world, make_env=fail)).train()


def test_the_learning_rate_warms_up(build: Build) -> None:
    metrics = run(build(replace(SETTINGS, warmup_iterations=3)), 5)
    assert [m["optim/lr"] for m in metrics] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3])


def test_a_reference_holds_the_policy_back(build: Build, source: ModelSource) -> None:
    metrics = run(build(replace(SETTINGS, kl_coef=0.5, reference=source)), 2)
    assert metrics[0]["policy/kl_ref/mean"] == pytest.approx(0.0, abs=1e-6)
    assert metrics[1]["policy/kl_ref/mean"] > 0
    assert metrics[1]["loss/total"] == pytest.approx(metrics[1]["loss/surrogate"] + metrics[1]["loss/kl"])


def test_shards_keep_groups_together_and_balance_tokens(build: Build) -> None:
    from videozoom.rollout.training_samples import training_samples

    algorithm = build()
    algorithm.train()
    record = algorithm.record()
    samples = training_samples(record.groups, record.advantages, keep_zero_advantage=True)
    shards = split_samples(samples, 2)
    groups = [{sample.group for sample in shard} for shard in shards]
    assert groups[0].isdisjoint(groups[1])
    assert groups[0] | groups[1] == {0, 1, 2, 3}
    loads = [sum(sample.num_tokens for sample in shard) for shard in shards]
    assert max(loads) < 0.65 * sum(loads)
    assert [len(shard) for shard in split_samples(samples[:1], 3)] == [1, 0, 0]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)
