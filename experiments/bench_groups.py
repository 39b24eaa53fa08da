"""`videozoom bench rollout`, `learner` and `step`: what a group costs, shared or trajectory by trajectory. Light."""

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from videozoom.experiments.errors import UserError

if TYPE_CHECKING:
    from videozoom.experiments.bench_group_rows import GroupBench, Row

SIZE_NAMES = ("tiny", "small", "7b")
SCENARIO_NAMES = ("one_step", "two_steps", "three_star", "three_chain")
PARTS = {
    "rollout": "sample a group: transformers' generate, per trajectory and in batches, beside the cascade sampler",
    "learner": "learn from a group: forward and backward passes per trajectory beside one on the token tree",
    "step": "a whole group step: vision tower, sampling and learning, per trajectory beside everything once",
}
_LIMIT_S = 24 * 3600.0


def add_group_parts(parts: Any) -> None:
    """Add the three parts to the parts of `videozoom bench`."""
    for name, does in PARTS.items():
        part = parts.add_parser(
            name,
            help=does,
            description=f"{does[0].upper()}{does[1:]}. Stock Qwen2.5-VL with random weights, one process, one thread, "
            "one seed; with the least that sharing can cost (the floor), and how exact ours is.",
        )
        size = "tiny, small (a twelfth of the published token counts), or 7b on a GPU (%(default)s)"
        part.add_argument("--size", choices=SIZE_NAMES, default="small", help=size)
        scenario = f"measure this one only: {', '.join(SCENARIO_NAMES)}; may be repeated"
        part.add_argument("--scenario", action="append", metavar="NAME", help=scenario)
        repeats = "runs of ours behind each median; half as many of the slower sides (%(default)s)"
        part.add_argument("--repeats", type=num_runs, default=3, metavar="N", help=repeats)
        part.add_argument(
            "--seed", type=int, default=0, metavar="N", help="of weights, frames and tokens (%(default)s)"
        )
        part.add_argument("--json", action="store_true", help="print the numbers as JSON on stdout")
        part.add_argument("--quiet", action="store_true", help="print no progress")


def run_group_bench(options: argparse.Namespace) -> None:
    """Measure, and print a table on standard output, or JSON.

    Raises:
        UserError: there is no such scenario, or the size needs a GPU and there is none.
    """
    unknown = [name for name in options.scenario or () if name not in SCENARIO_NAMES]
    if unknown:
        raise UserError(f"there is no scenario {unknown[0]!r}; --scenario takes {', '.join(SCENARIO_NAMES)}")
    from rich.console import Console

    from videozoom.experiments.bench_contests import Part
    from videozoom.experiments.bench_group import Scenario
    from videozoom.experiments.bench_group_rows import GroupBench
    from videozoom.experiments.bench_group_table import about, print_rows
    from videozoom.experiments.bench_sizes import SIZES, check_size

    check_size(SIZES[options.size])
    # In the order of the table, each once.
    names = [name for name in SCENARIO_NAMES if not options.scenario or name in options.scenario]
    bench = GroupBench(Part(options.part), options.size, tuple(map(Scenario, names)), options.repeats, options.seed)
    rows = _rows(bench)
    if options.json:
        print(json.dumps({"rows": rows, **about(bench)}, indent=2, allow_nan=False))
    else:
        print_rows(bench, rows, Console(highlight=False))


def _rows(bench: "GroupBench") -> "list[Row]":
    from videozoom.experiments.progress import progress

    rows = []
    with progress(f"Measuring {bench.part}", bench.num_steps) as advance:
        note = ""
        for item in _items(bench):
            if isinstance(item, str):
                if note:
                    advance(note=item)
                note = item
                advance(0, note=note)
            else:
                rows.append(item)
        advance(note="done")
    return rows


def _items(bench: "GroupBench") -> "Iterator[str | Row]":
    """Yield what is measured, in a process of its own: threads and memory are then those of the work alone."""
    from videozoom.envs.videos.worker_process import WorkerProcess
    from videozoom.experiments.bench_group_rows import measured_alone

    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with WorkerProcess(limit_s=_LIMIT_S, environment=threads) as process:
        yield from process.stream(measured_alone, bench)


def num_runs(text: str) -> int:
    """Return the number of runs an argument gives."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs; give 1 or more")
    return int(text)
