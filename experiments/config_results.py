"""Settings of evaluation, of where metrics go, and of what the demo adds."""

from typing import Annotated, Literal

from pydantic import Field

from videozoom.experiments.config_data import Count, Section


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
    probes: tuple[Literal["blind", "fast_view", "shuffled", "wrong_video", "permuted_options"], ...] = ()
    """The model on the same tasks with one thing taken away: what can be seen (grey frames), zooms, the order of the
    frames, the right video, or the letters of the options."""
    audit: bool = False
    """Whether the model answers again with its zooms replaced by gold, random or none."""
    uniform_frames: tuple[Count, ...] = ()
    """Numbers of large frames spread over the video, from which the model answers: what zooming is compared with at
    the same cost."""


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
