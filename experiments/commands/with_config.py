"""What commands have in common that take `[CONFIG] [key.sub=value ...]`."""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.errors import UserError

if TYPE_CHECKING:
    from videozoom.experiments.config import Config

Run = Callable[["Config", argparse.Namespace], int]
"""Does what the command does and returns the exit code."""


def add_config_command(commands: Any, name: str, does: str, run: Run) -> argparse.ArgumentParser:
    """Add a command that reads a configuration, prints it with `--dry-run`, and otherwise gives it to `run`."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=does, description=f"{does.capitalize()}.")
    parser.set_defaults(run=partial(_run, run), more="arguments", default_config=None, resume=None, json=False)
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="CONFIG | key.sub=value",
        help="a YAML file or the name of a built-in configuration, and settings that replace its own",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that write a run folder."""
    parser.add_argument("--overwrite", action="store_true", help="replace another run in the same folder")


def config_of(options: argparse.Namespace) -> "Config":
    """Return the configuration that the arguments name.

    Raises:
        UserError: there is none, or more than one, or it is wrong.
    """
    from videozoom.experiments.config_files import load_config, split_arguments

    files, overrides = split_arguments(options.arguments)
    if len(files) > 1:
        raise UserError(f"Expected one configuration, got {', '.join(files)}; overrides look like key.sub=value")
    source: str | Path | None = files[0] if files else None
    if options.resume is not None:
        from videozoom.experiments.run_folder import RunFolder

        source = source or RunFolder.open(options.resume).config_file
        overrides.append(f"run_dir={json.dumps(str(options.resume))}")
    source = source or options.default_config
    if source is None:
        raise UserError(
            f"videozoom {options.command} needs a configuration: the path of a YAML file or a built-in name"
        )
    return load_config(source, overrides)


def _run(run: Run, options: argparse.Namespace) -> int:
    config = config_of(options)
    if not options.dry_run:
        return run(config, options)
    from videozoom.experiments.config_files import dump_config

    print(dump_config(config), end="")
    return 0
