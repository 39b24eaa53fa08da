"""The zoom timeline as HTML: film strip, evidence and zooms over one time axis that breaks into rows on a phone."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from videozoom.envs.filmstrip import fitted, packed, strip_image, tick_times
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span, Task
from videozoom.rollout.markup import Html, element, image_uri
from videozoom.rollout.timeline import zooms_of
from videozoom.rollout.types import Trajectory

MAX_STRIP_FRAMES = 96
MAX_STRIP_PX = 64
MAX_SHARP_STRIP_PX = 640
"""Wider strips are shown smaller than they are, which needs smoothing."""
SHARP_PX = 112
"""Frames up to this height are kept exactly and enlarged with visible pixels; larger ones are photographs."""


@dataclass(frozen=True, slots=True)
class LabelledRollout:
    """One rollout of a card."""

    label: str
    """Who acted, e.g. `decoupled GRPO` or `member 3`."""
    trajectory: Trajectory
    style: str = "agent"
    """Name of its colour in the page's style sheet."""
    advantage: float | None = None


def timeline(task: Task, rollouts: Sequence[LabelledRollout], fast_view: VideoClip | None) -> Html:
    """Return the timeline of a task and of everybody's zooms.

    It is cut into 1, 2 or 4 segments that stand side by side on a wide screen and below each other on a narrow one.
    """
    num_frames = 0 if fast_view is None else len(fast_view.times_s)
    num_segments = 1 if 0 < num_frames <= 16 else 2 if num_frames <= 40 else 4
    slots = -(-min(num_frames, MAX_STRIP_FRAMES) // num_segments)
    length_s = task.duration_s / num_segments
    windows = [Span(index * length_s, (index + 1) * length_s) for index in range(num_segments)]
    segments = [_segment(task, rollouts, window, strip(fast_view, window, slots)) for window in windows]
    return element(
        "div",
        element("div", segments, class_="timeline", role="img", aria_label=timeline_words(task, rollouts)),
        class_="timeline-frame",
    )


def _segment(task: Task, rollouts: Sequence[LabelledRollout], window: Span, strip: Html) -> Html:
    lanes = [lane([band(span, window, "", "evidence", "evidence") for span in task.evidence])]
    for rollout in rollouts:
        for row in packed(zooms_of(rollout.trajectory)):
            bands = [
                band(zoom.span_s, window, str(zoom.step), rollout.style, f"{rollout.label}, step {zoom.step}")
                for zoom in row
            ]
            lanes.append(lane(bands))
    ticks = [
        element("span", f"{time_s:g} s", style=f"left:{share_percent(time_s, window)}%")
        for time_s in tick_times(task.duration_s)
        if window.start_s <= time_s < window.end_s
    ]
    return element("div", strip, lanes, element("div", ticks, class_="axis"), class_="segment")


def strip(fast_view: VideoClip | None, window: Span, num_slots: int) -> Html:
    """Return `num_slots` frames of a window side by side, or that there are none to show."""
    if fast_view is None:
        return element("div", "frames not available", class_="strip-missing")
    image = strip_image(fast_view, window, num_slots)
    is_photo = image.height > SHARP_PX or image.width > MAX_SHARP_STRIP_PX
    if image.height > MAX_STRIP_PX:
        image = fitted(image, height_px=MAX_STRIP_PX)
    return embedded_image(image, "", "strip", is_photo)


def lane(bands: Sequence[Html | None]) -> Html:
    """Return a row of bands."""
    return element("div", bands, class_="lane")


def band(span: Span, window: Span, label: str, style: str, name: str) -> Html | None:
    """Return the part of `span` that lies in `window`, `None` if nothing does."""
    start_s, end_s = max(span.start_s, window.start_s), min(span.end_s, window.end_s)
    if start_s >= end_s:
        return None
    left = share_percent(start_s, window)
    width = round(share_percent(end_s, window) - left, 3)
    title = f"{name}: {span_text(span)}"
    return element("span", label, class_=f"band style-{style}", style=f"left:{left}%;width:{width}%", title=title)


def share_percent(time_s: float, window: Span) -> float:
    """Return where a time lies in a window, in per cent of its length."""
    return round(100 * (time_s - window.start_s) / window.length_s, 3)


def embedded_image(image: Image.Image, alt: str, name: str, is_photo: bool) -> Html:
    """Return an `<img>` that carries its pixels; `name` is its class."""
    return element(
        "img",
        src=image_uri(image, is_photo=is_photo),
        alt=alt,
        width=image.width,
        height=image.height,
        class_=name if is_photo else f"{name} sharp",
    )


def span_text(span: Span) -> str:
    """Return a span as people write it.

    Example:
        >>> span_text(Span(8.0, 12.25))
        '8 to 12.2 s'
    """
    return f"{round(span.start_s, 1):g} to {round(span.end_s, 1):g} s"


def timeline_words(task: Task, rollouts: Sequence[LabelledRollout]) -> str:
    """Return the timeline in words, for screen readers."""
    evidence = " and ".join(span_text(span) for span in task.evidence) or "not annotated"
    sentences = [f"Timeline of {task.duration_s:g} seconds. Evidence: {evidence}."]
    for rollout in rollouts:
        zooms = ", then ".join(span_text(zoom.span_s) for zoom in zooms_of(rollout.trajectory)) or "none"
        sentences.append(f"Zooms by {rollout.label}: {zooms}.")
    return " ".join(sentences)
