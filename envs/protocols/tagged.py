"""Reading `<think>`, `<tool>` and `<answer>` blocks and the calls in them. Never raises, whatever the text."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from videozoom.envs.actions import Action, AskVideo, GetCaption, Malformed, MalformedReason

_MAX_IDS_LENGTH = 64
"""Longer ids are no ids: how long reading takes does not depend on what comes after."""
_IDS = r"([0-9]{1,4}(?:\s*,\s*[0-9]{1,4}){0,7})\s*,?\s*"
_NUMBER = re.compile(r"[0-9]+")
_NODE = re.compile(rf"(?:\(\s*{_IDS}\)|\[\s*{_IDS}\]|{_IDS})")
_QUOTES = ('"', "'")


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between a tag and its end, and where in the text."""

    content: str
    start: int
    end: int


def find_block(text: str, tag: str, start: int = 0) -> Block | None:
    """Return the first finished block of a tag that begins at `start` or later.

    Example:
        >>> find_block("I see. <answer>B</answer>", "answer")
        Block(content='B', start=7, end=25)
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    found = text.find(opening, start)
    end = text.find(closing, found + len(opening)) if found >= 0 else -1
    return Block(text[found + len(opening) : end], found, end + len(closing)) if end >= 0 else None


class BothRule(StrEnum):
    """Which block counts when a text has an answer and a call."""

    FIRST = "first"
    """The one that is finished first: sampling ends there if `stop` names both ends."""
    ANSWER = "answer"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class TagRules:
    """How a completion is read. Each field is one point on which published parsers differ.

    Source: LongVideo-R1 describes no parser; `TAG_PARSERS` names those of its released code.
    """

    both: BothRule = BothRule.FIRST
    think_first: bool = True
    """Whether a finished `<think>` block has to stand before the action; blocks inside it do not count then."""
    exact_letter: bool = False
    """Whether an answer has to be the option letter and nothing else; otherwise `(b)` and `B. two bars` are fine."""


TAG_PARSERS = {
    "first": TagRules(),
    "eval": TagRules(both=BothRule.ANSWER, exact_letter=True),
    "rl": TagRules(both=BothRule.TOOL, think_first=False, exact_letter=True),
}
"""`first`: what is finished first counts. `eval`: as the released evaluation code, which looks for an answer first.
`rl`: as the released tool server, which looks for a call first and asks for no reasoning."""


def find_action(text: str, rules: TagRules) -> tuple[str, str] | MalformedReason:
    """Return the tag of the block that counts, `answer` or `tool`, and what is in it.

    Example:
        >>> find_action("<think>Too far.</think> <tool>get_caption((2, 1))</tool>", TagRules())
        ('tool', 'get_caption((2, 1))')
    """
    start = 0
    if rules.think_first:
        thinking = find_block(text, "think")
        if thinking is None:
            return MalformedReason.NO_THINKING
        start = thinking.end
    found = {tag: block for tag in ("answer", "tool") if (block := find_block(text, tag, start)) is not None}
    if not found:
        # An action before the reasoning, or inside it.
        is_early = any(find_block(text[:start], tag) is not None for tag in ("answer", "tool"))
        return MalformedReason.NO_THINKING if is_early else MalformedReason.NO_ACTION
    if rules.both is BothRule.FIRST:
        tag = min(found, key=lambda it: found[it].end)
    else:
        tag = rules.both.value if rules.both.value in found else next(iter(found))
    return tag, found[tag].content


def read_call(content: str) -> Action:
    """Return the call of a tool; one that cannot be read is `Malformed`. Nodes are not checked: trees differ.

    Example:
        >>> read_call("get_caption((2, 1))")
        GetCaption(node=(2, 1))
        >>> read_call('video_qa((2, 1, 3), "Who waves?")')
        AskVideo(node=(2, 1, 3), question='Who waves?')
    """
    name, _, rest = content.strip().partition("(")
    if not rest.endswith(")"):
        return Malformed(MalformedReason.UNKNOWN_TOOL)
    reader = _READERS.get(name.strip())
    return Malformed(MalformedReason.UNKNOWN_TOOL) if reader is None else reader(rest[:-1].strip())


def _read_get_caption(arguments: str) -> Action:
    match = _NODE.fullmatch(arguments) if len(arguments) <= _MAX_IDS_LENGTH else None
    return Malformed(MalformedReason.BAD_ARGUMENTS) if match is None else GetCaption(_node(match))


def _read_video_qa(arguments: str) -> Action:
    match = _NODE.match(arguments, 0, _MAX_IDS_LENGTH) if arguments.startswith(("(", "[")) else None
    rest = arguments[match.end() :].lstrip() if match is not None else ""
    question = _unquoted(rest[1:].strip())
    if match is None or not rest.startswith(",") or not question.strip():
        return Malformed(MalformedReason.BAD_ARGUMENTS)
    return AskVideo(_node(match), question)


_READERS: dict[str, Callable[[str], Action]] = {"get_caption": _read_get_caption, "video_qa": _read_video_qa}


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] in _QUOTES and text[0] == text[-1] else text


def _node(match: re.Match[str]) -> tuple[int, ...]:
    ids = next(group for group in match.groups() if group is not None)
    # Not split at commas: what patterns take for a space, `int` may not.
    return tuple(map(int, _NUMBER.findall(ids)))
