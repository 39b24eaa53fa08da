"""Words for what happens in generated videos: the annotator of the cold start.

Everything said comes from the task's own truth (`Task.metadata`, written by the generator).
"""

from collections.abc import Sequence
from typing import NotRequired, TypedDict, cast

from videozoom.envs.tasks import QuestionKind, Span, Task

LIST_QUESTION = "List the scenes."
MARKS_QUESTION = "Read the marks."
DESCRIBE_QUESTION = "Describe the clip."
EXCERPT_HEADER = "Excerpt:"
NO_SCENE = "There is no scene."
NO_MARK = "There is no mark."
NOT_SEEN = "No clip shows it."
TIME_KINDS = (QuestionKind.NUMERICAL, QuestionKind.TEMPORAL_GROUNDING)
"""Kinds of questions about generated videos whose answer is a time."""


class Event(TypedDict):
    """One event of a generated video, as the generator writes it into `Task.metadata`."""

    start_s: float
    end_s: float
    cue: str
    """What the fast view shows: the colour of the scene's border."""
    sign: str | None
    """What only a slow clip shows; `None` if the scene is blank."""
    is_decoy: bool
    has_mark: NotRequired[bool]
    """Whether a mark tells the sign in the fast view."""


def events_of(task: Task) -> tuple[Event, ...]:
    """Return the events of the task's video in order of time.

    Raises:
        ValueError: the task is not of a generated video.
    """
    if "events" not in task.metadata:
        raise ValueError(f"task {task.task_id!r} has no events in its metadata: it is not of a generated video")
    return tuple(sorted(cast("Sequence[Event]", task.metadata["events"]), key=lambda event: event["start_s"]))


def span_of(event: Event) -> Span:
    """Return when the event is seen."""
    return Span(event["start_s"], event["end_s"])


def mention(event: Event) -> str:
    """Return the sentence that says that there is a scene.

    Example:
        >>> mention({"start_s": 12.0, "end_s": 16.0, "cue": "red", "sign": "bars", "is_decoy": False})
        'There is a red scene.'
    """
    return f"There is a {event['cue']} scene."


def locate(event: Event) -> str:
    """Return the sentence that says where a scene is.

    Example:
        >>> locate({"start_s": 12.0, "end_s": 16.0, "cue": "red", "sign": "bars", "is_decoy": False})
        'The red scene is at 12 to 16.'
    """
    return f"The {event['cue']} scene is at {event['start_s']:g} to {event['end_s']:g}."


def has_mark(event: Event) -> bool:
    """Return whether the fast view tells what the event shows."""
    return event.get("has_mark", False)


def glimpse(event: Event) -> str:
    """Return the sentence that says what a mark tells about a scene in the fast view.

    Example:
        >>> glimpse({"start_s": 12.0, "end_s": 16.0, "cue": "red", "sign": "bars", "is_decoy": False, "has_mark": True})
        'The red scene is marked bars.'
    """
    return f"The {event['cue']} scene is marked {event['sign']}."


def describe(event: Event) -> str:
    """Return the sentence that says what a scene shows from close up.

    Example:
        >>> describe({"start_s": 12.0, "end_s": 16.0, "cue": "red", "sign": "bars", "is_decoy": False})
        'The red scene shows bars.'
    """
    return f"The {event['cue']} scene shows {event['sign'] or 'nothing'}."
