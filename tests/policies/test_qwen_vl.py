"""Checkpoints, rendering, and the agreement of sampler and learner."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_prompts import prompt_on, random_clip
from safetensors.torch import load_file, save_file
from transformers.utils import import_utils

from videozoom.envs.tasks import Span
from videozoom.policies.base import FinishReason, Request
from videozoom.policies.logprobs import completion_logprobs
from videozoom.policies.qwen_checkpoint import CheckpointError, check_checkpoint
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.rendering import RenderedPrompt
from videozoom.policies.sampling import Sampling
from videozoom.policies.tokenizer import VIDEO_PAD


def requests_of(prompts) -> list[Request]:
    return [Request(prompt, None, None, seed=(7, index)) for index, prompt in enumerate(prompts)]


def max_gap(policy, prompts, completions) -> float:
    """Return the largest difference between sampled and recomputed log-probabilities."""
    pairs = [(prompt, completion.token_ids) for prompt, completion in zip(prompts, completions, strict=True)]
    with torch.no_grad():
        learned = completion_logprobs(policy, pairs).logprobs_BT
    return max(
        float(np.abs(learned[row, : len(completion.logprobs)].numpy() - completion.logprobs).max())
        for row, completion in enumerate(completions)
    )


@pytest.fixture
def prompts():
    return [prompt_on(f"v{index % 3}", num_clips=index % 3, prefix="I see." * (index % 2)) for index in range(9)]


def test_sampler_and_learner_agree(policy, prompts) -> None:
    completions = policy.act(requests_of(prompts))
    assert max_gap(policy, prompts, completions) < 1e-5


def test_agreement_breaks_with_other_pixels(policy, prompts) -> None:
    """Control: the agreement test sees a learner that is shown other frames."""
    completions = policy.act(requests_of(prompts))
    others = [prompt_on(f"w{index % 3}", num_clips=index % 3, prefix="I see." * (index % 2)) for index in range(9)]
    assert max_gap(policy, others, completions) > 1e-4


def test_agreement_breaks_with_other_positions(policy, prompts, monkeypatch) -> None:
    """Control: the agreement test sees completions placed one position off."""
    completions = policy.act(requests_of(prompts))
    right = RenderedPrompt.completion_positions
    monkeypatch.setattr(RenderedPrompt, "completion_positions", lambda self, n: right(self, n) + 9)
    assert max_gap(policy, prompts, completions) > 1e-5


def test_sharp_attention_keeps_sampler_and_learner_together(policy, prompts) -> None:
    """Trained models attend sharply, which magnifies rounding; control: in single precision it is seen."""
    with torch.no_grad():
        for layer in policy.model.model.language_model.layers:
            layer.self_attn.q_proj.weight.mul_(300.0)
            layer.self_attn.k_proj.weight.mul_(300.0)
    many = prompts * 8
    precise = max_gap(policy, many, policy.act(requests_of(many)))
    policy.is_precise = False
    single = max_gap(policy, many, policy.act(requests_of(many)))
    assert precise < 1e-5
    assert precise < single / 10


def test_a_completion_does_not_depend_on_its_batch(policy, prompts) -> None:
    together = policy.act(requests_of(prompts))
    for request, completion in zip(requests_of(prompts), together, strict=True):
        [alone] = policy.act([request])
        assert alone.token_ids.tolist() == completion.token_ids.tolist()
        np.testing.assert_allclose(alone.logprobs, completion.logprobs, atol=1e-5)


def test_seeds_differ(policy) -> None:
    prompt = prompt_on("v")
    texts = {c.text for c in policy.act([Request(prompt, None, None, seed=(index,)) for index in range(8)])}
    assert len(texts) > 4


def test_greedy_ignores_the_seed(policy) -> None:
    greedy = policy.greedy(6)
    first, second = greedy.act([Request(prompt_on("v"), None, None, seed=(index,)) for index in range(2)])
    assert first.token_ids.tolist() == second.token_ids.tolist()


def test_sampling_follows_the_distribution(policy) -> None:
    prompt = prompt_on("v")
    draws = policy.with_sampling(Sampling(max_new_tokens=1)).act(
        [Request(prompt, None, None, seed=(index,)) for index in range(2000)]
    )
    observed = np.bincount([int(c.token_ids[0]) for c in draws], minlength=len(policy.renderer.tokenizer)) / 2000
    placeholders = [policy.model.config.video_token_id, policy.model.config.image_token_id]
    assert observed[placeholders].sum() == 0
    tokens = np.setdiff1d(np.arange(len(observed)), placeholders)
    with torch.no_grad():
        learned = completion_logprobs(policy, [(prompt, tokens[index : index + 1]) for index in range(len(tokens))])
    expected, observed = learned.logprobs_BT[:, 0].exp().numpy(), observed[tokens]
    assert expected.sum() == pytest.approx(1.0, abs=1e-4)
    # Five standard errors of the most likely token.
    assert np.abs(observed - expected).max() < 5 * np.sqrt(expected.max() / 2000)


def test_placeholders_are_never_sampled(policy) -> None:
    hidden = torch.randn(4, policy.model.config.text_config.hidden_size)
    logits = policy.logits(hidden)
    pad = policy.renderer.tokenizer.convert_tokens_to_ids(VIDEO_PAD)
    assert torch.isneginf(logits[:, pad]).all()
    assert torch.isfinite(logits).sum() == logits.numel() - 2 * len(logits)


def test_length_limit_is_reported(policy) -> None:
    completions = policy.act(requests_of([prompt_on("v")] * 4))
    for completion in completions:
        is_full = len(completion.token_ids) == 12 and completion.token_ids[-1] != policy.renderer.turn_end_id
        assert completion.finish_reason == (FinishReason.LENGTH if is_full else FinishReason.STOP)


def test_equal_features_from_batched_windows_and_from_the_loop(tiny_folder: Path) -> None:
    policy = QwenVLPolicy.from_checkpoint(tiny_folder)
    # Sides of three tokens give windows of unequal length.
    clips = [
        random_clip("a", 4, 28, Span(0, 4)),
        random_clip("b", 6, 84, Span(0, 6)),
        random_clip("c", 2, 168, Span(0, 2)),
    ]
    with torch.no_grad():
        batched = policy.features(clips)
        policy.features.clear()
        policy.model.model.visual.config._attn_implementation = "sdpa"
        looped = policy.features(clips)
    for ours, theirs in zip(batched, looped, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_frozen_features_are_computed_once(policy, monkeypatch) -> None:
    calls = []
    compute = policy.features._compute
    monkeypatch.setattr(policy.features, "_compute", lambda clips: calls.append(len(clips)) or compute(clips))
    clip = random_clip("a", 4, 28, Span(0, 4))
    policy.features([clip, clip])
    policy.features([clip])
    assert calls == [1]


def test_features_carry_gradients_unless_frozen(tiny_folder: Path) -> None:
    policy = QwenVLPolicy.from_checkpoint(tiny_folder, freeze_vision=False)
    [features] = policy.features([random_clip("a", 4, 28, Span(0, 4))])
    assert features.requires_grad
    policy.freeze_vision(True)
    [features] = policy.features([random_clip("a", 4, 28, Span(0, 4))])
    assert not features.requires_grad


def test_rendered_prompt_by_hand(policy) -> None:
    rendered = policy.renderer.render(prompt_on("v", num_clips=1, prefix="I get the answer.\n\n"))
    text = policy.renderer.tokenizer.decode(rendered.token_ids)
    assert text == (
        "<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\nFull video [0, 32]:<|vision_start|>"
        + VIDEO_PAD * 8
        + "<|vision_end|>Subset zoom-in video clip [0, 4]:<|vision_start|>"
        + VIDEO_PAD * 8
        + "<|vision_end|>Which sign?<|im_end|>\n<|im_start|>assistant\nI get the answer.\n\n"
    )
    assert rendered.num_visual_tokens == 16
    assert rendered.position_ids.shape == (3, len(rendered.token_ids))
    assert [grid.seconds_per_pair for grid in rendered.grids] == [4.0, 2.0]


def test_forced_prefix_and_written_prefix_give_the_same_tokens(policy) -> None:
    """The cold start writes prefixes that reinforcement learning forces: they must not differ by a token."""
    prefix, rest = "I need to zoom in on the video.\n\n", "The red scene is at 12 to 16. \\boxed{[12, 16]}"
    written = [*policy.renderer.render(prompt_on("v")).token_ids, *policy.renderer.encode(prefix + rest)]
    forced = [*policy.renderer.render(prompt_on("v", prefix=prefix)).token_ids, *policy.renderer.encode(rest)]
    assert written == forced


def test_any_text_survives_the_tokenizer(policy) -> None:
    text = "Größe 123 — \\boxed{[1.5, 20]}\n\n  done 漢字"
    ids = policy.renderer.encode_completion(text)
    assert policy.renderer.decode_completion(ids) == text


def test_checkpoint_round_trip(policy, tmp_path: Path) -> None:
    again = QwenVLPolicy.from_checkpoint(policy.save(tmp_path / "again"), sampling=Sampling(max_new_tokens=12))
    for (name, ours), (_, theirs) in zip(policy.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    prompt = prompt_on("v", num_clips=1)
    assert again.act(requests_of([prompt]))[0].text == policy.act(requests_of([prompt]))[0].text


@pytest.mark.parametrize("content", [None, '{"model_type": "qwen2"}', "not json"])
def test_an_unusable_checkpoint_is_named(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "model"
    if content is not None:
        folder.mkdir()
        (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="model"):
        QwenVLPolicy.from_checkpoint(folder)


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def without_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights[min(weights)]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def of_other_sizes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (folder / "config.json").write_text(json.dumps(config))


def without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without_weights, "cannot load the checkpoint"),
        (cut_short, "cannot load the checkpoint"),
        (without_a_weight, r"lacks weights: \d, like "),
        (of_other_sizes, r"has misshapen weights: \d+, like .*mlp"),
        (without_tokenizer, "a Qwen2.5-VL tokenizer is needed"),
    ],
)
def test_a_damaged_checkpoint_is_refused_not_repaired(
    damage: Callable[[Path], None], sentence: str, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    QwenVLPolicy.from_checkpoint(folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=sentence):
        QwenVLPolicy.from_checkpoint(folder)


def test_attention_that_is_not_installed_is_refused(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_utils, "is_flash_attn_2_available", lambda: False)
    assert check_checkpoint(tiny_folder).model_type == "qwen2_5_vl"
    with pytest.raises(CheckpointError, match=r"policy\.attention is 'flash_attention_2', which needs flash-attn"):
        check_checkpoint(tiny_folder, attention="flash_attention_2")


def test_features_and_placeholders_must_match(policy) -> None:
    rendered = policy.renderer.render(prompt_on("v"))
    broken = replace(rendered, clips=(random_clip("other", 4, 28, Span(0, 4)),))
    with pytest.raises(RuntimeError, match="placeholder"):
        policy.embed(torch.from_numpy(rendered.token_ids).unsqueeze(0), [broken])
