r"""What is written in answers that are no letter of an option: a number, a span, words. Never raises.

Units are read over, not converted: `2 minutes` is 2.
"""

import math
import re
import unicodedata
from typing import NamedTuple

from videozoom.envs.actions import MalformedReason
from videozoom.envs.tasks import QuestionKind, Span

MAX_ANSWER_LENGTH = 2000
"""A longer answer is none: how long scoring takes does not depend on what it is filled with."""
_MAX_NUMBER_LENGTH = 200
_MOST_WORDS = 4
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_VALUE = rf"(?:{_DIGITS})(?:[eE][+-]?[0-9]{{1,4}})?"
# A sign belongs to a number only at the beginning of a word: `3-4` holds two numbers, and digits inside of words, as in
# `m2`, are none.
_NUMBER = re.compile(
    rf"(?<![\w.^,])(?P<sign>(?<![\w.)%])[+-]\s?)?(?P<top>{_VALUE})(?![0-9_]|[^\W\d_]+[0-9])"
    rf"(?:\s?/\s?(?P<bottom>{_VALUE})(?![\w.]))?\s*(?P<percent>%|percent\b|per cent\b)?"
)
_ANY_DIGIT = re.compile(r"(?<![^\W\d_])(?<![\^\w])[0-9]")
_POWER_OF_TEN = re.compile(r"\s?(?:x|\*|\\times|\u00d7)\s?10\s?\^\s?\{?([+-]?[0-9]{1,4})\}?")
_FRACTION = re.compile(r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}")
_WRAPPER = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|operatorname)\{([^{}]*)\}")
_LATEX = re.compile(r"\\[,;:! ]|\\left|\\right|\$")
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_NUMBER_WORDS = {word: value for value, word in enumerate(_SMALL.split(" "))}
_ASCII_WORD = re.compile(r"[a-z]+")
_WORD = re.compile(r"\w+(?:[.,':/-]\w+)*")
_TIME = r"(?:[0-9]{1,3}(?::[0-9]{2}){1,2}|[0-9]+)(?:\.[0-9]*)?"
_UNIT = r"\s*(?:s|secs?|seconds?)?\s*"
_TIMES = re.compile(
    rf"(?:from|between)?\s*[\[(]?\s*({_TIME}){_UNIT}(?:,|;|to|and|until|-|\u2013|\u2014)\s*({_TIME}){_UNIT}[\])]?\.?",
    re.IGNORECASE,
)


class Quantity(NamedTuple):
    """A number as it was written."""

    value: float
    is_percent: bool = False

    def matching(self, other: "Quantity") -> float:
        """Return the value to compare with another's: `50 %` stands for 50 and for 0.5, whichever is nearer to it.

        Example:
            >>> Quantity(50.0, True).matching(Quantity(0.5)), Quantity(50.0, True).matching(Quantity(50.0))
            (0.5, 50.0)
        """
        if self.is_percent == other.is_percent:
            return self.value
        factor = 0.01 if self.is_percent else 100.0
        # What is no percentage may be the number before the sign, or a share of 1.
        return min((self.value, self.value * factor), key=lambda value: abs(value - other.value))


def read_number(text: str) -> Quantity | None:
    r"""Return the only number of a text: with commas, as a fraction, in percent, with units, or as a word up to twenty.

    `None` without a finite number, and with more than one: who lists several has not answered.

    Example:
        >>> read_number("about 1,250.5 km"), read_number("3/4"), read_number("\\frac{1}{2}"), read_number("50 %")
        (Quantity(value=1250.5, is_percent=False), Quantity(value=0.75, is_percent=False), \
Quantity(value=0.5, is_percent=False), Quantity(value=50.0, is_percent=True))
        >>> read_number("3 or 4") is None
        True
    """
    bare = plain_text(text)
    if len(bare) > _MAX_NUMBER_LENGTH:
        return None
    bare = _POWER_OF_TEN.sub(r"e\1", bare.replace("\u2212", "-"))
    match = _NUMBER.search(bare)
    if match is None:
        return None if _ANY_DIGIT.search(bare) else _number_word(bare)
    if _ANY_DIGIT.search(bare, match.end()) or _ANY_DIGIT.search(bare[: match.start()]):
        return None
    value = _value(match["top"]) / (_value(match["bottom"]) or math.nan if match["bottom"] else 1.0)
    if not math.isfinite(value):
        return None
    return Quantity(-value if (match["sign"] or "").startswith("-") else value, match["percent"] is not None)


