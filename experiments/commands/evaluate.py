"""`videozoom eval`: what a policy gets right."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.commands.with_config import add_config_command, add_overwrite

if TYPE_CHECKING:
    from videozoom.experiments.config import Config


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "measure a policy on the held-out tasks, with confidence intervals"
    evaluate = add_config_command(commands, "eval", does, _run)
    evaluate.add_argument("--resume", type=Path, metavar="RUN_DIR", help="continue this evaluation where it stopped")
    evaluate.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout")
    add_overwrite(evaluate)


def _run(config: "Config", options: argparse.Namespace) -> int:
    from videozoom.experiments.evaluate import run_eval

    results = run_eval(config, resume=options.resume is not None, overwrite=options.overwrite)
    if options.json:
        print(json.dumps(results, indent=2))
    return 0
