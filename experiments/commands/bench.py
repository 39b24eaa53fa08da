"""`videozoom bench`: side-by-side measurements in one run."""

import argparse
from pathlib import Path
from typing import Any

from videozoom.experiments.bench_groups import add_group_parts, num_runs, run_group_bench

DEFAULT_VIDEOS = Path("runs/bench_videos")


def add(commands: Any) -> None:
    """Add the command and its parts to a parser's commands."""
    bench = commands.add_parser("bench", help="measure side by side what things cost")
    parts = bench.add_subparsers(dest="part", required=True, metavar="{video,rollout,learner,step,logging}")
    bench.set_defaults(run=_run)
    _add_video(parts)
    add_group_parts(parts)
    _add_logging(parts)


def _run(options: argparse.Namespace) -> int:
    if options.part == "logging":
        from videozoom.experiments.bench_logging import run_bench_logging

        run_bench_logging(options.run_dir, as_json=options.json)
        return 0
    if options.part != "video":
        run_group_bench(options)
        return 0
    from videozoom.experiments.bench_video import run_bench_video

    run_bench_video(
        options.file,
        full=options.full,
        only=options.only,
        repeats=options.repeats,
        folder=options.folder,
        as_json=options.json,
        overwrite=options.overwrite,
    )
    return 0


def _add_video(parts: Any) -> None:
    does = "measure what reading videos costs: fast views, slow clips, second use, one question"
    video = parts.add_parser(
        "video",
        help=does,
        description=f"{does.capitalize()}. CPU seconds and peak memory of this project's reader beside a plain decode "
        "of the file (the floor), the pattern of published code, and other decoders where they are installed.",
    )
    video.add_argument("file", nargs="?", type=Path, metavar="FILE", help="measure on this video, not on made ones")
    video.add_argument(
        "--full", action="store_true", help="more videos, and nothing extrapolated: takes an hour or more"
    )
    video.add_argument("--only", action="append", metavar="CASE", help="measure this case only; may be repeated")
    repeats = "runs behind each median (%(default)s)"
    video.add_argument("--repeats", type=num_runs, default=3, metavar="N", help=repeats)
    folder = "where made videos are kept (%(default)s)"
    video.add_argument("--folder", type=Path, default=DEFAULT_VIDEOS, metavar="DIR", help=folder)
    overwrite = "measure everything again instead of continuing an interrupted run"
    video.add_argument("--overwrite", action="store_true", help=overwrite)
    video.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout")
    video.add_argument("--quiet", action="store_true", help="print no progress")


def _add_logging(parts: Any) -> None:
    does = "measure what logging costs: metrics, traces, alarms, TensorBoard, Weights & Biases"
    logging = parts.add_parser(
        "logging", help=does, description=f"{does.capitalize()}. Logs a finished run once more, into another folder."
    )
    logging.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the folder of a training that has run")
    logging.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout")
    logging.add_argument("--quiet", action="store_true", help="print no progress")
