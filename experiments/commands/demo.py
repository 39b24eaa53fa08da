"""`videozoom demo`: the whole story on one machine."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.commands.values import seeds
from videozoom.experiments.commands.with_config import add_config_command, add_overwrite

if TYPE_CHECKING:
    from videozoom.experiments.config import Config


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "render videos, train a tiny model from nothing, write a report"
    demo = add_config_command(commands, "demo", does, _run)
    demo.set_defaults(default_config="demo")
    demo.add_argument("--resume", type=Path, metavar="RUN_DIR", help="continue this demo where it was interrupted")
    demo.add_argument("--seeds", type=seeds, metavar="N,N,...", help="run once per seed and summarise")
    add_overwrite(demo)


def _run(config: "Config", options: argparse.Namespace) -> int:
    if options.seeds:
        from videozoom.experiments.seeds import run_seeds

        run_seeds(config, options.seeds, overwrite=options.overwrite)
        return 0
    from videozoom.experiments.demo import run_demo

    run_demo(config, resume=options.resume, overwrite=options.overwrite)
    return 0
