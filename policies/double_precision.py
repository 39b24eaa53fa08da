"""Calling float32 modules in double precision, for models on CPUs.

The sampler computes one token at a time over a cache, the learner whole sequences: the same sums in another order. In
float32 the sharp attention of a trained model turns that rounding into differences of log-probabilities above 1e-5.
"""

from typing import Any

import torch


def call_in_double(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Return `module(*args, **kwargs)` with its parameters in float64; gradients reach its own parameters.

    Arguments are passed as they are: give the floating ones in float64.
    """
    weights = {name: parameter.double() for name, parameter in module.named_parameters()}
    return torch.func.functional_call(module, weights, args, kwargs)
