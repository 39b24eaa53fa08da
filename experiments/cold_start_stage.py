"""What a cold start imitates: stages, their objectives, and who makes the samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from videozoom.envs.tasks import Task
from videozoom.policies.optimizers import OptimizerName
from videozoom.policies.supervised import SupervisedSample


class Objective(StrEnum):
    """What a cold-start stage imitates."""

    READING = "reading"
    GROUNDING = "grounding"
    MARKS = "marks"
    COT = "cot"
    GUESS = "guess"


@dataclass(frozen=True, slots=True)
class SupervisedStage:
    """One stage: what is imitated, for how long, and how."""

    name: str
    objectives: Mapping[Objective, float]
    """What is imitated, each with its weight."""
    sources: Mapping[str, float]
    """Names of task sources, each with its weight."""
    num_steps: int
    excerpt_pairs: tuple[int, ...] = (1, 2, 2, 3, 4)
    """How many moments excerpts of `reading` show: frame pairs, or frames where each is shown by itself."""
    wrong_clip_share: float = 0.25
    """Share of `cot` that zooms after a wrong clip."""
    first_scene_bias: float = 0.0
    """Share of first zooms in `cot` that go to the first scene: a planted mistake."""
    glance_share: float = 0.0
    """Share of first steps in `cot` that answer at once where marks tell the answer in the fast view."""
    forced_share: float = 0.0
    """Share of answers in `cot` that are told that it is the last step."""
    overview_share: float = 0.0
    """Share of `guess` that answers from large frames spread over the whole video."""
    reads_fast_view: bool = False
    """Whether all other `guess` samples answer from the fast view alone, whose frames are large enough to read."""
    hasty_share: float = 0.0
    """Share of ways in `cot` over captions that end, after the first scene was read by mistake, in a guess."""
    batch_size: int = 32
    optimizer: OptimizerName = OptimizerName.MUON
    lr: float = 2e-3
    num_warmup: int = 20
    decay_from: float = 0.5
    final_lr_fraction: float = 0.05
    until_loss: float | None = None
    """The decay begins as soon as the mean loss of some steps is below this, and the stage is that much shorter."""
    give_up_after: int | None = None
    """Steps after which a stage is given up whose mean loss of some steps is not below `give_up_above`."""
    give_up_above: float = 0.0


class Annotator(Protocol):
    """Makes samples to imitate, for one protocol, from tasks whose truth is known."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What it can be asked for."""
        ...

    @property
    def has_pending(self) -> bool:
        """Whether the next sample continues the last one, and so does not depend on its arguments alone."""
        ...

    def sample(self, objective: Objective, stage: SupervisedStage, rng: np.random.Generator) -> SupervisedSample:
        """Return a sample; raises `VideoDecodeError` if its video cannot be read."""
        ...


Annotate = Callable[[Sequence[Task]], Annotator]
"""Makes the annotator of some tasks."""
