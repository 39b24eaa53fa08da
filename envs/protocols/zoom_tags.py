"""Reading `<video_zoom>` and `<answer>` blocks, what is in them, and their form. Never raises, whatever the text."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from videozoom.envs import answer_texts
from videozoom.envs.actions import MalformedReason, ZoomIn
from videozoom.envs.protocols.boxed import BoxChoice, LetterRule, find_box, read_letter
from videozoom.envs.tasks import QuestionKind, Span

ZOOM, ANSWER, THINK = "video_zoom", "answer", "think"

_MAX_REQUEST_LENGTH = 1000
"""A longer request is none: how long reading takes does not depend on what a text is filled with."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# Words that may stand before a letter; every part can be missing, and none repeats.
_LEAD = re.compile(r"(?:the\s+)?(?:(?:final|correct|right|best)\s+)?(?:answer|option|choice)(?:\s+is)?\s*:?\s*", re.I)


@dataclass(frozen=True, slots=True)
class Found:
    """The one block of a text that says what is to be done."""

    tag: str
    """`video_zoom` or `answer`."""
    content: str
    is_well_formed: bool
    """Whether the text has the form that VideoZoomer rewards: see `find_action`."""


def find_action(text: str) -> Found | MalformedReason:
    """Return the zoom or the answer of a text; blocks in its reasoning, up to the first `</think>`, do not count.

    A text without a finished block has no action, one with two zooms, or a zoom and an answer, has too many; of several
    answers the last one counts. Well-formed is a text that begins with a finished `<think>` block, has one block and no
    tag of the other kind and, if it answers, ends there.

    Source: VideoZoomer, released code: the format reward, and the search for blocks. Departs from it: there, blocks
    inside of the reasoning count, a text without an answer is one as a whole, and an unfinished one reaches to the end.

    Example:
        >>> find_action("<think>Near the start.</think><answer>B</answer>")
        Found(tag='answer', content='B', is_well_formed=True)
    """
    reasoning_end = text.find(f"</{THINK}>")
    start = reasoning_end + len(f"</{THINK}>") if reasoning_end >= 0 else 0
    zoom, answer = _block(text, ZOOM, start, last=False), _block(text, ANSWER, start, last=True)
    if zoom is None and answer is None:
        return MalformedReason.NO_ACTION
    if zoom is not None and (answer is not None or _block(text, ZOOM, zoom[1], last=False) is not None):
        return MalformedReason.TWO_ACTIONS
    has_thought = reasoning_end >= 0 and text.lstrip().startswith(f"<{THINK}>")
    if zoom is not None:
        content = text[zoom[0] : zoom[1]]
        return Found(ZOOM, content, has_thought and _counts(text, ZOOM) == (1, 1) and _counts(text, ANSWER) == (0, 0))
    assert answer is not None
    is_alone = _counts(text, ANSWER) == (1, 1) and _counts(text, ZOOM) == (0, 0)
    is_well_formed = has_thought and is_alone and text.rstrip().endswith(f"</{ANSWER}>")
    return Found(ANSWER, text[answer[0] : answer[1]], is_well_formed)


def read_request(content: str) -> ZoomIn | MalformedReason:
    """Return the zoom of a request: one JSON object with `segment`, two finite numbers, and `fps`, another.

    Numbers in quotes are numbers, other keys are ignored, and words around the object, too. Neither the span nor the
    rate is checked any further.

    Source: VideoZoomer, released code. Departs from it: line breaks are allowed, numbers must be finite, and a segment
    has two of them.

    Example:
        >>> read_request(' {"segment": [4.0, 6.0], "fps": 2} ')
        ZoomIn(span_s=Span(start_s=4.0, end_s=6.0), fps=2.0, is_well_formed=True)
    """
    start, end = content.find("{"), content.rfind("}")
    if not 0 <= start < end <= start + _MAX_REQUEST_LENGTH:
        return MalformedReason.BAD_ARGUMENTS
    try:
        request = json.loads(content[start : end + 1])
    except (ValueError, RecursionError):
        return MalformedReason.BAD_ARGUMENTS
    segment = request.get("segment")
    numbers = [_number(value) for value in (*segment, request.get("fps"))] if isinstance(segment, list) else []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        return MalformedReason.BAD_ARGUMENTS
    start_s, end_s, fps = numbers
    return ZoomIn(Span(start_s, end_s), fps)


def read_answer(
    content: str, num_options: int, kind: QuestionKind = QuestionKind.MULTIPLE_CHOICE
) -> str | MalformedReason:
    r"""Return the option letter of an answer, upper case: a letter alone, or followed by punctuation.

    `\boxed{}`, asterisks and words like `Answer:` around it do not count, except that the words of a text are its own.
    Questions without options are answered by what their kind asks for.

    Departs from VideoZoomer's released code, which does not read `(A)`, `A)`, `a` and `Answer: A`, and takes the last
    capital before a full stop for an answer: S in `A. the U.S.`.

    Example:
        >>> read_answer("Answer: (b)", 4), read_answer("A. the U.S.", 4)
        ('B', 'A')
        >>> read_answer("The U.S.", 4)
        <MalformedReason.NOT_A_LETTER: 'not_a_letter'>
    """
    box = find_box(content, BoxChoice.LAST)
    bare = (content if box is None else box).strip(" \t\r\n*")
    if kind in (QuestionKind.TRANSCRIPTION, QuestionKind.OPEN):
        return answer_texts.read_answer(kind, bare)
    lead = _LEAD.match(bare)
    if kind is not QuestionKind.MULTIPLE_CHOICE:
        return answer_texts.read_answer(kind, bare[lead.end() :] if lead else bare)
    return read_letter(bare[lead.end() :].lstrip("* ") if lead else bare, num_options, LetterRule.ALONE)


def _block(text: str, tag: str, start: int, *, last: bool) -> tuple[int, int] | None:
    """Return where the content of the first or last finished block begins and ends."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    last_end = max(start, text.rfind(closing, start))
    found = text.rfind(opening, start, last_end) if last else text.find(opening, start, last_end)
    content_start = found + len(opening)
    end = text.find(closing, content_start) if found >= 0 else -1
    return (content_start, end) if end >= 0 else None


def _counts(text: str, tag: str) -> tuple[int, int]:
    return text.count(f"<{tag}>"), text.count(f"</{tag}>")


def _number(value: Any) -> float:
    """Return a number, `nan` for what is none."""
    if isinstance(value, str):
        bare = value.strip()
        return float(bare) if _NUMBER.fullmatch(bare) else math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