def read_times(text: str) -> Span | None:
    """Return the span of a text, in seconds and in order: `[12, 16.5]`, `12 to 16.5 s`, `00:12-00:16.5`.

    `None` if it holds anything but two times.

    Example:
        >>> read_times("from 1:02 to 1:04")
        Span(start_s=62.0, end_s=64.0)
    """
    bare = plain_text(text)
    match = _TIMES.fullmatch(bare) if len(bare) <= _MAX_NUMBER_LENGTH else None
    if match is None:
        return None
    times_s = sorted(_seconds(time) for time in match.groups())
    return Span(*times_s) if all(map(math.isfinite, times_s)) else None


def write_times(span_s: Span) -> str:
    """Return the answer that names a span, for `read_times`; without decimals where there are none.

    Example:
        >>> write_times(Span(12.0, 16.5))
        '[12, 16.5]'
    """
    return f"[{', '.join(str(int(time)) if float(time).is_integer() else repr(float(time)) for time in span_s)}]"


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text without what two writers do differently: case, spaces and marks around words.

    Example:
        >>> words_of('It says "No. 7,  Baker Street"!')
        ('it', 'says', 'no', '7', 'baker', 'street')
    """
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", plain_text(text)).casefold()))


def plain_text(text: str) -> str:
    r"""Return a text without spaces around it and without LaTeX's ways of writing words, fractions and signs.

    Example:
        >>> plain_text(r" \text{3 dogs} "), plain_text(r"\frac{3}{4} \%")
        ('3 dogs', '3/4 %')
    """
    bare = text[: 2 * MAX_ANSWER_LENGTH].strip()
    if "\\" in bare or "$" in bare:
        bare = _FRACTION.sub(r"\1/\2", _WRAPPER.sub(r"\1", bare)).replace("\\%", "%")
        bare = _LATEX.sub("", bare).strip()
    return bare


def read_answer(kind: QuestionKind, text: str) -> str | MalformedReason:
    """Return an answer to a question without options as it is kept, or why it is none of its kind.

    Example:
        >>> read_answer(QuestionKind.NUMERICAL, " 12 km "), read_answer(QuestionKind.NUMERICAL, "far")
        ('12 km', <MalformedReason.NOT_A_NUMBER: 'not_a_number'>)
    """
    bare = plain_text(text)
    if kind is QuestionKind.NUMERICAL:
        return bare if read_number(bare) is not None else MalformedReason.NOT_A_NUMBER
    if kind is QuestionKind.TEMPORAL_GROUNDING:
        return bare if read_times(bare) is not None else MalformedReason.NOT_A_SPAN
    is_text = len(text) <= MAX_ANSWER_LENGTH and bool(words_of(bare))
    return bare if is_text else MalformedReason.NOT_A_TEXT


def _number_word(text: str) -> Quantity | None:
    words = _ASCII_WORD.findall(text.lower())
    found = [_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS]
    # In a sentence, `one` is no number.
    return Quantity(float(found[0])) if len(found) == 1 and len(words) <= _MOST_WORDS else None


def _value(digits: str) -> float:
    return float(digits.replace(",", ""))


def _seconds(time: str) -> float:
    """Return the seconds of `16.5`, `1:04` or `1:00:04`."""
    seconds = 0.0
    for part in time.split(":"):
        seconds = 60.0 * seconds + float(part)
    return seconds
