"""`videozoom play`: the environment in a browser."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.commands.values import port
from videozoom.experiments.commands.with_config import add_config_command

if TYPE_CHECKING:
    from videozoom.experiments.config import Config


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    play = add_config_command(commands, "play", "play episodes yourself, in a web page on this machine", _run)
    play.add_argument(
        "--run", type=Path, metavar="RUN_DIR", dest="run_dir", help="show what the trained policy of this run did, too"
    )
    play.add_argument("--port", type=port, default=0, metavar="N", help="port of the page (a free one)")
    play.add_argument("--no-browser", action="store_true", help="only print the address")


def _run(config: "Config", options: argparse.Namespace) -> int:
    from videozoom.experiments.play import run_play

    run_play(config, run_dir=options.run_dir, port=options.port, open_browser=not options.no_browser)
    return 0
