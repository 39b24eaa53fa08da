"""The report of a run: one HTML file that needs nothing else, made from what the run folder holds."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from videozoom.envs.observation import FrameSource
from videozoom.envs.task_files import write_atomically
from videozoom.experiments.report_curves import curve_legend, curve_sections
from videozoom.experiments.report_results import headline_cards, results_table, table_notes
from videozoom.experiments.report_rollouts import rollout_cards
from videozoom.experiments.report_run import RunData, read_run
from videozoom.experiments.report_setup import setup_section
from videozoom.experiments.report_words import (
    START,
    accuracy_gain,
    chance_of,
    evidence_length_s,
    main_policy,
    summary,
)
from videozoom.experiments.run_folder import RunFolder
from videozoom.rollout.markup import Html, element
from videozoom.rollout.viewer import style_sheet


def write_report(run_dir: Path, frame_source: FrameSource | None = None) -> Path:
    """Write `report.html` into a run folder and return its path. The same folder gives the same bytes.

    Whatever the folder lacks is named in a plain sentence; the rest is shown.

    Args:
        run_dir: The run folder, also of a run that is not finished.
        frame_source: Where videos are read again for the timelines; `None` reads them with the run's own settings.
    """
    path = RunFolder(run_dir).report_file
    write_atomically(path, report_page(read_run(run_dir, frame_source)).encode())
    return path


def report_page(run: RunData) -> str:
    """Return the report as a complete HTML page."""
    title = f"videozoom: {run.name}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style_sheet(), _asset("report.css")),
    )
    sections = [_opening(run), _results(run), _curves(run), _rollouts(run), setup_section(run), _gaps(run.gaps)]
    body = element("body", element("main", sections), element("script", _asset("report.js")))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _opening(run: RunData) -> Html:
    policy = main_policy(list(run.rows))
    gain = accuracy_gain(run.evaluations.get(START, ()), run.evaluations.get(policy or "", ()))
    first, *others = summary(run.rows, gain)
    return element(
        "header",
        element("p", f"Run {run.name}{_seed_text(run)}", class_="eyebrow"),
        element("h1", "What the agent learned"),
        element("p", first, class_="lead"),
        [element("p", sentence, class_="doubt") for sentence in others],
        headline_cards(run.results, run.rows, _evidence_s(run)),
        class_="opening",
    )


def _results(run: RunData) -> Html | None:
    if not run.rows:
        return None
    chance = _chance(run)
    return element(
        "section",
        element("h2", "Results"),
        results_table(run.rows, chance, _evidence_s(run)),
        table_notes(run.rows, chance, run.results.get("notes") or ()),
    )


def _curves(run: RunData) -> Html | None:
    sections = curve_sections(run.metrics, run.rows, chance=_chance(run), evidence_s=_evidence_s(run))
    if not sections:
        return None
    return element("section", element("h2", "Learning curves"), curve_legend(run.metrics), sections, class_="curves")


def _rollouts(run: RunData) -> Html | None:
    cards = rollout_cards(run.evaluations, run.frame_source, seed=int(run.results.get("seed", 0)))
    if not cards:
        return None
    text = (
        "Held-out questions the agent never trained on. The strip is all it sees at first; a zoom brings the larger "
        "frames below. Where the cold start answered the same question, it stands beside: that is what reinforcement "
        "learning changed."
    )
    names = ["all", "best", "worst", "random", "right", "wrong"]
    buttons = [
        element("button", name, type="button", data_show=name, aria_pressed="true" if name == "all" else "false")
        for name in names
    ]
    chooser = element("div", buttons, class_="chooser", role="group", aria_label="Which rollouts to show")
    return element("section", element("h2", "Rollouts"), element("p", text), chooser, cards, id="rollouts")


def _gaps(gaps: Sequence[str]) -> Html | None:
    if not gaps:
        return None
    lines = [element("li", gap) for gap in gaps]
    return element("section", element("h2", "What this report lacks"), element("ul", lines, class_="notes"))


def _seed_text(run: RunData) -> str:
    seed = run.results.get("seed", run.environment.get("seed"))
    return "" if seed is None else f", seed {seed}"


def _chance(run: RunData) -> float | None:
    return chance_of([row for rows in run.evaluations.values() for row in rows])


def _evidence_s(run: RunData) -> float | None:
    return evidence_length_s([row for rows in run.evaluations.values() for row in rows])


def _asset(name: str) -> Html:
    return Html(files("videozoom.experiments").joinpath(name).read_text(encoding="utf-8"))
