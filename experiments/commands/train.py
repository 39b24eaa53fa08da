"""`videozoom train`: cold start and reinforcement learning."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.commands.with_config import add_config_command, add_overwrite

if TYPE_CHECKING:
    from videozoom.experiments.config import Config


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "cold start and reinforcement learning, as the configuration says"
    train = add_config_command(commands, "train", does, _run)
    train.add_argument("--resume", type=Path, metavar="RUN_DIR", help="continue this run from its last checkpoint")
    add_overwrite(train)


def _run(config: "Config", options: argparse.Namespace) -> int:
    from videozoom.experiments.train import run_train

    run_train(config, resume=options.resume, overwrite=options.overwrite)
    return 0
