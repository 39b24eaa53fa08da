"""Calling float32 modules in double precision, for models on CPUs.

The sampler computes one token at a time over a cache, the learner whole sequences: the same sums in another order. In
float32 the sharp attention of a trained model turns that rounding into differences of log-probabilities above 1e-5.
"""

from typing import Any

import torch
from torch import Tensor


def weights_in_double(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters in float64, by name; gradients reach the module's own."""
    return {name: parameter.double() for name, parameter in module.named_parameters()}


def call_in_double(module: torch.nn.Module, weights: dict[str, Tensor] | None, *args: Any, **kwargs: Any) -> Any:
    """Return `module(*args, **kwargs)` with its parameters in float64.

    Arguments are passed as they are: give the floating ones in float64. `weights` are those of `weights_in_double`,
    where many calls share them; `None` converts them for this call.
    """
    return torch.func.functional_call(module, weights or weights_in_double(module), args, kwargs)
