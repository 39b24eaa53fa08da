"""From a study to what has to be done: steps that cells share, found by the content of what they depend on."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from videozoom.experiments.config import Config
from videozoom.experiments.config_data import DataSource
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.seeds import with_seed
from videozoom.experiments.study import Cell, Study
from videozoom.experiments.study_code import code_version

Inputs = dict[str, Any]


class StepKind(StrEnum):
    """What a step makes."""

    VIDEOS = "videos"
    COLD_START = "cold_start"
    GRPO = "grpo"
    EVALUATE = "evaluate"


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work, known by its content: two cells that need the same have the same step."""

    kind: StepKind
    key: str
    """Hash of `inputs` and of the code."""
    inputs: Inputs = field(compare=False, hash=False)
    """All settings that the result depends on, and the keys of the steps it starts from."""
    config: Config = field(compare=False, hash=False)
    needs: tuple["Step", ...] = field(default=(), compare=False, hash=False)
    """What has to be there before; models last."""
    policy: str = field(default="model", compare=False, hash=False)
    """Who chooses clips in an evaluation."""
    source: DataSource | None = field(default=None, compare=False, hash=False)
    """Videos to render."""
    is_alone: bool = field(default=False, compare=False, hash=False)
    """Whether an evaluation runs in a process of its own."""
    iteration: int | None = field(default=None, compare=False, hash=False)
    """Which checkpoint of the training is evaluated; `None` for the last."""

    @property
    def name(self) -> str:
        """Name of the folder with what the step leaves behind."""
        return f"{self.kind.value}-{self.key}"

    def all(self) -> Iterator["Step"]:
        """Yield what the step needs, then itself; some more than once."""
        for need in self.needs:
            yield from need.all()
        yield self


@dataclass(frozen=True, slots=True)
class CellRun:
    """One cell at one point of the axes with one seed."""

    cell: str
    point: Mapping[str, str]
    """Values of the axes."""
    seed: int
    step: Step
    """The evaluation whose numbers it reports."""

    @property
    def row(self) -> str:
        """Name of the row it belongs to, which it shares with other seeds."""
        return row_name(self.cell, self.point)

    @property
    def training(self) -> tuple[Step, ...]:
        """The steps that made its model."""
        trained = (StepKind.COLD_START, StepKind.GRPO)
        return tuple(dict.fromkeys(step for step in self.step.all() if step.kind in trained))


