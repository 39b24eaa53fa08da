"""The truth of generated videos as a captioner and as a question answerer: no model, no frames."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from videozoom.envs.captions.sources import CaptionError, Segment
from videozoom.envs.captions.tree import LEVELS, Level
from videozoom.envs.generated.caption_words import CAPTION_WORDS, CaptionStyle
from videozoom.envs.generated.narration import Event, describe, events_of, span_of
from videozoom.envs.tasks import Span, Task
from videozoom.rewards.overlap import any_overlap

NOT_RELATED = "This part of the video does not show what is asked."
_WORD = re.compile(r"[a-z]+")

EventsOf = Mapping[Path, Sequence[Event]]
"""Events of each video, in order of time."""


def events_by_video(tasks: Iterable[Task]) -> dict[Path, tuple[Event, ...]]:
    """Return the events of the tasks' videos; raises `ValueError` if one is not generated."""
    return {task.video: events_of(task) for task in tasks}


class TruthCaptioner:
    """Says of each span what a captioner of its level could see in a generated video.

    High-level captions name the colours of the scenes, medium-level ones when they are seen, low-level ones what they
    show: the answer to a question is in a low-level caption only.

    Example:
        With a red scene at 12 to 16 that shows bars, the spans of three levels around it get the captions
        "There is a red scene.", "The red scene is at 12 to 16." and "The red scene shows bars.".
    """

    fingerprint = "generated truth"

    def __init__(
        self, events: EventsOf, times_from: Level = Level.MEDIUM, style: CaptionStyle = CaptionStyle.SENTENCES
    ) -> None:
        """Take the events of videos.

        Args:
            events: see `events_by_video`.
            times_from: the highest level whose captions tell times; with `high`, one look at them tells where to go.
            style: how captions are worded.

        Raises:
            ValueError: if `times_from` is `low`, whose captions tell what scenes show instead.
        """
        if times_from is Level.LOW:
            raise ValueError("times_from must be high or medium, got 'low'.")
        self._events = events
        self._times_from = LEVELS.index(times_from)
        self._words = CAPTION_WORDS[style]

    def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
        """Return a caption of each segment: a sentence for each scene that is seen in it, in order of time."""
        events = _events(self._events, video)
        return [
            " ".join(self._sentence(event, it.level) for event in _seen(events, it.span_s)) or self._words.no_scene
            for it in segments
        ]

    def _sentence(self, event: Event, level: Level) -> str:
        if level is Level.LOW:
            return self._words.describe(event)
        tell = self._words.locate if LEVELS.index(level) >= self._times_from else self._words.mention
        return tell(event)


class TruthVideoQA:
    """Answers what scenes of generated videos show: all that are seen in the span and named in the question."""

    fingerprint = "generated truth"

    def __init__(self, events: EventsOf) -> None:
        self._events = events

    def answer(self, video: Path, span_s: Span, question: str) -> str:
        """Return a sentence for each scene that is asked about by its colour."""
        words = set(_WORD.findall(question.lower()))
        seen = _seen(_events(self._events, video), span_s)
        return " ".join(describe(event) for event in seen if event["cue"] in words) or NOT_RELATED


def _events(events: EventsOf, video: Path) -> Sequence[Event]:
    if video not in events:
        raise CaptionError(f"{video}: nothing is known about this video; its captions need a generated one.")
    return events[video]


def _seen(events: Sequence[Event], span_s: Span) -> list[Event]:
    return [event for event in events if any_overlap(span_of(event), [span_s])]
