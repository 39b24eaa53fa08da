"""A study's results in words: numbers with intervals, verdicts, and the table that a terminal shows."""

from collections.abc import Mapping
from typing import Any

from videozoom.experiments.progress import console
from videozoom.experiments.report_charts import number_text
from videozoom.experiments.study import Study
from videozoom.experiments.study_measures import MEASURES
from videozoom.experiments.study_results import Verdict

Results = Mapping[str, Any]

VERDICTS = {
    Verdict.SHOWN: "shows: the interval over seeds lies above zero",
    Verdict.SHOWN_HERE: "shows in these trainings; over seeds it cannot be told",
    Verdict.OPEN: "cannot be told",
    Verdict.REVERSED_HERE: "the other way round in these trainings; over seeds it cannot be told",
    Verdict.REVERSED: "the other way round: the interval over seeds lies below zero",
    Verdict.MISSING: "not measured",
}
"""What readers are told of a claim."""


def value_text(value: float | None, unit: str, *, is_difference: bool = False) -> str:
    """Return a number as tables show it: rates in per cent without the sign, differences with theirs.

    Example:
        >>> value_text(0.934, "rate"), value_text(-0.034, "rate", is_difference=True), value_text(2.5, "")
        ('93.4', '-3.4', '2.5')
    """
    if value is None:
        return "-"
    text = f"{100 * value:.1f}" if unit == "rate" else f"{value:.2f}" if abs(value) < 100 else number_text(value)
    # A rounded zero has no sign of its own.
    text = text.removeprefix("-") if not text.strip("-0.") else text
    return f"+{text}" if is_difference and not text.startswith("-") else text


def interval_text(row: Mapping[str, Any] | None, unit: str, *, is_difference: bool = False, key: str = "ci95") -> str:
    """Return a mean with its interval.

    Example:
        >>> interval_text({"mean": 0.5, "ci95": [0.4, 0.6]}, "rate")
        '50.0 (40.0 to 60.0)'
    """
    if row is None:
        return "-"
    text = value_text(row["mean"], unit, is_difference=is_difference)
    if row[key] is None:
        return text
    low, high = (value_text(end, unit, is_difference=is_difference) for end in row[key])
    return f"{text} ({low} to {high})"


def claim_sentence(claim: Mapping[str, Any]) -> str:
    """Return what became of one of the paper's claims."""
    point = "".join(f", {axis} {value}" for axis, value in claim["point"].items())
    verdict = Verdict(claim["verdict"])
    if verdict is Verdict.MISSING:
        return f"{claim['says']}{point}: {VERDICTS[verdict]}."
    measure = MEASURES[claim["measure"]]
    unit = " percentage points" if measure.unit == "rate" else f" {measure.unit}".rstrip()
    mean = value_text(claim["mean"], measure.unit, is_difference=True)
    over = [
        f"{words} {' to '.join(value_text(end, measure.unit, is_difference=True) for end in claim[key])}"
        for key, words in (("ci95_seeds", "over seeds"), ("ci95_tasks", "over tasks"))
        if claim[key]
    ]
    is_apart = claim.get("intervals_are_apart")
    ends = "" if is_apart is None else f" The intervals of both means {'lie apart' if is_apart else 'overlap'}."
    text = f"{claim['says']}{point}: {VERDICTS[verdict]}. {measure.label}: {mean}{unit} ({', '.join(over)})."
    return text + ends


def heading(study: Study, results: Results) -> str:
    """Return what the numbers of a study are means of."""
    seeds = results["seeds"]
    tasks = sorted({number for row in results["rows"] for number in row["num_tasks"].values()})
    questions = " to ".join(map(str, dict.fromkeys((tasks[0], tasks[-1])))) if tasks else "no"
    each = f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]} alone"
    intervals = "Student's 95 % intervals over seeds" if len(seeds) > 1 else "95 % bootstrap intervals over tasks"
    return f"{each}; {questions} questions each; {intervals}"


def print_study(study: Study, results: Results) -> None:
    """Print the table of a study for people, and what became of the paper's claims."""
    from rich.table import Table

    title = f"{study.title}\n{heading(study, results)}"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.add_column("", overflow="fold")
    table.add_column("mean (interval)", justify="right", no_wrap=True)
    if study.baseline:
        others = dict.fromkeys(filter(None, map(study.compared_with, study.cells)))
        table.add_column("against " + ", ".join(others), justify="right", overflow="fold")
    # The first of the paper's columns; a terminal has no room for all, the report has.
    columns = list(study.paper.columns.items())[:1] if study.paper else []
    for _, column in columns:
        table.add_column(f"paper: {column}", justify="right", style="dim")
    for number, measure in enumerate(study.measures):
        table.add_row(measure_head(measure), style="bold")
        for row in results["rows"]:
            # The paper's numbers stand beside ours of the first measure.
            paper = row["paper"] if number == 0 else {}
            found = row["differences"].get(measure)
            difference = [difference_text(found, measure) if found else ""] if study.baseline else []
            table.add_row(
                f"  {row['row']}",
                interval_text(row["measures"].get(measure), MEASURES[measure].unit),
                *difference,
                *(f"{paper[name]:g}" if name in paper else "" for name, _ in columns),
                end_section=row is results["rows"][-1],
            )
    console.print(table)
    for claim in results["claims"]:
        console.print(f"- {claim_sentence(claim)}", markup=False)


def measure_head(measure: str) -> str:
    """Return a measure's name and unit.

    Example:
        >>> measure_head("accuracy"), measure_head("span_s")
        ('Right answers, %', 'Length of zooms, s')
    """
    unit = MEASURES[measure].unit
    return f"{MEASURES[measure].label}{', %' if unit == 'rate' else f', {unit}' if unit else ''}"


def difference_text(found: Mapping[str, Any], measure: str) -> str:
    """Return a difference with its interval over seeds; over tasks, with one seed."""
    key = "ci95_seeds" if found["ci95_seeds"] else "ci95_tasks"
    return interval_text(found, MEASURES[measure].unit, is_difference=True, key=key)
