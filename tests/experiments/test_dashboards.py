import json
import sys
from types import ModuleType
from typing import Any

import pytest

from videozoom.experiments.cli import main
from videozoom.experiments.dashboards import SECTIONS, STEP, TABLES, dashboard_json, save_to_wandb, wandb_workspace
from videozoom.experiments.errors import UserError
from videozoom.rollout.metrics import SECTIONS as METRIC_SECTIONS
from videozoom.rollout.metrics import check_names, spec_of


class Recorded:
    """Stands in for a class of wandb-workspaces and keeps its arguments."""

    error: Exception | None = None
    url = "https://example.org/p"

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments

    def save(self) -> None:
        if Recorded.error:
            raise Recorded.error


@pytest.fixture
def workspaces(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    names = (
        "wandb_workspaces",
        "wandb_workspaces.reports",
        "wandb_workspaces.reports.v2",
        "wandb_workspaces.workspaces",
    )
    modules = {name: ModuleType(name) for name in names}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    for name in ("LinePlot", "WeavePanelSummaryTable"):
        setattr(modules["wandb_workspaces.reports.v2"], name, Recorded)
    for name in ("Section", "Workspace"):
        setattr(modules["wandb_workspaces.workspaces"], name, Recorded)
    monkeypatch.setattr(Recorded, "error", None)
    return Recorded


def test_everything_on_the_dashboard_is_registered() -> None:
    drawn = [name for section in SECTIONS for panel in section.panels for name in panel.metrics]
    check_names([STEP, *drawn])
    assert len(set(drawn)) == len(drawn)
    # Beside the axes and what only some runs have, every section of the registry is looked at.
    assert METRIC_SECTIONS.keys() - {spec_of(name).section for name in drawn} <= {"progress", "ray", "answer"}


def test_every_panel_has_a_title_of_its_own_and_says_how_to_read_it() -> None:
    titles = [panel.title for section in SECTIONS for panel in section.panels]
    assert len(set(titles)) == len(titles)
    assert all(panel.reading.endswith(".") for section in SECTIONS for panel in section.panels)


def test_the_command_prints_the_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == dashboard_json()
    assert printed["x"] == "progress/iteration"
    assert [section["title"] for section in printed["sections"]] == [section.title for section in SECTIONS]


def test_a_workspace_has_a_chart_per_panel_and_the_tables(workspaces: type[Recorded]) -> None:
    workspace = wandb_workspace("p", "team")
    assert (workspace.arguments["project"], workspace.arguments["entity"]) == ("p", "team")
    *sections, rollouts = workspace.arguments["sections"]
    assert [section.arguments["name"] for section in sections] == [section.title for section in SECTIONS]
    for section, built in zip(SECTIONS, sections, strict=True):
        assert [plot.arguments for plot in built.arguments["panels"]] == [
            {"title": panel.title, "x": STEP, "y": list(panel.metrics)} for panel in section.panels
        ]
    assert [table.arguments["table_name"] for table in rollouts.arguments["panels"]] == list(TABLES)


def test_a_workspace_is_saved(workspaces: type[Recorded], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--project", "p"]) == 0
    assert capsys.readouterr().out == "https://example.org/p\n"


def test_a_service_that_refuses_is_one_sentence(
    workspaces: type[Recorded], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workspaces, "error", ValueError("no such\nproject"))
    assert main(["dashboard", "--project", "p"]) == 2
    message = "videozoom: the dashboard was not written to project 'p': no such project; see: wandb login\n"
    assert capsys.readouterr().err == message


def test_without_the_library_the_user_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(UserError, match="pip install wandb-workspaces"):
        save_to_wandb("p")
