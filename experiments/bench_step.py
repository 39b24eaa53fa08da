"""What a whole group step costs: vision tower, sampling and learning, for each trajectory by itself or shared."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from videozoom.envs.observation import VideoClip
from videozoom.experiments.bench_group import BenchGroup
from videozoom.experiments.bench_learner import learn_on_tree, learn_one
from videozoom.experiments.bench_rollout import generate, sample_group

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy


class Stages:
    """Adds up what the stages of a step take: CPU seconds, or wall-clock seconds where a GPU works."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a block."""
        started_s = self._now_s()
        yield
        self.seconds[name] += self._now_s() - started_s

    def _now_s(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.process_time()


def step_naively(policy: "QwenVLPolicy", group: BenchGroup, num_tokens: int, stages: Stages) -> list[Tensor]:
    """Do what published trainers do, and return the learner's log-probabilities.

    The vision tower runs for every prompt, when it is sampled from and again when it is learned from.
    """
    logprobs = []
    for prompts in group.steps:
        for prompt in prompts:
            _see(policy, prompt.clips(), stages)
            with stages.stage("rollout"):
                generate(policy, [prompt], num_tokens)
    for sample, weight in zip(group.samples, group.sample_weights, strict=True):
        _see(policy, sample[0].clips(), stages)
        with stages.stage("learner"):
            logprobs.append(learn_one(policy, sample, weight))
    return logprobs


def step_shared(
    policy: "QwenVLPolicy", group: BenchGroup, num_tokens: int, stages: Stages, *, seed: int
) -> list[Tensor]:
    """Do the same with nothing computed twice, and return the learner's log-probabilities."""
    _see(policy, group.clips, stages)
    with stages.stage("rollout"):
        sample_group(policy, group, num_tokens, seed=seed)
    with stages.stage("learner"):
        return learn_on_tree(policy, group)


def _see(policy: "QwenVLPolicy", clips: Iterable[VideoClip], stages: Stages) -> None:
    with stages.stage("vision"), torch.no_grad():
        policy.features.clear()
        policy.features(list(clips))
