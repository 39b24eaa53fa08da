"""Outputs that models could give and should not: mutations of valid ones, for the parsers of all protocols.

`python tests/envs/output_fuzzer.py` prints what reading takes.
"""

import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, MalformedReason, ZoomIn
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import OPTION_LETTERS, Span

SHORT_LENGTH = 2000
"""Outputs up to this length count as short."""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_words = str.split
_NUMBERS = (
    *_words("0 -1 1e999 -1e-999 NaN nan Infinity -inf 1e308 0x10 1_000 \uff11\uff12 \u0663 \u00bd"),
    *_words('00012 1:30 true null "4" "nan" [] {}'),
    *("", "9" * 400, "9" * 5000, "1." + "0" * 300 + "1"),
)
_PIECES = (
    *_words("<think> </think> <answer> </answer> <video_zoom> </video_zoom> <tool> </tool> <tool_response>"),
    *_words("<|im_end|> <|im_start|> \\boxed{ \\boxed } { [ ] ( ) \" ' , - A B. (C) Z a 1 get_caption( video_qa("),
    *_words('"segment" "fps" \\ \\\\ \\u0041 \\n %s {0} {question} &lt;'),
    *("I get the answer.", "I need to zoom in on the video."),
    *("{" * 30, "}" * 30, '{"a":' * 40, "[" * 200, "\\boxed{" * 20, "(" * 50),
    *"\n\r\t \0\x1d\u00a0\u2028\u202e\ufeff\u200b\u00e9\u00df\ufb00\uff21\u65e5\U0001f642\ud800\udfff",
)


def fuzzed(valid: Sequence[str], num: int, seed: int = 0) -> Iterator[str]:
    """Yield `num` outputs: one to six mutations each of valid ones, and now and then one of a megabyte."""
    rng = random.Random(seed)
    for index in range(num):
        text = rng.choice(valid)
        for _ in range(rng.randint(1, 6)):
            text = rng.choice(_MUTATIONS)(text, rng, valid)
        yield _megabyte(text, rng) if index % 5000 == 17 else text


def check_action(action: Action, options: Sequence[str]) -> None:
    """Fail unless `action` is something that a parser may return."""
    if isinstance(action, ZoomIn):
        assert all(math.isfinite(value) for value in (*action.span_s, action.fps or 0.0))
        assert action.span_s == Span(float(action.span_s[0]), float(action.span_s[1]))
    elif isinstance(action, Answer):
        assert action.text in OPTION_LETTERS[: len(options)]
    elif isinstance(action, GetCaption | AskVideo):
        assert action.node
        assert all(type(number) is int and number >= 0 for number in action.node)
        assert isinstance(action, GetCaption) or action.question.strip()
    else:
        assert isinstance(action, Malformed)
        assert action.reason in tuple(MalformedReason)
        if action.asked is not None:
            check_action(action.asked, options)


def check_zoom(zoom: ZoomIn, rules: SpanRules, duration_s: float) -> None:
    """Fail unless rules accept a zoom only as they are declared."""
    span_s = rules.check(zoom.span_s, duration_s, (), zoom.fps)
    if isinstance(span_s, Malformed):
        assert span_s.reason in tuple(MalformedReason)
        return
    assert 0.0 <= span_s.start_s < span_s.end_s <= duration_s
    assert span_s.length_s <= rules.max_length_s
    if rules.max_frames and zoom.fps is not None:
        assert span_s.length_s * zoom.fps < rules.max_frames + 1


def check_parser(
    parse: Callable[[str], Action], texts: Iterable[str], options: Sequence[str], rules: SpanRules, duration_s: float
) -> Counter[str]:
    """Return how often each kind of action was read; fails on an exception and on what no parser may return."""
    counts: Counter[str] = Counter()
    for text in texts:
        action = parse(text)
        check_action(action, options)
        if isinstance(action, ZoomIn):
            check_zoom(action, rules, duration_s)
        counts[type(action).__name__] += 1
    return counts


def _splice(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + rng.choice(_PIECES) + text[at:]


def _cut(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    start, end = sorted(rng.randint(0, len(text)) for _ in range(2))
    return text[:start] + text[min(end, start + 20) :]


def _truncate(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    return text[: rng.randint(0, len(text))] if rng.random() < 0.5 else text[rng.randint(0, len(text)) :]


def _replace_character(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    if not text:
        return text
    at = rng.randrange(len(text))
    return text[:at] + chr(rng.choice((rng.randint(1, 127), rng.randint(1, 0x10FFFF)))) + text[at + 1 :]


def _replace_number(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return text
    match = rng.choice(numbers)
    value = rng.choice((rng.choice(_NUMBERS), repr(rng.uniform(-100.0, 200.0)), str(rng.randint(-5, 99))))
    # Patterns, `strip` and `float` do not agree on what a space is.
    space = rng.choice(("", "", "", " ", "\n", "\x1d", "\x85", "\u2003"))
    return text[: match.start()] + space + value + text[match.end() :]


def _replace_letter(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    return re.sub(r"\b[A-D]\b", lambda _: rng.choice("ABCDEZabcdz?( "), text, count=1)


def _repeat(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    start, end = sorted(rng.randint(0, len(text)) for _ in range(2))
    return text[:end] + text[start:end][:500] + text[end:]


def _join(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    return text + rng.choice(("", " ", "\n")) + rng.choice(valid)


def _change_case(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    return rng.choice((text.upper, text.lower, text.swapcase))()


def _keep(text: str, rng: random.Random, valid: Sequence[str]) -> str:
    return text


_MUTATIONS = (
    *(_splice, _splice, _cut, _truncate, _replace_character, _replace_number, _replace_number),
    *(_replace_letter, _repeat, _join, _change_case, _keep, _keep),
)


def _megabyte(text: str, rng: random.Random) -> str:
    unit = rng.choice((text or "x", *_PIECES)) or "x"
    filler = (unit * (2**20 // len(unit) + 1))[: 2**20]
    return rng.choice((filler, filler + text, text + filler, text[: len(text) // 2] + filler + text[len(text) // 2 :]))


def _main() -> None:
    from fuzzed_protocols import PARSERS

    for name, (parse, valid, *_) in PARSERS.items():
        texts = [text for text in fuzzed(valid, 20_000) if len(text) <= SHORT_LENGTH]
        started_s = time.perf_counter()
        for text in texts:
            parse(text)
        took_s = time.perf_counter() - started_s
        print(f"{name}: {1e6 * took_s / len(texts):.1f} microseconds, mean of {len(texts)} short outputs")
        worst_s = 0.0
        for text in fuzzed(valid, 100_000, seed=1):
            if len(text) > 2**20:
                started_s = time.perf_counter()
                parse(text)
                worst_s = max(worst_s, time.perf_counter() - started_s)
        print(f"{name}: {1e3 * worst_s:.1f} milliseconds, slowest of the outputs of a megabyte")


if __name__ == "__main__":
    _main()
