"""The configuration of a run: every setting, its unit, its range and its default.

Only `experiments/` knows these classes; everything below takes plain values.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from videozoom.envs import span_rules
from videozoom.envs.spaces import MAX_STEPS_LIMIT
from videozoom.experiments.config_captions import Captions
from videozoom.experiments.config_data import Count, CountOrZero, Data, Fraction, NonNegative, Positive, Section
from videozoom.experiments.config_endpoint import Endpoint
from videozoom.experiments.love_r1_presets import PRESETS, check_preset
from videozoom.policies.tiny import TinySize

Optimizer = Literal["adamw", "muon"]
"""`muon`: Muon for the hidden matrices, AdamW for the rest."""


class Video(Section):
    """What is read from a video. A frame's tokens are its pixels divided by 28 x 28.

    Source: LOVE-R1, arXiv:2509.24786, Sec. 3 and the released settings.
    """

    fast_fps: Positive = 2.0
    fast_max_frames: Count = 768
    fast_frame_tokens: Count = 32
    slow_fps: Positive = 2.0
    slow_max_frames: Count = 32
    slow_frame_tokens: Count = 256
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
    prompts: str | None = None
    """Folder of the prompt texts, or the name of a shipped one; null for the one that is called like the protocol."""
    timestamps: bool = True
    """Whether the time in seconds is drawn on every frame."""
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
    max_length_s: Positive = 60.0
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
    span_rules: SpanRules = SpanRules()


class Reward(Section):
    """Weights of the reward's parts."""

    outcome: NonNegative = 1.0
    """The answer is right. Source: LOVE-R1, eq. 1."""
    overlap: NonNegative = 1.0
    """The forced zoom of a `zoom_step` episode touches the evidence. Source: LOVE-R1, eq. 2."""
    format: NonNegative = 0.0
    """Every step was a valid action."""
    evidence_f1: NonNegative = 0.0
    """What a `multi_step` episode looked at covers the evidence and nothing else. Source: LongVideo-R1, weight 1."""
    repeat: NonNegative = 0.0
    """Taken off for looking at the same again. Source: LongVideo-R1, weight 0.2."""
    cost: NonNegative = 0.0
    """Taken off for each step before the last. VideoZoomer has it as a penalty of turns, at 0."""
    zoom_used: NonNegative = 0.0
    """Taken off if there was any step before the last. Source: VideoZoomer, at 0."""
    many_frames: NonNegative = 0.0
    """Taken off if many frames were shown. Source: VideoZoomer, at 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("all weights are 0; give at least one part a positive weight")
        return self


class RewardRules(Section):
    """When rewards count. Source: VideoZoomer, released code, where all of it is off."""

    penalties_when: Literal["always", "correct", "incorrect"] = "always"
    """Which episodes `repeat`, `cost`, `zoom_used` and `many_frames` are taken from: all, or those with a right or a
    wrong answer."""
    many_frames: Count = 64
    """Frames of slow clips from which on the penalty of that name is taken."""
    needs_zoom: bool = False
    """Whether `outcome` and `format` are 0 in `multi_step` episodes without a zoom."""


class TinyModel(Section):
    """Sizes of a Qwen2.5-VL that is built from nothing."""

    hidden_size: Count = 128
    num_layers: Count = 3
    num_heads: Count = 4
    num_kv_heads: Count = 2
    intermediate_size: Count = 256
    vision_hidden_size: Count = 64
    vision_depth: Count = 1
    vision_num_heads: Count = 2
    vision_intermediate_size: Count = 128

    @model_validator(mode="after")
    def _check(self) -> Self:
        TinySize(**self.model_dump())
        return self


class FeatureCache(Section):
    """What is kept of a frozen vision tower's output, which never changes: each clip is computed once."""

    memory_gib: NonNegative = 1.0
    """CPU memory in each process. The fast view of a 7B model takes 88 MB at the paper's size."""
    folder: Path | None = None
    """Folder shared by all runs and processes of a machine, which outlives them; null writes none. It can be removed at
    any time."""
    disk_gib: Positive = 20.0
    """Most that the folder holds; what was not used for longest makes room."""


