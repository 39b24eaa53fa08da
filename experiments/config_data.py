"""Settings of the tasks and videos a run uses, and what all groups of settings share."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.tasks import QuestionKind

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Range = tuple[Positive, Positive]
CountRange = tuple[Count, Count]


class Section(BaseModel):
    """A frozen group of settings that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class GeneratedVideos(Section):
    """Videos and questions that are rendered on first use; the dials of `VideoRecipe`."""

    num_videos: Count = 64
    """How many videos."""
    questions_per_video: Count = 1
    """Questions about each, every one a task."""
    seed: CountOrZero = 0
    """The same settings and seed give the same tasks and frames."""
    length_s: Range = (64.0, 64.0)
    """Shortest and longest video, multiples of `event_length_s`."""
    fps: Positive = 2.0
    """Frames per second of the files."""
    width_px: Count = 112
    """Of the frames."""
    height_px: Count = 112
    """Of the frames."""
    num_events: CountRange = (4, 4)
    """Fewest and most events of a video."""
    event_length_s: Positive = 4.0
    """How long an event shows its sign."""
    aligned: bool = True
    """Whether events start at multiples of their length."""
    decoy_probability: Fraction = 0.0
    """Chance that blank events show the cue that is asked for."""
    num_decoys: Count = 1
    """Blank events for a cue that has any."""
    cell_px: Count = 2
    """Size of the detail: side of one of a sign's 4x4 cells."""
    detail_tiles: Count = 5
    """How often a sign is repeated in each direction."""
    habit: Fraction = 0.0
    """Share of events that show the usual sign of their cue, which can be known without looking."""
    legibility: Fraction = 0.0
    """Share of events with a mark that tells the sign in the fast view, too."""
    evidence_events: Count = 1
    """Events that a question needs."""
    num_options: Annotated[int, Field(ge=2, le=26)] = 4
    """Options of a question."""
    fixed_options: bool = True
    """Whether a letter always stands for the same option; otherwise options are shuffled."""
    question_kinds: tuple[QuestionKind, ...] = (QuestionKind.MULTIPLE_CHOICE,)
    """Kinds of the questions, which take turns."""
    quality: Annotated[int, Field(ge=0, le=51)] = 12
    """x264 constant rate factor; lower is better and larger."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.recipe()
        return self

    def recipe(self) -> VideoRecipe:
        """Return the recipe with these dials."""
        return VideoRecipe(**self.model_dump())


class DataSource(Section):
    """Where tasks come from: a task file or generated videos."""

    tasks: Path | None = None
    """Task file (JSONL), relative to the working directory."""
    generated: GeneratedVideos | None = None
    """Videos and questions that are made; null for a task file."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tasks is None) == (self.generated is None):
            found = "neither is set" if self.tasks is None else "both are set (null takes one away)"
            raise ValueError(f"give either tasks or generated, but {found}")
        return self

    @property
    def content(self) -> str:
        """Names the videos: equal for sources of which one begins with the videos of the other."""
        return self.generated.recipe().content_hash if self.generated else str(self.tasks)

    @property
    def scenes(self) -> str:
        """The same for what signs, marks and questions do not change."""
        return self.generated.recipe().scenes_hash if self.generated else str(self.tasks)


class Data(Section):
    """Tasks of each part of a run."""

    train: DataSource = DataSource(generated=GeneratedVideos(seed=1))
    """Tasks of reinforcement learning."""
    eval: DataSource = DataSource(generated=GeneratedVideos(seed=2))
    """Held-out tasks."""
    cold_start: dict[str, DataSource] = {}
    """Named sources for the stages of the cold start."""
    videos: Path = Path("runs/videos")
    """Folder of generated videos, shared by all runs; they are found there again."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        training = {"train": self.train, **{f"cold_start.{name}": it for name, it in self.cold_start.items()}}
        for name, source in training.items():
            if source.scenes == self.eval.scenes:
                raise ValueError(f"eval and {name} have the same videos; give one of them another seed or task file")
        return self
