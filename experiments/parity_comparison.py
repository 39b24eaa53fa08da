"""Compares sampled completions with what learners compute of them.

Two learners: the one that trains, on the token tree, and a plain one that computes every completion by itself. The
plain one says what each token is and where it stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from videozoom.envs.tasks import EpisodeKind
from videozoom.experiments.parity_recorder import Token, TokenRecorder
from videozoom.experiments.progress import Advance
from videozoom.policies.logprobs import completion_logprobs, sequences_of
from videozoom.policies.token_tree import split
from videozoom.policies.tree_logprobs import tree_logprobs
from videozoom.rollout.types import Group, Step

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

Logprobs = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One completion, sampled and computed again."""

    task_id: str
    kind: EpisodeKind
    member: int
    step: int
    """From 1."""
    num_prompt_tokens: int
    num_visual_tokens: int
    token_ids: NDArray[np.int32]
    num_other_tokens: int
    """Tokens of the prompt or the completion that the sampler or the tree was not given."""
    num_other_positions: int
    """Tokens that one of them was given elsewhere."""
    num_other_visual: int
    """Difference in the number of visual tokens."""
    sampled: Logprobs
    """`[T]` of the sampler."""
    learned: Logprobs
    """`[T]` of the learner that trains."""
    plain: Logprobs
    """`[T]` of the plain one."""

    @property
    def gaps(self) -> Logprobs:
        """`[T]`, sampler from learner."""
        return np.abs(self.sampled - self.learned)

    @property
    def learner_gaps(self) -> Logprobs:
        """`[T]`, learner from the plain one."""
        return np.abs(self.learned - self.plain)


@torch.no_grad()
def compare(
    policy: "QwenVLPolicy",
    groups: Sequence[Group],
    sampled_tokens: frozenset[Token],
    *,
    max_tokens: int,
    advance: Advance,
) -> list[Comparison]:
    """Return a comparison for every step of every trajectory.

    Args:
        policy: The model that sampled.
        groups: What it sampled.
        sampled_tokens: What its text model was given meanwhile.
        max_tokens: Of one pass over a tree.
        advance: Called for every completion.
    """
    steps = [
        (trajectory.task_id, trajectory.kind, trajectory.member, number, step)
        for group in groups
        for trajectory in group.trajectories
        for number, step in enumerate(trajectory.steps, start=1)
    ]
    recorder = TokenRecorder(policy.model.model.language_model)
    with recorder.recording() as tree_tokens:
        learned = _learned(policy, [step for *_, step in steps], max_tokens)
    given = [_Given(sampled_tokens), _Given(frozenset(tree_tokens))]
    comparisons = []
    for (task_id, kind, member, number, step), logprobs in zip(steps, learned, strict=True):
        completion = step.completion
        rendered = policy.renderer.render(step.prompt)
        with recorder.recording() as tokens:
            plain = completion_logprobs(
                policy, [(rendered, completion.token_ids)], distribution=policy.sampling.distribution
            )
        # The last token predicts nothing; nobody has to compute it.
        differences = [it.differences(tokens[:-1]) for it in given]
        comparisons.append(
            Comparison(
                task_id=task_id,
                kind=kind,
                member=member,
                step=number,
                num_prompt_tokens=len(rendered.token_ids),
                num_visual_tokens=rendered.num_visual_tokens,
                token_ids=completion.token_ids,
                num_other_tokens=sum(others for others, _ in differences)
                + abs(len(rendered.token_ids) - completion.num_prompt_tokens),
                num_other_positions=sum(moved for _, moved in differences),
                num_other_visual=abs(rendered.num_visual_tokens - completion.num_visual_tokens),
                sampled=completion.logprobs.astype(np.float64),
                learned=logprobs,
                plain=plain.logprobs_BT[0].double().cpu().numpy(),
            )
        )
        advance()
    return comparisons


def _learned(policy: "QwenVLPolicy", steps: Sequence[Step], max_tokens: int) -> list[Logprobs]:
    """Return the log-probabilities of completions as a training computes them."""
    samples = [(policy.renderer.render(step.prompt), step.completion.token_ids) for step in steps]
    learned: list[Logprobs] = [np.zeros(0)] * len(samples)
    for part in split(sequences_of(policy.renderer, samples), max_tokens):
        computed = tree_logprobs(policy, [samples[index] for index in part], distribution=policy.sampling.distribution)
        for index, logprobs, mask in zip(part, computed.logprobs_BT, computed.mask_BT, strict=True):
            learned[index] = logprobs[mask].double().cpu().numpy()
    return learned


class _Given:
    """What somebody's text model was given."""

    def __init__(self, tokens: frozenset[Token]) -> None:
        self._tokens = tokens
        self._contents = frozenset(token.content for token in tokens)

    def differences(self, tokens: Sequence[Token]) -> tuple[int, int]:
        """Return how many tokens are not among them, and how many are, but elsewhere only."""
        missing = [token for token in tokens if token not in self._tokens]
        others = sum(token.content not in self._contents for token in missing)
        return others, len(missing) - others
