"""Several runs on one page: which settings differ, and whose answers are right more often."""

from collections.abc import Mapping, Sequence
from typing import Any

from videozoom.experiments.report_curves import run_style
from videozoom.experiments.report_ledger import policy_cost
from videozoom.experiments.report_plots import Cost, captioned, cost_chart
from videozoom.experiments.report_run import RunData
from videozoom.experiments.report_words import accuracy_gain, main_policy, policy_words
from videozoom.rollout.markup import Html, element

IRRELEVANT = ("run_dir", "name", "data.videos", "video.cache", "tracking.", "demo.")
"""Settings that say where things are, not what is done."""


MAX_OPEN_ROWS = 12


def main_rows(runs: Sequence[RunData]) -> dict[str, Mapping[str, Any]]:
    """Return the row of each run's main policy by run, with what it is as its meaning."""
    rows: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        policy = main_policy(list(run.rows))
        if policy is not None:
            rows[run.name] = {**run.rows[policy], "meaning": policy_words(policy).name}
    return rows


def comparison_sentences(runs: Sequence[RunData]) -> list[str]:
    """Return the best run in words, and how each of the others differs from the first on the tasks they share."""
    rows = {name: row for name, row in main_rows(runs).items() if row.get("accuracy") is not None}
    if not rows:
        return ["None of the runs has results yet."]
    best = max(rows, key=lambda name: float(rows[name]["accuracy"]))
    sentences = [f"Of {len(runs)} runs, {best} answers most questions right: {100 * rows[best]['accuracy']:.1f} %."]
    first = runs[0]
    for run in runs[1:]:
        gain = accuracy_gain(_main_episodes(first), _main_episodes(run))
        if gain is None:
            continue
        low, high = (f"{100 * end:+.1f}" for end in gain.difference.interval)
        chance = "" if gain.difference.excludes_zero else ", which may be chance"
        sentences.append(
            f"{run.name} against {first.name}: {100 * gain.difference.mean:+.1f} points on the {gain.num_tasks:,} "
            f"tasks they share (95 % interval {low} to {high}){chance}."
        )
    return sentences


def settings_section(runs: Sequence[RunData]) -> Html:
    """Return the settings that differ between runs.

    What only some of the runs know, because others were made by another version, is counted and not listed.
    """
    flat = [known for run in runs if (known := dict(_leaves(run.settings)))]
    everywhere = [name for name in (flat[0] if flat else ()) if all(name in one for one in flat)]
    relevant = [name for name in everywhere if not name.startswith(IRRELEVANT)]
    differing = [name for name in relevant if len({repr(one[name]) for one in flat}) > 1]
    num_unknown = len({name for one in flat for name in one}) - len(everywhere)
    notes = [f"{run.name} has no settings that can be read." for run in runs if not run.settings]
    if num_unknown:
        notes.append(f"{num_unknown} settings are not known to all of the runs, which were made by different versions.")
    if not differing:
        notes.insert(0, "The settings are the same, but for where things are.")
    return element(
        "div",
        _folded(_settings_table(runs, differing), len(differing)) if differing else None,
        [element("p", note, class_="fine") for note in notes],
        class_="differences",
    )


def _folded(table: Html, num_rows: int) -> Html:
    """Return the table under its title, open if it is short."""
    title = "1 setting differs" if num_rows == 1 else f"{num_rows} settings differ"
    return element("details", element("summary", title), table, open=num_rows <= MAX_OPEN_ROWS)


def _settings_table(runs: Sequence[RunData], names: Sequence[str]) -> Html:
    head = element("tr", element("th", "Setting", scope="col"), [element("th", run.name, scope="col") for run in runs])
    flat = [(run.name, dict(_leaves(run.settings))) for run in runs]
    body = [
        element(
            "tr",
            element("th", element("code", name), scope="row"),
            [element("td", _text(one.get(name)), data_label=run) for run, one in flat],
        )
        for name in names
    ]
    return element("table", element("thead", head), element("tbody", body), class_="results plain settings")


def compared_costs(runs: Sequence[RunData], chance: float | None) -> Html | None:
    """Return accuracy against visual tokens of every run's main policy, `None` where no tokens are known."""
    costs = [cost for index, run in enumerate(runs) if (cost := _cost(run, index))]
    if not costs:
        return None
    title = "Right answers against visual tokens"
    caption = "Visual tokens of an episode's largest prompt; further left and higher is better."
    return element("div", captioned(title, cost_chart(title, costs, chance=chance), caption), class_="wide")


def _cost(run: RunData, index: int) -> Cost | None:
    policy = main_policy(list(run.evaluations))
    if policy is None:
        return None
    return policy_cost(policy, run.evaluations[policy], label=run.name, style=run_style(index))


def _main_episodes(run: RunData) -> Sequence[Mapping[str, Any]]:
    policy = main_policy(list(run.evaluations))
    return run.evaluations[policy] if policy else ()


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            # A list of stages, which have names.
            value = {str(item.get("name", index)): item for index, item in enumerate(value)}
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found


def _text(value: Any) -> str:
    text = "\N{EN DASH}" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