class Policy(Section):
    """The model that acts and learns."""

    kind: Literal["qwen_vl", "endpoint"] = "qwen_vl"
    """`qwen_vl`: a model in this process; `endpoint`: one behind a chat server, which acts and does not learn."""
    endpoint: Endpoint | None = None
    """The chat server of `endpoint`."""
    checkpoint: Path | None = None
    """Folder of a Qwen2.5-VL checkpoint; null builds `tiny`."""
    tiny: TinyModel = TinyModel()
    freeze_vision: bool = True
    """Whether reinforcement learning leaves the vision tower as it is."""
    feature_cache: FeatureCache = FeatureCache()
    gradient_checkpointing: bool = False
    """Whether the learner keeps only the inputs of layers and computes the rest again: less memory, a third slower."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    attention: Literal["sdpa", "flash_attention_2"] = "sdpa"
    """What computes attention in the vision tower."""
    text_attention: Literal["auto", "cpu", "cuda", "reference"] = "auto"
    """What computes attention where sequences share what they begin with: the flash kernels of the device, which `auto`
    takes where they work, or `reference`, which is slower and works everywhere."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "endpoint" and self.endpoint is None:
            raise ValueError("kind is endpoint, but there are no settings of one; give endpoint.base_url and .model")
        return self


class Rollout(Section):
    """Sampling of groups."""

    group_size: Annotated[int, Field(ge=2)] = 8
    """Episodes of one task, compared with each other."""
    tasks_per_iteration: Count = 16
    zoom_step_fraction: Fraction = 0.5
    """Share of groups with single-step zoom episodes; 0 is plain multi-step GRPO."""
    temperature: Positive = 1.0
    top_k: CountOrZero = 0
    """Only the k most likely tokens are drawn, and trained; 0 for all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Only the most likely tokens that together reach this probability are drawn, and trained."""
    max_new_tokens: Count = 48
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """A completion also ends when it contains one of these texts."""


class Grpo(Section):
    """Reinforcement learning."""

    num_iterations: CountOrZero = 40
    optimizer: Optimizer = "adamw"
    lr: Positive = 2e-4
    warmup_iterations: CountOrZero = 0
    weight_decay: NonNegative = 0.0
    grad_clip_norm: Positive = 1.0
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Positive = 0.2
    kl_coef: NonNegative = 0.0
    """Weight of the divergence from the cold-started model."""
    advantage_norm: Literal["std", "none"] = "std"
    """Whether a group's advantages are divided by their standard deviation."""
    loss_aggregation: Literal["token_mean", "sequence_mean"] = "token_mean"
    max_tokens_per_batch: Count = 32768
    """Distinct tokens of one forward and backward pass of the learner: what samples share counts once. No prompt with
    its completion may be longer."""
    eval_every: CountOrZero = 10
    """Iterations between evaluations; 0 evaluates only at the end."""
    checkpoint_every: CountOrZero = 10
    """Iterations between checkpoints; 0 keeps only the last."""


class Stage(Section):
    """One stage of supervised learning."""

    name: str
    objectives: Annotated[dict[Literal["reading", "grounding", "cot", "guess"], Positive], Field(min_length=1)]
    """What is imitated, each with its share of the samples. `reading`: say what short excerpts show, and when;
    `grounding`: the same for whole videos; `cot`: reason, then zoom or answer; `guess`: answer where the last step
    forces it and no clip shows what is asked. On captions: `reading` says what the first ones say in their order,
    `grounding` in any order."""
    excerpt_pairs: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 2, 3, 4)
    """How many moments the excerpts of `reading` show, in frame pairs; drawn from evenly."""
    wrong_clip_share: Annotated[float, Field(ge=0, le=0.65)] = 0.25
    """Share of `cot` that zooms again because the clip in view is a wrong one."""
    first_scene_bias: Fraction = 0.0
    """Share of first zooms in `cot` that go to the video's first scene instead of the one asked for: a planted
    annotator's mistake for reinforcement learning to mend."""
    sources: Annotated[dict[str, Positive], Field(min_length=1)]
    """Names in `data.cold_start`, each with its share of the samples."""
    num_steps: Count
    batch_size: Count = 32
    optimizer: Optimizer = "muon"
    lr: Positive = 2e-3
    warmup_steps: CountOrZero = 20
    decay_from: Fraction = 0.5
    """Share of the steps after which the learning rate falls linearly."""
    final_lr_fraction: Fraction = 0.05
    """Learning rate at the end as a share of `lr`."""
    until_loss: Positive | None = None
    """The decay begins, and the stage ends, that much earlier if the mean loss of 20 steps falls below this: what is
    learned all at once, after a while that depends on the seed, takes as long as it takes. `num_steps` is the most."""


