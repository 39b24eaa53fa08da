"""The command line: `videozoom COMMAND [CONFIG] [key.sub=value ...]`.

Heavy modules are imported by the command that needs them, so that `--help` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from videozoom.experiments.commands import (
    bench,
    config,
    dashboard,
    data,
    demo,
    evaluate,
    export,
    parity,
    play,
    probe,
    replay,
    report,
    sweep,
    train,
)

COMMANDS = (demo, train, evaluate, sweep, report, replay, export, probe, play, parity, data, config, dashboard, bench)
"""Modules of the commands, in the order of `--help`; see `videozoom.experiments.commands`."""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

USER_ERRORS = frozenset(
    {
        "videozoom.experiments.errors.UserError",
        "videozoom.envs.task_files.TaskFileError",
        "videozoom.envs.videos.reader.BackendError",
        "videozoom.envs.generated.recipe.RecipeError",
        "videozoom.policies.attention_backends.AttentionBackendError",
        "videozoom.policies.chat_client.EndpointError",
        "videozoom.policies.qwen_checkpoint.CheckpointError",
        "videozoom.policies.token_tree.TokenBudgetError",
        "videozoom.policies.tree_attention.TextModelError",
        "videozoom.rewards.judges.JudgeError",
    }
)
"""Exceptions that are the user's mistake, by name: importing their modules here would be slow."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for errors in data, 2 for a user's mistake, 130 after Ctrl-C."""
    try:
        return _run(_parse(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt as interrupt:
        # A command that knows how to go on says so.
        print(str(interrupt) or "Interrupted; what was finished is kept.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if not is_user_error(error):
            raise
        print(f"videozoom: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USER_ERROR


def is_user_error(error: BaseException) -> bool:
    """Return whether `error` is the user's mistake, told in one sentence, rather than ours."""
    return any(f"{cls.__module__}.{cls.__qualname__}" in USER_ERRORS for cls in type(error).__mro__)


def _run(options: argparse.Namespace) -> int:
    from videozoom.experiments.progress import console

    console.quiet = getattr(options, "quiet", False)
    code: int = options.run(options)
    return code


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # Overrides may stand after options, where argparse no longer expects them.
    unknown = [argument for argument in rest if argument.startswith("-")]
    if unknown:
        parser.error(f"unknown option {unknown[0]}; see: videozoom {_name(options)} --help")
    if "more" in options:
        getattr(options, options.more).extend(rest)
    elif rest:
        problem = (
            f"one file at a time, but there is {rest[0]} as well" if "file" in options else f"no use for {rest[0]}"
        )
        parser.error(f"{problem}; see: videozoom {_name(options)} --help")
    return options


def _name(options: argparse.Namespace) -> str:
    """Return the words of a command, such as `data check`."""
    return f"{options.command} {options.part}" if "part" in options else str(options.command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="videozoom", description="Train and test agents that understand long videos by zooming in."
    )
    parser.add_argument("--version", action="version", version=f"videozoom {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _version() -> str:
    try:
        return version("videozoom")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
