"""Gradient checkpointing: layers keep only their inputs, and are computed again in the backward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed_layers(model: Any) -> Iterator[None]:
    """Let the layers of a transformers model keep only their inputs when they are called within the block.

    transformers does this in training mode only. Only the layers themselves are put into it, not what they are made of,
    so that nothing else changes.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers: list[Any] = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    before = [(layer.training, layer.gradient_checkpointing) for layer in layers]
    for layer in layers:
        layer.training = layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = _recompute
    try:
        yield
    finally:
        for layer, (is_training, is_recomputed) in zip(layers, before, strict=True):
            layer.training, layer.gradient_checkpointing = is_training, is_recomputed


def _recompute(call: "partial[Any]", *args: Any) -> Any:
    """Return `call(*args)`, a layer's forward pass with its keyword arguments."""
    layer: nn.Module = call.args[0]
    # While a model is called with other weights than its own, these are those. They are gone in the backward pass.
    weights: dict[str, torch.Tensor] = {f"layer.{name}": weight for name, weight in layer.named_parameters()}
    if all(isinstance(weight, nn.Parameter) for weight in weights.values()):
        return checkpoint(call, *args, use_reentrant=False)
    boxed = _Boxed(layer)
    return checkpoint(
        lambda *inputs: torch.func.functional_call(boxed, weights, (call, *inputs)), *args, use_reentrant=False
    )


class _Boxed(nn.Module):
    """A layer whose weights are replaced while something else that uses it is called."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, call: Callable[..., Any], *args: Any) -> Any:
        return call(*args)
