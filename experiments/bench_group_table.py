"""What `videozoom bench rollout`, `learner` and `step` print for people, and what else programs get."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from videozoom.experiments.bench_contests import Part
from videozoom.experiments.bench_group_rows import GroupBench, Row
from videozoom.experiments.bench_sizes import SIZES
from videozoom.experiments.run_folder import environment

_STAGES = ("vision", "rollout", "learner")


def about(bench: GroupBench) -> dict[str, Any]:
    """Return what the rows depend on."""
    return {"part": str(bench.part), "repeats": bench.repeats, "environment": environment(bench.seed)}


def print_rows(bench: GroupBench, rows: Sequence[Row], console: Console) -> None:
    """Print rows as a table, and what its columns mean."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("", *_columns(bench.part)):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for row in rows:
        table.add_row(row["scenario"], *(show(row) for show in _columns(bench.part).values()))
    console.print(table)
    for note in _notes(bench, rows):
        console.print(escape(note), soft_wrap=True)


def _columns(part: Part) -> dict[str, Callable[[Row], str]]:
    """Return the columns, narrow enough for 80 characters, and what stands in them."""
    columns: dict[str, Callable[[Row], str]] = {
        "naive\ns": lambda row: _number(row["naive_s"]),
        "batched\ns": lambda row: _number(row["naive_batched_s"]),
        "ours\ns": lambda row: _number(row["ours_s"]),
        "naive\n/ours": lambda row: f"{row['ratio']:.2f}x",
        "batched\n/ours": lambda row: f"{row['ratio_batched']:.2f}x",
        "floor": lambda row: f"{row['floor_ratio']:.2f}x",
        "of\nfloor": lambda row: f"{100 * row['ratio_over_floor']:.0f} %",
        "logprob\nmax diff": lambda row: f"{row['logprob_max_abs']:.1e}",
        "gradient\nrel diff": lambda row: f"{row['grad_rel']:.1e}",
        "peak MiB\nnaive/ours": lambda row: f"{row['naive_peak_mib']:.0f}/{row['peak_mib']:.0f}",
    }
    left_out = ("gradient",) if part is Part.ROLLOUT else ("batched",)
    return {name: show for name, show in columns.items() if not name.startswith(left_out)}


def _number(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.3g}"


def _spread(rows: Sequence[Row], side: str) -> str:
    """Return the largest half range of a side's runs."""
    ranges = [(row[f"{side}_s_max"] - row[f"{side}_s_min"]) / 2 / row[f"{side}_s"] for row in rows]
    runs = rows[0][f"{side}_runs"]
    return f"{runs} runs (+-{100 * max(ranges):.0f} %)" if runs > 1 else "1 run"


def _notes(bench: GroupBench, rows: Sequence[Row]) -> list[str]:
    """Return what a reader of the table must know."""
    size = SIZES[bench.size]
    unit = "Wall-clock seconds of the GPU" if size.needs_gpu else "CPU seconds on one thread"
    notes = [
        f"{size.name}: {size.about}; {size.num_members} members, {size.prefix_tokens} tokens in common, clips of "
        f"{size.slow.num_tokens}, completions of {size.completion_tokens}; {size.dtype}, attention: "
        f"{rows[0]['attention']}.",
        f"{unit}: medians of {_spread(rows, 'naive')} of naive and {_spread(rows, 'ours')} of ours; in brackets half "
        "their range, of the row where it is largest.",
        _NAIVE[bench.part],
        "floor: naive operations over those of the token tree, where everything happens once; of floor: how much of it "
        "ours reaches.",
        _EXACTNESS[bench.part],
        "peak MiB: most memory above weights and features, naive / ours.",
    ]
    if bench.part is Part.STEP:
        notes.insert(
            3, f"Vision tower on the fast view: {rows[0]['vision_share_of_prefill']:.2f} of its prefill (7B: 0.33)."
        )
        notes += [_stages_of(row) for row in rows]
    return notes


_NAIVE = {
    Part.ROLLOUT: "naive: generate of transformers for each trajectory, batched: for all of a step; features are "
    "computed beforehand on all sides, and every completion has the same length.",
    Part.LEARNER: "naive: each trajectory forward and backward by itself with torch's causal attention, logits of "
    "completions only, features computed beforehand.",
    Part.STEP: "naive: for each trajectory the vision tower and generate, then the tower again, forward and backward, "
    "as published trainers do. No video decoding and no optimizer on either side.",
}
_EXACTNESS = {
    Part.ROLLOUT: "logprob: largest difference of the sampler's log-probabilities from the naive learner's, of the "
    "same tokens.",
    Part.LEARNER: "logprob, gradient: largest difference of a log-probability, and of all gradients together "
    "(parameters and vision features) relative to their norm, ours from naive.",
    Part.STEP: "logprob, gradient: as for the learner, which learns from the same tokens on both sides.",
}


def _stages_of(row: Row) -> str:
    """Return what the stages of a step took, and the ratio if the naive side kept its features as well."""
    parts = ", ".join(f"{it} {row[f'naive_{it}_s']:.3g} / {row[f'ours_{it}_s']:.3g} s" for it in _STAGES)
    kept = (row["naive_s"] - row["naive_vision_s"] + row["ours_vision_s"]) / row["ours_s"]
    return f"{row['scenario']}: {parts}; {kept:.2f}x if the naive side kept its features, too."
