"""Gradient checkpointing: the same numbers, less memory, and only where it is wanted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from policy_prompts import prompt_on

from videozoom.policies.logprobs import Sample, completion_logprobs
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.recomputation import recomputed_layers
from videozoom.policies.tree_logprobs import tree_logprobs


@pytest.fixture
def policy(tiny_folder: Path) -> QwenVLPolicy:
    return QwenVLPolicy.from_checkpoint(tiny_folder, freeze_vision=False, gradient_checkpointing=True)


@pytest.fixture
def samples(policy: QwenVLPolicy) -> list[Sample]:
    ids = policy.renderer.encode_completion("The red scene is at 12 to 16.")
    return [(prompt_on("v", num_clips=index % 3), np.roll(ids, index)) for index in range(5)]


def gradient(policy: QwenVLPolicy, samples: list[Sample], forward) -> tuple[torch.Tensor, int]:
    """Return the gradient of all parameters, and how many bytes were kept for the backward pass."""
    policy.model.zero_grad(set_to_none=True)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward(policy, samples).logprobs_BT.sum()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None]), sum(kept.values())


@pytest.mark.parametrize("forward", [tree_logprobs, completion_logprobs])
@pytest.mark.parametrize("is_precise", [False, True])
def test_gradients_are_equal_and_less_is_kept(policy, samples, forward, is_precise: bool) -> None:
    policy.is_precise = is_precise
    recomputed, kept_bytes = gradient(policy, samples, forward)
    policy.gradient_checkpointing = False
    plain, plain_bytes = gradient(policy, samples, forward)
    assert float((recomputed - plain).norm() / plain.norm()) < 1e-6
    assert len(recomputed) == len(plain)
    assert kept_bytes < 0.6 * plain_bytes


def test_every_layer_is_computed_again_and_no_mode_is_left_changed(policy, samples) -> None:
    calls: list[str] = []
    for name, layers in (
        ("text", policy.model.model.language_model.layers),
        ("vision", policy.model.model.visual.blocks),
    ):
        for layer in layers:
            layer.mlp.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    modes = [module.training for module in policy.model.modules()]
    tree = tree_logprobs(policy, samples).logprobs_BT.sum()
    assert sorted(calls) == ["text"] * 2 + ["vision"]
    assert [module.training for module in policy.model.modules()] == modes
    tree.backward()
    assert sorted(calls) == ["text"] * 4 + ["vision"] * 2


def test_without_a_gradient_nothing_is_computed_again(policy, samples, monkeypatch: pytest.MonkeyPatch) -> None:
    from videozoom.policies import qwen_vl

    monkeypatch.setattr(qwen_vl, "recomputed_layers", None)
    with torch.no_grad():
        tree_logprobs(policy, samples)
    with pytest.raises(TypeError):
        tree_logprobs(policy, samples)


def test_an_error_leaves_no_mode_changed(policy) -> None:
    text = policy.model.model.language_model

    def fail() -> None:
        with recomputed_layers(text):
            assert all(layer.training and not layer.self_attn.training for layer in text.layers)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not any(layer.training or layer.gradient_checkpointing for layer in text.layers)
