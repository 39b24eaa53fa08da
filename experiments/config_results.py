"""Settings of evaluation, of where metrics go, and of what the demo adds."""

from typing import Annotated, Literal

from pydantic import Field

from videozoom.experiments.config_data import Count, CountOrZero, Fraction, NonNegative, Positive, Section


class Eval(Section):
    """Evaluation."""

    num_tasks: Count = 300
    """The first tasks of `data.eval`; all if there are fewer."""
    batch_size: Count = 32
    """Episodes that act together."""
    max_new_tokens: Count = 48
    """Longest completion of a step."""
    policies: Annotated[tuple[Literal["model", "never", "uniform", "random", "oracle"], ...], Field(min_length=1)] = (
        "model",
    )
    """What `videozoom eval` compares: the model, and rules that choose the clip; the model, if there is one, answers
    from their clips."""
    probes: tuple[Literal["blind", "fast_view", "shuffled", "wrong_video", "permuted_options"], ...] = ()
    """`videozoom eval` and `probe`: the model on the same tasks with one thing taken away: what can be seen (grey
    frames), zooms, the order of the frames, the right video, or the letters of the options."""
    audit: bool = False
    """The same commands: whether the model answers again with its zooms replaced by gold, random or none."""
    uniform_frames: tuple[Count, ...] = ()
    """The same commands: numbers of large frames spread over the video, from which the model answers: what zooming is
    compared with at the same cost."""


class Tracking(Section):
    """Where metrics go besides `metrics.jsonl`. Nothing here can stop a run: what fails is told in a warning."""

    wandb: bool = False
    """Whether metrics, tables of rollouts and alarms go to Weights & Biases."""
    wandb_mode: Literal["offline", "online"] = "offline"
    """`offline` keeps everything in the run folder until `wandb sync`; `online` falls back to that where the service
    cannot be reached."""
    project: str = "videozoom"
    """Project in Weights & Biases."""
    group: str | None = None
    """What the run is shown with there, such as the other seeds of a study."""
    tensorboard: bool = False
    """Whether the same is written for `tensorboard --logdir RUN_DIR`."""
    rollouts_every: CountOrZero = 10
    """Iterations between tables of rollouts in both; 0 makes none."""
    num_rollouts: Count = 4
    """Rollouts of a table: the best, the worst, and random ones."""


class Alarms(Section):
    """When a run tells that something goes wrong: on the screen, in `alarms.jsonl`, the report and the trackers."""

    enabled: bool = True
    """Whether anything is watched."""
    tool_use: Fraction = 0.1
    """Share of episodes with a zoom below which the use of the tool has collapsed, if it was three times that once."""
    entropy_fraction: Fraction = 1 / 3
    """Share of its start below which the policy's entropy has collapsed, unless most groups are right anyway."""
    reward_gain: NonNegative = 0.05
    """Rise of the mean reward since the start with which falling entropy is no collapse."""
    no_variance: Fraction = 0.95
    """Share of groups without variance above which there is nothing to learn from."""
    sampler_gap_factor: Positive = 10.0
    """How many times its start the difference between sampler and learner may grow."""
    sampler_gap_nats: NonNegative = 1e-4
    """Differences below this are never told."""
    decode_errors: Fraction = 0.0
    """Largest share of episodes whose video may be unreadable."""
    window: Count = 5
    """Iterations that are averaged, at the start and now; decode errors are told at once."""
    recovery: Count = 5
    """Iterations in a row that must be well again before an alarm is over and can be told again."""


class Demo(Section):
    """What `videozoom demo` does beyond a training."""

    multi_step: bool = False
    """Whether multi-step GRPO is trained as well, from the same cold start, to compare (LOVE-R1, Table 2b)."""
    notes: tuple[str, ...] = ()
    """Sentences that readers of the results table are told, besides those the run itself knows."""
