"""Settings of the world: what is read from a video, how it is told, which spans may be zoomed into."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from videozoom.envs import span_rules
from videozoom.envs.spaces import MAX_STEPS_LIMIT
from videozoom.experiments.config_data import Count, CountOrZero, Fraction, NonNegative, Positive, Section
from videozoom.experiments.love_r1_presets import PRESETS


class Video(Section):
    """What is read from a video. A frame's tokens are its pixels divided by 28 x 28.

    Source: LOVE-R1, arXiv:2509.24786, Sec. 3 and the released settings.
    """

    fast_fps: Positive = 2.0
    """Frames per second of the fast view, as long as they are not too many."""
    fast_max_frames: Count = 768
    """Most frames of the fast view."""
    fast_frame_tokens: Count = 32
    """Tokens of each."""
    slow_fps: Positive = 2.0
    """Frames per second of a slow clip."""
    slow_max_frames: Count = 32
    """Most frames of a slow clip."""
    slow_frame_tokens: Count = 256
    """Tokens of each."""
    double_fast_below_s: NonNegative = 0.0
    """Videos shorter than this get twice the tokens in the fast view; 0 for none."""
    double_slow_below_s: NonNegative = 0.0
    """Videos shorter than this get twice the tokens in slow clips; 0 for none."""
    spacing: Literal["spread", "stride"] = "spread"
    """`spread`: an even number of frames, the first and the last included (LOVE-R1). `stride`: every n-th frame, and
    clips of any number of frames (VideoZoomer)."""
    sizing: Literal["budget", "bounds"] = "budget"
    """Whether frames are made as large as their tokens say (LOVE-R1), or keep their size within bounds, of which their
    tokens are the upper one (VideoZoomer)."""
    min_frame_tokens: Count = 1
    """The lower bound; smaller frames are enlarged."""
    resize: Literal["bicubic", "area", "swscale"] = "bicubic"
    """`bicubic` is antialiased, as in the released code; `area` the mean over a box, exact where the size divides the
    source's; `swscale` bicubic by the decoder, cheaper and a little off."""
    backend: Literal["pyav", "pyav_process", "decord", "torchcodec"] = "pyav"
    """Library that decodes. `pyav_process` is `pyav` in a process of its own, where a file that hangs or crashes the
    decoder is an error like any other. `decord` and `torchcodec` are installed by extras of these names, run in a
    process of their own, and refuse kinds of files that they are known to get wrong."""
    decode_limit_s: Positive = 300.0
    """Seconds after which that process is stopped, and the video counts as unreadable."""
    max_filled: Fraction = 0.0
    """Largest share of a clip's frames that may show a neighbour because they cannot be decoded; a clip with more is an
    error. Accepted ones are counted in the metrics."""
    cache_mib: CountOrZero = 512
    """Memory for decoded frames in each process."""
    cache: Path | None = Path("runs/cache")
    """Folder of decoded fast views, relative to the working directory, shared by all runs and processes of a machine;
    null writes none. It can be removed at any time."""
    cache_gib: Positive = 20.0
    """Most that the folder holds; what was not used for longest makes room. A fast view takes 51 MB at the paper's
    size. 5 % of the disk, at most 5 GiB, stays free in any case."""
    cold_cache_gib: NonNegative = 0.0
    """Most that it holds besides in compressed fast views, half as large and a tenth of a second slower; 0 for none."""


