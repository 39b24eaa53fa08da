"""What looking costs: tokens, frames and seconds of video per step, and accuracy against visual tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from videozoom.envs.sampling import FRAMES_PER_PATCH, num_frames_at
from videozoom.envs.tasks import Span, Status
from videozoom.experiments.report_plots import Cost, captioned, cost_chart
from videozoom.experiments.report_traces import Rows, is_right_row
from videozoom.experiments.report_words import main_policy, policy_words
from videozoom.experiments.statistics import Interval, wilson_interval
from videozoom.rollout.markup import Html, element
from videozoom.rollout.trace_rows import TraceRow

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True, slots=True)
class StepCost:
    """Means over the episodes that take a step."""

    share: float
    """Of all episodes."""
    prompt_tokens: float
    fast_tokens: float
    """Visual tokens of the fast view."""
    clip_tokens: float
    """Visual tokens of all clips in the prompt."""
    sampled_tokens: float
    new_frames: float | None
    """Frames that the prompt has for the first time; `None` where the settings are not known."""
    new_seconds: float
    """Seconds of video that they are of."""


def visual_tokens(row: TraceRow) -> int:
    """Return the visual tokens of an episode's largest prompt, as `result_rows.visual_tokens` does."""
    return max((int(step["num_visual_tokens"]) for step in row["steps"]), default=0)


def step_costs(rows: Rows, video: Mapping[str, Any]) -> list[StepCost]:
    """Return what each step of multi-step episodes took; videos that could not be read are left out.

    Args:
        rows: Traces of one policy.
        video: The section `video` of the run's settings, for the number of frames; may be empty.
    """
    readable = [row for row in rows if row["status"] != Status.ERROR_DECODE]
    costs = []
    for index in range(max((len(row["steps"]) for row in readable), default=0)):
        taken = [row for row in readable if len(row["steps"]) > index]
        steps = [row["steps"][index] for row in taken]
        fast = [row["steps"][0]["num_visual_tokens"] for row in taken]
        shown = [_shown(row, index) for row in taken]
        costs.append(
            StepCost(
                share=len(taken) / len(readable),
                prompt_tokens=fmean(step["num_prompt_tokens"] for step in steps),
                fast_tokens=fmean(fast),
                clip_tokens=fmean(
                    max(0, step["num_visual_tokens"] - first) for step, first in zip(steps, fast, strict=True)
                ),
                sampled_tokens=fmean(step["num_completion_tokens"] for step in steps),
                new_frames=_frames(shown, "slow" if index else "fast", video),
                new_seconds=fmean(it.seconds for it in shown),
            )
        )
    return costs


class _Shown(NamedTuple):
    """What a step's prompt shows for the first time."""

    seconds: float
    fps: float | None = None
    """The rate that was asked for, if one was."""


def _shown(row: TraceRow, index: int) -> _Shown:
    """Return the video at the first step, then the zoom of the step before, if there was one."""
    if index == 0:
        return _Shown(float(row["task"]["duration_s"]))
    action = row["steps"][index - 1]["action"]
    is_zoom = action["type"] == "zoom_in"
    return _Shown(Span(*action["span_s"]).length_s, action.get("fps")) if is_zoom else _Shown(0.0)


def _frames(shown: Sequence[_Shown], view: str, video: Mapping[str, Any]) -> float | None:
    try:
        usual_fps, most = video[f"{view}_fps"], video[f"{view}_max_frames"]
    except KeyError:
        return None
    multiple = FRAMES_PER_PATCH if video.get("spacing", "spread") == "spread" else 1
    counts = [
        max(multiple, min(num_frames_at(it.seconds, it.fps or usual_fps), most)) if it.seconds > 0 else 0
        for it in shown
    ]
    return fmean(count - count % multiple for count in counts)