def row_name(cell: str, point: Mapping[str, str]) -> str:
    """Return the name of a row.

    Example:
        >>> row_name("decoupled", {"dial": "0.2"})
        'decoupled, dial 0.2'
    """
    return ", ".join([cell, *(f"{axis} {value}" for axis, value in point.items())])


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a study has to do."""

    study: Study
    runs: tuple[CellRun, ...]
    """Cell by cell, and within a cell seed by seed: neighbours share nothing and can run side by side."""

    def steps(self) -> tuple[Step, ...]:
        """Return every step once, those that others need before them."""
        return tuple(dict.fromkeys(step for run in self.runs for step in run.step.all()))

    def users(self, step: Step) -> list[str]:
        """Return the rows that need a step."""
        return list(dict.fromkeys(run.row for run in self.runs if step in set(run.step.all())))


def plan_study(study: Study, path: Path, *, overrides: Sequence[str] = (), seeds: Sequence[int] | None = None) -> Plan:
    """Return what a study has to do.

    Args:
        study: The study.
        path: Its file; the base configuration is found from there.
        overrides: Settings of all cells, as `key.sub=value`; those of the study and its cells win.
        seeds: Replaces those of the study.

    Raises:
        UserError: A cell's settings are wrong; the sentence names the cell.
    """
    runs = []
    for point in study.points():
        axis_settings = [study.axes[axis][value] for axis, value in point.items()]
        for name, cell in study.cells.items():
            settings = [study.set, *axis_settings, cell.set]
            try:
                load = partial(_load, study, path, overrides)
                started, trained = load([*settings, study.start]), load(settings)
                _check_iteration(cell, trained)
                evaluated = load([*settings, cell.eval])
            except UserError as error:
                raise UserError(f"{path}, cell {row_name(name, point)}: {error}") from None
            for seed in study.seeds if seeds is None else seeds:
                configs = [with_seed(config, seed) for config in (started, trained, evaluated)]
                step = cell_step(cell, *configs, is_alone=study.evaluates_alone)
                runs.append(CellRun(name, point, seed, step))
    return Plan(study, tuple(runs))


def cell_step(cell: Cell, started: Config, trained: Config, evaluated: Config, *, is_alone: bool = False) -> Step:
    """Return the evaluation of a cell, with everything it needs.

    Args:
        cell: Says which model is looked at, and who chooses its clips.
        started: Settings of the cold start.
        trained: Settings of reinforcement learning.
        evaluated: Settings of the evaluation.
        is_alone: Whether it runs in a process of its own.
    """
    model = cold_start_step(started)
    if cell.model == "grpo":
        model = grpo_step(trained, model)
    return evaluate_step(evaluated, model, cell.policy, is_alone=is_alone, iteration=cell.iteration)


def videos_step(config: Config, source: DataSource) -> tuple[Step, ...]:
    """Return the step that renders a source; none for a task file."""
    if source.generated is None:
        return ()
    # Frames do not depend on code that trains; the recipe's own hash knows how they are drawn.
    inputs = _videos(source)
    return (Step(StepKind.VIDEOS, _hash(inputs), inputs, config, source=source),)


def cold_start_step(config: Config) -> Step:
    """Return the supervised stages, from a new tiny model or from `policy.checkpoint`."""
    data = config.data
    used = sorted({name for stage in config.cold_start.stages for name in stage.sources})
    inputs = {
        "seed": config.seed,
        "sources": {name: _videos(data.cold_start[name]) for name in used},
        # A tiny model's words come from these as well.
        "train": _videos(data.train),
        "cold_start": config.cold_start.model_dump(mode="json"),
        **_seen(config),
        **_policy(config),
    }
    sources = [*(data.cold_start[name] for name in used), data.train, data.eval]
    videos = tuple(step for source in sources for step in videos_step(config, source))
    return _step(StepKind.COLD_START, inputs, config, videos)


def grpo_step(config: Config, start: Step) -> Step:
    """Return the reinforcement learning of a config from a cold start."""
    looks = {"eval_every", "checkpoint_every"}
    inputs = {
        "seed": config.seed,
        "start": start.key,
        "train": _videos(config.data.train),
        "rollout": config.rollout.model_dump(mode="json"),
        "grpo": config.grpo.model_dump(mode="json", exclude=looks),
        "env": config.env.model_dump(mode="json"),
        "reward": config.reward.model_dump(mode="json"),
        "reward_rules": config.reward_rules.model_dump(mode="json"),
        **_seen(config),
        **_policy(config),
    }
    videos = tuple(step for source in (config.data.train, config.data.eval) for step in videos_step(config, source))
    return _step(StepKind.GRPO, inputs, config, (*videos, start))


def evaluate_step(
    config: Config, model: Step, policy: str, *, is_alone: bool = False, iteration: int | None = None
) -> Step:
    """Return the evaluation of a model on the held-out tasks."""
    inputs = {
        "seed": config.seed,
        "model": model.key,
        "who": policy,
        "eval": {"num_tasks": config.eval.num_tasks, "max_new_tokens": config.eval.max_new_tokens},
        "tasks": _videos(config.data.eval),
        "env": config.env.model_dump(mode="json"),
        **_seen(config),
        **_policy(config),
        **({"is_alone": True} if is_alone else {}),
        **({"iteration": iteration} if iteration else {}),
    }
    needs = (*videos_step(config, config.data.eval), model)
    inputs = {**inputs, "code": code_version()}
    return Step(StepKind.EVALUATE, _hash(inputs), inputs, config, needs, policy, is_alone=is_alone, iteration=iteration)


def _step(kind: StepKind, inputs: Inputs, config: Config, needs: tuple[Step, ...]) -> Step:
    inputs = {**inputs, "code": code_version()}
    return Step(kind, _hash(inputs), inputs, config, needs)


def _load(study: Study, path: Path, overrides: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> Config:
    beside = path.parent / study.base
    given = [f"{key}={json.dumps(value)}" for part in settings for key, value in part.items()]
    return load_config(beside if beside.is_file() else study.base, [*overrides, *given])


def _check_iteration(cell: Cell, config: Config) -> None:
    every, last = config.grpo.checkpoint_every, config.grpo.num_iterations
    if cell.iteration is None or cell.model == "cold_start":
        return
    if cell.iteration > last or (cell.iteration < last and (not every or cell.iteration % every)):
        raise UserError(
            f"iteration is {cell.iteration}, but checkpoints are made every {every} of {last} iterations "
            "(grpo.checkpoint_every, grpo.num_iterations)"
        )


def _videos(source: DataSource) -> Inputs:
    if source.generated is None:
        return {"tasks": source.content}
    return {"content": source.content, "num_videos": source.generated.num_videos}


_UNSEEN_VIDEO = {"cache_mib", "cache", "cache_gib", "cold_cache_gib", "decode_limit_s"}
_UNSEEN_POLICY = {"feature_cache", "gradient_checkpointing", "text_attention", "endpoint"}


def _seen(config: Config) -> Inputs:
    """Return what decides how videos and questions look to a model."""
    inputs = {
        "video": config.video.model_dump(mode="json", exclude=_UNSEEN_VIDEO),
        "protocol": config.protocol.model_dump(mode="json"),
    }
    if config.env.kind == "caption_tree":
        inputs["captions"] = config.captions.model_dump(mode="json", exclude={"cache", "cache_gib"})
        inputs["levels"] = config.env.model_dump(mode="json")
    return inputs


def _policy(config: Config) -> Inputs:
    return {"policy": config.policy.model_dump(mode="json", exclude=_UNSEEN_POLICY)}


def _hash(inputs: Inputs) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
