"""Optimizers: AdamW, and Muon with float32 orthogonalisation (torch's own runs in bfloat16, slow on CPUs)."""

import math
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn


class OptimizerName(StrEnum):
    """Optimizers a config can name."""

    ADAMW = "adamw"
    MUON = "muon"
    """Muon for the hidden matrices and the patch embedding, AdamW for word embeddings, norms and biases."""


_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz, for hidden weights; those of more dimensions count as `[out, rest]`.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). The step is scaled by
    `0.2 * sqrt(max(rows, columns))`, so that a learning rate of AdamW fits (Moonlight, arXiv:2502.16982, Sec. 2.2).
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, *, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(parameter.grad)
                direction = orthogonalised(parameter.grad.add(buffer, alpha=group["momentum"]).flatten(1))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                scale = 0.2 * math.sqrt(max(direction.shape))
                parameter.add_(direction.view_as(parameter), alpha=-scale * group["lr"])


def orthogonalised(matrix: Tensor, *, num_iterations: int = 5) -> Tensor:
    """Return a matrix with the singular vectors of `matrix` and singular values near 1."""
    a, b, c = _NEWTON_SCHULZ
    x = matrix.float()
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(num_iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x.T if is_tall else x).to(matrix.dtype)
    return result


class OptimizerSet:
    """Several optimizers that step together, with one learning-rate factor."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers
        self._base_lrs = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]

    def step(self, lr_factor: float = 1.0) -> None:
        """Update with learning rates scaled by `lr_factor`, then clear gradients."""
        for optimizer, base_lrs in zip(self.optimizers, self._base_lrs, strict=True):
            for group, base_lr in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = base_lr * lr_factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all optimizers."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        for optimizer, entry in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(entry)


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    name: OptimizerName = OptimizerName.ADAMW,
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.95),
) -> OptimizerSet:
    """Return the optimizer of named parameters; Muon takes the weights of the hidden layers, AdamW the rest.

    The patch embedding, a convolution without overlap, is a matrix too. AdamW moves each of its thousand inputs by the
    learning rate, all at once: at rates that suit Muon, that keeps a tiny model from reading for hundreds of steps.
    """
    named = list(parameters)
    matrices = [p for n, p in named if name is OptimizerName.MUON and _is_hidden_matrix(n, p)]
    taken = {id(p) for p in matrices}
    others = [p for _, p in named if id(p) not in taken]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(Muon(matrices, lr, weight_decay=weight_decay))
    if others:
        optimizers.append(torch.optim.AdamW(others, lr, betas=betas, weight_decay=weight_decay))
    return OptimizerSet(optimizers)


def _is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and "embed_tokens" not in name and "lm_head" not in name


def trapezoid(step: int, num_steps: int, *, num_warmup: int, decay_start: float = 0.5, floor: float = 0.05) -> float:
    """Return a learning-rate factor: linear warm-up, flat, then linear decay to `floor` from `decay_start` on.

    Example:
        >>> [trapezoid(step, 100, num_warmup=10) for step in (0, 9, 50)]
        [0.1, 1.0, 1.0]
    """
    if step < num_warmup:
        return (step + 1) / num_warmup
    decay_from = decay_start * num_steps
    if step < decay_from:
        return 1.0
    return 1.0 - (1.0 - floor) * (step - decay_from) / max(1.0, num_steps - decay_from)
