"""The cascade sampler: exact, whatever is shared, held, truncated or dropped."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from policy_prompts import prompt_on

from videozoom.envs.messages import Prompt
from videozoom.policies import cascade
from videozoom.policies.base import Completion, Request
from videozoom.policies.cascade import CascadeDecoder, shared_nodes
from videozoom.policies.packed_cache import HeldPrefixes, PackedCache
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.sampling import Sampling
from videozoom.policies.token_tree import TokenTree


def requests_of(prompts: Sequence[Prompt]) -> list[Request]:
    return [Request(prompt, None, None, seed=(3, index)) for index, prompt in enumerate(prompts)]  # type: ignore[arg-type]


def gap(policy: QwenVLPolicy, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> float:
    """Return the largest difference to each completion's log-probabilities in a forward pass of its own."""
    return max(
        float(np.abs(alone(policy, prompt, completion) - completion.logprobs).max())
        for prompt, completion in zip(prompts, completions, strict=True)
    )


@torch.no_grad()
def alone(policy: QwenVLPolicy, prompt: Prompt, completion: Completion) -> np.ndarray[Any, np.dtype[np.float64]]:
    rendered = policy.renderer.render(prompt)
    num = len(completion.token_ids)
    whole = replace(
        rendered,
        token_ids=np.concatenate([rendered.token_ids, completion.token_ids]),
        position_ids=np.concatenate([rendered.position_ids, rendered.completion_positions(num)], axis=1),
    )
    positions = torch.from_numpy(whole.position_ids[:, None])
    embeds = policy.embed(torch.from_numpy(whole.token_ids[None]), [whole])
    hidden = policy.hidden_states(embeds, positions, mask=None, cache=None)
    tokens = torch.from_numpy(completion.token_ids).long()
    logprobs = policy.sampling.distribution.logprobs(policy.logits(hidden[0, -num - 1 : -1]), tokens)
    chosen: np.ndarray[Any, np.dtype[np.float64]] = logprobs.gather(-1, tokens.unsqueeze(-1))[:, 0].double().numpy()
    return chosen


@pytest.fixture
def groups() -> list[Prompt]:
    """Three groups with fast views of different lengths, some members on clips of their own, some on the same."""
    return [
        prompt_on(f"video{group}", num_clips=member % 3, prefix="I see." * (member % 2), num_frames=4 + 4 * group)
        for group in range(3)
        for member in range(6)
    ]


@pytest.fixture(params=[1, 64], ids=["all_shared", "long_shared"])
def min_shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "_MIN_SHARED", request.param)


@pytest.mark.usefixtures("min_shared")
def test_half_precision_differs_by_rounding_only(tiny_folder: Path, groups: list[Prompt]) -> None:
    policy = QwenVLPolicy.from_checkpoint(tiny_folder, dtype="bfloat16", sampling=Sampling(max_new_tokens=6))
    assert 1e-5 < gap(policy, groups, policy.act(requests_of(groups))) < 0.1


@pytest.mark.parametrize("stack_bytes", [0, 1 << 28], ids=["one_by_one", "stacked"])
@pytest.mark.parametrize("stack_ratio", [1.0, 100.0])
@pytest.mark.usefixtures("min_shared")
def test_every_way_to_decode_is_exact(
    policy: QwenVLPolicy, groups: list[Prompt], stack_bytes: int, stack_ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "_STACK_BYTES", stack_bytes)
    monkeypatch.setattr(cascade, "_STACK_RATIO", stack_ratio)
    completions = policy.act(requests_of(groups))
    assert len({len(completion.token_ids) for completion in completions}) > 1
    assert gap(policy, groups, completions) < 1e-6
    policy.is_precise = False
    assert gap(policy, groups, policy.act(requests_of(groups))) < 5e-6


