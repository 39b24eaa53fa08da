import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from source_tree import ROOT

from videozoom.experiments.cli import main
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.config_schema import config_schema, study_schema
from videozoom.experiments.config_yaml import read_yaml
from videozoom.experiments.study import load_study

FILES = sorted(
    file
    for pattern in ("*.yaml", "*.yml")
    for file in ROOT.rglob(pattern)
    if not {".git", ".venv", "runs", "build", "node_modules"} & set(file.relative_to(ROOT).parts[:-1])
    and not any(part.startswith(".") for part in file.relative_to(ROOT).parts)
)
"""Every YAML file of the repository, whatever it is for."""


def is_study(values: dict[str, Any]) -> bool:
    return "cells" in values


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_yaml_file_loads_and_editors_agree(path: Path) -> None:
    values = read_yaml(path)
    schema = study_schema() if is_study(values) else config_schema()
    jsonschema.validate(values, schema)
    if is_study(values):
        load_study(path)
    else:
        load_config(path)


def test_there_are_configurations_and_studies() -> None:
    kinds = [is_study(read_yaml(path)) for path in FILES]
    assert 0 < sum(kinds) < len(kinds)


def test_the_command_prints_valid_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    config = json.loads(capsys.readouterr().out)
    assert main(["config", "schema", "--study"]) == 0
    study = json.loads(capsys.readouterr().out)
    assert (config, study) == (config_schema(), study_schema())
    for schema in (config, study):
        jsonschema.Draft202012Validator.check_schema(schema)
    assert config["properties"]["extends"]["type"] == "string"


@pytest.mark.parametrize(
    "text",
    [
        "rolout: {group_size: 4}",
        "rollout: {group_sizes: 4}",
        "rollout: {group_size: 1}",
        "rollout: {group_size: four}",
        "grpo: {optimizer: sgd}",
        "extends: [a.yaml]",
        "cold_start: {stages: [{name: a}]}",
        "data: {cold_start: {short: {generated: {fpss: 2}}}}",
    ],
)
def test_what_the_loader_refuses_editors_underline(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), config_schema())


@pytest.mark.parametrize(
    "text",
    [
        "extends: demo.yaml\nseed: 3",
        # What a base may have given.
        "policy: {endpoint: {model: other}}",
        "policy: {checkpoint: null}",
        "data: {cold_start: {short: {generated: {fps: 2}}}}",
    ],
)
def test_what_a_file_may_leave_out_is_not_missed(text: str) -> None:
    jsonschema.validate(yaml.safe_load(text), config_schema())


def test_editors_show_what_keys_mean() -> None:
    definitions = config_schema()["$defs"]
    described = definitions["Rollout"]["properties"]["group_size"]["description"]
    assert described == "Episodes of one task, compared with each other."
    assert "title" not in definitions["Rollout"]
    # A setting may be called like a word of the schema.
    assert "type" in definitions["Rollout"]["properties"]["group_size"]


def test_a_written_out_configuration_fits_the_schema() -> None:
    jsonschema.validate(json.loads(Config().model_dump_json()), config_schema())


def test_all_models_are_in_the_schema() -> None:
    assert issubclass(Config, BaseModel)
    assert {"Env", "SpanRules", "Alarms", "Tracking", "Stage"} <= config_schema()["$defs"].keys()
