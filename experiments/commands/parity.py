"""`videozoom parity`: sampler against learner."""

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from videozoom.experiments.commands.values import count, measure
from videozoom.experiments.commands.with_config import add_config_command

if TYPE_CHECKING:
    from videozoom.experiments.config import Config


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    does = "compare sampler and learner: token ids, positions, visual tokens, log-probabilities"
    parity = add_config_command(commands, "parity", does, _run)
    parity.description = f"{does.capitalize()}. Exit code: 0 if they agree, 1 if not, 2 for a wrong configuration."
    groups = "groups to sample (%(default)s)"
    parity.add_argument("--num-groups", type=partial(count, what="groups"), default=4, metavar="N", help=groups)
    tolerance = "largest difference of log-probabilities (1e-5 in float32, 0.1 in bfloat16)"
    parity.add_argument(
        "--tolerance", type=partial(measure, what="tolerance; give a number like 1e-5"), metavar="X", help=tolerance
    )
    parity.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout")


def _run(config: "Config", options: argparse.Namespace) -> int:
    from videozoom.experiments.parity import run_parity

    return run_parity(config, num_groups=options.num_groups, tolerance=options.tolerance, as_json=options.json)