class ColdStart(Section):
    """Supervised learning before reinforcement learning."""

    stages: tuple[Stage, ...] = ()
    """Run in order; none leaves the checkpoint as it is."""
    weight_decay: NonNegative = 0.0
    grad_clip_norm: Positive = 1.0
    max_tokens_per_batch: Count = 32768
    """As `grpo.max_tokens_per_batch`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [stage.name for stage in self.stages]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"two stages are called {repeated!r}; metrics are kept by stage, so names must differ")
        return self


class RayWorkers(Section):
    """Processes; 0 keeps the work in the main process."""

    num_env_runners: CountOrZero = 0
    num_learners: CountOrZero = 0


class Eval(Section):
    """Evaluation."""

    num_tasks: Count = 300
    """The first tasks of `data.eval`; all if there are fewer."""
    batch_size: Count = 32
    """Episodes that act together."""
    max_new_tokens: Count = 48
    policies: Annotated[tuple[Literal["model", "never", "uniform", "random", "oracle"], ...], Field(min_length=1)] = (
        "model",
    )
    """What `videozoom eval` compares: the model, and rules that choose the clip; the model, if there is one, answers
    from their clips."""


class Tracking(Section):
    """Where metrics go besides `metrics.jsonl`."""

    wandb: bool = False
    wandb_mode: Literal["offline", "online"] = "offline"
    project: str = "videozoom"


class Demo(Section):
    """What `videozoom demo` does beyond a training."""

    multi_step: bool = False
    """Whether multi-step GRPO is trained as well, from the same cold start, to compare (LOVE-R1, Table 2b)."""
    notes: tuple[str, ...] = ()
    """Sentences that readers of the results table are told, besides those the run itself knows."""


class Config(Section):
    """Everything a run depends on.

    Example:
        >>> Config(name="try", seed=3).run_dir
        PosixPath('runs/try')
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "run"
    """Letters, digits, dots, dashes and underscores."""
    seed: CountOrZero = 0
    run_dir: Path = Field(default_factory=lambda values: Path("runs", values.get("name", "run")))
    """Folder of the results; `runs/<name>` unless given."""
    data: Data = Data()
    video: Video = Video()
    protocol: Protocol = Protocol()
    env: Env = Env()
    captions: Captions = Captions()
    reward: Reward = Reward()
    reward_rules: RewardRules = RewardRules()
    policy: Policy = Policy()
    rollout: Rollout = Rollout()
    grpo: Grpo = Grpo()
    cold_start: ColdStart = ColdStart()
    ray: RayWorkers = RayWorkers()
    eval: Eval = Eval()
    tracking: Tracking = Tracking()
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_preset(self.protocol.preset, self.protocol.name)
        kind = "caption_tree" if self.protocol.name == "longvideo_r1" else "video_zoom"
        if self.env.kind != kind:
            raise ValueError(f"protocol.name is {self.protocol.name}, which needs env.kind={kind}, not {self.env.kind}")
        for index, stage in enumerate(self.cold_start.stages):
            for source in stage.sources:
                if source not in self.data.cold_start:
                    known = ", ".join(sorted(self.data.cold_start)) or "none"
                    raise ValueError(
                        f"cold_start.stages.{index}.sources names {source!r}, but data.cold_start has: {known}"
                    )
        return self
