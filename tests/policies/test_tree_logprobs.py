"""The learner's pass on the token tree against the one that computes every sample by itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_prompts import prompt_on
from torch import Tensor

from videozoom.envs.observation import VideoClip
from videozoom.policies.logprobs import CompletionLogprobs, Sample, completion_logprobs, sequences_of
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.sampling import TokenDistribution
from videozoom.policies.token_tree import TokenTree
from videozoom.policies.tree_logprobs import Predictions, tree_logprobs

Forward = Callable[..., CompletionLogprobs]


@dataclass
class HeldFeatures:
    """Clip features as leaves that collect gradients."""

    of_policy: Callable[[Sequence[VideoClip]], list[Tensor]]
    leaves: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, clips: Sequence[VideoClip]) -> list[Tensor]:
        for clip in clips:
            if clip.key not in self.leaves:
                with torch.no_grad():
                    [features] = self.of_policy([clip])
                self.leaves[clip.key] = features.clone().requires_grad_(True)
        return [self.leaves[clip.key] for clip in clips]


@pytest.fixture
def policy(tiny_folder: Path) -> QwenVLPolicy:
    """Return a policy that is trained all over, in true single precision."""
    policy = QwenVLPolicy.from_checkpoint(tiny_folder, freeze_vision=False)
    policy.is_precise = False
    return policy


@pytest.fixture
def samples(policy: QwenVLPolicy) -> list[Sample]:
    """Two groups of up to three steps: shared questions, chains of clips, equal and nested completions."""
    rng = np.random.default_rng(5)
    placeholders = [policy.model.config.video_token_id, policy.model.config.image_token_id]
    words = np.setdiff1d(np.arange(len(policy.renderer.tokenizer)), placeholders)
    samples: list[Sample] = []
    for video in ("v", "w"):
        for num_clips, count in ((0, 4), (1, 3), (2, 2)):
            prompt = prompt_on(video, num_clips=num_clips)
            samples += [(prompt, rng.choice(words, int(rng.integers(3, 9))).astype(np.int32)) for _ in range(count)]
    first, ids = samples[0]
    return [*samples, (first, ids.copy()), (first, ids[:2]), (first, np.append(ids[:2], words[:3]).astype(np.int32))]


def gradient(policy: QwenVLPolicy, samples: Sequence[Sample], forward: Forward, **options: object) -> Tensor:
    """Return the gradient of a weighted sum of log-probabilities, over all parameters and the features."""
    policy.model.zero_grad(set_to_none=True)
    weights_B1 = torch.linspace(-1.0, 2.0, len(samples)).unsqueeze(-1)
    (weights_B1 * forward(policy, samples, **options).logprobs_BT).sum().backward()
    leaves: Iterator[Tensor] = (p for _, p in policy.model.named_parameters())
    held = policy.features.leaves.values() if isinstance(policy.features, HeldFeatures) else ()
    found = [leaf.grad.flatten().clone() for leaf in (*leaves, *held) if leaf.grad is not None]
    for leaf in held:
        leaf.grad = None
    return torch.cat(found)


def relative(first: Tensor, second: Tensor) -> float:
    return float((first.double() - second.double()).norm() / second.double().norm())


def max_gap(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


def test_logprobs_and_entropies_are_those_of_each_sample(policy, samples) -> None:
    distribution = TokenDistribution(temperature=0.7)
    with torch.no_grad():
        tree, naive = (
            forward(policy, samples, distribution=distribution, with_entropy=True)
            for forward in (tree_logprobs, completion_logprobs)
        )
    assert torch.equal(tree.mask_BT, naive.mask_BT)
    assert max_gap(tree.logprobs_BT, naive.logprobs_BT) < 5e-6
    assert max_gap(tree.entropy_BT, naive.entropy_BT) < 5e-6
    assert not tree.logprobs_BT[~tree.mask_BT].any()
    # Control: another temperature is far away.
    with torch.no_grad():
        other = tree_logprobs(policy, samples, distribution=TokenDistribution(temperature=0.8))
    assert max_gap(other.logprobs_BT, naive.logprobs_BT) > 0.05


@pytest.mark.parametrize("min_saving", [0, 12, 10_000])
@pytest.mark.parametrize(("is_precise", "bound"), [(False, 5e-6), (True, 1e-7)])
def test_gradients_are_those_of_each_sample(policy, samples, min_saving: int, is_precise: bool, bound: float) -> None:
    policy.is_precise = is_precise
    naive = gradient(policy, samples, completion_logprobs)
    assert relative(gradient(policy, samples, tree_logprobs, min_saving=min_saving), naive) < bound
    assert any(p.grad is not None for name, p in policy.model.named_parameters() if ".visual." in name)


def test_gradients_reach_the_features_of_every_clip(policy, samples) -> None:
    policy.features = HeldFeatures(policy.features)
    naive = gradient(policy, samples, completion_logprobs)
    tree = gradient(policy, samples, tree_logprobs)
    assert relative(tree, naive) < 5e-6
    assert len(policy.features.leaves) == 6
    # Control: without one clip's share it is another gradient.
    num_features = policy.features.leaves["w-1"].numel()
    assert relative(torch.cat([tree[:-num_features], 0 * tree[-num_features:]]), naive) > 1e-3


def test_tokens_are_predicted_by_the_row_before_them_in_their_sequence(policy, samples) -> None:
    tree = TokenTree.of(sequences_of(policy.renderer, samples))
    lengths = [len(ids) for _, ids in samples]
    rows, targets = tree.predicting_rows(lengths)
    assert tree.token_ids[targets].tolist() == [token for _, ids in samples for token in ids]
    # The end of a shared question predicts several first tokens, which the next row alone cannot be.
    assert (targets != rows + 1).sum() >= 10
    predictions = Predictions.of(tree, lengths, TokenDistribution())
    assert len(predictions.tokens_P) < sum(lengths)
    assert len(predictions.rows_K) < len(predictions.tokens_P)
    assert predictions.tokens_P[predictions.index_N].tolist() == tree.token_ids[targets].tolist()
    assert predictions.rows_K[predictions.units_P][predictions.index_N].tolist() == rows.tolist()


def test_a_shift_of_the_pack_is_caught(policy, samples, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: tokens predicted by the row before them in the pack."""

    def shifted(self: TokenTree, counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        targets = np.concatenate([path[len(path) - n :] for path, n in zip(self.paths, counts, strict=True)])
        return targets - 1, targets

    with torch.no_grad():
        naive = completion_logprobs(policy, samples).logprobs_BT
        monkeypatch.setattr(TokenTree, "predicting_rows", shifted)
        assert max_gap(tree_logprobs(policy, samples).logprobs_BT, naive) > 0.05


def test_a_stopped_gradient_through_what_is_shared_is_caught(policy, samples, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: log-probabilities stay right, gradients do not."""
    embed = QwenVLPolicy.embed_packed
    naive = gradient(policy, samples, completion_logprobs)
    with torch.no_grad():
        expected = completion_logprobs(policy, samples).logprobs_BT

    def stopped(self: QwenVLPolicy, tree: TokenTree) -> Tensor:
        embeds_1SD = embed(self, tree)
        is_shared_S = torch.zeros(tree.num_tokens, dtype=torch.bool)
        for start, end, last in zip(tree.starts, tree.ends, tree.subtree_ends, strict=True):
            is_shared_S[start:end] = bool(end < last)
        return torch.where(is_shared_S.unsqueeze(-1), embeds_1SD.detach(), embeds_1SD)

    monkeypatch.setattr(QwenVLPolicy, "embed_packed", stopped)
    with torch.no_grad():
        assert max_gap(tree_logprobs(policy, samples, min_saving=0).logprobs_BT, expected) < 5e-6
    assert relative(gradient(policy, samples, tree_logprobs, min_saving=0), naive) > 1e-2


def test_logits_in_parts_change_nothing(policy, samples, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = policy.model.lm_head.weight.shape[0]
    held: list[int] = []
    logits = policy.logits
    monkeypatch.setattr(policy, "logits", lambda hidden: held.append(len(hidden)) or logits(hidden), raising=False)
    whole = gradient(policy, samples, tree_logprobs, with_entropy=True)
    assert len(held) == 1
    held.clear()
    parts = gradient(policy, samples, tree_logprobs, with_entropy=True, max_logits=7 * vocabulary + 1)
    assert max(held) == 7
    # Forward, and again for the backward pass.
    assert len(held) == 2 * -(-sum(held) // 2 // 7)
    assert relative(parts, whole) < 1e-6
    # Without a gradient unless it is wanted, and then also part by part.
    assert not tree_logprobs(policy, samples, with_entropy=True).entropy_BT.requires_grad
    bonuses = [
        tree_logprobs(policy, samples, with_entropy=True, entropy_gradient=True, max_logits=most).entropy_BT.sum()
        for most in (7 * vocabulary + 1, 1 << 26)
    ]
    weight = policy.model.lm_head.weight
    first, second = (torch.autograd.grad(bonus, weight)[0] for bonus in bonuses)
    assert relative(first, second) < 1e-6
    with torch.no_grad():
        first = tree_logprobs(policy, samples, with_entropy=True)
        second = tree_logprobs(policy, samples, with_entropy=True, max_logits=1)
    assert max_gap(first.logprobs_BT, second.logprobs_BT) < 1e-6
    assert max_gap(first.entropy_BT, second.entropy_BT) < 5e-6


def test_truncated_distributions_are_those_of_each_sample(policy, samples) -> None:
    distribution = TokenDistribution(temperature=0.8, top_k=20, top_p=0.5)
    with torch.no_grad():
        tree = tree_logprobs(policy, samples, distribution=distribution, with_entropy=True)
        naive = completion_logprobs(policy, samples, distribution=distribution, with_entropy=True)
        whole = tree_logprobs(policy, samples, distribution=TokenDistribution(temperature=0.8))
    assert torch.isfinite(tree.logprobs_BT).all()
    assert max_gap(tree.logprobs_BT, naive.logprobs_BT) < 5e-6
    assert max_gap(tree.entropy_BT, naive.entropy_BT) < 5e-6
    # Control: it is not what truncation leaves alone.
    assert max_gap(tree.logprobs_BT, whole.logprobs_BT) > 0.1


def test_the_order_of_samples_does_not_matter(policy, samples) -> None:
    with torch.no_grad():
        forwards = tree_logprobs(policy, samples).logprobs_BT
        backwards = tree_logprobs(policy, samples[::-1]).logprobs_BT
    assert max_gap(forwards, backwards.flip(0)) < 5e-6


def test_bfloat16_is_as_near_to_the_truth_as_one_by_one(policy, samples) -> None:
    with torch.no_grad():
        truth = completion_logprobs(policy, samples).logprobs_BT
    true_gradient = gradient(policy, samples, completion_logprobs)
    policy.model.to(torch.bfloat16)
    with torch.no_grad():
        tree, naive = (forward(policy, samples).logprobs_BT for forward in (tree_logprobs, completion_logprobs))
    assert float((tree - truth).norm()) < 1.15 * float((naive - truth).norm())
    tree_error, naive_error = (
        relative(gradient(policy, samples, forward), true_gradient) for forward in (tree_logprobs, completion_logprobs)
    )
    assert tree_error < 1.15 * naive_error
    # Control: it is bfloat16.
    assert naive_error > 1e-3
