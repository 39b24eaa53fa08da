r"""Reading `\boxed{...}`: the box, a span in seconds, an option letter. Never raises, whatever the text."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from videozoom.envs.actions import MalformedReason
from videozoom.envs.tasks import OPTION_LETTERS, Span

_BOX_START = "\\boxed{"
_BRACE = re.compile(r"[{}]")
_INTEGER = r"[+-]?[0-9]+"
# No two repetitions of digits stand side by side: the time must stay linear in the length of the text.
_DECIMAL = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBERS = {
    whole: re.compile(rf"\[\s*{number}\s*(?:,\s*{number}\s*)+\]")
    for whole, number in ((True, _INTEGER), (False, _DECIMAL))
}
_LETTER_ALONE = re.compile(r"\(?([A-Za-z])(?:[).:].*)?", re.DOTALL)


class BoxChoice(StrEnum):
    """Which box counts when a text has several."""

    FIRST = "first"
    LAST = "last"


class BoxEnd(StrEnum):
    """Where a box ends."""

    BALANCED = "balanced"
    """At the brace that closes it, whatever pairs of braces are inside."""
    NEXT_BRACE = "next_brace"
    """At the next closing brace."""


class LetterRule(StrEnum):
    """What counts as an option letter inside a box."""

    ALONE = "alone"
    """The letter alone, or followed by punctuation: `B`, `(b)`, `B. two bars`; not `Because`."""
    FIRST_CHARACTER = "first_character"
    """The first character, whatever follows: `Because` is B, and ` B` none."""
    FIRST_FOUND = "first_found"
    """The first capital that is the letter of an option, wherever it stands: `The Dog is B` is D."""


@dataclass(frozen=True, slots=True)
class BoxRules:
    """How a completion is read. Each field is one point on which published parsers differ.

    Source: LOVE-R1 describes no parser; `PARSERS` names those of its released code.
    """

    box: BoxChoice = BoxChoice.FIRST
    end: BoxEnd = BoxEnd.BALANCED
    require_prefix: bool = True
    """Whether the prefix decides between zoom and answer; else a box that starts with `[` is a zoom."""
    integers_only: bool = True
    """Whether a span must be in whole seconds."""
    spaces: bool = True
    """Whether spaces may stand around a span's brackets."""
    lowest_two: bool = False
    """Whether three or more numbers in brackets are a span, of the lowest two."""
    letter: LetterRule = LetterRule.ALONE


PARSERS = {
    "rl": BoxRules(),
    "eval": BoxRules(box=BoxChoice.LAST, require_prefix=False),
    "released_rl": BoxRules(end=BoxEnd.NEXT_BRACE, spaces=False, letter=LetterRule.FIRST_CHARACTER),
    "released_eval": BoxRules(box=BoxChoice.LAST, require_prefix=False, lowest_two=True, letter=LetterRule.FIRST_FOUND),
}
"""`released_rl` and `released_eval` read as LOVE-R1's released training and evaluation code do, which read `Because` as
B and `The Dog is B` as D. `rl` and `eval` are the same with that mended: a letter must stand alone, spaces around a
span do not matter, braces are balanced, and a span has two numbers. What an exception ends there is malformed here."""


def find_box(text: str, choice: BoxChoice, end: BoxEnd = BoxEnd.BALANCED) -> str | None:
    r"""Return what stands inside the first or last `\boxed{...}`; `None` if it never closes.

    Example:
        >>> find_box(r"I see it: \boxed{B}. Or \boxed{C}?", BoxChoice.FIRST)
        'B'
    """
    found = text.find(_BOX_START) if choice is BoxChoice.FIRST else text.rfind(_BOX_START)
    if found < 0:
        return None
    content_start = found + len(_BOX_START)
    if end is BoxEnd.NEXT_BRACE:
        content_end = text.find("}", content_start)
        return text[content_start:content_end] if content_end >= 0 else None
    depth = 1
    for brace in _BRACE.finditer(text, content_start):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return text[content_start : brace.start()]
    return None


def read_span(
    content: str, integers_only: bool, *, spaces: bool = True, lowest_two: bool = False
) -> Span | MalformedReason:
    """Return the span a box holds, sorted; anything but two finite numbers in brackets is `NOT_A_SPAN`.

    Args:
        content: What stands in the box.
        integers_only: Whether the numbers must be whole.
        spaces: Whether spaces may stand around the brackets.
        lowest_two: Whether of more than two numbers the lowest two count.

    Example:
        >>> read_span(" [ 20, 12 ] ", integers_only=True)
        Span(start_s=12.0, end_s=20.0)
        >>> read_span("[1.5, 2]", integers_only=True)
        <MalformedReason.NOT_A_SPAN: 'not_a_span'>
    """
    bare = content.strip() if spaces else content
    if _NUMBERS[integers_only].fullmatch(bare) is None:
        return MalformedReason.NOT_A_SPAN
    times_s = sorted(float(number.strip()) for number in bare[1:-1].split(","))
    if not all(map(math.isfinite, times_s)) or (len(times_s) > 2 and not lowest_two):
        return MalformedReason.NOT_A_SPAN
    return Span(times_s[0], times_s[1])


def read_letter(content: str, num_options: int, rule: LetterRule) -> str | MalformedReason:
    """Return the option letter a box holds, upper case.

    Example:
        >>> read_letter("(b) two bars", 4, LetterRule.ALONE)
        'B'
        >>> read_letter("E", 4, LetterRule.ALONE)
        <MalformedReason.UNKNOWN_OPTION: 'unknown_option'>
    """
    stripped = content.strip()
    if rule is LetterRule.FIRST_FOUND:
        letters = OPTION_LETTERS[:num_options]
        return next((letter for letter in stripped if letter in letters), MalformedReason.NOT_A_LETTER)
    if rule is LetterRule.ALONE:
        match = _LETTER_ALONE.fullmatch(stripped)
        letter = match.group(1).upper() if match else ""
    else:
        letter = content[:1].upper()
    if len(letter) != 1 or letter not in OPTION_LETTERS:
        return MalformedReason.NOT_A_LETTER
    return letter if OPTION_LETTERS.index(letter) < num_options else MalformedReason.UNKNOWN_OPTION
