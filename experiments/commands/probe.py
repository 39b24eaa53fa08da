"""`videozoom probe`: does a model look, and does looking matter?"""

import argparse
import json
from typing import Any

from videozoom.experiments.commands.with_config import add_overwrite


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "test what a model's answers rest upon: blind, wrong video, replaced zooms, and so on"
    probe = commands.add_parser(
        "probe",
        help=does,
        description=f"{does.capitalize()}. Of a run it takes the furthest trained checkpoint, writes the folder "
        "probes/ in it, goes on where an interrupted one stopped, and shows the tables in the run's report.",
    )
    probe.add_argument(
        "arguments",
        nargs="+",
        metavar="RUN_DIR | CONFIG | key.sub=value",
        help="the folder of a run, or a configuration with policy.checkpoint or policy.endpoint; and settings",
    )
    probe.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout")
    probe.add_argument("--quiet", action="store_true", help="print no progress")
    add_overwrite(probe)
    probe.set_defaults(run=_run, more="arguments")


def _run(options: argparse.Namespace) -> int:
    from videozoom.experiments.probe_command import run_probe

    results = run_probe(options.arguments, overwrite=options.overwrite)
    if options.json:
        print(json.dumps(results, indent=2))
    return 0
