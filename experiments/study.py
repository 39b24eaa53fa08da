"""Studies: files that say which runs to compare, over which seeds, and what the paper found.

A study has cells. Each changes some settings of one base configuration, says which model is looked at (before or after
reinforcement learning) and who chooses its clips. Axes multiply the cells. `videozoom sweep` runs all of it.
"""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from videozoom.experiments.config_data import Count, CountOrZero, Section
from videozoom.experiments.config_files import BUILT_IN
from videozoom.experiments.config_yaml import read_yaml
from videozoom.experiments.errors import UserError
from videozoom.experiments.study_measures import MEASURES

STUDIES = BUILT_IN / "studies"
"""Folder of the studies that are installed with the package."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Settings = dict[str, Any]
"""Dotted keys of a configuration and their values."""


class Cell(Section):
    """One row of a study."""

    label: str
    """What readers see."""
    model: Literal["cold_start", "grpo"] = "grpo"
    """The model as the cold start leaves it, or after reinforcement learning."""
    iteration: Count | None = None
    """Look at the checkpoint after so many iterations, a multiple of `grpo.checkpoint_every`; null takes the last."""
    policy: Literal["model", "never", "uniform", "random", "oracle"] = "model"
    """Who chooses the clips: the model itself, or a rule from whose clips it answers."""
    set: Settings = Field(default={})
    """Settings of training and evaluation, by dotted key."""
    eval: Settings = Field(default={})
    """Settings of the evaluation alone: the training is that of the cell without them."""
    against: str | None = None
    """The cell that this one is compared with; null: the study's baseline."""
    paper: dict[str, float] = Field(default={})
    """What the paper reports of this row, by the names of the study's `paper_columns`."""


class Claim(Section):
    """An order that the paper reports, to be looked for."""

    measure: str
    higher: str
    """Name of a cell."""
    lower: str
    says: str
    """The claim in words."""


class Plot(Section):
    """A picture for the report: a measure by cell, or along an axis with one line per cell."""

    measure: str
    title: str
    over: str | None = None
    """An axis whose values are numbers."""
    is_difference: bool = False
    """Whether the differences to the baseline are drawn, along an axis, instead of the measure itself."""
    cells: tuple[str, ...] = ()
    """Names of the cells that are drawn; none draws all."""


class Paper(Section):
    """Where the paper's numbers stand and what they are."""

    source: str
    columns: dict[str, str] = Field(default={})
    """Names used in `cells.*.paper`, and what readers see."""


class Study(Section):
    """A study file.

    Example:
        >>> load_study("table2b")[0].baseline
        'none'
    """

    name: Name
    title: str
    base: str
    """Configuration that all cells change: the path of a file, relative to this one, or a built-in name."""
    seeds: Annotated[tuple[CountOrZero, ...], Field(min_length=1)] = (0, 1, 2)
    """Every seed has its own videos, weights and samples."""
    set: Settings = Field(default={})
    """Settings of all cells."""
    start: Settings = Field(default={})
    """Settings that the cold start keeps whatever axes and cells say, so that they share it."""
    axes: dict[Name, dict[str, Settings]] = Field(default={})
    """Values by axis, each with its settings; cells are repeated for every combination."""
    cells: Annotated[dict[Name, Cell], Field(min_length=1)]
    baseline: str | None = None
    """Cell that the others are compared with, at the same point of the axes."""
    evaluates_alone: bool = False
    """Whether evaluations run in processes of their own, so that their time and memory are nobody else's."""
    measures: Annotated[tuple[str, ...], Field(min_length=1)] = ("accuracy", "zoom_hit_rate", "num_steps")
    """Names of `study_measures.MEASURES`."""
    claims: tuple[Claim, ...] = ()
    paper: Paper | None = None
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences that readers of the results are told."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        cells = [it for it in (self.baseline, *(cell.against for cell in self.cells.values())) if it]
        cells += [name for claim in self.claims for name in (claim.higher, claim.lower)]
        _check_names("cell", [*cells, *(name for plot in self.plots for name in plot.cells)], self.cells)
        measures = [*self.measures, *(c.measure for c in self.claims), *(p.measure for p in self.plots)]
        _check_names("measure", measures, MEASURES)
        _check_names("axis", [plot.over for plot in self.plots if plot.over], self.axes)
        if any(plot.is_difference and not (plot.over and self.baseline) for plot in self.plots):
            raise ValueError("a plot of differences needs an axis (over) and a study with a baseline")
        columns = self.paper.columns if self.paper else {}
        _check_names("paper column", [name for cell in self.cells.values() for name in cell.paper], columns)
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ, got {', '.join(map(str, self.seeds))}")
        return self

    def compared_with(self, name: str) -> str | None:
        """Return the cell that a cell is compared with, if there is one."""
        found = self.cells[name].against or self.baseline
        return found if found != name else None

    def points(self) -> list[dict[str, str]]:
        """Return every combination of axis values, by axis; one empty combination without axes.

        Example:
            >>> cell = Cell(label="x")
            >>> axes = {"dial": {"0": {}, "1": {}}, "size": {"s": {}}}
            >>> Study(name="x", title="x", base="demo", cells={"a": cell}, axes=axes).points()
            [{'dial': '0', 'size': 's'}, {'dial': '1', 'size': 's'}]
        """
        return [dict(zip(self.axes, values, strict=True)) for values in product(*self.axes.values())]


def load_study(source: str | Path) -> tuple[Study, Path]:
    """Return a study, given as a path or as the name of a built-in one, and the path of its file.

    Raises:
        UserError: There is no such file, a key does not exist, or a value is not allowed.
    """
    path = _find(source)
    try:
        return Study.model_validate(_named(read_yaml(path))), path
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"].lower()
        raise UserError(f"{path}: {f'{place}: ' if place else ''}{message}") from None


def _find(source: str | Path) -> Path:
    path, built_in = Path(source), STUDIES / f"{source}.yaml"
    if path.is_file():
        return path
    if path.name == str(source) and built_in.is_file():
        return built_in
    names = ", ".join(sorted(name for file in STUDIES.glob("*.yaml") if is_study(file) for name in [file.stem]))
    raise UserError(f"No study {str(source)!r}; give the path of a study file or one of: {names}")


def is_study(path: Path) -> bool:
    """Return whether a YAML file is a study; configurations that studies share lie beside them."""
    return "cells" in read_yaml(path)


def _named(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with names that YAML reads as numbers (`axes: {dial: {0.2: ...}}`) as text."""
    axes = values.get("axes")
    if not isinstance(axes, Mapping):
        return values
    named = {
        axis: {str(value): settings or {} for value, settings in points.items()}
        if isinstance(points, Mapping)
        else points
        for axis, points in axes.items()
    }
    return {**values, "axes": named}


def _check_names(kind: str, names: list[str], known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"there is no {kind} {name!r}; there are: {', '.join(known) or 'none'}")
