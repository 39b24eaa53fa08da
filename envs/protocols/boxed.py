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
_SPAN_OF_INTEGERS = re.compile(rf"\[\s*({_INTEGER})\s*,\s*({_INTEGER})\s*\]")
_SPAN_OF_DECIMALS = re.compile(rf"\[\s*({_DECIMAL})\s*,\s*({_DECIMAL})\s*\]")
_LETTER_ALONE = re.compile(r"\(?([A-Za-z])(?:[).:].*)?", re.DOTALL)


class BoxChoice(StrEnum):
    """Which box counts when a text has several."""

    FIRST = "first"
    LAST = "last"


class LetterRule(StrEnum):
    """What counts as an option letter inside a box."""

    ALONE = "alone"
    """The letter alone, or followed by punctuation: `B`, `(b)`, `B. two bars`; not `Because`."""
    FIRST_CHARACTER = "first_character"
    """The first character, whatever follows: `Because` is B."""


@dataclass(frozen=True, slots=True)
class BoxRules:
    """How a completion is read. Each field is one point on which published parsers differ.

    Source: LOVE-R1 describes no parser; `PARSERS` names the two of its released code.
    """

    box: BoxChoice = BoxChoice.FIRST
    require_prefix: bool = True
    """Whether the prefix decides between zoom and answer; else a box that starts with `[` is a zoom."""
    integers_only: bool = True
    """Whether a span must be in whole seconds."""
    letter: LetterRule = LetterRule.ALONE


PARSERS = {
    "rl": BoxRules(),
    "eval": BoxRules(box=BoxChoice.LAST, require_prefix=False),
}
"""`rl`: as the released training code, except that spaces around a span are accepted and that a letter must stand
alone (there: `LetterRule.FIRST_CHARACTER`). `eval`: as the released evaluation code, which reads the last box and
ignores the prefix; there a box that is no list is kept as free text, here it must be an option letter."""


def find_box(text: str, choice: BoxChoice) -> str | None:
    r"""Return what stands inside the first or last `\boxed{...}`, braces balanced; `None` if it never closes.

    Example:
        >>> find_box(r"I see it: \boxed{B}. Or \boxed{C}?", BoxChoice.FIRST)
        'B'
    """
    found = text.find(_BOX_START) if choice is BoxChoice.FIRST else text.rfind(_BOX_START)
    if found < 0:
        return None
    content_start = found + len(_BOX_START)
    depth = 1
    for brace in _BRACE.finditer(text, content_start):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return text[content_start : brace.start()]
    return None


def read_span(content: str, integers_only: bool) -> Span | MalformedReason:
    """Return the span a box holds, sorted; anything but two finite numbers in brackets is `NOT_A_SPAN`.

    Example:
        >>> read_span(" [ 20, 12 ] ", integers_only=True)
        Span(start_s=12.0, end_s=20.0)
        >>> read_span("[1.5, 2]", integers_only=True)
        <MalformedReason.NOT_A_SPAN: 'not_a_span'>
    """
    pattern = _SPAN_OF_INTEGERS if integers_only else _SPAN_OF_DECIMALS
    match = pattern.fullmatch(content.strip())
    if match is None:
        return MalformedReason.NOT_A_SPAN
    start_s, end_s = sorted(float(number) for number in match.groups())
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        return MalformedReason.NOT_A_SPAN
    return Span(start_s, end_s)


def read_letter(content: str, num_options: int, rule: LetterRule) -> str | MalformedReason:
    """Return the option letter a box holds, upper case.

    Example:
        >>> read_letter("(b) two bars", 4, LetterRule.ALONE)
        'B'
        >>> read_letter("E", 4, LetterRule.ALONE)
        <MalformedReason.UNKNOWN_OPTION: 'unknown_option'>
    """
    stripped = content.strip()
    if rule is LetterRule.ALONE:
        match = _LETTER_ALONE.fullmatch(stripped)
        letter = match.group(1).upper() if match else ""
    else:
        letter = stripped[:1].upper()
    if len(letter) != 1 or letter not in OPTION_LETTERS:
        return MalformedReason.NOT_A_LETTER
    return letter if OPTION_LETTERS.index(letter) < num_options else MalformedReason.UNKNOWN_OPTION
