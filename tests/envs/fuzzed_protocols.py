"""The parsers of all protocols with valid outputs to begin from."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, ZoomIn
from videozoom.envs.observation import VideoClip
from videozoom.envs.protocols.boxed import BoxRules
from videozoom.envs.protocols.longvideo_r1 import LongVideoR1Protocol
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.protocols.videozoomer import VideoZoomerProtocol
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import Span

DURATION_S = 64.4
OPTIONS = ("bars", "lines", "dots", "rings")


class Fuzzed(NamedTuple):
    """A parser, outputs it can read, and the rules of its zooms."""

    parse: Callable[[str], Action]
    valid: Sequence[str]
    rules: SpanRules


def observe(**values: Any) -> dict[str, Any]:
    """Return an observation that serves every protocol's parser."""
    view = VideoClip(np.zeros((2, 28, 28, 3), np.uint8), np.array([0.0, 32.0]), Span(0.0, DURATION_S), "view")
    observation = {
        "fast_view": view,
        "clips": (),
        "question": "Which sign?",
        "question_kind": 0,
        "options": OPTIONS,
        "step": 0,
        "max_steps": 5,
        "episode_kind": 0,
        "turns": (),
        "captions": ("one", "two"),
        "width": 2,
        "duration_s": DURATION_S,
    }
    return observation | values


_ZOOMS = (ZoomIn(Span(4.0, 6.0), 2.0), ZoomIn(Span(12.5, 20.25), 0.5), ZoomIn(Span(0.0, 64.0), 0.25))
_WHOLE = (ZoomIn(Span(4.0, 6.0)), ZoomIn(Span(12.0, 40.0)))
_ANSWERS = (Answer("A"), Answer("D"))
_LOOKS = (GetCaption((1, 2)), GetCaption((2, 1, 2)), AskVideo((1, 1, 2), "Who waves?"))


def _fuzzed(protocol: Any, actions: Sequence[Action], rules: SpanRules) -> Fuzzed:
    observation = observe()
    valid = [protocol.write(action, why, observation) for action in actions for why in ("", "The red scene is there.")]
    return Fuzzed(partial(protocol.parse, observation=observation), valid, rules)


PARSERS = {
    "videozoomer": _fuzzed(VideoZoomerProtocol(), (*_ZOOMS, *_ANSWERS), SpanRules.videozoomer()),
    "love_r1": _fuzzed(LoveR1Protocol(), (*_WHOLE, *_ANSWERS), SpanRules()),
    "love_r1 eval": _fuzzed(LoveR1Protocol(parser="eval"), (*_WHOLE, *_ANSWERS), SpanRules.evaluation()),
    "love_r1 released_rl": _fuzzed(LoveR1Protocol(parser="released_rl"), (*_WHOLE, *_ANSWERS), SpanRules()),
    "love_r1 released_eval": _fuzzed(
        LoveR1Protocol(parser="released_eval"), (*_WHOLE, *_ANSWERS), SpanRules.evaluation()
    ),
    "love_r1 decimals": _fuzzed(
        LoveR1Protocol(parser=BoxRules(integers_only=False)), (*_WHOLE, *_ANSWERS), SpanRules()
    ),
    "longvideo_r1": _fuzzed(LongVideoR1Protocol(), (*_LOOKS, *_ANSWERS), SpanRules()),
    "longvideo_r1 rl": _fuzzed(LongVideoR1Protocol(parser="rl"), (*_LOOKS, *_ANSWERS), SpanRules()),
}
