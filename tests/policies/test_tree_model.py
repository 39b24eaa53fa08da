"""A stock text model on a packed tree against each sequence by itself, and what these comparisons must catch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from policy_prompts import prompt_on
from torch import Tensor

from videozoom.policies import attention_cpu, attention_cpu_tree
from videozoom.policies.attention_plan import AttentionPlan
from videozoom.policies.packed_cache import PackedCache
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.rendering import RenderedPrompt
from videozoom.policies.token_tree import TokenTree
from videozoom.policies.tree_attention import TextModelError, use_text_attention

BOUND = 5e-6
"""In float32, of log-probabilities and of the norm of all gradients: about twice what the naive computation itself is
away from float64."""


@pytest.fixture
def policy(tiny_folder: Path) -> QwenVLPolicy:
    """Return a policy that computes in true float32, all of it trained."""
    policy = QwenVLPolicy.from_checkpoint(tiny_folder, freeze_vision=False)
    policy.is_precise = False
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            # Fresh weights attend to everything alike, and hardly see an error in it.
            if name.endswith(("q_proj.weight", "k_proj.weight", "o_proj.weight")):
                weight *= 4
    return policy


@pytest.fixture
def sequences(policy: QwenVLPolicy) -> list[RenderedPrompt]:
    """Seven sequences of three depths: some share the fast view only, some a question, some one or two slow clips."""
    rng = np.random.default_rng(0)
    words = policy.renderer.encode("Which sign appears in the red scene? bars lines answer")
    sequences = []
    for num_clips, num_completions in ((0, 3), (1, 2), (2, 2)):
        prompt = policy.renderer.render(prompt_on("v", num_clips=num_clips))
        for _ in range(num_completions):
            completion = rng.choice(words, int(rng.integers(4, 12)))
            positions = np.concatenate([prompt.position_ids, prompt.completion_positions(len(completion))], axis=1)
            ids = np.concatenate([prompt.token_ids, completion])
            sequences.append(replace(prompt, token_ids=ids, position_ids=positions))
    return sequences


def logprobs(policy: QwenVLPolicy, hidden: Tensor, ids: np.ndarray) -> Tensor:
    """Return the log-probability of every token but the first; placeholders, which have none, count as 0."""
    all_logprobs = policy.logits(hidden[:-1]).log_softmax(-1)
    found = all_logprobs.gather(-1, torch.from_numpy(ids[1:]).unsqueeze(-1)).squeeze(-1)
    return found.masked_fill(found == float("-inf"), 0.0)


def one_by_one(policy: QwenVLPolicy, sequences: list[RenderedPrompt]) -> list[Tensor]:
    return [
        logprobs(
            policy,
            policy.hidden_states(
                policy.embed(torch.from_numpy(each.token_ids)[None], [each]),
                torch.from_numpy(each.position_ids)[:, None],
                mask=None,
                cache=None,
            )[0],
            each.token_ids,
        )
        for each in sequences
    ]


def on_a_tree(policy: QwenVLPolicy, sequences: list[RenderedPrompt]) -> list[Tensor]:
    tree = TokenTree.of(sequences)
    hidden = policy.hidden_states(
        policy.embed_packed(tree),
        torch.from_numpy(tree.position_ids)[:, None],
        mask=None,
        cache=None,
        attention_plan=AttentionPlan.of(tree),
    )[0]
    return [
        logprobs(policy, hidden[torch.from_numpy(path)], each.token_ids)
        for path, each in zip(tree.paths, sequences, strict=True)
    ]


def computed(
    policy: QwenVLPolicy, sequences: list[RenderedPrompt], compute: Callable[..., list[Tensor]]
) -> list[Tensor]:
    """Return log-probabilities, and the gradient of a weighted sum of them over all parameters."""
    policy.model.zero_grad(set_to_none=True)
    found = torch.cat(compute(policy, sequences))
    (torch.linspace(-1.0, 2.0, len(found)) * found).sum().backward()
    gradients = [parameter.grad.flatten() for _, parameter in policy.trained_parameters()]
    return [found.detach().double(), torch.cat(gradients).double()]


def relative(found: list[Tensor], expected: list[Tensor]) -> list[float]:
    return [float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)]


def differences(policy: QwenVLPolicy, sequences: list[RenderedPrompt]) -> dict[str, float]:
    """Largest difference of log-probabilities, and that of all gradients relative to their norm."""
    naive, tree = (computed(policy, sequences, compute) for compute in (one_by_one, on_a_tree))
    return {"logprob": float((tree[0] - naive[0]).abs().max()), "gradient": relative(tree, naive)[1]}


def test_the_tree_of_these_tests_has_three_levels(sequences: list[RenderedPrompt]) -> None:
    tree = TokenTree.of(sequences)
    levels: list[int] = []
    for parent in tree.parents:
        levels.append(1 if parent < 0 else levels[parent] + 1)
    assert max(levels) >= 3
    assert tree.num_tokens < 0.5 * sum(len(each.token_ids) for each in sequences)


@pytest.mark.parametrize("text_attention", ["cpu", "reference"])
def test_a_tree_is_as_exact_as_float32(policy, sequences, text_attention: str) -> None:
    policy.text_attention = text_attention
    found = differences(policy, sequences)
    assert found["logprob"] < BOUND
    assert found["gradient"] < BOUND


def test_a_tree_in_double_precision_is_exact(policy, sequences) -> None:
    policy.is_precise = True
    found = differences(policy, sequences)
    # The norms inside of transformers and the weights' own gradients are float32.
    assert found["logprob"] < 1e-7
    assert found["gradient"] < 5e-7


def test_a_tree_in_half_precision_is_as_near_to_the_truth_as_one_by_one(policy, sequences) -> None:
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.copy_(parameter.bfloat16())
    truth = computed(policy, sequences, one_by_one)
    policy.model.bfloat16()
    naive, tree = (relative(computed(policy, sequences, compute), truth) for compute in (one_by_one, on_a_tree))
    assert all(ours < 1.15 * theirs for ours, theirs in zip(tree, naive, strict=True))
    # Control: they are not float32 after all.
    assert min(naive) > 10 * BOUND


def test_activations_can_be_computed_again(policy, sequences) -> None:
    policy.model.train()
    policy.model.activation_checkpointing_enable({"use_reentrant": False})
    found = differences(policy, sequences)
    assert found["logprob"] < BOUND
    assert found["gradient"] < BOUND


def test_known_rows_come_from_a_cache(policy, sequences) -> None:
    tree = TokenTree.of(sequences)
    positions = torch.from_numpy(tree.position_ids)[:, None]
    nothing = np.zeros(tree.num_tokens, np.bool_)
    is_known = nothing.copy()
    # All of the root and half of its first child.
    is_known[: (tree.starts[1] + tree.ends[1]) // 2] = True
    with torch.no_grad():
        embeds = policy.embed_packed(tree)
        held = PackedCache(nothing, np.zeros(tree.num_tokens, np.int64), None)
        expected = policy.hidden_states(embeds, positions, mask=None, cache=held, attention_plan=AttentionPlan.of(tree))
        found = policy.hidden_states(
            embeds[:, ~is_known],
            positions[..., ~is_known],
            mask=None,
            cache=PackedCache(is_known, np.arange(tree.num_tokens), held),
            attention_plan=AttentionPlan.of(tree, is_known),
        )
    torch.testing.assert_close(found, expected[:, ~is_known], rtol=0, atol=BOUND)


def test_a_stopped_gradient_through_the_prefix_is_caught(policy, sequences, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: log-probabilities are right, only gradients tell."""
    right = attention_cpu_tree.tree_backward

    def stopped(grad_out, out, saved, plan, scaling):
        own = AttentionPlan(plan.causal, plan.dense[:0], plan.num_queries, plan.num_keys)
        return right(grad_out, out, saved, plan, scaling)[:1] + right(grad_out, out, saved, own, scaling)[1:]

    monkeypatch.setattr(attention_cpu, "tree_backward", stopped)
    found = differences(policy, sequences)
    assert found["logprob"] < BOUND
    assert found["gradient"] > 1000 * BOUND


