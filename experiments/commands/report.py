"""`videozoom report`: one page of one or many runs."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "write one page of one or many runs: curves, results, groups, zooms, probes"
    report = commands.add_parser(
        "report",
        help=does,
        description=f"{does.capitalize()}. It opens from the disk and needs no other file; runs may be unfinished, and "
        "from machines whose videos are not here.",
    )
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="the folder of a run, finished or not")
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where the page goes (report.html in the run)",
    )
    report.add_argument("--quiet", action="store_true", help="print nothing but errors")
    report.set_defaults(run=_run, more="runs")


def _run(options: argparse.Namespace) -> int:
    from videozoom.experiments.report_command import run_report

    run_report([Path(run) for run in options.runs], options.out)
    return 0
