"""`videozoom sweep`: a study, all its cells with all its seeds."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from videozoom.experiments.commands.values import seeds
from videozoom.experiments.errors import UserError


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "run a study: cells that differ in settings, over several seeds, and one table of them"
    sweep = commands.add_parser(
        "sweep",
        help=does,
        description=f"{does.capitalize()}. What cells have in common is done once; interrupted, the same command goes "
        "on. Exit code: 0 if all cells are done, 1 if one failed, 2 for a wrong study.",
    )
    sweep.set_defaults(run=_run, more="arguments")
    sweep.add_argument(
        "arguments",
        nargs="*",
        metavar="STUDY | key.sub=value",
        help="a study file or the name of a built-in study, and settings for all its cells",
    )
    sweep.add_argument("--seeds", type=seeds, metavar="N,N,...", help="instead of the study's own")
    sweep.add_argument(
        "--jobs", type=_jobs, metavar="N", help="cells side by side (one per CPU); 0 runs them without Ray"
    )
    sweep.add_argument("--dry-run", action="store_true", help="list the cells, what they share, and what is to do")
    sweep.add_argument("--retry-failed", action="store_true", help="try cells again that failed before")
    sweep.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (runs/studies/NAME)")
    sweep.add_argument("--cache", type=Path, metavar="DIR", help="folder of finished steps (runs/study_cache)")
    sweep.add_argument("--json", action="store_true", help="print the results as JSON on stdout")
    sweep.add_argument("--quiet", action="store_true", help="print no progress")


def _run(options: argparse.Namespace) -> int:
    from videozoom.experiments.config_files import split_arguments
    from videozoom.experiments.seeds import check_seeds
    from videozoom.experiments.study import load_study
    from videozoom.experiments.study_plan import plan_study
    from videozoom.experiments.study_steps import StepCache

    names, overrides = split_arguments(options.arguments)
    if len(names) != 1:
        raise UserError(
            f"videozoom sweep needs one study, got {', '.join(names) or 'none'}; see: videozoom sweep --help"
        )
    if options.seeds is not None:
        check_seeds(options.seeds)
    study, path = load_study(names[0])
    plan = plan_study(study, path, overrides=overrides, seeds=options.seeds)

    from videozoom.experiments import sweep

    cache = StepCache(options.cache or sweep.CACHE_FOLDER)
    if options.dry_run:
        print(sweep.describe_plan(plan, cache))
        return 0
    results = sweep.run_sweep(
        plan,
        folder=options.out or sweep.STUDIES_FOLDER / study.name,
        cache=cache,
        jobs=_num_cpus() if options.jobs is None else options.jobs,
        retry_failed=options.retry_failed,
    )
    if options.json:
        print(json.dumps(results, indent=2))
    return int(results["num_finished"] < results["num_runs"])


def _jobs(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cells; give 0 or more")
    return int(text)


def _num_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
