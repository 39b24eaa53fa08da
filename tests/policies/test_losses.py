from math import exp, log

import pytest
import torch
from torch import Tensor

from videozoom.policies.losses import clipped_surrogate, entropy, k3_divergence


def surrogate_of(ratios: list[float], advantage: float, **bounds: float) -> tuple[list[float], list[float]]:
    """Return the loss of each token and its gradient with respect to the log-probability."""
    logprobs_BT = torch.log(torch.tensor([ratios], dtype=torch.float64)).requires_grad_()
    bounds = {"clip_low": 0.2, "clip_high": 0.2, **bounds}
    result = clipped_surrogate(logprobs_BT, torch.zeros(1, len(ratios)), torch.tensor([advantage]), **bounds)
    result.losses_BT.sum().backward()
    assert isinstance(logprobs_BT.grad, Tensor)
    return result.losses_BT[0].tolist(), logprobs_BT.grad[0].tolist()


def test_a_good_token_is_pushed_up_until_the_upper_bound() -> None:
    losses, gradients = surrogate_of([0.5, 1.0, 1.1, 1.5], 2.0)
    assert losses == pytest.approx([-1.0, -2.0, -2.2, -2.4])
    assert gradients == pytest.approx([-1.0, -2.0, -2.2, 0.0])


def test_a_bad_token_is_pushed_down_until_the_lower_bound() -> None:
    losses, gradients = surrogate_of([0.5, 0.9, 1.0, 1.5], -2.0)
    assert losses == pytest.approx([1.6, 1.8, 2.0, 3.0])
    assert gradients == pytest.approx([0.0, 1.8, 2.0, 3.0])


def test_the_bounds_are_independent() -> None:
    assert surrogate_of([1.25], 1.0, clip_high=0.28)[0] == pytest.approx([-1.25])
    assert surrogate_of([1.5], 1.0, clip_high=0.28)[0] == pytest.approx([-1.28])
    assert surrogate_of([0.6], -1.0, clip_low=0.5)[0] == pytest.approx([0.6])


def test_clipping_is_counted_where_it_stops_the_gradient() -> None:
    logprobs_BT = torch.log(torch.tensor([[0.5, 1.0, 1.5], [0.5, 1.0, 1.5]]))
    result = clipped_surrogate(logprobs_BT, torch.zeros(2, 3), torch.tensor([1.0, -1.0]), clip_low=0.2, clip_high=0.2)
    assert result.clipped_high_BT.tolist() == [[False, False, True], [False, False, False]]
    assert result.clipped_low_BT.tolist() == [[False, False, False], [True, False, False]]


def test_on_the_sampled_policy_the_gradient_is_minus_the_advantage() -> None:
    assert surrogate_of([1.0], 0.7)[1] == pytest.approx([-0.7])


def test_k3_is_zero_at_the_reference_and_positive_elsewhere() -> None:
    values = k3_divergence(torch.tensor([[-1.0, -1.0, -1.0]]), torch.tensor([[-1.0, -2.0, 0.0]]))[0].tolist()
    assert values == pytest.approx([0.0, exp(-1), exp(1) - 2])


def test_k3_estimates_the_divergence_without_bias() -> None:
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    expected = sum(p * log(p / q) for p, q in zip(policy.tolist(), reference.tolist(), strict=True))
    assert float((policy * k3_divergence(policy.log(), reference.log())).sum()) == pytest.approx(expected, abs=1e-6)


def test_entropy_is_that_of_whole_distributions() -> None:
    inf = float("inf")
    logprobs = torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]).log()
    assert logprobs[2, 1] == logprobs[3, 2] == -inf
    # 1/2 ln 2 + 2 * 1/4 ln 4 = 3/2 ln 2
    assert entropy(logprobs).tolist() == pytest.approx([1.5 * log(2), log(3), 0.0, log(2)])


def test_entropy_grows_along_its_gradient_also_where_some_tokens_cannot_be_drawn() -> None:
    logits = torch.tensor([[0.3, -1.2, 0.8, 2.0], [0.1, 0.2, -0.5, 1.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[False, False, False, False], [False, True, False, False]])

    def of(logits: Tensor) -> Tensor:
        return entropy(torch.log_softmax(logits.masked_fill(mask, float("-inf")), dim=-1))

    assert torch.autograd.gradcheck(of, logits)
    [gradient] = torch.autograd.grad(of(logits).sum(), logits)
    probabilities = torch.softmax(logits.masked_fill(mask, float("-inf")), dim=-1)
    surprise = torch.where(mask, 0.0, probabilities.log())
    expected = -probabilities * (surprise + of(logits).unsqueeze(-1))
    assert torch.allclose(gradient, expected)
    # The most likely token loses, the token that cannot be drawn stays.
    assert gradient[0, 3] < 0 < gradient[0, 1]
    assert gradient[1, 1] == 0
