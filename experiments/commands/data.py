"""`videozoom data check`: what is wrong with task files and videos."""

import argparse
from pathlib import Path
from typing import Any

from videozoom.experiments.commands.values import count, measure


def add(commands: Any) -> None:
    """Add the command and its parts to a parser's commands."""
    data = commands.add_parser("data", help="look after task files and videos")
    parts = data.add_subparsers(dest="part", required=True, metavar="check")
    _add_check(parts)


def _add_check(parts: Any) -> None:
    does = "tell what is wrong with a task file and its videos"
    check = parts.add_parser(
        "check",
        help=does,
        description=f"{does.capitalize()}. Exit code: 0 if all is well, 1 if there are errors, 2 if the file cannot be "
        "read.",
    )
    check.set_defaults(run=_check)
    check.add_argument("file", type=Path, metavar="FILE", help="a task file: one JSON object per line")
    check.add_argument("--decode", action="store_true", help="decode the fast view of every video, to find damage")
    check.add_argument("--json", action="store_true", help="print what was found as JSON on stdout")
    check.add_argument("--workers", type=count, metavar="N", help="processes that open videos (one per CPU)")
    tolerance = "how far durations and the ends of evidence may be off (%(default)s)"
    check.add_argument("--tolerance-s", type=measure, default=1.0, metavar="SECONDS", help=tolerance)
    limit = "time for one video, after which it counts as unreadable (%(default)s)"
    check.add_argument("--limit-s", type=measure, default=600.0, metavar="SECONDS", help=limit)
    check.add_argument("--quiet", action="store_true", help="print no progress")


def _check(options: argparse.Namespace) -> int:
    from videozoom.experiments.data_check import run_check

    return run_check(
        options.file,
        decode=options.decode,
        num_workers=options.workers,
        tolerance_s=options.tolerance_s,
        limit_s=options.limit_s,
        as_json=options.json,
    )
