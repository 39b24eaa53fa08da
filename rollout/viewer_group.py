"""A group as HTML: the rollouts of one task below each other, their zooms over one time axis."""

from collections.abc import Sequence

from videozoom.envs.actions import Malformed
from videozoom.envs.filmstrip import read_frames, tick_times
from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import EpisodeKind, Span, Task
from videozoom.rewards.overlap import any_overlap
from videozoom.rollout.markup import Html, element
from videozoom.rollout.timeline import zooms_of
from videozoom.rollout.types import Trajectory
from videozoom.rollout.viewer import option_list, step_item
from videozoom.rollout.viewer_timeline import (
    MAX_STRIP_FRAMES,
    LabelledRollout,
    band,
    lane,
    share_percent,
    strip,
    timeline_words,
)

MAX_SHOWN_ADVANTAGE = 3.0
"""Larger ones fill their bar."""


def group_card(
    task: Task,
    members: Sequence[LabelledRollout],
    frame_source: FrameSource | None,
    *,
    note: str = "",
    tags: Sequence[str] = (),
) -> Html:
    """Return one card: the question, then a row per member: answer, reward, advantage, and zooms on a shared axis.

    Args:
        task: The group's task.
        members: At least one.
        frame_source: Where the fast view is read again; without it, or when the video is gone, axis and bands remain.
        note: When and how the group was sampled.
        tags: Kinds of group the page can filter by.
    """
    whole = Span(0.0, task.duration_s)
    fast_view = read_frames(task, (), frame_source).fast_view
    num_slots = 0 if fast_view is None else min(len(fast_view.times_s), MAX_STRIP_FRAMES)
    evidence = lane([band(span, whole, "", "evidence", "evidence") for span in task.evidence])
    ticks = [
        element("span", f"{time_s:g} s", style=f"left:{share_percent(time_s, whole)}%")
        for time_s in tick_times(task.duration_s)
        if time_s < task.duration_s
    ]
    rows = [
        _row(element("span", "fast view", class_="fine"), strip(fast_view, whole, num_slots)),
        _row(element("span", "evidence", class_="fine"), evidence),
        *(_row(_head(task, member), _member_lane(task, member, whole)) for member in members),
        _row(None, element("div", ticks, class_="axis")),
    ]
    written = [_written(task, member) for member in members]
    return element(
        "article",
        element("header", element("h3", task.question), class_="card-head"),
        element("p", note, class_="fine") if note else None,
        option_list(task),
        element("div", rows, class_="members", role="img", aria_label=timeline_words(task, members)),
        element("details", element("summary", "What they wrote"), element("div", written, class_="rollouts")),
        class_="card group-card",
        data_tags=" ".join(tags),
    )


def _row(head: Html | None, content: Html) -> Html:
    return element("div", element("div", head, class_="member-head"), element("div", content), class_="member")


def _head(task: Task, member: LabelledRollout) -> Html:
    trajectory = member.trajectory
    is_good = _is_good(task, trajectory)
    sign = "\N{CHECK MARK}" if is_good else "\N{MULTIPLICATION X}"
    verdict = element("span", f"{sign} {_outcome(trajectory)}", class_="good" if is_good else "bad")
    return element(
        "div",
        element("b", member.label),
        verdict,
        element("span", f"reward {trajectory.reward.total:.2f}", class_="fine"),
        None if member.advantage is None else _advantage(member.advantage),
        class_="member-facts",
    )


def _advantage(advantage: float) -> Html:
    """Return an advantage as a number and a bar from the middle, so that its sign is seen at a glance."""
    share = round(50 * min(abs(advantage), MAX_SHOWN_ADVANTAGE) / MAX_SHOWN_ADVANTAGE, 1)
    left = 50.0 if advantage >= 0 else 50.0 - share
    colour = "praised" if advantage >= 0 else "blamed"
    bar = element("i", element("i", class_=colour, style=f"left:{left}%;width:{share}%"), class_="advantage")
    return element("span", bar, f"{advantage:+.2f}", class_="fine", title="advantage")


def _outcome(trajectory: Trajectory) -> str:
    num_refused = sum(isinstance(step.action, Malformed) for step in trajectory.steps)
    refused = f", {num_refused} refused" if num_refused else ""
    if trajectory.answer is not None:
        return f"{_clipped(trajectory.answer)}{refused}"
    if trajectory.kind == EpisodeKind.ZOOM_STEP and trajectory.spans_s:
        return f"zooms{refused}"
    return f"{str(trajectory.status).replace('_', ' ')}{refused}"


def _clipped(text: str, length: int = 24) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _is_good(task: Task, trajectory: Trajectory) -> bool:
    if trajectory.kind == EpisodeKind.ZOOM_STEP:
        return any(any_overlap(span, task.evidence) for span in trajectory.spans_s)
    return trajectory.is_right(task)


def _member_lane(task: Task, member: LabelledRollout, whole: Span) -> Html:
    bands = [
        band(
            zoom.span_s,
            whole,
            str(zoom.step),
            member.style if any_overlap(zoom.span_s, task.evidence) else "miss",
            f"{member.label}, step {zoom.step}",
        )
        for zoom in zooms_of(member.trajectory)
    ]
    return lane(bands)


def _written(task: Task, member: LabelledRollout) -> Html:
    steps = [step_item(task, index, step) for index, step in enumerate(member.trajectory.steps, start=1)]
    return element("section", element("h4", member.label), element("ol", steps, class_="steps"), class_="rollout")
