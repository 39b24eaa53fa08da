"""`videozoom export`: traces for other trainers."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from videozoom.experiments.commands.values import count

FORMATS = ("trl", "verl", "llama_factory")


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "write what a run sampled as a data set of another trainer"
    export = commands.add_parser(
        "export",
        help=does,
        description=f"{does.capitalize()}: one row per step, its prompt with all clips, and what was written. Needs "
        "the videos and no model.",
    )
    export.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the folder of a run, finished or not")
    export.add_argument("out", type=Path, metavar="OUT", help="folder of the data set, which is made")
    export.add_argument("--format", required=True, choices=FORMATS, help="the trainer it is for")
    export.add_argument(
        "--phase", choices=("train", "eval", "all"), default="train", help="which episodes (%(default)s)"
    )
    export.add_argument("--policy", metavar="NAME", help="only those of this policy, as in results.json")
    export.add_argument("--only-correct", action="store_true", help="only right answers, and zooms into the evidence")
    export.add_argument("--min-reward", type=float, metavar="X", help="only episodes that were worth this much")
    export.add_argument("--limit", type=partial(count, what="episodes"), metavar="N", help="at most so many episodes")
    export.add_argument("--quiet", action="store_true", help="print nothing but errors")
    export.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from videozoom.experiments.export import Choice, print_export, run_export

    choice = Choice(
        phase=None if options.phase == "all" else options.phase,
        policy=options.policy,
        only_correct=options.only_correct,
        min_reward=options.min_reward,
        limit=options.limit,
    )
    print_export(run_export(options.run_dir, options.out, options.format, choice), options.out)
    return 0
