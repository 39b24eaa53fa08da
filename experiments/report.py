"""The report of one or many runs: one HTML file that needs nothing else, made from what the run folders hold."""

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from videozoom.envs.observation import FrameSource
from videozoom.envs.task_files import write_atomically
from videozoom.experiments.report_alarms import alarms_box
from videozoom.experiments.report_charts import Series
from videozoom.experiments.report_compare import compared_costs, comparison_sentences, main_rows, settings_section
from videozoom.experiments.report_credit import credit_section
from videozoom.experiments.report_curves import (
    curve_legend,
    curve_sections,
    run_style,
    supervised_series,
    tracks_of_run,
    tracks_of_runs,
)
from videozoom.experiments.report_groups import group_cards
from videozoom.experiments.report_kinds import kinds_section
from videozoom.experiments.report_ledger import ledger_section
from videozoom.experiments.report_probes import probes_section
from videozoom.experiments.report_reading import reading_section
from videozoom.experiments.report_results import headline_cards, results_table, table_notes
from videozoom.experiments.report_rollouts import rollout_cards
from videozoom.experiments.report_run import RunData, read_run
from videozoom.experiments.report_setup import setup_section
from videozoom.experiments.report_spans import spans_section
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

Part = Callable[[RunData, str], Html | None]
"""Returns a section's part of one run, under the run's name where that is not empty."""


def write_report(run_dir: Path, frame_source: FrameSource | None = None) -> Path:
    """Write `report.html` into a run folder and return its path. The same folder gives the same bytes.

    Whatever the folder lacks is named in a plain sentence; the rest is shown.

    Args:
        run_dir: The run folder, also of a run that is not finished.
        frame_source: Where videos are read again for the timelines; `None` reads them with the run's own settings.
    """
    path = RunFolder(run_dir).report_file
    write_atomically(path, report_page([read_run(run_dir, frame_source)]).encode())
    return path


def write_reports(run_dirs: Sequence[Path], out: Path) -> Path:
    """Write the report of one or many runs to `out` and return it."""
    write_atomically(out, report_page([read_run(run_dir) for run_dir in run_dirs]).encode())
    return out


def report_page(runs: Sequence[RunData]) -> str:
    """Return the report as a complete HTML page; several runs are drawn over each other and told apart by name."""
    runs = _named(runs)
    title = f"videozoom: {', '.join(run.name for run in runs)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style_sheet(), _asset("report.css")),
    )
    sections = [
        ("results", "Results", _results(runs)),
        ("kinds", "Kinds of questions", _each(runs, lambda run, name: kinds_section(run.rows, name))),
        ("curves", "Learning curves", _curves(runs)),
        ("credit", "Credit per step", _each(runs, lambda run, name: credit_section(run.traces.credit, name), _CREDIT)),
        ("cost", "What looking costs", _each(runs, _ledger)),
        ("spans", "Where it looks", _each(runs, lambda run, name: spans_section(run.evaluations, name))),
        ("reading", "What it reads", _each(runs, lambda run, name: reading_section(run.evaluations, name))),
        ("probes", "Does it look?", _each(runs, lambda run, name: probes_section(run.probes, _chance(run), name))),
        ("groups", "Groups", _groups(runs)),
        ("rollouts", "Rollouts", _rollouts(runs)),
    ]
    shown = [element("section", element("h2", heading), parts, id=name) for name, heading, parts in sections if parts]
    links = [element("a", heading, href=f"#{name}") for name, heading, parts in sections if parts]
    opening = _opening(runs[0]) if len(runs) == 1 else _comparison(runs)
    setup = [setup_section(run, run.name if len(runs) > 1 else "") for run in runs]
    contents = element("nav", links, class_="contents", aria_label="Contents") if links else None
    body = element(
        "body", element("main", opening, contents, shown, setup, _gaps(runs)), element("script", _asset("report.js"))
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


_CREDIT = (
    "The advantage that training gave to steps of each kind. Over all members of a group it is 0; what differs is how "
    "it falls on zooms and on answers. Episodes that were masked are left out."
)


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
        headline_cards(run.results, run.rows, _evidence_s([run])),
        alarms_box(run.alarms),
        class_="opening",
    )


def _comparison(runs: Sequence[RunData]) -> Html:
    first, *others = comparison_sentences(runs)
    return element(
        "header",
        element("p", ", ".join(run.name for run in runs), class_="eyebrow"),
        element("h1", f"{len(runs)} runs compared"),
        element("p", first, class_="lead"),
        [element("p", sentence, class_="doubt") for sentence in others],
        [alarms_box(run.alarms, run.name) for run in runs],
        settings_section(runs),
        class_="opening",
    )


