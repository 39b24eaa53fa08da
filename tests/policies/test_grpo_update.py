"""The gradient of an update against the formula, micro-batches, shards, and the reference."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_prompts import prompt_on

from videozoom.envs.tasks import EpisodeKind
from videozoom.policies.base import Request
from videozoom.policies.grpo_update import UpdateStats, grpo_gradients, micro_batches
from videozoom.policies.logprobs import completion_logprobs, sequences_of
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.sampling import TokenDistribution
from videozoom.policies.token_tree import TokenBudgetError, TokenTree
from videozoom.policies.training_sample import TrainingSample


@pytest.fixture
def samples(policy: QwenVLPolicy) -> list[TrainingSample]:
    """Six sampled completions of prompts with 0 to 2 clips."""
    prompts = [prompt_on(f"v{index % 2}", num_clips=index % 3) for index in range(6)]
    completions = policy.act([Request(prompt, None, None, (3, i)) for i, prompt in enumerate(prompts)])  # type: ignore[arg-type]
    num_tokens = sum(len(completion.token_ids) for completion in completions)
    return [
        TrainingSample(
            prompt=prompt,
            token_ids=completion.token_ids,
            logprobs=completion.logprobs,
            advantage=(-1.0) ** index * (1 + index / 4),
            token_weight=1 / num_tokens,
            kind=tuple(EpisodeKind)[index % 2],
            group=index // 2,
            num_prompt_tokens=completion.num_prompt_tokens,
        )
        for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
    ]


@pytest.fixture
def gradient_of(policy: QwenVLPolicy) -> Callable[..., tuple[torch.Tensor, UpdateStats]]:
    def gradient(samples: list[TrainingSample], **options: object) -> tuple[torch.Tensor, UpdateStats]:
        policy.model.zero_grad(set_to_none=True)
        stats = grpo_gradients(policy, samples, **options)  # type: ignore[arg-type]
        return torch.cat([p.grad.flatten() for _, p in policy.trained_parameters() if p.grad is not None]), stats

    return gradient


def relative(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).norm() / second.norm())


def test_on_its_own_samples_it_is_the_policy_gradient(policy, samples, gradient_of) -> None:
    gradient, _ = gradient_of(samples)
    policy.model.zero_grad(set_to_none=True)
    total = 0.0
    for sample in samples:
        logprobs_BT = completion_logprobs(policy, [(sample.prompt, sample.token_ids)]).logprobs_BT
        total = total - sample.advantage * sample.token_weight * logprobs_BT.sum()
    total.backward()
    expected = torch.cat([p.grad.flatten() for _, p in policy.trained_parameters() if p.grad is not None])
    assert relative(gradient, expected) < 1e-5


@pytest.mark.parametrize("share", [1.0, 1.3, 2.0])
def test_sub_trees_add_up_to_the_whole(policy, samples, gradient_of, share: float) -> None:
    whole, stats = gradient_of(samples)
    budget = round(share * max(sample.num_tokens for sample in samples))
    assert len(list(micro_batches(policy.renderer, samples, budget))) > 1
    cut, cut_stats = gradient_of(samples, max_tokens_per_batch=budget)
    assert relative(cut, whole) < 1e-6
    assert cut_stats.metrics() == pytest.approx(stats.metrics(), abs=1e-5)


def test_the_tree_learns_what_samples_one_by_one_do(samples, gradient_of) -> None:
    tree, stats = gradient_of(samples, clip_high=0.1)
    naive, naive_stats = gradient_of(samples, clip_high=0.1, forward=completion_logprobs)
    assert relative(tree, naive) < 1e-6
    assert stats.metrics() == pytest.approx(naive_stats.metrics(), abs=1e-5)


def test_shards_add_up_to_the_whole(samples, gradient_of) -> None:
    whole, stats = gradient_of(samples)
    first, first_stats = gradient_of(samples[:4])
    second, second_stats = gradient_of(samples[4:])
    assert relative(first + second, whole) < 1e-5
    assert (first_stats + second_stats).metrics() == pytest.approx(stats.metrics(), abs=1e-5)
    # Control: a shard alone is another gradient.
    assert relative(first, whole) > 0.1


def test_samples_without_advantage_have_no_gradient(samples, gradient_of) -> None:
    without = [replace(sample, advantage=0.0) if index < 3 else sample for index, sample in enumerate(samples)]
    assert relative(gradient_of(without)[0], gradient_of(samples[3:])[0]) < 1e-5


def test_the_gap_to_the_sampler_is_rounding_and_shows_what_is_not(samples, gradient_of) -> None:
    metrics = gradient_of(samples)[1].metrics()
    assert metrics["policy/sampler_logprob_gap/max"] < 1e-5
    assert metrics["policy/sampler_logprob_gap/mean"] <= metrics["policy/sampler_logprob_gap/max"]
    shifted = [replace(samples[0], logprobs=samples[0].logprobs - np.float32(0.5)), *samples[1:]]
    metrics = gradient_of(shifted)[1].metrics()
    assert metrics["policy/sampler_logprob_gap/max"] == pytest.approx(0.5, abs=1e-4)
    assert metrics["policy/ratio/max"] == pytest.approx(np.exp(0.5), abs=1e-3)
    assert metrics["policy/clip_high/rate"] == pytest.approx(
        len(samples[0].token_ids) / sum(len(sample.token_ids) for sample in samples)
    )


def test_the_surrogate_is_split_by_kind(samples, gradient_of) -> None:
    metrics = gradient_of(samples)[1].metrics()
    parts = [metrics[f"loss/surrogate_{kind}"] for kind in EpisodeKind]
    assert sum(parts) == pytest.approx(metrics["loss/surrogate"])
    assert metrics["loss/total"] == metrics["loss/surrogate"]
    weighted = [sample.advantage * len(sample.token_ids) * sample.token_weight for sample in samples]
    assert metrics["loss/surrogate"] == pytest.approx(-sum(weighted), abs=1e-5)


def test_a_reference_pulls_only_where_it_differs(policy, tiny_folder: Path, samples, gradient_of) -> None:
    reference = QwenVLPolicy.from_checkpoint(tiny_folder)
    plain, _ = gradient_of(samples)
    same, stats = gradient_of(samples, kl_coef=0.5, reference=reference)
    assert stats.metrics()["policy/kl_ref/mean"] == pytest.approx(0.0, abs=1e-6)
    assert relative(same, plain) < 1e-4
    with torch.no_grad():
        for parameter in reference.model.parameters():
            parameter.mul_(1.2)
    other, stats = gradient_of(samples, kl_coef=0.5, reference=reference)
    assert stats.metrics()["policy/kl_ref/mean"] > 1e-4
    assert stats.metrics()["loss/total"] > stats.metrics()["loss/surrogate"]
    assert relative(other, plain) > 1e-3
    assert all(parameter.grad is None for parameter in reference.model.parameters())


def test_a_weight_without_a_reference_is_refused(policy, samples) -> None:
    with pytest.raises(ValueError, match=r"kl_coef 0.5 needs a reference policy"):
        grpo_gradients(policy, samples, kl_coef=0.5)


def test_the_entropy_bonus_is_the_gradient_of_the_mean_entropy(policy, samples, gradient_of) -> None:
    plain, _ = gradient_of(samples)
    bonus, stats = gradient_of(samples, entropy_coef=0.5)
    metrics = stats.metrics()
    # All tokens weigh the same here.
    assert metrics["loss/entropy"] == pytest.approx(-0.5 * metrics["policy/entropy/mean"], rel=1e-5)
    assert metrics["loss/total"] == pytest.approx(metrics["loss/surrogate"] + metrics["loss/entropy"])
    policy.model.zero_grad(set_to_none=True)
    total = 0.0
    for sample in samples:
        pair = (sample.prompt, sample.token_ids)
        found = completion_logprobs(policy, [pair], with_entropy=True, entropy_gradient=True)
        total = total - 0.5 * sample.token_weight * found.entropy_BT.sum()
    total.backward()
    expected = torch.cat([p.grad.flatten() for _, p in policy.trained_parameters() if p.grad is not None])
    assert relative(bonus - plain, expected) < 1e-4
    # Of samples that are neither good nor bad the bonus is all that is learned.
    neither = [replace(sample, advantage=0.0) for sample in samples]
    assert relative(gradient_of(neither, entropy_coef=0.5)[0], expected) < 1e-4
    assert float(gradient_of(neither)[0].norm()) == 0.0


def test_an_entropy_bonus_in_sub_trees_and_under_truncation_adds_up(samples, gradient_of) -> None:
    options = {"entropy_coef": 0.5, "distribution": TokenDistribution(top_k=5)}
    whole, stats = gradient_of(samples, **options)
    assert torch.isfinite(whole).all()
    budget = max(sample.num_tokens for sample in samples)
    cut, cut_stats = gradient_of(samples, max_tokens_per_batch=budget, **options)
    assert relative(cut, whole) < 1e-5
    assert cut_stats.metrics()["loss/entropy"] == pytest.approx(stats.metrics()["loss/entropy"], abs=1e-6)


def test_nothing_to_learn_from_changes_nothing(policy) -> None:
    stats = grpo_gradients(policy, [])
    assert stats.metrics() == {"loss/trained_tokens/sum": 0.0}
    assert all(parameter.grad is None for parameter in policy.model.parameters())


def test_micro_batches_keep_every_sample_once_and_to_the_budget(policy, samples) -> None:
    batches = list(micro_batches(policy.renderer, samples, 200))
    assert sorted(id(sample) for batch, _ in batches for sample in batch) == sorted(map(id, samples))
    for batch, pairs in batches:
        assert [pair[1] is sample.token_ids for pair, sample in zip(pairs, batch, strict=True)] == [True] * len(batch)
        assert TokenTree.of(sequences_of(policy.renderer, pairs)).num_tokens <= 200
    assert 1 < len(batches) < len(samples)


def test_a_sample_longer_than_the_budget_is_refused(policy, samples) -> None:
    longest = max(sample.num_tokens for sample in samples)
    with pytest.raises(TokenBudgetError, match=rf"grpo\.max_tokens_per_batch to at least {longest}"):
        grpo_gradients(policy, samples, max_tokens_per_batch=longest - 1)
    assert all(parameter.grad is None for parameter in policy.model.parameters())
