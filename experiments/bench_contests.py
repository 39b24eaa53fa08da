"""The contests of group benchmarks: which sides do the same work, and what there is to say about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from videozoom.experiments import bench_learner, bench_rollout, bench_step
from videozoom.experiments.bench_floor import Work, text_work, vision_share, vision_work
from videozoom.experiments.bench_group import BenchGroup
from videozoom.experiments.bench_sizes import BenchSize

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

NAIVE, BATCHED, OURS = "naive", "naive_batched", "ours"


class Part(StrEnum):
    """What of a training is measured."""

    ROLLOUT = "rollout"
    LEARNER = "learner"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class Contest:
    """Ways to do the same work."""

    sides: Mapping[str, Callable[[], Any]]
    """By name; `naive` and `ours` are among them."""
    facts: Callable[[Mapping[str, Any]], dict[str, Any]]
    """What is reported besides time and memory, from the first result of each side."""
    work: Callable[[Mapping[str, Any]], Work]
    """Operations of the naive side and the least there can be, from the same."""
    notes: Mapping[str, list[float]] = field(default_factory=dict)
    """Numbers of every run, by name; their medians are reported."""

    def medians(self) -> dict[str, float]:
        """Return the medians of the notes."""
        return {name: median(values) for name, values in self.notes.items()}


def contest_of(part: Part, policy: "QwenVLPolicy", size: BenchSize, group: BenchGroup, *, seed: int) -> Contest:
    """Return the contest of a part on one group; features are computed here where they do not count."""
    builders = {Part.ROLLOUT: _rollout, Part.LEARNER: _learner, Part.STEP: _step}
    return builders[part](policy, size, group, seed)


def _learner(policy: "QwenVLPolicy", size: BenchSize, group: BenchGroup, seed: int) -> Contest:
    policy.features = bench_learner.HeldFeatures(policy.features, group.clips)  # type: ignore[assignment]
    work = text_work(size, policy.renderer, group.samples)
    return Contest(
        sides={
            NAIVE: partial(bench_learner.learned, policy, bench_learner.learn_naively, group),
            OURS: partial(bench_learner.learned, policy, bench_learner.learn_on_tree, group),
        },
        facts=lambda results: bench_learner.differences(results[NAIVE], results[OURS]),
        work=lambda _: work,
    )


def _rollout(policy: "QwenVLPolicy", size: BenchSize, group: BenchGroup, seed: int) -> Contest:
    policy.features(group.clips)
    num_tokens = size.completion_tokens

    def facts(results: Mapping[str, Any]) -> dict[str, Any]:
        return {"logprob_max_abs": bench_rollout.sampler_gap(policy, group, results[OURS]), "grad_rel": None}

    def work(results: Mapping[str, Any]) -> Work:
        prompts = [prompt for of_step in group.steps for prompt in of_step]
        return text_work(
            size, policy.renderer, [(prompt, it.token_ids) for prompt, it in zip(prompts, results[OURS], strict=True)]
        )

    return Contest(
        sides={
            NAIVE: partial(bench_rollout.generate_each, policy, group, num_tokens),
            BATCHED: partial(bench_rollout.generate_batched, policy, group, num_tokens),
            OURS: partial(bench_rollout.sample_group, policy, group, num_tokens, seed=seed),
        },
        facts=facts,
        work=work,
    )


def _step(policy: "QwenVLPolicy", size: BenchSize, group: BenchGroup, seed: int) -> Contest:
    num_tokens = size.completion_tokens
    notes: dict[str, list[float]] = {}

    def side(name: str, step: Callable[..., Any]) -> Callable[[], bench_learner.Learned]:
        def run() -> bench_learner.Learned:
            stages = bench_step.Stages(policy.device)
            learned = bench_learner.learned(policy, lambda *_: step(policy, group, num_tokens, stages), group)
            for stage, seconds in stages.seconds.items():
                notes.setdefault(f"{name}_{stage}_s", []).append(seconds)
            return learned

        return run

    # A backward pass is two forward passes; activations that are not kept are another one.
    passes = 4.0 if size.is_checkpointed else 3.0
    learning = text_work(size, policy.renderer, group.samples)
    seeing = vision_work(size, policy.renderer, group)
    # Sampled from and learned from, a prompt is seen twice; what is shared is seen once.
    twice = Work(2 * seeing.naive, seeing.floor)
    work = twice + learning + learning.times(passes)
    share = vision_share(size, policy.renderer, group.steps[0][0])
    return Contest(
        sides={
            NAIVE: side(NAIVE, bench_step.step_naively),
            OURS: side(OURS, partial(bench_step.step_shared, seed=seed)),
        },
        facts=lambda results: {
            **bench_learner.differences(results[NAIVE], results[OURS]),
            "vision_share_of_prefill": share,
        },
        work=lambda _: work,
        notes=notes,
    )
