"""The command line: `videozoom COMMAND [CONFIG] [key.sub=value ...]`.

Heavy modules are imported by the command that needs them, so that `--help` answers at once.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.bench import add_bench, run_bench
from videozoom.experiments.errors import UserError

if TYPE_CHECKING:
    from videozoom.experiments.config import Config

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
    if options.command == "data":
        return _data_check(options)
    if options.command == "bench":
        return _bench(options)
    config = _config_of(options)
    if options.dry_run:
        from videozoom.experiments.config_files import dump_config

        print(dump_config(config), end="")
        return 0
    from videozoom.experiments.progress import console

    console.quiet = options.quiet
    match options.command:
        case "demo":
            _demo(config, options)
        case "train":
            from videozoom.experiments.train import run_train

            run_train(config, resume=options.resume, overwrite=options.overwrite)
        case "eval":
            from videozoom.experiments.evaluate import run_eval

            results = run_eval(config, resume=options.resume is not None, overwrite=options.overwrite)
            if options.json:
                print(json.dumps(results, indent=2))
        case "play":
            from videozoom.experiments.play import run_play

            run_play(config, run_dir=options.run, port=options.port, open_browser=not options.no_browser)
        case "parity":
            from videozoom.experiments.parity import run_parity

            return run_parity(config, num_groups=options.num_groups, tolerance=options.tolerance, as_json=options.json)
    return 0


def _data_check(options: argparse.Namespace) -> int:
    from videozoom.experiments.data_check import run_check
    from videozoom.experiments.progress import console

    console.quiet = options.quiet
    return run_check(
        options.file,
        decode=options.decode,
        num_workers=options.workers,
        tolerance_s=options.tolerance_s,
        limit_s=options.limit_s,
        as_json=options.json,
    )


def _bench(options: argparse.Namespace) -> int:
    from videozoom.experiments.progress import console

    console.quiet = options.quiet
    return run_bench(options)


def _demo(config: "Config", options: argparse.Namespace) -> None:
    if options.seeds:
        from videozoom.experiments.seeds import run_seeds

        run_seeds(config, options.seeds, overwrite=options.overwrite)
        return
    from videozoom.experiments.demo import run_demo

    run_demo(config, overwrite=options.overwrite)


def _config_of(options: argparse.Namespace) -> "Config":
    from videozoom.experiments.config_files import load_config

    files = [argument for argument in options.arguments if "=" not in argument]
    overrides = [argument for argument in options.arguments if "=" in argument]
    if len(files) > 1:
        raise UserError(f"Expected one configuration, got {', '.join(files)}; overrides look like key.sub=value")
    source: str | Path | None = files[0] if files else options.default_config
    if options.resume is not None:
        from videozoom.experiments.run_folder import RunFolder

        source = source or RunFolder.open(options.resume).config_file
        overrides.append(f"run_dir={json.dumps(str(options.resume))}")
    if source is None:
        raise UserError(
            f"videozoom {options.command} needs a configuration: the path of a YAML file or a built-in name"
        )
    return load_config(source, overrides)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # Overrides may stand after options, where argparse no longer expects them.
    unknown = [argument for argument in rest if argument.startswith("-")]
    if unknown:
        parser.error(f"unknown option {unknown[0]}; see: videozoom {_name(options)} --help")
    if "part" not in options:
        options.arguments += rest
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
    demo = _add_command(commands, "demo", "render videos, train a tiny model from nothing, write a report")
    demo.set_defaults(default_config="demo")
    demo.add_argument("--seeds", type=_seeds, metavar="N,N,...", help="run once per seed and summarise")
    train = _add_command(commands, "train", "cold start and reinforcement learning, as the configuration says")
    train.add_argument("--resume", type=Path, metavar="RUN_DIR", help="continue this run from its last checkpoint")
    evaluate = _add_command(commands, "eval", "measure a policy on the held-out tasks, with confidence intervals")
    evaluate.add_argument("--resume", type=Path, metavar="RUN_DIR", help="continue this evaluation where it stopped")
    evaluate.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout")
    _add_play(commands)
    _add_parity(commands)
    for command in (demo, train, evaluate):
        command.add_argument("--overwrite", action="store_true", help="replace another run in the same folder")
    _add_data_check(commands)
    add_bench(commands)
    return parser


def _add_play(commands: Any) -> None:
    play = _add_command(commands, "play", "play episodes yourself, in a web page on this machine")
    play.add_argument("--run", type=Path, metavar="RUN_DIR", help="show what the trained policy of this run did, too")
    play.add_argument("--port", type=_port, default=0, metavar="N", help="port of the page (a free one)")
    play.add_argument("--no-browser", action="store_true", help="only print the address")


def _add_parity(commands: Any) -> None:
    does = "compare sampler and learner: token ids, positions, visual tokens, log-probabilities"
    parity = _add_command(commands, "parity", does)
    parity.description = f"{does.capitalize()}. Exit code: 0 if they agree, 1 if not, 2 for a wrong configuration."
    groups = "groups to sample (%(default)s)"
    parity.add_argument("--num-groups", type=partial(_count, what="groups"), default=4, metavar="N", help=groups)
    tolerance = "largest difference of log-probabilities (1e-5 in float32, 0.1 in bfloat16)"
    parity.add_argument(
        "--tolerance", type=partial(_measure, what="tolerance; give a number like 1e-5"), metavar="X", help=tolerance
    )
    parity.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout")


def _add_data_check(commands: Any) -> None:
    data = commands.add_parser("data", help="look after task files and videos")
    parts = data.add_subparsers(dest="part", required=True, metavar="check")
    does = "tell what is wrong with a task file and its videos"
    check = parts.add_parser(
        "check",
        help=does,
        description=f"{does.capitalize()}. Exit code: 0 if all is well, 1 if there are errors, 2 if the file cannot be "
        "read.",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="a task file: one JSON object per line")
    check.add_argument("--decode", action="store_true", help="decode the fast view of every video, to find damage")
    check.add_argument("--json", action="store_true", help="print what was found as JSON on stdout")
    check.add_argument("--workers", type=_count, metavar="N", help="processes that open videos (one per CPU)")
    tolerance = "how far durations and the ends of evidence may be off (%(default)s)"
    check.add_argument("--tolerance-s", type=_measure, default=1.0, metavar="SECONDS", help=tolerance)
    limit = "time for one video, after which it counts as unreadable (%(default)s)"
    check.add_argument("--limit-s", type=_measure, default=600.0, metavar="SECONDS", help=limit)
    check.add_argument("--quiet", action="store_true", help="print no progress")


def _seeds(text: str) -> list[int]:
    """Return the seeds of a list like `11,12,13`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds like 11,12,13") from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535, 0 for a free one")
    return int(text)


def _count(text: str, what: str = "processes") -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of {what}; give 1 or more")
    return int(text)


def _measure(text: str, what: str = "number of seconds") -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}")
    return value


def _add_command(commands: Any, name: str, does: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=does, description=f"{does.capitalize()}.")
    parser.set_defaults(default_config=None, resume=None, json=False)
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="CONFIG | key.sub=value",
        help="a YAML file or the name of a built-in configuration, and settings that replace its own",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser


def _version() -> str:
    try:
        return version("videozoom")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
