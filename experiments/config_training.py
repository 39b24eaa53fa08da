"""Settings of sampling, of both ways to learn, and of the processes that do it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from videozoom.experiments.config_data import Count, CountOrZero, Fraction, NonNegative, Positive, Section
from videozoom.experiments.config_reward import PenaltyChange

Optimizer = Literal["adamw", "muon"]
"""`muon`: Muon for the hidden matrices, AdamW for the rest."""


class Rollout(Section):
    """Sampling of groups."""

    group_size: Annotated[int, Field(ge=2)] = 8
    """Episodes of one task, compared with each other."""
    tasks_per_iteration: Count = 16
    """Groups of an iteration, of both kinds."""
    zoom_step_fraction: Fraction = 0.5
    """Share of groups with single-step zoom episodes; 0 is plain multi-step GRPO."""
    resampling_rounds: CountOrZero = 0
    """How often in an iteration groups without a signal, such as all right or all wrong, make room for groups of other
    tasks; what is left then is trained as it is. 0 for never; VideoZoomer, which samples whole batches again until one
    is full: 256."""
    temperature: Positive = 1.0
    """Of sampling; the learner uses the same distribution."""
    top_k: CountOrZero = 0
    """Only the k most likely tokens are drawn, and trained; 0 for all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Only the most likely tokens that together reach this probability are drawn, and trained."""
    max_new_tokens: Count = 48
    """Longest completion of a step."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """A completion also ends when it contains one of these texts."""


class Grpo(Section):
    """Reinforcement learning."""

    num_iterations: CountOrZero = 40
    """Updates of the weights; 0 leaves reinforcement learning out."""
    optimizer: Optimizer = "adamw"
    """`muon`: Muon for the hidden matrices, AdamW for the rest."""
    lr: Positive = 2e-4
    """Learning rate after the warmup."""
    warmup_iterations: CountOrZero = 0
    """Iterations in which the learning rate rises."""
    weight_decay: NonNegative = 0.0
    """Of the optimizer."""
    grad_clip_norm: Positive = 1.0
    """Gradients are clipped to this norm."""
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far below 1 an importance ratio counts."""
    clip_high: Positive = 0.2
    """How far above 1 an importance ratio counts."""
    kl_coef: NonNegative = 0.0
    """Weight of the divergence from the cold-started model."""
    entropy_coef: NonNegative = 0.0
    """Weight of a bonus for the entropy of what tokens are drawn from, which slows the loss of variety. Source:
    VideoZoomer, weight 0.001. Takes memory: three numbers for each token of the vocabulary wherever one is trained."""
    advantage_norm: Literal["std", "none"] = "std"
    """Whether a group's advantages are divided by their standard deviation."""
    loss_aggregation: Literal["token_mean", "sequence_mean"] = "token_mean"
    """Whether every token of the batch weighs the same, or every completion."""
    max_tokens_per_batch: Count = 32768
    """Distinct tokens of one forward and backward pass of the learner: what samples share counts once. No prompt with
    its completion may be longer."""
    penalties: PenaltyChange = PenaltyChange()
    """How penalties change over the iterations."""
    eval_every: CountOrZero = 10
    """Iterations between evaluations; 0 evaluates only at the end."""
    checkpoint_every: CountOrZero = 10
    """Iterations between checkpoints; 0 keeps only the last."""


class GiveUp(Section):
    """When a stage of the cold start is given up."""

    after: Count
    """Steps of the stage."""
    above: Positive
    """Mean loss of the last 20 steps that is too high by then."""


