"""What sampling a group costs: `generate` of transformers, per trajectory or in batches, or the cascade sampler."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from videozoom.envs.messages import Prompt
from videozoom.experiments.bench_group import BenchGroup
from videozoom.policies.base import Completion
from videozoom.policies.logprobs import completion_logprobs
from videozoom.policies.packed_cache import HeldPrefixes
from videozoom.policies.sampler import sample
from videozoom.policies.sampling import Sampling

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

Tokens = NDArray[np.int32]


@torch.no_grad()
def generate(policy: "QwenVLPolicy", prompts: Sequence[Prompt], num_tokens: int) -> list[Tokens]:
    """Return sampled token ids `[num_tokens]` of each prompt, by `generate` of transformers in one batch.

    Prompts are padded on the left; positions are given, because transformers' own are not those of the checkpoints.
    """
    from transformers import GenerationConfig

    rendered = [policy.renderer.render(prompt) for prompt in prompts]
    longest = max(len(prompt.token_ids) for prompt in rendered)
    pad_id = policy.model.config.text_config.pad_token_id
    token_ids_BT = torch.full((len(prompts), longest), pad_id)
    mask_BT = torch.zeros((len(prompts), longest), dtype=torch.long)
    # Text positions first: transformers finds out from them what is padding.
    positions_4BT = torch.zeros((4, len(prompts), longest), dtype=torch.long)
    for row, prompt in enumerate(rendered):
        length = len(prompt.token_ids)
        token_ids_BT[row, longest - length :] = torch.from_numpy(prompt.token_ids)
        mask_BT[row, longest - length :] = 1
        positions_4BT[0, row, longest - length :] = torch.arange(length)
        positions_4BT[1:, row, longest - length :] = torch.from_numpy(prompt.position_ids)
    device = policy.device
    sampled = policy.model.generate(
        inputs_embeds=policy.embed(token_ids_BT.to(device), rendered),
        attention_mask=mask_BT.to(device),
        position_ids=positions_4BT.to(device),
        generation_config=GenerationConfig(
            do_sample=True, top_k=0, top_p=1.0, max_new_tokens=num_tokens, pad_token_id=pad_id, eos_token_id=None
        ),
    )
    return [row.astype(np.int32) for row in sampled.cpu().numpy()]


def generate_each(policy: "QwenVLPolicy", group: BenchGroup, num_tokens: int) -> list[Tokens]:
    """Return completions of all steps, each trajectory by itself, as trainers do that spread a group over processes."""
    return [ids for prompts in group.steps for prompt in prompts for ids in generate(policy, [prompt], num_tokens)]


def generate_batched(policy: "QwenVLPolicy", group: BenchGroup, num_tokens: int) -> list[Tokens]:
    """Return the same, all trajectories of a step in one batch: `num_return_sequences` does no better."""
    return [ids for prompts in group.steps for ids in generate(policy, prompts, num_tokens)]


def sample_group(policy: "QwenVLPolicy", group: BenchGroup, num_tokens: int, *, seed: int) -> list[Completion]:
    """Return completions of all steps by our sampler, which holds the prefix from step to step."""
    completions = []
    held = [HeldPrefixes()]
    for step, prompts in enumerate(group.steps):
        rendered = [policy.renderer.render(prompt) for prompt in prompts]
        seeds = [(seed, member, step) for member in range(len(prompts))]
        completions += sample(policy, rendered, seeds, Sampling(max_new_tokens=num_tokens), held)
    return completions


@torch.no_grad()
def sampler_gap(policy: "QwenVLPolicy", group: BenchGroup, completions: Sequence[Completion]) -> float:
    """Return the largest difference of the sampler's log-probabilities from those of each trajectory by itself."""
    prompts = [prompt for of_step in group.steps for prompt in of_step]
    gaps = []
    for prompt, completion in zip(prompts, completions, strict=True):
        logprobs = completion_logprobs(policy, [(prompt, completion.token_ids)]).logprobs_BT[0]
        gaps.append(np.abs(logprobs.cpu().numpy() - completion.logprobs).max())
    return float(max(gaps))
