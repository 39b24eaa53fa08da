"""How a run was made: command, versions, machine, settings."""

import shlex
from collections.abc import Mapping
from typing import Any

from videozoom.experiments.report_run import RunData
from videozoom.rollout.markup import Html, element

_COMMANDS = ("demo", "train", "eval")
"""Commands that make a run folder."""


def setup_section(run: RunData, name: str = "") -> Html:
    """Return what the results may depend on, and how to make the run again.

    Args:
        run: The run.
        name: How it is called, where a page has several.
    """
    facts = element("dl", [_fact(key, value) for key, value in _facts(run.environment)], class_="facts")
    parts: list[Html] = [facts] if run.environment else []
    if run.config_text:
        parts.append(element("p", "The same run again, from this folder's settings: ", element("code", _again(run))))
        summary = element("summary", "All settings (config.yaml)")
        parts.append(element("details", summary, element("pre", run.config_text)))
    return element("section", element("h2", f"How {name or 'it'} was made"), parts, class_="setup")


def _again(run: RunData) -> str:
    given = (run.environment.get("command") or [])[1:2]
    command = given[0] if given and given[0] in _COMMANDS else "train"
    return f"videozoom {command} runs/{run.name}/config.yaml run_dir=runs/{run.name}-again"


def _fact(name: str, value: str) -> Html:
    return element("div", element("dt", name), element("dd", value))


def _facts(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    commit = environment.get("commit") or {}
    changed = " with uncommitted changes" if commit.get("is_changed") else ""
    packages = environment.get("packages") or {}
    machine = [environment.get("cpu"), *(environment.get("gpus") or ["no GPU"])]
    cores = environment.get("num_cpus")
    facts = [
        ("Command", shlex.join(environment["command"]) if environment.get("command") else None),
        ("Seed", environment.get("seed")),
        ("Started", environment.get("started")),
        ("Commit", f"{commit['hash'][:12]}{changed}" if commit.get("hash") else None),
        ("Machine", ", ".join(str(part) for part in machine if part)),
        ("Cores", f"{cores} usable" if cores else None),
        ("System", environment.get("platform")),
        ("Python", environment.get("python")),
        ("Packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]
