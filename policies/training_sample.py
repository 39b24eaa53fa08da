"""What a policy-gradient learner is given of one completion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """One completion to learn from."""

    prompt: Prompt
    token_ids: NDArray[np.int32]
    """`[T]`, the sampled tokens."""
    logprobs: NDArray[np.float32]
    """`[T]`, as the sampler drew them."""
    advantage: float
    token_weight: float
    """What each of its tokens counts in the loss; the normaliser of the whole batch is in it, so that samples can be
    spread over learners and micro-batches in any way."""
    kind: EpisodeKind
    group: int
    """Which group of the batch it belongs to: those of one group begin with the same prompt."""
    num_prompt_tokens: int

    @property
    def num_tokens(self) -> int:
        """Length of prompt and completion together."""
        return self.num_prompt_tokens + len(self.token_ids)
