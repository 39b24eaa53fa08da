"""Supervised updates: which tokens are learned from, which weights change."""

import numpy as np
import pytest
import torch
from policy_prompts import prompt_on

from videozoom.policies.optimizers import OptimizerName, build_optimizer
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.supervised import SupervisedSample, supervised_update
from videozoom.policies.token_tree import TokenBudgetError

SAMPLES = [
    SupervisedSample(prompt_on("a"), "I need to zoom in on the video.\n\nThe red scene is at 12 to 16."),
    SupervisedSample(prompt_on("b", num_clips=1, prefix="I get the answer.\n\n"), "\\boxed{A}"),
    SupervisedSample(prompt_on("a", question="Why?"), "The red scene shows bars."),
]


def cross_entropy(policy: QwenVLPolicy, sample: SupervisedSample, *, with_prompt: bool) -> torch.Tensor:
    """Return the summed loss of one sample by torch's own cross-entropy, prompt tokens ignored or not."""
    rendered = policy.renderer.render(sample.prompt)
    completion = policy.renderer.encode_completion(sample.completion)
    token_ids = torch.from_numpy(np.concatenate([rendered.token_ids, completion]))
    positions = np.concatenate([rendered.position_ids, rendered.completion_positions(len(completion))], axis=1)
    hidden = policy.hidden_states(
        policy.embed(token_ids.unsqueeze(0), [rendered]),
        torch.from_numpy(positions).unsqueeze(1),
        mask=None,
        cache=None,
    )
    labels = token_ids.clone()
    # Placeholders of clips are no text in any case.
    labels[labels == policy.renderer.video_pad_id] = -100
    if not with_prompt:
        labels[: len(rendered.token_ids)] = -100
    return torch.nn.functional.cross_entropy(policy.logits(hidden[0, :-1]), labels[1:], reduction="sum")


def loss_by_hand(policy: QwenVLPolicy, *, with_prompt: bool = False) -> float:
    with torch.no_grad():
        total = sum(cross_entropy(policy, sample, with_prompt=with_prompt) for sample in SAMPLES)
    num_tokens = sum(len(policy.renderer.encode_completion(sample.completion)) for sample in SAMPLES)
    return float(total) / num_tokens


def update(policy: QwenVLPolicy, *, lr: float = 1e-2, **options: float) -> dict[str, float]:
    optimizer = build_optimizer(policy.trained_parameters(), name=OptimizerName.ADAMW, lr=lr)
    return supervised_update(policy, optimizer, SAMPLES, **options)


def weights(policy: QwenVLPolicy) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    names = {name for name, value in before.items() if not torch.equal(value, after[name])}
    return {"vision" if ".visual." in name else "text" for name in names}


def test_the_loss_is_the_mean_over_completion_tokens_alone(policy: QwenVLPolicy) -> None:
    expected, with_prompt = loss_by_hand(policy), loss_by_hand(policy, with_prompt=True)
    metrics = update(policy)
    assert metrics["loss/sft"] == pytest.approx(expected, abs=1e-5)
    # Control: the same sum with the prompt's text in it is far away.
    assert abs(metrics["loss/sft"] - with_prompt) > 1.0


def test_gradients_are_those_of_the_completion_tokens(policy: QwenVLPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients: list[torch.Tensor] = []
    optimizer = build_optimizer(policy.trained_parameters(), lr=1e-2)
    weight = policy.model.model.language_model.embed_tokens.weight
    monkeypatch.setattr(optimizer, "step", lambda lr_factor: gradients.append(weight.grad.clone()))
    supervised_update(policy, optimizer, SAMPLES, max_grad_norm=float("inf"))
    policy.model.zero_grad()
    num_tokens = sum(len(policy.renderer.encode_completion(sample.completion)) for sample in SAMPLES)
    for is_wrong in (False, True):
        total = torch.stack([cross_entropy(policy, sample, with_prompt=is_wrong) for sample in SAMPLES]).sum()
        policy.model.zero_grad()
        (total / num_tokens).backward()
        assert torch.allclose(weight.grad, gradients[0], atol=1e-6) is not is_wrong


def test_a_step_in_parts_is_the_same_step(policy: QwenVLPolicy) -> None:
    whole = update(policy, lr_factor=0.0)
    longest = max(
        len(policy.renderer.render(sample.prompt).token_ids) + len(policy.renderer.encode_completion(sample.completion))
        for sample in SAMPLES
    )
    policy.model.zero_grad()
    assert update(policy, lr_factor=0.0, max_tokens_per_batch=longest) == pytest.approx(whole, rel=1e-5)
    with pytest.raises(TokenBudgetError, match=rf"cold_start\.max_tokens_per_batch to at least {longest}"):
        update(policy, max_tokens_per_batch=longest - 1)


def test_every_completion_token_counts_with_the_end_of_turn(policy: QwenVLPolicy) -> None:
    lengths = [len(policy.renderer.encode(sample.completion)) + 1 for sample in SAMPLES]
    assert len(set(lengths)) == 3
    assert update(policy)["loss/trained_tokens/sum"] == sum(lengths)


def test_updates_lower_the_loss(policy: QwenVLPolicy) -> None:
    optimizer = build_optimizer(policy.trained_parameters(), name=OptimizerName.MUON, lr=1e-2)
    losses = [supervised_update(policy, optimizer, SAMPLES)["loss/sft"] for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("is_frozen", "what"), [(True, {"text"}), (False, {"text", "vision"})])
def test_a_frozen_tower_stays_as_it_is(policy: QwenVLPolicy, is_frozen: bool, what: set[str]) -> None:
    policy.freeze_vision(is_frozen)
    before = weights(policy)
    update(policy)
    assert changed(before, weights(policy)) == what


def test_a_factor_of_zero_changes_nothing(policy: QwenVLPolicy) -> None:
    before = weights(policy)
    update(policy, lr_factor=0.0)
    assert changed(before, weights(policy)) == set()


def test_the_gradient_norm_is_that_before_clipping(policy: QwenVLPolicy) -> None:
    norms = [update(policy, lr_factor=0.0, max_grad_norm=limit)["optim/grad_norm"] for limit in (1e-3, 1e3)]
    assert norms[0] == pytest.approx(norms[1])
    assert norms[0] > 1e-3
