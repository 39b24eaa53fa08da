"""`videozoom replay`: traces scored again."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "score the traces of a run again, with its rubric or another, and draw its report; needs no model"
    replay = commands.add_parser(
        "replay",
        help=does,
        description=f"{does.capitalize()}. Exit code: 0; without settings 1 if anything is not what was recorded.",
    )
    replay.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the folder of a run, finished or not")
    replay.add_argument(
        "arguments", nargs="*", metavar="reward.*=value", help="settings of the rubric that replace the run's own"
    )
    replay.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (RUN_DIR.replay)")
    replay.add_argument("--no-report", action="store_true", help="do not draw the report")
    replay.add_argument("--json", action="store_true", help="print the table as JSON on stdout")
    replay.add_argument("--quiet", action="store_true", help="print nothing but errors")
    replay.set_defaults(run=_run, more="arguments")


def _run(options: argparse.Namespace) -> int:
    from videozoom.experiments.replay import run_replay

    return run_replay(
        options.run_dir, options.arguments, options.out, as_json=options.json, report=not options.no_report
    )
