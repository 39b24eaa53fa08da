"""Settings of captions on a tree of spans, who writes them, and who answers questions about spans."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from videozoom.envs.captions.tree import WidthRule
from videozoom.experiments.config_data import Count, Positive, Section
from videozoom.experiments.config_endpoint import Endpoint


class Seer(Section):
    """Who looks at frames and says what they show."""

    kind: Literal["truth", "qwen_vl", "endpoint"] = "truth"
    """`truth`: what is known of generated videos, without a model; `qwen_vl`: a model in this process; `endpoint`: one
    behind a chat server."""
    checkpoint: Path | None = None
    """Folder of the Qwen2.5-VL checkpoint of `qwen_vl`."""
    endpoint: Endpoint | None = None
    """The chat server of `endpoint`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of its weights."""
    prompts: str = "captioner"
    """Folder of the prompt texts, or the name of a shipped one."""
    max_new_tokens: Count = 2048
    """Longest text it writes."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "qwen_vl" and self.checkpoint is None:
            raise ValueError("kind is qwen_vl, but there is no checkpoint; give the folder of one")
        if self.kind == "endpoint" and self.endpoint is None:
            raise ValueError("kind is endpoint, but there are no settings of one; give endpoint.base_url and .model")
        return self


class Shown(Section):
    """What of a span is shown: frames, and the tokens of each, its pixels divided by 28 x 28."""

    frames: Count
    """Most frames."""
    tokens: Count
    """Tokens of each frame."""


class Captions(Section):
    """The tree of `env.kind=caption_tree`, and what its captions are made of. Source: LongVideo-R1, released code."""

    leaf_s: Positive = 16.0
    """A video has as many parts, and each part of it, as make the lowest ones about this long, within the bounds of
    `least_width` and `most_width`."""
    least_width: Annotated[int, Field(ge=2)] = 4
    """Fewest parts of a part."""
    most_width: Annotated[int, Field(ge=2)] = 8
    """Most parts of a part."""
    captioner: Seer = Seer()
    times_from: Literal["high", "medium"] = "medium"
    """Highest level whose captions tell times, where the truth of generated videos writes them."""
    style: Literal["sentences", "notes"] = "sentences"
    """How the truth of generated videos words captions: `notes` are a word or two per scene, for tiny models."""
    video_qa: Seer | None = None
    """Who answers questions about low-level spans; null leaves the tool out."""
    caption_before_question: bool = False
    """Whether a question about a span is taken only after its caption was read."""
    fps: Positive = 2.0
    """Frames per second of a span, up to the numbers below. Frames are made as large as their tokens say."""
    high: Shown = Shown(frames=128, tokens=48)
    medium: Shown = Shown(frames=64, tokens=96)
    low: Shown = Shown(frames=32, tokens=192)
    question: Shown = Shown(frames=16, tokens=768)
    cache: Path | None = Path("runs/cache")
    """Folder of captions and answers that models wrote, by the content of the videos; null writes none."""
    cache_gib: Positive = 1.0
    """Most that they take there."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        WidthRule(self.leaf_s, self.least_width, self.most_width)
        return self
