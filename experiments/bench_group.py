"""One question's group as benchmarks see it: real prompts on drawn frames, in the order of LOVE-R1, random completions.

All members ask for clips of their own, so that nothing merges but what has to; the renderer, the positions and the
vision tower are the real ones.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.messages import Message, Prompt, Role, TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span
from videozoom.experiments.bench_sizes import FILLER, BenchSize, ClipShape

if TYPE_CHECKING:
    from videozoom.policies.rendering import Renderer

_DURATION_S = 999.0
_CLIP_S = 6.0
_STEP_2_START_S, _BEFORE_S, _BEHIND_S = 500.0, 200.0, 800.0
"""Where the clips of the first member start: that of the second step, and that of the third before or behind it."""
_TOKEN_PX = 28


class Scenario(StrEnum):
    """What a group's episodes are like."""

    ONE_STEP = "one_step"
    """One completion per member: single-step zooms."""
    TWO_STEPS = "two_steps"
    """A second one on the fast view and a slow clip."""
    THREE_STAR = "three_star"
    """A third one on two clips, the new one before the old one: the two steps share the fast view only."""
    THREE_CHAIN = "three_chain"
    """The same, the new one behind the old one: the third step goes on from the second's clip."""

    @property
    def num_steps(self) -> int:
        """Steps of each episode."""
        return {Scenario.ONE_STEP: 1, Scenario.TWO_STEPS: 2}.get(self, 3)


@dataclass(frozen=True, slots=True)
class BenchGroup:
    """Prompts of all steps and members, with a completion and a weight for each."""

    steps: tuple[tuple[Prompt, ...], ...]
    """By step and member."""
    completions: tuple[tuple[NDArray[np.int32], ...], ...]
    """Token ids, like `steps`."""
    weights: tuple[tuple[float, ...], ...]
    """What a token's log-probability counts in the loss, like `steps`: advantages over the number of all tokens."""

    @property
    def samples(self) -> list[tuple[Prompt, NDArray[np.int32]]]:
        """Prompts and completions, trajectory by trajectory."""
        return [
            (prompt, ids)
            for prompts, of_member in zip(
                zip(*self.steps, strict=True), zip(*self.completions, strict=True), strict=True
            )
            for prompt, ids in zip(prompts, of_member, strict=True)
        ]

    @property
    def sample_weights(self) -> list[float]:
        """In the order of `samples`."""
        return [weight for of_member in zip(*self.weights, strict=True) for weight in of_member]

    @property
    def clips(self) -> list[VideoClip]:
        """All different clips."""
        return list(
            {clip.key: clip for prompts in self.steps for prompt in prompts for clip in prompt.clips()}.values()
        )


def make_group(size: BenchSize, scenario: Scenario, renderer: "Renderer", *, seed: int) -> BenchGroup:
    """Return a group; completions have `completion_tokens` tokens on average, from half to one and a half times that.

    Raises:
        ValueError: the texts alone are longer than the size wants them.
    """
    rng = np.random.default_rng((seed, *scenario.encode()))
    layout = _Layout(size, renderer, rng)
    members = range(size.num_members)
    spans = [[_span(_STEP_2_START_S, member) for member in members]]
    spans.append([_span(_BEFORE_S if scenario is Scenario.THREE_STAR else _BEHIND_S, member) for member in members])
    clips = [[layout.clip(size.slow, span_s) for span_s in of_step] for of_step in spans[: scenario.num_steps - 1]]
    steps = tuple(
        tuple(layout.prompt([of_step[member] for of_step in clips[:step]]) for member in members)
        for step in range(scenario.num_steps)
    )
    lengths = _lengths(size.completion_tokens, scenario.num_steps * size.num_members, rng)
    ids = [_random_ids(length, renderer, size, rng) for length in lengths]
    # No advantage is 0: such a trajectory would not be learned from.
    advantages = np.where(np.arange(size.num_members) % 2, 1.0, -1.0) * rng.uniform(0.5, 1.5, size.num_members)
    weights = tuple(float(it) / sum(lengths) for it in advantages)
    starts = range(0, len(ids), size.num_members)
    return BenchGroup(
        steps, tuple(tuple(ids[start : start + size.num_members]) for start in starts), (weights,) * scenario.num_steps
    )


def _span(start_s: float, member: int) -> Span:
    return Span(start_s + 10.0 * member, start_s + 10.0 * member + _CLIP_S)


def _lengths(mean: int, count: int, rng: np.random.Generator) -> list[int]:
    """Return lengths that are spread evenly around their mean, in random order."""
    return [int(it) for it in rng.permutation(np.linspace(mean - mean // 2, mean + mean // 2, count).round())]


def _random_ids(length: int, renderer: "Renderer", size: BenchSize, rng: np.random.Generator) -> NDArray[np.int32]:
    special = set(renderer.tokenizer.all_special_ids) | {renderer.video_pad_id, renderer.turn_end_id}
    ordinary = np.setdiff1d(np.arange(size.text.vocabulary_size), list(special))
    return rng.choice(ordinary, length).astype(np.int32)


class _Layout:
    """Builds prompts whose parts have the token counts of a size."""

    def __init__(self, size: BenchSize, renderer: "Renderer", rng: np.random.Generator) -> None:
        self.rng = rng
        self.fast = self.clip(size.fast, Span(0.0, _DURATION_S))
        self.system = self.question = FILLER
        num_tokens = [len(renderer.render(self.prompt([])).token_ids)]
        num_tokens.append(num_tokens[0] - _num_after_clip(renderer, self.prompt([])))
        missing_before = size.prefix_tokens - num_tokens[1]
        missing_behind = size.question_tokens - (num_tokens[0] - num_tokens[1])
        if min(missing_before, missing_behind) < 0:
            raise ValueError(f"size {size.name}: {-min(missing_before, missing_behind)} tokens more than it wants")
        self.system += f" {FILLER}" * missing_before
        self.question += f" {FILLER}" * missing_behind

    def clip(self, shape: ClipShape, span_s: Span) -> VideoClip:
        num_frames = 2 * shape.num_pairs
        size = (num_frames, shape.num_rows * _TOKEN_PX, shape.num_columns * _TOKEN_PX, 3)
        return VideoClip(
            frames=self.rng.integers(0, 256, size, np.uint8),
            times_s=np.linspace(*span_s, num_frames, endpoint=False),
            span_s=span_s,
            key=f"drawn {shape} {span_s}",
        )

    def prompt(self, clips: list[VideoClip]) -> Prompt:
        parts: list[TextPart | VideoPart] = [TextPart(f"Full video [0, {_DURATION_S:g}]:"), VideoPart(self.fast)]
        for clip in sorted(clips, key=lambda clip: clip.span_s):
            start_s, end_s = clip.span_s
            parts += [TextPart(f"Subset zoom-in video clip [{start_s:g}, {end_s:g}]:"), VideoPart(clip)]
        parts.append(TextPart(self.question))
        return Prompt((Message(Role.SYSTEM, (TextPart(self.system),)), Message(Role.USER, tuple(parts))))


def _num_after_clip(renderer: "Renderer", prompt: Prompt) -> int:
    """Return how many tokens follow the last clip of a prompt and the token that closes it."""
    ids = renderer.render(prompt).token_ids
    last = int(np.flatnonzero(ids == renderer.video_pad_id)[-1])
    return len(ids) - last - 2
