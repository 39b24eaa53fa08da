"""`videozoom dashboard`: what is drawn of a run, as JSON or in Weights & Biases."""

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "print the dashboard as JSON, or write it into a project of Weights & Biases"
    dashboard = commands.add_parser("dashboard", help=does, description=f"{does.capitalize()}.")
    dashboard.set_defaults(run=_run)
    project = "write it into this project, which needs wandb-workspaces and a login"
    dashboard.add_argument("--project", metavar="NAME", help=project)
    dashboard.add_argument("--entity", metavar="NAME", help="user or team of the project (your default)")


def _run(options: argparse.Namespace) -> int:
    from videozoom.experiments.dashboards import dashboard_json, save_to_wandb

    if options.project is None:
        print(json.dumps(dashboard_json(), indent=2))
    else:
        print(save_to_wandb(options.project, options.entity))
    return 0
