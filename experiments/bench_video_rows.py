"""What `videozoom bench video` reports: one row per case and method, as numbers and as a table."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from videozoom.experiments.bench_process import Measurement
from videozoom.experiments.bench_rounds import Results
from videozoom.experiments.bench_video_cases import Case, Entry

Row = dict[str, Any]


def rows_of(cases: Sequence[Case], results: Results) -> list[Row]:
    """Return one row per case and method.

    `cpu_s` is the median of the runs, `cpu_s_min` and `cpu_s_max` their range. Where `extrapolated` is true, parts were
    measured and multiplied. A method that failed has an `error` and no numbers.
    """
    rows = []
    for case in cases:
        of_case = [{"case": case.name, "video": case.video, **_numbers(entry, results)} for entry in case.entries]
        cpu_s = {row["method"]: row["cpu_s"] for row in of_case}
        for row in of_case:
            for other in ("floor", "ours"):
                row[f"ratio_to_{other}"] = row["cpu_s"] / cpu_s[other] if row["cpu_s"] is not None else None
        rows += of_case
    return rows


def _numbers(entry: Entry, results: Results) -> Row:
    row: Row = {"method": entry.method, "decoder": entry.decoder or None, "extrapolated": entry.is_extrapolated}
    measured = [results[part.job] for part in entry.parts]
    errors = [it for it in measured if isinstance(it, str)]
    if errors:
        return row | dict.fromkeys(_NUMBERS) | {"num_runs": 0, "error": errors[0]}
    runs = [it for it in measured if not isinstance(it, str)]
    costs_s = [
        [part.weight * (run.cpu_s - run.facts.get(part.without, 0.0)) for run in of_part]
        for part, of_part in zip(entry.parts, runs, strict=True)
    ]
    return row | {
        "cpu_s": sum(map(median, costs_s)),
        "cpu_s_min": sum(map(min, costs_s)),
        "cpu_s_max": sum(map(max, costs_s)),
        "peak_mib": _peak_mib(runs),
        "num_runs": min(map(len, runs)),
        "error": None,
        **(_details(runs[0]) if len(runs) == 1 else {}),
    }


def _peak_mib(runs: Sequence[Sequence[Measurement]]) -> float | None:
    """Return the median of the part with the largest; `None` if it is not known of one."""
    peaks_mib = [[run.peak_mib for run in of_part if run.peak_mib is not None] for of_part in runs]
    return max(map(median, peaks_mib)) if all(peaks_mib) else None


_NUMBERS = ("cpu_s", "cpu_s_min", "cpu_s_max", "peak_mib")


def _details(runs: Sequence[Measurement]) -> Row:
    """Return the medians of what else is known of one job's runs."""
    details = {name: median(run.facts[name] for run in runs) for name in runs[0].facts}
    private_mib = [run.private_mib for run in runs if run.private_mib is not None]
    return {
        "wall_s": median(run.wall_s for run in runs),
        "private_mib": median(private_mib) if private_mib else None,
        **details,
    }


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """Print rows as a table for people, grouped by case, and what the columns mean."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("", "CPU s", "range", "x floor", "x ours", "peak MiB"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for number, row in enumerate(rows):
        if number == 0 or rows[number - 1]["case"] != row["case"]:
            if number:
                table.add_row()
            table.add_row(f"[bold]{row['case']}[/]  {escape(row['video'])}")
        table.add_row(f"  {row['method']}{_mark(row)}", *_cells(row))
    console.print(table)
    for note in _notes(rows):
        console.print(escape(note), soft_wrap=True)


def _mark(row: Row) -> str:
    return " *" if row["extrapolated"] else ""


def _cells(row: Row) -> list[str]:
    if row["cpu_s"] is None:
        return ["failed"]
    spread = f"{_seconds(row['cpu_s_min'])}-{_seconds(row['cpu_s_max'])}"
    ratios = [_ratio(row[f"ratio_to_{other}"]) for other in ("floor", "ours")]
    peak = "-" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
    return [_seconds(row["cpu_s"]), spread if row["num_runs"] > 1 else "1 run", *ratios, peak]


def _notes(rows: Sequence[Row]) -> list[str]:
    """Return what a reader of the table must know."""
    notes = [
        "CPU s: user and system time with children, median of the runs and their range; each run in a fresh process.",
        "x floor: divided by the floor of the same case, a plain decode with PyAV on one thread; of the whole file, or "
        "for a slow clip from the key frame before it to its end.",
        "peak MiB: most memory above the interpreter with everything imported.",
    ]
    decoder = next((row["decoder"] for row in rows if row["method"] == "reference_pattern"), None)
    if decoder:
        notes.append(
            "reference_pattern: frames at full size in one array, timestamps drawn, one floating-point resize, nothing "
            f"kept; read with {decoder} ({_why(decoder)})."
        )
    if any(row["extrapolated"] for row in rows):
        notes.append(
            "*: a part was measured and multiplied: one read of each kind, or as many frames as the memory holds. With "
            "--full whole questions are measured."
        )
    return notes + [note for row in rows for note in _notes_of(row)]


def _why(decoder: str) -> str:
    if decoder == "decord":
        return "as published"
    return "published code uses decord, which is not installed or not fit for the file"


def _notes_of(row: Row) -> Iterator[str]:
    """Yield what else there is to say about a row."""
    if row.get("error"):
        yield f"{row['case']} {row['method']} failed: {row['error']}"
    elif row["case"] == "second_use" and row["method"] == "ours":
        kept = "" if row["private_mib"] is None else f", {row['private_mib']:.1f} MiB of private memory afterwards"
        yield f"second_use: {1e3 * row['wall_s']:.1f} ms to the first frame{kept}, {row['num_scans']:.0f} scans."
    elif row["case"].startswith("question") and row["method"] == "ours":
        counts = f"{row['num_fast_decodes']:.0f} fast and {row['num_slow_decodes']:.0f} slow decodes"
        yield f"{row['case']}: ours needed {counts}."


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _ratio(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if value < 0.01 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
