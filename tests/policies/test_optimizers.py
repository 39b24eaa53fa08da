"""Muon against its definition by singular values, and what the set of optimizers does."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from videozoom.policies.optimizers import Muon, OptimizerName, OptimizerSet, build_optimizer, orthogonalised, trapezoid

QUINTIC = (3.4445, -4.7750, 2.0315)


def by_singular_values(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what five iterations do: each singular value goes through the polynomial, the vectors stay."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(5):
        values = QUINTIC[0] * values + QUINTIC[1] * values**3 + QUINTIC[2] * values**5
    return (left * values) @ right


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5), (16, 8)])
def test_orthogonalised_keeps_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(shape).normal(size=shape)
    found = orthogonalised(torch.from_numpy(matrix).float()).numpy()
    np.testing.assert_allclose(found, by_singular_values(matrix), atol=1e-4)


def test_singular_values_end_near_one() -> None:
    matrix = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 20)))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert 0.65 < values.min() < values.max() < 1.25
    # Control: those of the matrix itself are far apart.
    assert torch.linalg.svdvals(matrix / matrix.norm()).max() < 0.65


def test_a_zero_gradient_gives_no_direction() -> None:
    assert torch.equal(orthogonalised(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_two_steps_of_muon_by_hand() -> None:
    rng = np.random.default_rng(1)
    start, first, second = (rng.normal(size=(3, 5)) for _ in range(3))
    parameter = nn.Parameter(torch.tensor(start))
    muon = Muon([parameter], lr=0.1, momentum=0.9, weight_decay=0.5)
    for gradient in (first, second):
        parameter.grad = torch.from_numpy(gradient)
        muon.step()
    scale = 0.1 * 0.2 * np.sqrt(5)
    # Nesterov: the gradient plus 0.9 times the momentum that already holds it.
    after_one = start * 0.95 - scale * by_singular_values(first + 0.9 * first)
    after_two = after_one * 0.95 - scale * by_singular_values(second + 0.9 * (0.9 * first + second))
    np.testing.assert_allclose(parameter.detach().numpy(), after_two, atol=1e-5)


def test_a_convolution_moves_like_the_matrix_it_is() -> None:
    rng = np.random.default_rng(2)
    start, gradient = torch.tensor(rng.normal(size=(4, 3, 2, 2))), torch.tensor(rng.normal(size=(4, 3, 2, 2)))
    moved = []
    for shape in ((4, 3, 2, 2), (4, 12)):
        parameter = nn.Parameter(start.reshape(shape).clone())
        parameter.grad = gradient.reshape(shape)
        Muon([parameter], lr=0.1).step()
        moved.append(parameter.detach().flatten())
    assert torch.equal(*moved)
    assert not torch.equal(moved[0], start.flatten())


def test_muon_leaves_what_has_no_gradient() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    Muon([parameter], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(parameter.detach(), torch.ones(2, 2))


@pytest.mark.parametrize(
    ("name", "shape", "is_muon"),
    [
        ("model.language_model.layers.0.self_attn.q_proj.weight", (4, 4), True),
        ("model.visual.merger.mlp.0.weight", (4, 4), True),
        ("model.language_model.embed_tokens.weight", (9, 4), False),
        ("model.visual.patch_embed.proj.weight", (4, 3, 2, 2, 2), True),
        ("lm_head.weight", (9, 4), False),
        ("model.language_model.layers.0.self_attn.q_proj.bias", (4,), False),
        ("model.language_model.norm.weight", (4,), False),
    ],
)
def test_muon_takes_hidden_weights_only(name: str, shape: tuple[int, ...], is_muon: bool) -> None:
    parameter = nn.Parameter(torch.zeros(shape))
    [optimizer] = build_optimizer([(name, parameter)], name=OptimizerName.MUON, lr=1.0).optimizers
    assert isinstance(optimizer, Muon) is is_muon
    [optimizer] = build_optimizer([(name, parameter)], name=OptimizerName.ADAMW, lr=1.0).optimizers
    assert isinstance(optimizer, torch.optim.AdamW)


def model() -> list[tuple[str, nn.Parameter]]:
    values = torch.arange(6.0).reshape(2, 3)
    return [("layer.weight", nn.Parameter(values.clone())), ("layer.bias", nn.Parameter(torch.ones(3)))]


def steps(named: list[tuple[str, nn.Parameter]], optimizer: OptimizerSet, seeds: range, lr_factor: float = 1.0) -> None:
    for seed in seeds:
        for _, parameter in named:
            parameter.grad = torch.from_numpy(np.random.default_rng(seed).normal(size=parameter.shape)).float()
        optimizer.step(lr_factor)


def values_of(named: list[tuple[str, nn.Parameter]]) -> list[float]:
    return [value for _, parameter in named for value in parameter.detach().flatten().tolist()]


def test_the_learning_rate_factor_scales_every_optimizer_and_does_not_stick() -> None:
    named, half = model(), model()
    steps(named, build_optimizer(named, name=OptimizerName.MUON, lr=0.2), range(1))
    halved = build_optimizer(half, name=OptimizerName.MUON, lr=0.4)
    # Factors of earlier steps must not multiply up.
    halved.step(0.0)
    steps(half, halved, range(1), lr_factor=0.5)
    np.testing.assert_allclose(values_of(half), values_of(named), rtol=1e-6)
    assert values_of(named) != values_of(model())


def test_a_step_clears_gradients() -> None:
    named = model()
    steps(named, build_optimizer(named, lr=0.1), range(1))
    assert [parameter.grad for _, parameter in named] == [None, None]


@pytest.mark.parametrize("is_restored", [True, False])
def test_a_restored_optimizer_goes_on_as_if_never_stopped(is_restored: bool) -> None:
    whole, parts = model(), model()
    steps(whole, build_optimizer(whole, name=OptimizerName.MUON, lr=0.1), range(4))
    first = build_optimizer(parts, name=OptimizerName.MUON, lr=0.1)
    steps(parts, first, range(2), lr_factor=1.0)
    second = build_optimizer(parts, name=OptimizerName.MUON, lr=0.1)
    if is_restored:
        second.load_state_dict(first.state_dict())
    steps(parts, second, range(2, 4))
    # Control: without its state it goes elsewhere.
    assert (values_of(parts) == values_of(whole)) is is_restored


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (49, 1.0), (50, 1.0), (75, 0.525), (99, 0.069)],
)
def test_trapezoid_by_hand(step: int, factor: float) -> None:
    """Ten steps up, flat to the middle, then down: after 25 of 50 steps half of the way from 1 to 0.05."""
    assert trapezoid(step, 100, num_warmup=10) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("arguments", "factors"),
    [
        ({"num_warmup": 0, "decay_start": 1.0}, [1.0, 1.0, 1.0, 1.0]),
        ({"num_warmup": 0, "decay_start": 0.0, "floor": 0.0}, [1.0, 0.75, 0.5, 0.25]),
        ({"num_warmup": 8, "decay_start": 0.5}, [0.125, 0.25, 0.375, 0.5]),
    ],
)
def test_trapezoid_at_its_limits(arguments: dict[str, float], factors: list[float]) -> None:
    assert [trapezoid(step, 4, **arguments) for step in range(4)] == factors  # type: ignore[arg-type]