class Stage(Section):
    """One stage of supervised learning."""

    name: str
    """The phase of its metrics."""
    objectives: Annotated[dict[Literal["reading", "grounding", "marks", "cot", "guess"], Positive], Field(min_length=1)]
    """What is imitated, each with its share of the samples. `reading`: say what short excerpts show, and when;
    `grounding`: the same for whole videos; `marks`: read the marks in excerpts (not on captions); `cot`: reason, then
    zoom or answer; `guess`: answer where the last step forces it and no clip shows what is asked. On captions:
    `reading` says what the first ones say in their order, `grounding` in any order."""
    excerpt_pairs: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 2, 3, 4)
    """How many moments the excerpts of `reading` show, in frame pairs (`protocol.frames=images`: in frames); drawn from
    evenly."""
    wrong_clip_share: Annotated[float, Field(ge=0, le=0.65)] = 0.25
    """Share of `cot` that zooms again because the clip in view is a wrong one."""
    first_scene_bias: Fraction = 0.0
    """Share of first zooms in `cot` that go to the video's first scene instead of the one asked for: a planted
    annotator's mistake for reinforcement learning to mend."""
    glance_share: Fraction = 0.0
    """Share of first steps in `cot` that answer at once where a mark tells the answer in the fast view (`legibility` of
    the videos); with a wrong clip in view, all do."""
    forced_share: Fraction = 0.0
    """Share of answers in `cot` that are told that it is the last step; 1 where there are but two (`env.max_steps`)."""
    overview_share: Fraction = 0.0
    """Share of `guess` that answers from large frames spread over the whole video, as the rule `uniform` does; models
    that never saw such a clip write nothing readable after it."""
    reads_fast_view: bool = False
    """Whether all other `guess` samples answer from the fast view alone, where its frames are large enough to read."""
    hasty_share: Fraction = 0.0
    """On captions: share of those who read the first scene by mistake that guess then, instead of reading the right
    one: a planted mistake, too."""
    sources: Annotated[dict[str, Positive], Field(min_length=1)]
    """Names in `data.cold_start`, each with its share of the samples."""
    num_steps: Count
    """Updates of the weights, at most."""
    batch_size: Count = 32
    """Samples of a step."""
    optimizer: Optimizer = "muon"
    """`muon`: Muon for the hidden matrices, AdamW for the rest."""
    lr: Positive = 2e-3
    """Learning rate between warmup and decay."""
    warmup_steps: CountOrZero = 20
    """Steps in which the learning rate rises."""
    decay_from: Fraction = 0.5
    """Share of the steps after which the learning rate falls linearly."""
    final_lr_fraction: Fraction = 0.05
    """Learning rate at the end as a share of `lr`."""
    until_loss: Positive | None = None
    """The decay begins, and the stage ends, that much earlier if the mean loss of 20 steps falls below this: what is
    learned all at once, after a while that depends on the seed, takes as long as it takes. `num_steps` is the most."""
    give_up: GiveUp | None = None
    """The cold start begins again, with other random numbers, if the loss is still too high: what is learned all at
    once is sometimes not learned at all. See `cold_start.tries`."""


class ColdStart(Section):
    """Supervised learning before reinforcement learning."""

    stages: tuple[Stage, ...] = ()
    """Run in order; none leaves the checkpoint as it is."""
    tries: Count = 1
    """How often the cold start begins, at most, where a stage has a `give_up`; the last try goes on to the end."""
    clip_frames: tuple[Count, ...] = ()
    """LOVE-R1: most frames of each clip where one, two, ... clips are held, the last number for all above; none leaves
    it to `video.slow_max_frames`. Its released code has 32, 24, 16."""
    weight_decay: NonNegative = 0.0
    """Of the optimizer, in all stages."""
    grad_clip_norm: Positive = 1.0
    """Gradients are clipped to this norm, in all stages."""
    max_tokens_per_batch: Count = 32768
    """As `grpo.max_tokens_per_batch`."""
    checkpoint_every: CountOrZero = 100
    """Steps between checkpoints, of which the last is kept until the cold start is over; 0 writes them after stages
    only."""

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
    """Processes that sample."""
    num_learners: CountOrZero = 0
    """Processes that learn."""
    groups_per_request: CountOrZero = 0
    """Groups that a rollout process is sent at a time, and loses if it dies; 0 sends each its share of an iteration."""
    max_restarts: CountOrZero = 3
    """How often a run goes on from its last checkpoint by itself after a learner died."""
