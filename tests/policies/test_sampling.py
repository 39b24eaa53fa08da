"""What tokens are drawn from: truncation, by hand, and the learner's side of it."""

import numpy as np
import pytest
import torch

from videozoom.policies.sampling import Sampling, TokenDistribution

LOGITS = torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]], dtype=torch.float64))


def probabilities(distribution: TokenDistribution, tokens: list[int] | None = None) -> list[float]:
    drawn = None if tokens is None else torch.tensor(tokens)
    return distribution.logprobs(LOGITS, drawn).exp()[0].tolist()


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (TokenDistribution(), [0.1, 0.4, 0.2, 0.3]),
        (TokenDistribution(top_k=2), [0, 4 / 7, 0, 3 / 7]),
        (TokenDistribution(top_k=9), [0.1, 0.4, 0.2, 0.3]),
        # 0.4 alone does not reach 0.5, with 0.3 it does.
        (TokenDistribution(top_p=0.5), [0, 4 / 7, 0, 3 / 7]),
        (TokenDistribution(top_p=0.1), [0, 1, 0, 0]),
        # Of the two that top-k leaves, the first has 4/7.
        (TokenDistribution(top_k=2, top_p=0.55), [0, 1, 0, 0]),
        # Temperature comes first: squared probabilities are 1, 16, 4 and 9 of 30.
        (TokenDistribution(temperature=0.5, top_k=3), [0, 16 / 29, 4 / 29, 9 / 29]),
        (TokenDistribution(temperature=0.0), [0.1, 0.4, 0.2, 0.3]),
    ],
)
def test_truncation_by_hand(distribution: TokenDistribution, expected: list[float]) -> None:
    np.testing.assert_allclose(probabilities(distribution), expected, atol=1e-12)


def test_a_drawn_token_is_possible_for_the_learner() -> None:
    np.testing.assert_allclose(probabilities(TokenDistribution(top_k=2), [0]), [1 / 8, 4 / 8, 0, 3 / 8], atol=1e-12)


def test_gradients_stay_within_the_set() -> None:
    logits = LOGITS.clone().requires_grad_()
    TokenDistribution(top_k=2).logprobs(logits, torch.tensor([1]))[0, 1].backward()
    np.testing.assert_allclose(logits.grad.numpy(), [[0, 3 / 7, 0, -3 / 7]], atol=1e-12)


@pytest.mark.parametrize(
    "values", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"max_new_tokens": 0}]
)
def test_values_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(values)))):
        Sampling(**values)  # type: ignore[arg-type]


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(ValueError, match="stop"):
        Sampling(stop=("",))
