"""The seam between episodes and whoever acts in them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.messages import Prompt
from videozoom.envs.observation import Observation
from videozoom.envs.tasks import Task
from videozoom.policies.sampling import Sampling


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """The end-of-turn token was sampled."""
    LENGTH = "length"
    """The token budget ran out."""


@dataclass(frozen=True, slots=True)
class Request:
    """Everything needed to act once."""

    prompt: Prompt
    observation: Observation
    task: Task
    """For scripted policies only (the oracle); a learned policy must not look at it."""
    seed: tuple[int, ...] = (0,)
    """Entropy of this generation. The same request and seed give the same completion, whatever else is in the batch
    (up to floating-point differences between batch shapes)."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One generation. T counts sampled tokens, the end-of-turn token included.

    `text` leaves out the end-of-turn token and the prompt's forced prefix.
    """

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    token_ids: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """`[T]`; empty for scripted policies."""
    logprobs: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """`[T]`, log-probability of each sampled token under the distribution it was sampled from."""
    num_prompt_tokens: int = 0
    num_visual_tokens: int = 0
    sampling: Sampling | None = None
    """How the tokens were drawn; `None` for scripted policies."""
    reported_tokens: int | None = None
    """Number of generated tokens where a server says it and keeps the tokens to itself."""
    error: str = ""
    """Why there is no text, for policies that may get none: what a server answered instead."""

    @property
    def num_tokens(self) -> int:
        """Number of generated tokens."""
        return len(self.token_ids) if self.reported_tokens is None else self.reported_tokens


class Policy(Protocol):
    """Acts on a batch of requests."""

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion per request, in order."""
        ...


def episodes(policy: Any) -> AbstractContextManager[None]:
    """Return what is entered while a set of episodes runs: a policy with `episodes()` may then keep what it computed.

    Example:
        >>> with episodes(policy):
        ...     first = policy.act(requests)
    """
    return policy.episodes() if hasattr(policy, "episodes") else nullcontext()
