"""Rollouts as HTML: a question, its video over time, who zoomed where, what was seen and said.

A card shows one task and any number of rollouts of it: one, a group, or the same task under several policies.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files

from videozoom.envs.actions import Answer, AskVideo, GetCaption, ZoomIn
from videozoom.envs.filmstrip import clip_image, read_frames
from videozoom.envs.observation import FrameSource, VideoClip
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.rewards.overlap import any_overlap, iou
from videozoom.rollout.markup import Html, element, join
from videozoom.rollout.types import Step, Trajectory
from videozoom.rollout.viewer_timeline import SHARP_PX, LabelledRollout, embedded_image, span_text, timeline

__all__ = ["LabelledRollout", "rollout_card", "style_sheet", "viewer_page"]

MAX_CLIP_FRAMES = 4
MAX_CLIP_PX = 224


def rollout_card(
    task: Task,
    rollouts: Sequence[LabelledRollout],
    frame_source: FrameSource | None,
    *,
    tags: Sequence[str] = (),
) -> Html:
    """Return one card: question and options, the shared timeline, then each rollout's steps side by side.

    Args:
        task: The task all the rollouts are of.
        rollouts: At least one.
        frame_source: Where frames are read again; without it, or when the video is gone, axis and bands remain.
        tags: Why the card is shown, e.g. `best`; the page can filter by them.
    """
    actions = [step.action for rollout in rollouts for step in rollout.trajectory.steps]
    spans = list(dict.fromkeys(action.span_s for action in actions if isinstance(action, ZoomIn)))
    frames = read_frames(task, spans, frame_source)
    clips = dict(zip(spans, frames.clips, strict=True))
    chips = [element("span", tag, class_="tag") for tag in tags]
    return element(
        "article",
        element("header", chips, element("h3", task.question), class_="card-head"),
        option_list(task, rollouts),
        _legend(task, rollouts),
        timeline(task, rollouts, frames.fast_view),
        element("div", [_rollout(task, rollout, clips) for rollout in rollouts], class_="rollouts"),
        element("p", f"task {task.task_id}, {task.duration_s:g} s of {task.video.name}", class_="fine"),
        class_="card",
        data_tags=" ".join(tags),
    )


def viewer_page(title: str, cards: Sequence[Html]) -> str:
    """Return a complete page of cards that needs no other file."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style_sheet()),
    )
    body = element("body", element("main", element("h1", title), cards))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def style_sheet() -> Html:
    """Return the style sheet of cards and pages."""
    return Html(files("videozoom.rollout").joinpath("viewer.css").read_text(encoding="utf-8"))


def option_list(task: Task, rollouts: Sequence[LabelledRollout] = ()) -> Html:
    """Return the options of a task, the right one marked, and who of `rollouts` chose which."""
    if not task.options:
        wanted = element(
            "li", element("b", task.answer), " ", element("span", "right answer", class_="gold-mark"), class_="gold"
        )
        return element("ul", wanted, class_="options")
    items = []
    for letter, option in zip(task.letters, task.options, strict=True):
        is_gold = letter == task.answer
        marks = [element("span", "right answer", class_="gold-mark")] if is_gold else []
        for rollout in rollouts:
            if rollout.trajectory.answer == letter:
                mark = f"chosen by {rollout.label}" if len(rollouts) > 1 else "chosen"
                marks.append(element("span", mark, class_=f"choice-mark style-{rollout.style}"))
        items.append(
            element(
                "li",
                element("b", letter),
                " ",
                option,
                [join([" ", mark]) for mark in marks],
                class_="gold" if is_gold else None,
            )
        )
    return element("ul", items, class_="options")


def _legend(task: Task, rollouts: Sequence[LabelledRollout]) -> Html:
    entries = [_swatch("evidence", "evidence" if task.evidence else "evidence (not annotated)")]
    steps = [step for rollout in rollouts for step in rollout.trajectory.steps]
    looks = "captions read" if any(isinstance(step.action, GetCaption | AskVideo) for step in steps) else "zooms"
    entries += [_swatch(rollout.style, f"{looks} by {rollout.label}") for rollout in rollouts]
    return element("p", entries, class_="legend")


def _swatch(style: str, text: str) -> Html:
    return element("span", element("i", class_=f"swatch style-{style}"), text)


def _rollout(task: Task, rollout: LabelledRollout, clips: dict[Span, VideoClip | None]) -> Html:
    trajectory = rollout.trajectory
    steps = [step_item(task, index, step, clips) for index, step in enumerate(trajectory.steps, start=1)]
    return element(
        "section",
        element("h4", element("i", class_=f"swatch style-{rollout.style}"), rollout.label, _verdict(task, trajectory)),
        element("ol", steps, class_="steps"),
        _rewards(trajectory, rollout.advantage),
        class_="rollout",
    )


