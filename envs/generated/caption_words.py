"""How the truth of generated videos words its captions: in sentences, or in notes of a word or two per scene."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from videozoom.envs.generated.narration import NO_SCENE, Event, describe, locate, mention


class CaptionStyle(StrEnum):
    """Styles of captions."""

    SENTENCES = "sentences"
    NOTES = "notes"
    """What a tiny model learns to look up soonest: a colour stands right before what is said of its scene."""


@dataclass(frozen=True, slots=True)
class CaptionWords:
    """What is said of a scene at each level, and where there is none."""

    mention: Callable[[Event], str]
    """That there is a scene."""
    locate: Callable[[Event], str]
    """When it begins."""
    describe: Callable[[Event], str]
    """What it shows."""
    no_scene: str
    thought: str
    """What reasoning in this style begins with."""


def _mention(event: Event) -> str:
    return event["cue"]


def _locate(event: Event) -> str:
    return f"{event['cue']}{event['start_s']:g}"


def _describe(event: Event) -> str:
    return f"{event['cue']} {event['sign'] or 'blank'}"


CAPTION_WORDS: Mapping[CaptionStyle, CaptionWords] = MappingProxyType(
    {
        CaptionStyle.SENTENCES: CaptionWords(mention, locate, describe, NO_SCENE, thought=""),
        CaptionStyle.NOTES: CaptionWords(_mention, _locate, _describe, "none", thought="Note "),
    }
)
"""In notes, a red scene at 12 to 16 that shows bars is "red", "red12" and "red bars"."""
