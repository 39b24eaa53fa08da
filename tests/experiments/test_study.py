"""Study files: the ones that are shipped, and what is wrong with others, in a sentence."""

from pathlib import Path
from typing import Any

import pytest
from study_files import STUDY, write_study

from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.study import STUDIES, is_study, load_study
from videozoom.experiments.study_plan import StepKind, plan_study

SHIPPED = sorted(path for path in STUDIES.glob("*.yaml") if is_study(path))
TABLES = {"table2a", "table2b", "table2c", "table2d", "table3", "table4", "table7", "rewards", "habit"}


def test_every_table_of_the_paper_has_a_study() -> None:
    assert {path.stem for path in SHIPPED} >= TABLES


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_can_be_planned(path: Path) -> None:
    study, found = load_study(path.stem)
    assert (study.name, found) == (path.stem, path)
    plan = plan_study(study, path)
    assert len(plan.runs) == len(study.cells) * len(study.points()) * len(study.seeds)
    assert len(study.seeds) >= 3


def test_configurations_beside_studies_load() -> None:
    others = [path for path in STUDIES.glob("*.yaml") if not is_study(path)]
    assert {load_config(path).name for path in others} == {"study", "habits"}


def test_studies_share_cold_starts_and_trainings() -> None:
    names = ("table2b", "table2c", "table2d", "table3", "table4", "table7", "rewards", "habit")
    plans = {name: plan_study(*load_study(name), seeds=[0, 1, 2]) for name in names}
    made = {name: [step for step in plan.steps() if step.kind is not StepKind.EVALUATE] for name, plan in plans.items()}
    steps = {name: set(found) for name, found in made.items()}
    for name, of in (("table2c", "table4"), ("table2d", "table4"), ("table7", "table4"), ("table2b", "habit")):
        assert steps[name] <= steps[of], name
    for name in ("table3", "rewards"):
        assert steps["table2d"] < steps[name]
    # One cold start for each seed, whatever the fast view gives away afterwards.
    assert sum(step.kind is StepKind.COLD_START for step in steps["habit"]) == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"baseline": "nonne"}, "there is no cell 'nonne'; there are: none, multi, one_step, random"),
        ({"cells": {"a": {"label": "x", "against": "b"}}, "baseline": None, "claims": []}, "there is no cell 'b'"),
        ({"plots": [{"measure": "accuracy", "title": "x", "cells": ["b"]}]}, "there is no cell 'b'"),
        ({"measures": ["acuracy"]}, "there is no measure 'acuracy'; there are: accuracy, "),
        ({"seeds": [1, 1]}, "seeds must differ, got 1, 1"),
        ({"claims": [{"measure": "accuracy", "higher": "a", "lower": "none", "says": ""}]}, "there is no cell 'a'"),
        (
            {"plots": [{"measure": "accuracy", "title": "x", "over": "dial"}]},
            "there is no axis 'dial'; there are: none",
        ),
        ({"cells": {}}, "cells: dictionary should have at least 1 item"),
        ({"cels": {}}, "cels: extra inputs are not permitted"),
        ({"cells": {"a": {"label": "x", "paper": {"y": 1}}}, "baseline": None, "claims": []}, "no paper column 'y'"),
    ],
)
def test_what_is_wrong_with_a_study_is_told(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        load_study(write_study(tmp_path, **changes))
    assert sentence in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "tiny.yaml"))


def test_a_cell_with_a_setting_that_does_not_exist_is_named(tmp_path: Path) -> None:
    cells = STUDY["cells"] | {"multi": {"label": "x", "set": {"rollout.group_sise": 4}}}
    with pytest.raises(UserError, match=r"cell multi: .*did you mean 'rollout\.group_size'"):
        plan_study(*load_study(write_study(tmp_path, cells=cells)))


def test_a_study_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UserError, match=r"No study 'table9'; give the path of a study file or one of: .*table2b"):
        load_study("table9")
