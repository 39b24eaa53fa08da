"""How tokens are drawn: one definition for sampler and learner. Light: torch is needed only to compute.

Shape legend: N position, V vocabulary.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenDistribution:
    """Temperature, then top-k, then top-p; what is left is normalised again.

    A sampler that truncates and a learner that does not disagree about every probability. Both use this class; the
    default truncates nothing.

    Raises:
        ValueError: a value is out of range.
    """

    temperature: float = 1.0
    """0 means greedy; log-probabilities are then those at temperature 1."""
    top_k: int = 0
    """Only the k most likely tokens; 0 for all."""
    top_p: float = 1.0
    """Only the most likely tokens that together reach this probability; at least one. Source: arXiv:1904.09751."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                f"temperature {self.temperature}, top_k {self.top_k}, top_p {self.top_p}: "
                "temperature and top_k must not be negative, top_p must be above 0 and at most 1"
            )

    @property
    def is_truncated(self) -> bool:
        """Whether there are tokens that cannot be drawn."""
        return self.top_k > 0 or self.top_p < 1.0

    def logprobs(self, logits_NV: "Tensor", tokens_N: "Tensor | None" = None) -> "Tensor":
        """Return log-probabilities `[N, V]`; tokens that cannot be drawn have `-inf`.

        Args:
            logits_NV: What the model gives.
            tokens_N: Tokens that were drawn, for a learner: they count as possible, because rounding, or weights that
                have moved since, may put the last token of the sampler's set outside of the learner's.
        """
        import torch

        logits_NV = logits_NV / (self.temperature or 1.0)
        if self.is_truncated:
            with torch.no_grad():
                is_out_NV = ~self._is_possible(logits_NV)
                if tokens_N is not None:
                    is_out_NV.scatter_(-1, tokens_N.unsqueeze(-1), False)
            logits_NV = logits_NV.masked_fill(is_out_NV, float("-inf"))
        return torch.log_softmax(logits_NV, dim=-1)

    def _is_possible(self, logits_NV: "Tensor") -> "Tensor":
        import torch

        sorted_NV, order_NV = logits_NV.sort(dim=-1, descending=True, stable=True)
        ranks_V = torch.arange(logits_NV.shape[-1], device=logits_NV.device)
        is_in_NV = (ranks_V < (self.top_k or len(ranks_V))).expand_as(logits_NV)
        if self.top_p < 1.0:
            probabilities_NV = torch.softmax(sorted_NV.masked_fill(~is_in_NV, float("-inf")), dim=-1)
            before_NV = probabilities_NV.cumsum(dim=-1) - probabilities_NV
            is_in_NV = is_in_NV & (before_NV < self.top_p)
        return torch.zeros_like(is_in_NV).scatter(-1, order_NV, is_in_NV)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn.

    Raises:
        ValueError: a value is out of range.
    """

    temperature: float = 1.0
    """As the following: see `TokenDistribution`."""
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 48
    stop: tuple[str, ...] = ()
    """A completion also ends with the token that completes one of these; it stays in the text."""
    max_batch: int = 512
    """Rows decoded together at most."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a value out of range."""
        if self.max_new_tokens < 1 or self.max_batch < 1 or "" in self.stop:
            raise ValueError(
                f"max_new_tokens {self.max_new_tokens}, max_batch {self.max_batch}, stop {self.stop}: "
                "the first two must be at least 1, and a stop text must not be empty"
            )
        TokenDistribution(self.temperature, self.top_k, self.top_p)

    @property
    def distribution(self) -> TokenDistribution:
        """What each token is drawn from."""
        return TokenDistribution(self.temperature, self.top_k, self.top_p)
