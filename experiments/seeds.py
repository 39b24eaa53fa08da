"""The demo over several seeds: every seed has its own videos, weights and samples; one table of means at the end."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from videozoom.envs.task_files import write_atomically
from videozoom.experiments.config import Config
from videozoom.experiments.config_data import Data, DataSource
from videozoom.experiments.config_files import dump_config
from videozoom.experiments.demo import ROW_ORDER, run_demo
from videozoom.experiments.errors import UserError
from videozoom.experiments.progress import console
from videozoom.experiments.run_folder import RunFolder, environment

SUMMARY_FILE = "summary.json"
MEASURES = (
    "accuracy",
    "zoom_hit_rate",
    "num_steps_mean",
    "span_s_mean",
    "iou_mean",
    "unparsed_rate",
    "cpu_seconds_training",
)
_SEED_STRIDE = 1000
"""Distance between the video seeds of neighbouring runs; larger than any seed a config gives its sources."""


def run_seeds(config: Config, seeds: Sequence[int], *, overwrite: bool = False) -> dict[str, Any]:
    """Run the demo once per seed below `run_dir` and write `summary.json` there.

    A seed that was run with these settings already is not run again, so that an interrupted command goes on where it
    stopped.

    Returns:
        `rows`: for each policy its `num_seeds` and for each measure `mean`, `std` (unbiased, over seeds) and `values`;
        `runs`: seed, seconds and memory of each run; `environment`: versions and machine.

    Raises:
        UserError: A seed is negative or given twice, or a folder holds a run of other settings.
    """
    check_seeds(seeds)
    results = []
    for number, seed in enumerate(seeds, start=1):
        console.print(f"Seed {seed} ({number} of {len(seeds)})", highlight=False)
        seeded = with_seed(config, seed)
        found = None if overwrite else _found_results(seeded)
        results.append(run_demo(seeded, overwrite=overwrite) if found is None else found)
    summary = {
        "rows": summary_rows(results),
        "runs": [{name: result[name] for name in ("seed", "seconds", "peak_memory_gib")} for result in results],
        "num_tasks_per_seed": results[0]["rows"][0]["num_tasks"],
        "environment": environment(config.seed),
    }
    write_atomically(config.run_dir / SUMMARY_FILE, json.dumps(summary, indent=2).encode() + b"\n")
    print_summary(summary["rows"])
    return summary


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `UserError` if a seed is negative or given twice."""
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds must be different numbers of at least 0, got {' '.join(map(str, seeds))}")


def with_seed(config: Config, seed: int) -> Config:
    """Return the config of one seed: its own folder, random numbers, and generated videos."""
    data = config.data
    seeded = Data(
        train=_shifted(data.train, seed),
        eval=_shifted(data.eval, seed),
        cold_start={name: _shifted(source, seed) for name, source in data.cold_start.items()},
        videos=data.videos,
    )
    return config.model_copy(update={"seed": seed, "run_dir": config.run_dir / f"seed-{seed}", "data": seeded})


def summary_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return mean, spread and values of every measure of every policy over runs, in the order of the demo's table.

    Example:
        >>> rows = summary_rows([{"rows": [{"policy": "never", "accuracy": 0.2}]},
        ...                      {"rows": [{"policy": "never", "accuracy": 0.4}]}])
        >>> round(rows[0]["accuracy"]["mean"], 3)
        0.3
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        for row in result["rows"]:
            found.setdefault(row["policy"], []).append(row)
    return [
        {
            "policy": policy,
            "num_seeds": len(found[policy]),
            **{name: _spread(values) for name in MEASURES if (values := _values(found[policy], name))},
        }
        for policy in ROW_ORDER
        if policy in found
    ]


def print_summary(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of means for people."""
    from rich.table import Table

    table = Table(title="Mean over seeds, +- standard deviation")
    for column in ("policy", *MEASURES):
        table.add_column(column.removesuffix("_mean"), justify="left" if column == "policy" else "right")
    for row in rows:
        cells = [row.get(name) for name in MEASURES]
        table.add_row(
            row["policy"], *("-" if cell is None else f"{cell['mean']:.3f} +- {cell['std']:.3f}" for cell in cells)
        )
    console.print(table)


def _found_results(config: Config) -> dict[str, Any] | None:
    """Return the results of an earlier, finished run of the same configuration."""
    run = RunFolder(config.run_dir)
    if not run.results_file.is_file() or run.config_file.read_text(encoding="utf-8") != dump_config(config):
        return None
    results: dict[str, Any] = json.loads(run.results_file.read_text(encoding="utf-8"))
    return results


def _shifted(source: DataSource, seed: int) -> DataSource:
    if source.generated is None:
        return source
    generated = source.generated.model_copy(update={"seed": source.generated.seed + _SEED_STRIDE * seed})
    return source.model_copy(update={"generated": generated})


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows if row.get(name) is not None]


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0, "values": list(values)}