def ledger_table(rows: Rows, video: Mapping[str, Any]) -> Html | None:
    """Return the table of a policy's steps, `None` if no tokens are known of it."""
    costs = step_costs(rows, video)
    if not any(cost.prompt_tokens for cost in costs):
        return None
    is_visual = any(cost.fast_tokens or cost.clip_tokens for cost in costs)
    columns = [column for column in _COLUMNS if is_visual or not column.is_visual]
    body = []
    for index, cost in enumerate(costs):
        name = ORDINALS[index] if index < len(ORDINALS) else f"{index + 1}th"
        cells = [element("td", it.text(cost), data_label=it.head, class_="number") for it in columns]
        body.append(element("tr", element("th", name, scope="row"), cells))
    head = element("tr", [element("th", text, scope="col") for text in ("Step", *(it.head for it in columns))])
    return element("table", element("thead", head), element("tbody", body), class_="results plain")


@dataclass(frozen=True, slots=True)
class _Column:
    head: str
    text: Callable[[StepCost], str]
    is_visual: bool = False
    """Whether it says something of agents that see frames only."""


_COLUMNS = (
    _Column("Episodes", lambda it: f"{100 * it.share:.0f} %"),
    _Column("Prompt", lambda it: f"{it.prompt_tokens:,.0f}"),
    _Column("Fast view", lambda it: f"{it.fast_tokens:,.0f}", is_visual=True),
    _Column("Clips", lambda it: f"{it.clip_tokens:,.0f}", is_visual=True),
    _Column(
        "New frames",
        lambda it: "\N{EN DASH}" if it.new_frames is None else f"{it.new_frames:,.1f}",
        is_visual=True,
    ),
    _Column("New seconds", lambda it: f"{it.new_seconds:,.1f}", is_visual=True),
    _Column("Sampled", lambda it: f"{it.sampled_tokens:,.1f}"),
)


def policy_cost(policy: str, rows: Rows, *, label: str = "", style: str = "") -> Cost | None:
    """Return a policy's accuracy and mean visual tokens; `None` if no episode has tokens."""
    readable = [row for row in rows if row["status"] != Status.ERROR_DECODE]
    if not readable or not any(visual_tokens(row) for row in readable):
        return None
    num_right = sum(map(is_right_row, readable))
    return Cost(
        label or policy_words(policy).name,
        style or policy,
        fmean(map(visual_tokens, readable)),
        num_right / len(readable),
        wilson_interval(num_right, len(readable)),
    )


def budget_costs(budgets: Sequence[Mapping[str, Any]]) -> list[Cost]:
    """Return the rows of `budgets` in the results: uniform sampling with several numbers of frames."""
    return [
        Cost(
            f"uniform, {row['num_frames']} frames",
            "uniform",
            row["visual_tokens_mean"],
            row["accuracy"],
            Interval(*row["accuracy_ci95"]) if row.get("accuracy_ci95") else None,
            series="uniform",
            short=str(row["num_frames"]),
        )
        for row in budgets
        if row.get("accuracy") is not None and row.get("visual_tokens_mean") is not None
    ]


def ledger_section(
    evaluations: Mapping[str, Rows],
    budgets: Sequence[Mapping[str, Any]],
    video: Mapping[str, Any],
    chance: float | None,
    title: str = "",
) -> Html | None:
    """Return the table of steps and the chart of accuracy against visual tokens; `None` where neither has anything."""
    policy = main_policy(list(evaluations))
    table = ledger_table(evaluations[policy], video) if policy else None
    # The rule is one of the budgets.
    others = {name: rows for name, rows in evaluations.items() if name != "uniform" or not budgets}
    costs = [cost for name, rows in others.items() if (cost := policy_cost(name, rows))] + budget_costs(budgets)
    if table is None and not costs:
        return None
    heading = element("h3", title) if title else None
    words = policy_words(policy).name if policy else ""
    caption = f"Means over the held-out episodes of {words}, in tokens. New: what the step is the first to see."
    return element(
        "div",
        heading,
        element("div", _chart(costs, chance), class_="wide") if costs else None,
        [element("p", caption, class_="fine"), table] if table else None,
    )


def _chart(costs: Sequence[Cost], chance: float | None) -> Html:
    caption = "Visual tokens of an episode's largest prompt: every frame that was shown counts once. "
    caption += "Further left and higher is better."
    if any(cost.series for cost in costs):
        caption += " The line is the same model on large frames of the whole video, as many as the numbers say."
    title = "Right answers against visual tokens"
    return captioned(title, cost_chart(title, costs, chance=chance), caption)
