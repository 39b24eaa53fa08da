"""The cold start on real generated videos: it learns, repeats itself exactly, and survives broken files."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from generated_world import GeneratedWorld, annotate

from videozoom.envs.observation import VideoClip, VideoDecodeError
from videozoom.envs.tasks import Span
from videozoom.experiments.cold_start import ColdStart, GivenUp
from videozoom.experiments.cold_start_stage import Objective, SupervisedStage
from videozoom.experiments.tiny_corpus import BlankFrames, tiny_corpus
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.tiny import TinySize, build_tiny
from videozoom.rollout.metrics import check_names

SIZE = TinySize(
    hidden_size=32,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    intermediate_size=64,
    vision_hidden_size=16,
    vision_intermediate_size=32,
)
Logged = list[tuple[str, int, dict[str, float]]]


class BrokenFrames:
    """Real frames, except for videos that cannot be read."""

    def __init__(self, world: GeneratedWorld, broken: set[Path]) -> None:
        self.world, self.broken = world, broken
        self.read: list[Path] = []

    def duration_s(self, video: Path) -> float:
        return self.world.frames.duration_s(video)

    def fast_view(self, video: Path) -> VideoClip:
        self.read.append(video)
        if video in self.broken:
            raise VideoDecodeError(f"{video}: no such file")
        return self.world.frames.fast_view(video)

    def slow_clip(self, video: Path, span_s: Span) -> VideoClip:
        if video in self.broken:
            raise VideoDecodeError(f"{video}: no such file")
        return self.world.frames.slow_clip(video, span_s)


@pytest.fixture(scope="module")
def folder(generated: GeneratedWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = tiny_corpus(generated.tasks, annotate(generated, BlankFrames()))
    return build_tiny(tmp_path_factory.mktemp("tiny"), corpus, size=SIZE)


def stage(name: str = "a", *, objective: Objective = Objective.READING, **settings: Any) -> SupervisedStage:
    defaults = {"sources": {"all": 1.0}, "num_steps": 3, "batch_size": 4, "num_warmup": 0}
    return SupervisedStage(name, objectives={objective: 1.0}, **defaults | settings)


def trained(
    world: GeneratedWorld, folder: Path, *stages: SupervisedStage, seed: int = 0, **settings: Any
) -> tuple[dict[str, torch.Tensor], Logged]:
    policy = QwenVLPolicy.from_checkpoint(folder)
    logged: Logged = []
    frames = settings.pop("frames", world.frames)
    settings = {"tasks": {"all": world.tasks}, "annotate": annotate(world, frames)} | settings
    cold_start = ColdStart(seed=seed, **settings)
    cold_start.run(policy, stages, lambda name, step, metrics: logged.append((name, step, metrics)))
    return {name: value.detach() for name, value in policy.model.named_parameters()}, logged


def are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_loss_falls(generated: GeneratedWorld, folder: Path) -> None:
    _, logged = trained(generated, folder, stage(num_steps=30, batch_size=8, lr=1e-2), log_every=5)
    losses = [metrics["loss/sft"] for _, _, metrics in logged]
    assert losses[0] > 3.0
    assert losses[-1] < 0.5 * losses[0]


def test_every_stage_logs_registered_metrics(generated: GeneratedWorld, folder: Path) -> None:
    stages = [stage("a", num_steps=5), stage("b", objective=Objective.COT, num_steps=2)]
    _, logged = trained(generated, folder, *stages, log_every=2)
    assert [(name, step) for name, step, _ in logged] == [("a", 2), ("a", 4), ("a", 5), ("b", 2)]
    for _, _, metrics in logged:
        check_names(metrics)
        assert metrics["video/decode_error/rate"] == 0.0
        assert all(math.isfinite(value) for value in metrics.values())


def test_the_learning_rate_follows_the_trapezoid(generated: GeneratedWorld, folder: Path) -> None:
    """Up in two steps, flat until half of eight, then down towards a tenth: after 2 of 4 steps 1 - 0.9 / 2."""
    settings = {"num_steps": 8, "lr": 1e-3, "num_warmup": 2, "final_lr_fraction": 0.1}
    _, logged = trained(generated, folder, stage(**settings), log_every=1)
    rates = [metrics["optim/lr"] for _, _, metrics in logged]
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3, 1e-3, 1e-3, 7.75e-4, 5.5e-4, 3.25e-4])


def test_the_seed_decides_everything(generated: GeneratedWorld, folder: Path) -> None:
    (first, logged), (again, logged_again), (other, _) = (
        trained(generated, folder, stage(), stage("b", objective=Objective.COT), seed=seed) for seed in (1, 1, 2)
    )
    assert are_equal(first, again)
    assert not are_equal(first, other)
    losses = [[metrics["loss/sft"] for _, _, metrics in rows] for rows in (logged, logged_again)]
    assert losses[0] == losses[1]


def test_the_vision_tower_learns_and_is_frozen_again(generated: GeneratedWorld, folder: Path) -> None:
    policy = QwenVLPolicy.from_checkpoint(folder, freeze_vision=True)
    tower = policy.model.model.visual
    before = [parameter.detach().clone() for parameter in tower.parameters()]
    clip = generated.frames.fast_view(generated.tasks[0].video)
    [old] = policy.features([clip])
    cold_start = ColdStart({"all": generated.tasks}, annotate(generated, generated.frames), seed=0)
    cold_start.run(policy, [stage()], lambda *_: None)
    changed = [not torch.equal(old, new) for old, new in zip(before, tower.parameters(), strict=True)]
    assert any(changed)
    assert policy.features.is_frozen
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    # What the cache held belongs to the old tower.
    assert not torch.equal(policy.features([clip])[0], old)


def test_sources_and_objectives_have_their_shares(generated: GeneratedWorld, folder: Path) -> None:
    frames = BrokenFrames(generated, set())
    [often, seldom, never] = generated.tasks
    tasks = {"often": [often], "seldom": [seldom], "never": [never]}
    shares = stage(objective=Objective.COT, sources={"often": 3.0, "seldom": 1.0}, batch_size=40)
    trained(generated, folder, shares, tasks=tasks, frames=frames)
    counts = {task.video: frames.read.count(task.video) for task in generated.tasks}
    assert counts[often.video] + counts[seldom.video] == 120
    # 90 expected, five standard deviations of the binomial are 24.
    assert abs(counts[often.video] - 90) < 24
    assert counts[never.video] == 0


def test_videos_that_cannot_be_read_are_left_out_and_counted(generated: GeneratedWorld, folder: Path) -> None:
    frames = BrokenFrames(generated, {generated.tasks[0].video})
    _, [(_, _, metrics)] = trained(generated, folder, stage(batch_size=20), frames=frames)
    assert 0.1 < metrics["video/decode_error/rate"] < 0.6
    assert math.isfinite(metrics["loss/sft"])


def test_without_one_readable_video_nothing_is_learned(generated: GeneratedWorld, folder: Path) -> None:
    frames = BrokenFrames(generated, {task.video for task in generated.tasks})
    weights, [(_, _, metrics)] = trained(generated, folder, stage(), frames=frames)
    assert metrics["video/decode_error/rate"] == 1.0
    assert "loss/sft" not in metrics
    assert are_equal(weights, dict(QwenVLPolicy.from_checkpoint(folder).model.named_parameters()))


def test_a_stage_ends_early_once_its_loss_is_low(folder: Path, generated: GeneratedWorld) -> None:
    def steps_and_rates(until_loss: float | None) -> tuple[int, list[float]]:
        logged: Logged = []
        cold_start = ColdStart({"all": generated.tasks}, annotate(generated, generated.frames), seed=0, log_every=1)
        settings = stage(num_steps=40, decay_from=0.8, num_warmup=1, lr=1e-3, until_loss=until_loss)
        cold_start.run(QwenVLPolicy.from_checkpoint(folder), [settings], lambda *row: logged.append(row))
        return logged[-1][1], [row[2]["optim/lr"] for row in logged]

    early, rates = steps_and_rates(until_loss=100.0)
    # Twenty steps to know the loss, then the decay of 40 - 32 steps.
    assert early == 28
    assert rates[19] == 1e-3 > rates[21] > rates[27]
    assert steps_and_rates(until_loss=None)[0] == steps_and_rates(until_loss=1e-9)[0] == 40


def test_a_stage_is_given_up_if_its_loss_is_too_high_by_then(folder: Path, generated: GeneratedWorld) -> None:
    def steps(**settings: Any) -> int:
        logged: Logged = []
        cold_start = ColdStart({"all": generated.tasks}, annotate(generated, generated.frames), seed=0, log_every=1)
        stages = [stage(num_steps=40, decay_from=0.8, give_up_after=25, **settings)]
        with suppress(GivenUp):
            cold_start.run(QwenVLPolicy.from_checkpoint(folder), stages, lambda *row: logged.append(row))
        return logged[-1][1]

    assert steps(give_up_above=1e-3) == 24
    assert steps(give_up_above=100.0) == 40
    # The loss was low enough to begin the decay.
    assert steps(give_up_above=1e-3, until_loss=100.0) == 28