class Protocol(Section):
    """How observations become prompts and text becomes actions."""

    name: Literal["love_r1", "videozoomer", "longvideo_r1"] = "love_r1"
    """Which system's prompts and actions."""
    prompts: str | None = None
    """Folder of the prompt texts, or the name of a shipped one; null for the one that is called like the protocol."""
    timestamps: bool | None = None
    """Whether the time in seconds is drawn on every frame; null is yes for LOVE-R1 and no for VideoZoomer, which has
    times in text."""
    timestamp_scale: Count = 2
    """Pixels per cell of the 3x5 digits on small frames."""
    timestamp_plate: bool = False
    """Whether the digits stand on a black plate, so that they look the same in front of any picture."""
    parser: Literal["rl", "eval", "released_rl", "released_eval", "first"] | None = None
    """How completions are read (not for VideoZoomer): as in released training or evaluation code, where they differ,
    with the mistakes of both mended or, for LOVE-R1, as they are (`released_`); `first` (LongVideo-R1 only): what is
    finished first counts. null is `rl` for LOVE-R1, `first` for LongVideo-R1."""
    template: Literal["a", "b", "c"] = "c"
    """LOVE-R1: where zoomed clips stand. `c`: behind the whole fast view (the paper's choice); `a`: in place of the
    fast frames they show, all in one run of video; `b`: the same as separate videos. Source: LOVE-R1, Fig. 2."""
    force_answer: bool = True
    """LOVE-R1: whether the last step begins with the words of an answer."""
    force_after_malformed: bool = False
    """LOVE-R1: whether every step after a malformed or refused one does, too."""
    preset: Literal[(*PRESETS, "rl", "eval", "sft", "no_tool")] | None = None  # type: ignore[valid-type]
    """LOVE-R1: which published settings hold where the configuration gives none: of the `paper` (null), or of its
    released training, cold start or evaluation code (`released_rl`, ...; all in `love_r1_presets.py`).
    VideoZoomer: which variant of its prompts: of its reinforcement learning (`rl`; null), its evaluation (`eval`,
    answers in a box), its supervised data (`sft`, replies without tags), or of the model without the tool (`no_tool`),
    which needs `env.max_steps=1`."""
    frames: Literal["images", "pairs", "video"] | None = None
    """How VideoZoomer is shown frames: each as an image after its time, as published; in pairs, for half the tokens; or
    as one video without times. null is `images`, but `video` without the tool."""


class SpanRules(Section):
    """Which spans may be zoomed into. Source: LOVE-R1, released training code; the paper states no rules."""

    min_length_s: NonNegative = 1.0
    """Shorter spans are refused."""
    max_length_s: Positive = 60.0
    """Longer spans are refused."""
    max_fraction: Fraction = 0.5
    """Longest span as a share of the video."""
    repeat_iou: Fraction = 0.7
    """A span that overlaps an earlier one by more than this is refused; 1 allows repeats."""
    out_of_bounds: Literal["reject", "clamp"] = "reject"
    """What happens to a span that leaves the video."""
    tolerance_s: NonNegative = 1.0
    """With `reject`: how far a span may end behind the video."""
    pad_s: NonNegative = 0.0
    """Added at both ends before the lengths are checked."""
    ends_at_whole_s: bool = False
    """Whether spans end at the video's last whole second at the latest."""
    expand_to_s: NonNegative = 0.0
    """A valid span shorter than this is widened around its middle; 0 leaves spans as they are."""
    expand_below_s: NonNegative = 0.0
    """Only spans shorter than this are widened; 0 for all that are shorter than `expand_to_s`."""
    expand_max_fraction: Fraction = 0.125
    """Spans are not widened beyond this share of the video."""
    reversed_spans: Literal["sort", "reject"] = "sort"
    """What happens to a span that ends before it starts."""
    max_frames: CountOrZero = 0
    """Most frames that a span may ask for at a rate of its own (VideoZoomer: 16); 0 leaves it to `video`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        span_rules.SpanRules(**self.model_dump())
        return self


class Env(Section):
    """The world's rules."""

    kind: Literal["video_zoom", "caption_tree"] = "video_zoom"
    """What is looked at: frames of the video, or captions of its parts (see `captions`)."""
    max_steps: Annotated[int, Field(ge=1, le=MAX_STEPS_LIMIT)] = 3
    """Steps of an episode, the last one forced to answer."""
    mask_unreadable: bool = True
    """Whether a last step without a readable answer is masked from training (the paper) or scores 0 (the released
    code's format rule); masked, writing nothing readable is a way out of being wrong."""
    whole_clip_if_refused: bool = False
    """Whether a step that is no valid action shows a slow clip of the whole video if no clip is held yet (LOVE-R1's
    released evaluation code)."""
    span_rules: SpanRules = SpanRules()