def _verdict(task: Task, trajectory: Trajectory) -> Html:
    """Return what became of the episode, in words and with a sign that does not depend on colour."""
    if trajectory.status == Status.ANSWERED:
        is_good = trajectory.is_right(task)
        text = f"answers {trajectory.answer}: right" if is_good else f"answers {trajectory.answer}: wrong"
    elif trajectory.kind == EpisodeKind.ZOOM_STEP and trajectory.status == Status.ZOOMED:
        is_good = any(any_overlap(span, task.evidence) for span in trajectory.spans_s)
        text = "sees the evidence" if is_good else "misses the evidence"
    else:
        is_good = False
        text = {
            Status.NO_ANSWER: "gives no answer",
            Status.MALFORMED: "ends in no valid action",
            Status.ERROR_DECODE: f"could not read the video{f' ({trajectory.error})' if trajectory.error else ''}",
        }.get(trajectory.status, str(trajectory.status))
    sign = "\N{CHECK MARK}" if is_good else "\N{MULTIPLICATION X}"
    return element("span", f"{sign} {text}", class_="verdict good" if is_good else "verdict bad")


def step_item(task: Task, index: int, step: Step, clips: Mapping[Span, VideoClip | None] | None = None) -> Html:
    """Return a step as a list item: what was done, its text, what it took, and with `clips` what it showed."""
    text, prefix = step.completion.text, step.prompt.assistant_prefix
    spoken = [element("span", prefix, class_="prefix"), text] if prefix else text.strip()
    words = element("blockquote", element("p", spoken)) if spoken else None
    missing = element("p", f"No text: {step.completion.error}", class_="fine") if step.completion.error else None
    brought = element("blockquote", element("p", step.brought), class_="brought") if step.brought else None
    span = step.action.span_s if isinstance(step.action, ZoomIn) else None
    seen = _clip(clips.get(span), span) if span is not None and clips is not None else None
    return element(
        "li",
        element("p", _step_title(task, index, step), class_="step-title"),
        words,
        brought,
        missing,
        seen,
        _tokens(step),
    )


def _step_title(task: Task, index: int, step: Step) -> Html:
    action = step.action
    if isinstance(action, ZoomIn):
        what = f"zooms to {span_text(action.span_s)}"
        if task.evidence:
            overlap = max(iou(action.span_s, span) for span in task.evidence)
            is_hit = any_overlap(action.span_s, task.evidence)
            what += f", sees the evidence (IoU {overlap:.2f})" if is_hit else ", misses the evidence"
    elif isinstance(action, Answer):
        what = f"answers {action.text}"
    elif isinstance(action, GetCaption):
        what = f"reads the caption of part {'.'.join(map(str, action.node))}"
    elif isinstance(action, AskVideo):
        what = f"asks about part {'.'.join(map(str, action.node))}: {action.question}"
    else:
        what = f"gives no valid action: {action.reason.replace('_', ' ')}"
    return join([element("b", f"Step {index}"), f" {what}"])


def _tokens(step: Step) -> Html | None:
    completion = step.completion
    if not completion.num_prompt_tokens:
        return None
    text = f"{completion.num_prompt_tokens:,} prompt tokens, {completion.num_visual_tokens:,} of them visual; "
    text += f"{completion.num_tokens:,} sampled"
    return element("p", text, class_="fine")


def _clip(clip: VideoClip | None, span: Span) -> Html:
    if clip is None:
        return element("p", f"The frames of {span_text(span)} are not available.", class_="fine")
    height_px = clip.frames.shape[1]
    num_frames = min(MAX_CLIP_FRAMES, len(clip.frames))
    image = clip_image(clip, num_frames, height_px=min(height_px, MAX_CLIP_PX))
    times = ", ".join(f"{time_s:.1f}" for time_s in clip.times_s)
    shown = f"{num_frames} of {len(clip.frames)} frames" if num_frames < len(clip.frames) else f"{num_frames} frames"
    caption = element("figcaption", f"what it saw: {shown}, at {times} s")
    return element(
        "figure", embedded_image(image, f"Slow clip of {span_text(span)}", "clip", height_px > SHARP_PX), caption
    )


def _rewards(trajectory: Trajectory, advantage: float | None) -> Html:
    terms = [element("span", f"reward {trajectory.reward.total:.2f}", class_="total")]
    terms += [element("span", f"{name} {value:.2f}") for name, value in trajectory.reward.parts.items()]
    if advantage is not None:
        terms.append(element("span", f"advantage {advantage:+.2f}"))
    terms.append(element("span", f"status {trajectory.status}"))
    return element("p", terms, class_="rewards")
