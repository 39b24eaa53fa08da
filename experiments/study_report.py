"""The report of a study: one HTML file that needs nothing else."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from videozoom.experiments.study import Study
from videozoom.experiments.study_charts import axis_chart, axis_legend, cell_chart
from videozoom.experiments.study_curves import curve_section
from videozoom.experiments.study_measures import MEASURES
from videozoom.experiments.study_plan import Plan
from videozoom.experiments.study_results import Verdict
from videozoom.experiments.study_steps import StepCache
from videozoom.experiments.study_table import (
    claim_sentence,
    difference_text,
    heading,
    interval_text,
    measure_head,
    value_text,
)
from videozoom.rollout.markup import Html, element
from videozoom.rollout.viewer import style_sheet

Results = Mapping[str, Any]


def study_page(plan: Plan, results: Results, cache: StepCache) -> str:
    """Return the report as a complete HTML page; what is not finished is said to be missing."""
    study = plan.study
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"videozoom: {study.title}"),
        element("style", style_sheet(), _asset("report.css"), _asset("study.css")),
    )
    sections = [
        _opening(plan, results),
        _claims(results),
        _table(plan, results),
        _plots(plan, results),
        curve_section(plan, cache),
        _cells(plan),
        _setup(plan, results),
    ]
    body = element("body", element("main", sections), element("script", _asset("report.js")))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _opening(plan: Plan, results: Results) -> Html:
    study = plan.study
    missing = results["num_runs"] - results["num_finished"]
    return element(
        "header",
        element("p", f"Study {study.name}", class_="eyebrow"),
        element("h1", study.title),
        element("p", f"Means of {heading(study, results)}.", class_="lead"),
        element("p", f"{missing} of {results['num_runs']} runs have no numbers.", class_="doubt") if missing else None,
        [element("p", note, class_="doubt") for note in study.notes],
        class_="opening",
    )


def _claims(results: Results) -> Html | None:
    if not results["claims"]:
        return None
    lines = [
        element("li", claim_sentence(claim), class_=f"verdict verdict-{Verdict(claim['verdict']).value}")
        for claim in results["claims"]
    ]
    text = (
        "Differences are paired by seed and task. A claim shows if Student's interval of its difference over seeds "
        "lies above zero; the bootstrap over tasks says only how certain it is of the models that were trained here."
    )
    return element(
        "section",
        element("h2", "What the paper reports, and what shows here"),
        element("ul", lines, class_="claims"),
        element("p", text, class_="fine"),
    )


def _table(plan: Plan, results: Results) -> Html:
    study = plan.study
    columns = study.paper.columns if study.paper else {}
    heads = ["Cell", *(measure_head(name) for name in study.measures), *(f"Paper: {it}" for it in columns.values())]
    body = [_table_row(row, list(study.measures), list(columns), heads) for row in results["rows"]]
    notes = []
    if study.baseline:
        notes = [
            f"Below each mean: the difference to {study.cells[study.baseline].label}{_exceptions(study)}, paired by "
            "seed, with Student's interval over seeds, then the bootstrap over tasks."
        ]
    if study.paper:
        notes.append(f"Paper: {study.paper.source}.")
    return element(
        "section",
        element("h2", "Results"),
        element(
            "div",
            element(
                "table",
                element("thead", element("tr", [element("th", text, scope="col") for text in heads])),
                element("tbody", body),
                class_="results study",
            ),
            class_="wide-table",
        ),
        element("p", " ".join(notes), class_="fine"),
    )


def _exceptions(study: Study) -> str:
    """Return which cells are compared with others than the baseline, in words."""
    others = [(cell.label, study.cells[cell.against].label) for cell in study.cells.values() if cell.against]
    return f" ({'; '.join(f'of {label}: to {other}' for label, other in others)})" if others else ""


def _table_row(row: Results, measures: list[str], columns: list[str], heads: list[str]) -> Html:
    cells = [_measure_cell(row, name, head) for name, head in zip(measures, heads[1:], strict=False)]
    paper = [
        element(
            "td", f"{row['paper'][name]:g}" if name in row["paper"] else "-", class_="number paper", data_label=head
        )
        for name, head in zip(columns, heads[1 + len(measures) :], strict=True)
    ]
    failed = [element("span", f"seed {seed} failed: {it}", class_="meaning") for seed, it in row["failed"].items()]
    name = element("th", row["label"], element("span", row["row"], class_="meaning"), failed, scope="row")
    return element("tr", name, cells, paper)


def _measure_cell(row: Results, measure: str, head: str) -> Html:
    unit, found = MEASURES[measure].unit, row["differences"].get(measure)
    lines = [interval_text(row["measures"].get(measure), unit)]
    if found is not None:
        lines.append(difference_text(found, measure))
        if found["ci95_seeds"] and found["ci95_tasks"]:
            low, high = (value_text(end, unit, is_difference=True) for end in found["ci95_tasks"])
            lines.append(f"tasks: {low} to {high}")
    first, *rest = lines
    return element(
        "td", first, [element("span", it, class_="meaning") for it in rest], class_="number", data_label=head
    )


def _plots(plan: Plan, results: Results) -> Html | None:
    plots = plan.study.plots
    if not plots or not results["num_finished"]:
        return None
    figures = []
    for plot in plots:
        chart = axis_chart(plot, results["rows"]) if plot.over else cell_chart(plot, results["rows"])
        foot = element("figcaption", f"Across: {plot.over}") if plot.over else None
        head = element("p", plot.title, class_="chart-head")
        wide = None if plot.over else "wide"
        figures.append(element("figure", head, element("div", chart), foot, class_=wide))
    legend = axis_legend(results["rows"]) if any(plot.over for plot in plots) else None
    text = "Whiskers are 95 % intervals; small dots are single seeds."
    return element(
        "section",
        element("h2", "Plots"),
        element("p", text, class_="fine"),
        legend,
        element("div", figures, class_="charts study-charts"),
    )


def _cells(plan: Plan) -> Html:
    study = plan.study
    rows = []
    for name, cell in study.cells.items():
        changed = [f"{key}={json.dumps(value)}" for key, value in {**study.set, **cell.set}.items()]
        changed += [f"in evaluation: {key}={json.dumps(value)}" for key, value in cell.eval.items()]
        who = "the model chooses its clips" if cell.policy == "model" else f"clips: {cell.policy}"
        rows.append(
            element(
                "tr",
                element("th", cell.label, element("span", name, class_="meaning"), scope="row"),
                element("td", f"{cell.model}; {who}"),
                element("td", [element("code", it) for it in changed] or "nothing"),
            )
        )
    heads = element("tr", [element("th", it, scope="col") for it in ("Cell", "Model", f"Changed from {study.base}")])
    table = element("table", element("thead", heads), element("tbody", rows), class_="results study")
    return element("section", element("h2", "Cells"), table)


def _setup(plan: Plan, results: Results) -> Html:
    environment = results.get("environment", {})
    commit = environment.get("commit") or {}
    changed = ", with changes" if commit.get("is_changed") else ""
    facts = {
        "Command": f"videozoom sweep {plan.study.name}",
        "Commit": f"{commit.get('hash', 'unknown')}{changed}",
        "Machine": f"{environment.get('cpu', '')}, {environment.get('num_cpus', '?')} CPUs",
        "Packages": ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items()),
    }
    items = [element("div", element("dt", name), element("dd", value)) for name, value in facts.items()]
    return element("section", element("h2", "Setup"), element("dl", items, class_="facts"))


def _asset(name: str) -> Html:
    return Html(files("videozoom.experiments").joinpath(name).read_text(encoding="utf-8"))