def _results(runs: Sequence[RunData]) -> list[Html]:
    chance, evidence_s = _chance(*runs), _evidence_s(runs)
    if len(runs) == 1:
        (run,) = runs
        if not run.rows:
            return []
        notes = table_notes(run.rows, chance, run.results.get("notes") or ())
        return [results_table(run.rows, chance, evidence_s), notes]
    rows = main_rows(runs)
    if not rows:
        return []
    styles = {run.name: run_style(index) for index, run in enumerate(runs)}
    parts = [results_table(rows, chance, evidence_s, styles), table_notes(rows, chance, ())]
    costs = compared_costs(runs, chance)
    return [*parts, costs] if costs else parts


def _curves(runs: Sequence[RunData]) -> list[Html]:
    chance, evidence_s = _chance(*runs), _evidence_s(runs)
    if len(runs) == 1:
        tracks = tracks_of_run(runs[0].metrics, runs[0].rows)
        cold_starts = supervised_series(runs[0].metrics)
        entries = [(it.label, it.style) for it in cold_starts] + [(it.label, it.style) for it in tracks]
    else:
        tracks = tracks_of_runs({run.name: (run.metrics, run.rows) for run in runs})
        cold_starts = [
            Series(run.name, run_style(index), it.points)
            for index, run in enumerate(runs)
            for it in supervised_series(run.metrics)
        ]
        entries = [(run.name, run_style(index)) for index, run in enumerate(runs)]
    sections = curve_sections(tracks, cold_starts, chance=chance, evidence_s=evidence_s)
    return [curve_legend(entries), *sections] if sections else []


def _each(runs: Sequence[RunData], part: Part, text: str = "") -> list[Html]:
    """Return a section's parts run by run, after a text; empty if no run has anything to show."""
    parts = [found for run in runs if (found := part(run, run.name if len(runs) > 1 else ""))]
    return [element("p", text), *parts] if parts and text else parts


def _ledger(run: RunData, name: str) -> Html | None:
    video = run.settings.get("video") or {}
    return ledger_section(run.evaluations, run.probes.get("budgets") or (), video, _chance(run), name)


def _groups(runs: Sequence[RunData]) -> list[Html]:
    text = (
        "All members of a group answer the same question, each by itself; what the better ones did is made more "
        "likely. Numbers on bands are steps; grey ones miss the evidence. Shown are groups whose rewards differ most."
    )
    return _cards(
        runs,
        lambda run: group_cards(run.traces, run.frame_source, is_short=len(runs) > 1),
        text,
        ["last", "first", "episodes", "zooms"],
    )


def _rollouts(runs: Sequence[RunData]) -> list[Html]:
    seen = "The strip is all it sees at first; a zoom brings the larger frames below."
    if all((run.settings.get("env") or {}).get("kind") == "caption_tree" for run in runs):
        seen = "It sees no frames and reads captions of parts of the video; the strip is for you."
    text = (
        f"Held-out questions the agent never trained on. {seen} Where the cold start answered the same question, it "
        "stands beside: that is what reinforcement learning changed."
    )
    return _cards(
        runs,
        lambda run: rollout_cards(
            run.evaluations, run.frame_source, seed=int(run.results.get("seed", 0)), is_short=len(runs) > 1
        ),
        text,
        ["best", "worst", "random", "right", "wrong"],
    )


def _cards(
    runs: Sequence[RunData], cards_of: Callable[[RunData], list[Html]], text: str, tags: list[str]
) -> list[Html]:
    """Return cards run by run, after buttons that choose among them."""
    parts: list[Html] = []
    for run in runs:
        cards = cards_of(run)
        parts += [element("h3", run.name)] if cards and len(runs) > 1 else []
        parts += cards
    if not parts:
        return []
    buttons = [
        element("button", name, type="button", data_show=name, aria_pressed="true" if name == "all" else "false")
        for name in ("all", *tags)
    ]
    chooser = element("div", buttons, class_="chooser", role="group", aria_label="Which of them to show")
    return [element("p", text), chooser, *parts]


def _gaps(runs: Sequence[RunData]) -> Html | None:
    lines = [f"{run.name}: {gap}" if len(runs) > 1 else gap for run in runs for gap in run.gaps]
    if not lines:
        return None
    items = [element("li", line) for line in lines]
    return element("section", element("h2", "What this report lacks"), element("ul", items, class_="notes"))


def _seed_text(run: RunData) -> str:
    seed = run.results.get("seed", run.environment.get("seed"))
    return "" if seed is None else f", seed {seed}"


def _chance(*runs: RunData) -> float | None:
    return chance_of([row for run in runs for rows in run.evaluations.values() for row in rows])


def _evidence_s(runs: Sequence[RunData]) -> float | None:
    return evidence_length_s([row for run in runs for rows in run.evaluations.values() for row in rows])


def _named(runs: Sequence[RunData]) -> list[RunData]:
    """Return the runs, those of the same name told apart by their position."""
    counts = Counter(run.name for run in runs)
    named = []
    for number, run in enumerate(runs, start=1):
        named.append(run if counts[run.name] == 1 else run.renamed(f"{run.name} ({number})"))
    return named


def _asset(name: str) -> Html:
    return Html(files("videozoom.experiments").joinpath(name).read_text(encoding="utf-8"))
