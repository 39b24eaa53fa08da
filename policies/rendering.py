"""The one renderer: messages to token ids, clip grids and positions, for sampling and learning alike."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.messages import Message, Prompt, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.sampling import FRAMES_PER_PATCH
from videozoom.policies.positions import Grid, prompt_positions, text_positions
from videozoom.policies.tokenizer import TURN_END, TURN_START, VIDEO_PAD, VISION_END, VISION_START

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, eq=False)
class RenderedPrompt:
    """A prompt as the model reads it. T counts tokens, placeholders of clips included."""

    token_ids: NDArray[np.int64]
    """`[T]`"""
    position_ids: NDArray[np.int64]
    """`[3, T]`: time, row, column."""
    clips: tuple[VideoClip, ...]
    """In the order of their placeholders."""
    grids: tuple[Grid, ...]
    clip_starts: tuple[int, ...] = ()
    """Where each clip's placeholders start."""

    @property
    def key(self) -> tuple[bytes, tuple[str, ...]]:
        """Prompts with equal keys have equal tokens, positions and pixels."""
        return self.token_ids.tobytes(), tuple(clip.key for clip in self.clips)

    @property
    def num_visual_tokens(self) -> int:
        """Placeholder tokens of all clips."""
        return sum(grid.num_tokens for grid in self.grids)

    def completion_positions(self, num_tokens: int) -> NDArray[np.int64]:
        """Return positions `[3, num_tokens]` of the tokens sampled after the prompt."""
        return text_positions(num_tokens, int(self.position_ids.max()) + 1)


class Renderer:
    """Renders prompts for one tokenizer and one vision tower."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        tokens_per_second: float,
        patch_px: int = 14,
        merge: int = 2,
    ) -> None:
        """Take a tokenizer with Qwen's special tokens.

        Raises:
            ValueError: the tokenizer lacks a special token.
        """
        self.tokenizer = tokenizer
        self.tokens_per_second = tokens_per_second
        self.patch_px, self.merge = patch_px, merge
        self.video_pad_id = self._special_id(VIDEO_PAD)
        self.turn_end_id = self._special_id(TURN_END)
        # Not a decorator: a cache on the class would keep every renderer alive.
        self._encode = lru_cache(maxsize=4096)(self._encode_uncached)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without the cache."""
        return _rebuild, (self.tokenizer, self.tokens_per_second, self.patch_px, self.merge)

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Return the token ids, positions and clips of `prompt`, ready for the assistant to continue."""
        builder = _Builder(self)
        for message in prompt.messages:
            builder.add_message(message)
        builder.add_text(f"{TURN_START}{Role.ASSISTANT}\n")
        builder.flush()
        builder.add_text(prompt.assistant_prefix)
        return builder.build()

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of `text`; special tokens written in it are recognised."""
        return self._encode(text)

    def encode_completion(self, text: str) -> NDArray[np.int32]:
        """Return the ids of a completion written by hand, end of turn included: a target for supervised learning."""
        return np.array([*self.encode(text), self.turn_end_id], np.int32)

    def decode_completion(self, token_ids: NDArray[np.int32]) -> str:
        """Return the text of sampled ids, without the end of turn."""
        ids = token_ids.tolist()
        if ids and ids[-1] == self.turn_end_id:
            ids.pop()
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def grid(self, clip: VideoClip) -> Grid:
        """Return the token grid of `clip`; its rate is the declared one, frames per length of the span."""
        num_frames, height, width, _ = clip.frames.shape
        token_px = self.patch_px * self.merge
        return Grid(
            num_pairs=-(-num_frames // FRAMES_PER_PATCH),
            num_rows=height // token_px,
            num_columns=width // token_px,
            seconds_per_pair=FRAMES_PER_PATCH * clip.span_s.length_s / num_frames,
        )

    def _encode_uncached(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _special_id(self, token: str) -> int:
        token_id = self.tokenizer.convert_tokens_to_ids(token)
        if not isinstance(token_id, int) or token_id == self.tokenizer.unk_token_id:
            raise ValueError(f"the tokenizer has no token {token!r}: a Qwen2.5-VL tokenizer is needed")
        return token_id


def _rebuild(tokenizer: "PreTrainedTokenizerBase", tokens_per_second: float, patch_px: int, merge: int) -> Renderer:
    return Renderer(tokenizer, tokens_per_second=tokens_per_second, patch_px=patch_px, merge=merge)


class _Builder:
    """Collects text until a clip interrupts it, so that text is tokenised in the pieces the chat template gives."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self.text = ""
        self.ids: list[int] = []
        self.segments: list[int | Grid] = []
        self.clips: list[VideoClip] = []
        self.clip_starts: list[int] = []

    def add_message(self, message: Message) -> None:
        self.add_text(f"{TURN_START}{message.role}\n")
        is_ended = False
        for part in message.content:
            if isinstance(part, VideoPart):
                self.add_clip(part.clip, goes_on=part.goes_on)
            elif isinstance(part, TextPart) or not part.token_ids:
                self.add_text(part.text)
            else:
                is_ended = self.add_sampled(part)
        self.add_text("\n" if is_ended else f"{TURN_END}\n")

    def add_sampled(self, part: SampledPart) -> bool:
        """Add sampled tokens as they are and return whether the end of the turn was among them."""
        self.flush()
        self.ids.extend(part.token_ids)
        self.segments.append(len(part.token_ids))
        return part.token_ids[-1] == self.renderer.turn_end_id

    def add_text(self, text: str) -> None:
        self.text += text

    def add_clip(self, clip: VideoClip, *, goes_on: bool = False) -> None:
        if goes_on and self.text == VISION_END:
            self.text = ""
        else:
            self.add_text(VISION_START)
        self.flush()
        grid = self.renderer.grid(clip)
        self.clip_starts.append(len(self.ids))
        self.ids.extend([self.renderer.video_pad_id] * grid.num_tokens)
        self.segments.append(grid)
        self.clips.append(clip)
        self.add_text(VISION_END)

    def flush(self) -> None:
        ids = self.renderer.encode(self.text)
        self.ids.extend(ids)
        self.segments.append(len(ids))
        self.text = ""

    def build(self) -> RenderedPrompt:
        self.flush()
        return RenderedPrompt(
            token_ids=np.array(self.ids, np.int64),
            position_ids=prompt_positions(self.segments, self.renderer.tokens_per_second),
            clips=tuple(self.clips),
            grids=tuple(segment for segment in self.segments if isinstance(segment, Grid)),
            clip_starts=tuple(self.clip_starts),
        )