def test_nodes_of_other_lengths_need_their_mask(
    policy: QwenVLPolicy, groups: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: without the mask of a stack of unequal nodes the gap shows."""
    monkeypatch.setattr(cascade, "_MIN_SHARED", 1)
    monkeypatch.setattr(cascade, "_STACK_RATIO", 100.0)
    init = cascade._Stack.__init__

    def without_mask(self: Any, *args: Any) -> None:
        init(self, *args)
        self._mask = None

    monkeypatch.setattr(cascade._Stack, "__init__", without_mask)
    assert gap(policy, groups, policy.act(requests_of(groups))) > 1e-5


def test_own_tokens_need_their_mask(
    policy: QwenVLPolicy, groups: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: without the mask of the padding before short prompts the gap shows."""
    init = CascadeDecoder.__init__

    def without_mask(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._visible_BT = None

    monkeypatch.setattr(CascadeDecoder, "__init__", without_mask)
    assert gap(policy, groups, policy.act(requests_of(groups))) > 1e-5


def test_shared_nodes_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A root of 40 tokens, a short node of 10 and two leaves below it, and a third leaf below the root."""
    tree = TokenTree(
        token_ids=np.zeros(140, np.int64),
        position_ids=np.zeros((3, 140), np.int64),
        feature_rows=np.full(140, -1),
        clips=(),
        starts=np.array([0, 40, 50, 90, 100]),
        ends=np.array([40, 50, 90, 100, 140]),
        subtree_ends=np.array([140, 100, 90, 100, 140]),
        parents=np.array([-1, 0, 1, 1, 0]),
        paths=(),
    )
    monkeypatch.setattr(cascade, "_MIN_SHARED", 32)
    first, second = np.r_[0:50, 50:90], np.r_[0:50, 90:100]
    third = np.r_[0:40, 100:140]
    nodes = shared_nodes(tree, [first, first, second, third, third[:60]])
    assert [(node.start, node.end, node.depth, node.rows) for node in nodes] == [
        (0, 40, 0, (0, 1, 2, 3, 4)),
        (50, 90, 1, (0, 1)),
    ]


def steps_of_a_group() -> list[list[Prompt]]:
    return [
        [prompt_on("video", num_frames=256, num_clips=step, clips_of=f"member{member}") for member in range(4)]
        for step in range(3)
    ]


def sampled(policy: QwenVLPolicy, steps: Sequence[Sequence[Prompt]]) -> list[Completion]:
    return [completion for prompts in steps for completion in policy.act(requests_of(prompts))]


class Counted:
    """Counts the rows of prefills."""

    def __init__(self, policy: QwenVLPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_rows: list[int] = []
        hidden_states = policy.hidden_states

        def counted(embeds: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            if "attention_plan" in options:
                self.num_rows.append(embeds.shape[1])
            return hidden_states(embeds, *args, **options)

        monkeypatch.setattr(policy, "hidden_states", counted)


def test_a_held_prefix_is_computed_once(policy: QwenVLPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_of_a_group()
    expected = sampled(policy, steps)
    counted = Counted(policy, monkeypatch)
    with policy.episodes():
        held = sampled(policy, steps)
    trees = [TokenTree.of([policy.renderer.render(prompt) for prompt in prompts]) for prompts in steps]
    both = [TokenTree.of([policy.renderer.render(p) for p in (*a, *b)]) for a, b in pairwise(steps)]
    # What a step adds to the tree of the one before, at least each prompt's last token.
    added = [tree.num_tokens - before.num_tokens for tree, before in zip(both, trees, strict=False)]
    assert counted.num_rows == [trees[0].num_tokens, *added]
    assert counted.num_rows[1] < trees[1].num_tokens / 2
    assert [c.token_ids.tolist() for c in held] == [c.token_ids.tolist() for c in expected]
    assert gap(policy, [prompt for prompts in steps for prompt in prompts], held) < 1e-6


def test_a_prompt_that_comes_again_needs_its_last_token_only(
    policy: QwenVLPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prompts, *_] = steps_of_a_group()
    counted = Counted(policy, monkeypatch)
    with policy.episodes():
        first, again = policy.act(requests_of(prompts)), policy.act(requests_of(prompts))
    assert counted.num_rows[1] == 1
    assert [c.text for c in first] == [c.text for c in again]


def test_nothing_is_held_outside_of_episodes(policy: QwenVLPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    [prompts, *_] = steps_of_a_group()
    counted = Counted(policy, monkeypatch)
    with policy.episodes():
        policy.act(requests_of(prompts))
    policy.act(requests_of(prompts))
    assert counted.num_rows[0] == counted.num_rows[1]


def test_rows_held_under_other_weights_are_seen(policy: QwenVLPolicy) -> None:
    """Control: the exactness of held prefixes would not survive an update between steps."""
    steps = steps_of_a_group()
    with policy.episodes():
        policy.act(requests_of(steps[0]))
        with torch.no_grad():
            for parameter in policy.model.model.language_model.parameters():
                parameter.mul_(1.2)
        completions = policy.act(requests_of(steps[1]))
    assert gap(policy, steps[1], completions) > 1e-4


def test_batches_hold_their_own_prompts(policy: QwenVLPolicy) -> None:
    steps = steps_of_a_group()
    small = policy.with_sampling(replace(policy.sampling, max_batch=3))
    with small.episodes():
        held = sampled(small, steps)
    assert [c.token_ids.tolist() for c in held] == [c.token_ids.tolist() for c in sampled(policy, steps)]


def test_held_rows_belong_to_the_right_prompts(policy: QwenVLPolicy) -> None:
    """Episodes end one by one: later steps have fewer prompts, in another order."""
    steps = steps_of_a_group()
    steps = [steps[0], steps[1][::-1][:3], steps[2][2:0:-1]]
    with policy.episodes():
        completions = sampled(policy, steps)
    assert gap(policy, [prompt for prompts in steps for prompt in prompts], completions) < 1e-6


def test_a_cache_lets_go_of_the_one_before() -> None:
    held = PackedCache(np.zeros(2, np.bool_), np.zeros(2, np.int64), None)
    held.update(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4), 0)
    cache = PackedCache(np.array([True, False]), np.array([1, -1]), held)
    keys, _ = cache.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4), 0)
    assert keys[0, 0, :, 0].tolist() == [0, 1]
    cache.close()
    assert cache._held is None
    assert HeldPrefixes()._cache is None


@pytest.mark.parametrize("truncation", [{"top_k": 3}, {"top_p": 0.6}, {"temperature": 0.7, "top_k": 20, "top_p": 0.9}])
def test_truncated_samples_are_reproduced(
    policy: QwenVLPolicy, groups: list[Prompt], truncation: dict[str, Any]
) -> None:
    truncating = policy.with_sampling(replace(policy.sampling, **truncation))
    completions = truncating.act(requests_of(groups))
    assert gap(truncating, groups, completions) < 1e-6
    # Control: a learner that does not truncate is somewhere else.
    assert gap(policy, groups, completions) > 0.05


def test_a_stop_text_ends_a_completion_and_stays(policy: QwenVLPolicy) -> None:
    prompts = [prompt_on("video")] * 64
    plain = policy.with_sampling(replace(policy.sampling, max_new_tokens=40))
    stopping = policy.with_sampling(replace(plain.sampling, stop=("ed", "zoom in")))
    num_stopped = 0
    for free, stopped in zip(plain.act(requests_of(prompts)), stopping.act(requests_of(prompts)), strict=True):
        places = [free.text.find(stop) for stop in stopping.sampling.stop if stop in free.text]
        assert free.text.startswith(stopped.text)
        if places:
            assert any(stop in stopped.text for stop in stopping.sampling.stop)
            # Without its last token there is none.
            before = policy.renderer.decode_completion(stopped.token_ids[:-1])
            assert not any(stop in before for stop in stopping.sampling.stop)
            assert stopped.finish_reason == "stop"
            num_stopped += 1
        else:
            assert stopped.token_ids.tolist() == free.token_ids.tolist()
    assert num_stopped > 3
