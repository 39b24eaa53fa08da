"""A cold start that goes on from what it saved: the same weights and metrics, to the bit, as one without a break."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generated_world import GeneratedWorld, annotate
from grpo_world import SIZE

from videozoom.experiments.checkpoints import load_trainer_state, save_trainer_state
from videozoom.experiments.cold_start import ColdStart
from videozoom.experiments.cold_start_stage import Objective, SupervisedStage
from videozoom.experiments.tiny_corpus import BlankFrames, tiny_corpus
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.supervised import SupervisedSample
from videozoom.policies.tiny import build_tiny

STAGES = [
    SupervisedStage("a", {Objective.READING: 1.0}, {"all": 1.0}, num_steps=5, batch_size=2, num_warmup=2),
    SupervisedStage("b", {Objective.COT: 1.0}, {"all": 1.0}, num_steps=4, batch_size=2, num_warmup=0),
]
Logged = list[tuple[str, int, dict[str, float]]]


@pytest.fixture(scope="module")
def folder(generated: GeneratedWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = tiny_corpus(generated.tasks, annotate(generated, BlankFrames()))
    return build_tiny(tmp_path_factory.mktemp("tiny"), corpus, size=SIZE)


class Trial:
    """Runs stages and keeps what is saved, each time in a folder of its own."""

    def __init__(self, world: GeneratedWorld, checkpoint: Path, kept: Path, **settings: Any) -> None:
        self.policy, self.kept, self.logged = QwenVLPolicy.from_checkpoint(checkpoint), kept, Logged()
        self.saved: list[Path] = []
        settings = {"annotate": annotate(world, world.frames)} | settings
        self.cold_start = ColdStart(
            {"all": world.tasks}, seed=3, log_every=3, save=self._save, save_every=2, **settings
        )

    def _save(self, optimizer: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        folder = self.kept / f"{progress['num_steps']}"
        self.policy.save(folder)
        save_trainer_state(folder, optimizer, progress)
        self.saved.append(folder)

    def run(self, state: dict[str, Any] | None = None) -> bool:
        def log(stage: str, step: int, metrics: dict[str, float]) -> None:
            kept = {name: value for name, value in metrics.items() if not name.startswith("time/")}
            self.logged.append((stage, step, kept))

        return self.cold_start.run(self.policy, STAGES, log, state)

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach() for name, value in self.policy.model.named_parameters()}


def are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="module")
def whole(generated: GeneratedWorld, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    trial = Trial(generated, folder, tmp_path_factory.mktemp("whole"))
    assert trial.run()
    return trial


def test_it_saves_on_schedule_and_after_stages(whole: Trial) -> None:
    # Every two steps, and after the five of the first stage; the end of the last one is the caller's.
    assert [path.name for path in whole.saved] == ["2", "4", "5", "7", "9"]
    assert [(stage, step) for stage, step, _ in whole.logged] == [("a", 3), ("a", 5), ("b", 3), ("b", 4)]


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_it_goes_on_from_every_state_to_the_same_end(
    whole: Trial, generated: GeneratedWorld, tmp_path: Path, number: int
) -> None:
    saved = whole.saved[number]
    trial = Trial(generated, saved, tmp_path)
    assert trial.run(load_trainer_state(saved))
    assert are_equal(trial.weights(), whole.weights())
    # What was logged before is not logged again.
    done = int(saved.name)
    assert trial.logged == [row for row in whole.logged if row[1] + (5 if row[0] == "b" else 0) > done]


def test_a_state_without_its_optimizer_ends_elsewhere(whole: Trial, generated: GeneratedWorld, tmp_path: Path) -> None:
    """Control."""
    saved = whole.saved[1]
    state = load_trainer_state(saved)
    for optimizer in state["optimizer"]["optimizers"]:
        optimizer["state"] = {}
    trial = Trial(generated, saved, tmp_path)
    assert trial.run(state)
    assert not are_equal(trial.weights(), whole.weights())


def test_it_stops_where_it_is_told_and_goes_on(
    whole: Trial, generated: GeneratedWorld, folder: Path, tmp_path: Path
) -> None:
    steps: list[int] = []
    trial = Trial(generated, folder, tmp_path, is_stopping=lambda: bool(steps.append(1)) or len(steps) > 5)
    assert not trial.run()
    assert trial.saved
    again = Trial(generated, trial.saved[-1], tmp_path)
    assert again.run(load_trainer_state(trial.saved[-1]))
    assert are_equal(again.weights(), whole.weights())


class InPairs:
    """Gives every sample twice: the second time without looking at what it is asked for."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.objectives = inner, inner.objectives
        self.second: SupervisedSample | None = None

    @property
    def has_pending(self) -> bool:
        return self.second is not None

    def sample(self, objective: Objective, stage: SupervisedStage, rng: np.random.Generator) -> SupervisedSample:
        if self.second is not None:
            sample, self.second = self.second, None
            return sample
        self.second = self.inner.sample(objective, stage, rng)
        return self.second


def test_saving_waits_for_samples_that_continue_each_other(
    generated: GeneratedWorld, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = annotate(generated, generated.frames)
    # Three samples per step: after odd steps half a pair is left.
    monkeypatch.setattr(f"{__name__}.STAGES", [replace(stage, batch_size=3) for stage in STAGES])
    settings = {"annotate": lambda tasks: InPairs(inner(tasks))}
    whole = Trial(generated, folder, tmp_path / "whole", **settings)
    assert whole.run()
    assert [path.name for path in whole.saved] == ["2", "4", "6", "8"]
    for saved in whole.saved:
        trial = Trial(generated, saved, tmp_path / "again", **settings)
        assert trial.run(load_trainer_state(saved))
        assert are_equal(trial.weights(), whole.weights())
