"""Frames that need no video file, and finished rollouts of one question."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from videozoom.envs.actions import Action, Answer, Malformed, ZoomIn
from videozoom.envs.messages import Prompt
from videozoom.envs.observation import VideoClip, VideoDecodeError
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.policies.base import Completion
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.types import Step, Trajectory

VOID = ("br", "hr", "img", "input", "meta")


class DrawnFrames:
    """A frame of second T is grey of level T; a missing video is a `VideoDecodeError`."""

    def __init__(self, duration_s: float = 64.0, *, num_fast: int = 32, fast_px: int = 8, slow_px: int = 16) -> None:
        self.length_s, self.num_fast, self.fast_px, self.slow_px = duration_s, num_fast, fast_px, slow_px

    def duration_s(self, video: Path) -> float:
        return self.length_s

    def fast_view(self, video: Path) -> VideoClip:
        if video.name == "missing.mp4":
            raise VideoDecodeError(f"{video}: no such file")
        times = np.arange(self.num_fast) * self.length_s / self.num_fast
        return self._clip(times, Span(0.0, self.length_s), self.fast_px)

    def slow_clip(self, video: Path, span_s: Span) -> VideoClip:
        if video.name == "missing.mp4":
            raise VideoDecodeError(f"{video}: no such file")
        return self._clip(span_s.start_s + np.arange(4) * span_s.length_s / 4, span_s, self.slow_px)

    def _clip(self, times_s: np.ndarray, span_s: Span, side_px: int) -> VideoClip:
        frames = np.stack([np.full((side_px, side_px, 3), int(time_s), np.uint8) for time_s in times_s])
        return VideoClip(frames, times_s.astype(np.float64), span_s, f"{span_s}")


def drawn_task(number: int = 0, *, video: str = "v.mp4", question: str = "Which sign is shown?") -> Task:
    return Task(f"task-{number}", Path(video), 64.0, question, ("bars", "lines", "rings"), "B", (Span(24.0, 28.0),))


def rollout_of(
    task: Task,
    spans: Sequence[Span] = (Span(24.0, 28.0),),
    answer: str | None = "B",
    *,
    text: str = "I saw it.",
    kind: EpisodeKind = EpisodeKind.MULTI_STEP,
    malformed: bool = False,
    status: Status | None = None,
) -> Trajectory:
    steps = [_step(Malformed("no_box"), "words without a box")] if malformed else []
    steps += [_step(ZoomIn(span), "Look there.", prefix="I need to look closer.") for span in spans]
    if answer is not None:
        steps.append(_step(Answer(answer), text))
    outcome = float(answer == task.answer)
    return Trajectory(
        task_id=task.task_id,
        kind=kind,
        member=0,
        seed=(0,),
        steps=tuple(steps),
        status=status or (Status.ANSWERED if answer is not None else Status.NO_ANSWER),
        answer=answer,
        spans_s=tuple(spans),
        reward=RewardBreakdown(outcome, {"outcome": outcome}),
    )


def _step(action: Action, text: str, prefix: str = "") -> Step:
    completion = Completion(text, token_ids=np.zeros(7, np.int32), num_prompt_tokens=1234, num_visual_tokens=24)
    return Step(Prompt((), prefix), completion, action)


class Page(HTMLParser):
    """A parsed page: its tags must be balanced; keeps texts, attributes by tag, and what it refers to."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(markup)
        self.close()
        assert self.stack == [], f"never closed: {self.stack}"

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def references(self) -> list[str]:
        names = ("src", "href", "action", "data", "poster", "srcset", "xlink:href")
        return [value or "" for _, attributes in self.tags for name, value in attributes.items() if name in names]

    def of(self, tag: str, class_: str = "") -> list[dict[str, str | None]]:
        found = [attributes for name, attributes in self.tags if name == tag]
        return [attributes for attributes in found if not class_ or class_ in (attributes.get("class") or "").split()]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack[-1:] == [tag], f"</{tag}> closes {self.stack[-1:]}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