def test_positions_that_go_on_through_the_pack_are_caught(policy, sequences, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: branches that do not start again behind what they share."""
    right = TokenTree.of

    def unrestarted(sequences: list[RenderedPrompt]) -> TokenTree:
        tree = right(sequences)
        steps = np.maximum(np.diff(tree.position_ids, axis=1, prepend=0), 0)
        return replace(tree, position_ids=np.cumsum(steps, axis=1))

    monkeypatch.setattr(TokenTree, "of", unrestarted)
    assert min(differences(policy, sequences).values()) > 1000 * BOUND


def test_branches_that_see_each_other_are_caught(policy, sequences, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a causal mask over the whole pack."""

    def chain(tree: TokenTree) -> AttentionPlan:
        return AttentionPlan(np.array([[0, 0, tree.num_tokens]]), np.zeros((0, 4), np.int64), *[tree.num_tokens] * 2)

    monkeypatch.setattr(AttentionPlan, "of", chain)
    assert min(differences(policy, sequences).values()) > 1000 * BOUND


def test_positions_of_transformers_are_caught(policy, sequences, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: text behind a video continues behind its height and width, not its last frame."""
    right, model = TokenTree.of, policy.model
    seconds_per_pair = {
        clip.key: grid.seconds_per_pair for each in sequences for clip, grid in zip(each.clips, each.grids, strict=True)
    }

    def theirs(each: RenderedPrompt) -> np.ndarray:
        ids = torch.from_numpy(each.token_ids)[None]
        grids = [[grid.num_pairs, 2 * grid.num_rows, 2 * grid.num_columns] for grid in each.grids]
        positions, _ = model.model.get_rope_index(
            ids,
            mm_token_type_ids=2 * (ids == model.config.video_token_id).int(),
            video_grid_thw=torch.tensor(grids),
            second_per_grid_ts=torch.tensor([seconds_per_pair[clip.key] for clip in each.clips]),
        )
        return positions[:, 0].numpy()

    def with_theirs(sequences: list[RenderedPrompt]) -> TokenTree:
        tree = right(sequences)
        positions = tree.position_ids.copy()
        for path, each in zip(tree.paths, sequences, strict=True):
            positions[:, path] = theirs(each)
        return replace(tree, position_ids=positions)

    first_clip = np.flatnonzero(sequences[0].token_ids == model.config.video_token_id)
    np.testing.assert_array_equal(
        theirs(sequences[0])[:, : first_clip[-1] + 1], sequences[0].position_ids[:, : first_clip[-1] + 1]
    )
    monkeypatch.setattr(TokenTree, "of", with_theirs)
    assert min(differences(policy, sequences).values()) > 1000 * BOUND


def test_a_cache_dropped_by_recomputation_is_caught(policy, sequences) -> None:
    """Negative control: in training mode transformers takes the cache away from layers it computes again."""
    tree = TokenTree.of(sequences)
    is_known = np.arange(tree.num_tokens) < tree.ends[0]
    held = PackedCache(np.zeros(tree.num_tokens, np.bool_), np.zeros(tree.num_tokens, np.int64), None)
    embeds, positions = policy.embed_packed(tree).detach(), torch.from_numpy(tree.position_ids)[:, None]
    inputs = {"positions_3BT": positions[..., ~is_known], "mask": None}
    with torch.no_grad():
        policy.hidden_states(embeds, positions, mask=None, cache=held, attention_plan=AttentionPlan.of(tree))
    policy.model.train()
    policy.model.activation_checkpointing_enable({"use_reentrant": False})
    cache = PackedCache(is_known, np.arange(tree.num_tokens), held)
    with pytest.raises(RuntimeError, match="drops its cache"):
        policy.hidden_states(embeds[:, ~is_known], cache=cache, **inputs)
    with pytest.raises(ValueError, match=f"the plan has {(~is_known).sum()} queries on {tree.num_tokens} keys, but"):
        policy.model.model.language_model(
            inputs_embeds=embeds[:, ~is_known],
            position_ids=inputs["positions_3BT"],
            attention_mask={"full_attention": None},
            past_key_values=cache,
            use_cache=True,
            attention_plan=AttentionPlan.of(tree, is_known),
        )


@pytest.fixture
def stock(policy: QwenVLPolicy) -> Iterator[torch.nn.Module]:
    """Return the text model, on transformers' own attention while it is not switched."""
    text = policy.model.model.language_model
    text.config._attn_implementation = "sdpa"
    yield text
    use_text_attention(text)


@pytest.mark.parametrize("mask", [None, torch.tensor([[1] * 9, [0] * 3 + [1] * 6])], ids=["causal", "padded"])
def test_everything_else_attends_as_before(policy, stock, mask: Tensor | None) -> None:
    ids = torch.arange(18).view(2, 9)
    with torch.no_grad():
        expected = stock(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        use_text_attention(stock)
        found = stock(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    assert torch.equal(found, expected)


def test_generation_goes_on_as_before(policy, stock) -> None:
    ids = torch.arange(20, 29)[None]
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    expected = policy.model.generate(ids, **options)
    use_text_attention(stock)
    assert torch.equal(policy.model.generate(ids, **options), expected)


def test_decoding_is_left_to_who_decodes(policy) -> None:
    seen: list[tuple[int, torch.Size]] = []

    def attend(layer_idx: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        seen.append((layer_idx, key.shape))
        return torch.zeros_like(query).transpose(1, 2)

    with torch.no_grad():
        policy.hidden_states(
            torch.zeros(3, 1, 32),
            torch.zeros(3, 3, 1).long(),
            mask=None,
            cache=None,
            decode=SimpleNamespace(attend=attend),
        )
    assert seen == [(0, (3, 1, 1, 16)), (1, (3, 1, 1, 16))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "not 'llama': policy.checkpoint must name a Qwen2.5-VL model"),
        (
            {"layer_types": ["full_attention", "sliding_attention"]},
            "policy.checkpoint names a model with full_attention, sl",
        ),
        ({"attention_dropout": 0.1}, "full_attention and attention_dropout 0.1"),
    ],
)
def test_a_model_the_tree_does_not_know_is_refused(changes: dict[str, object], message: str) -> None:
    known = {"model_type": "qwen2_5_vl_text", "layer_types": ["full_attention"] * 2, "attention_dropout": 0.0}
    model = SimpleNamespace(config=SimpleNamespace(**known))
    use_text_attention(model)
    assert model.config._attn_implementation == "videozoom_text"
    with pytest.raises(TextModelError, match=message):
        use_text_attention(SimpleNamespace(config=SimpleNamespace(**known | changes)))
