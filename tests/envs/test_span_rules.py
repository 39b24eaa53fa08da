import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.actions import Malformed, MalformedReason
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import Span
from videozoom.rewards.overlap import iou

Pair = tuple[float, float]


@pytest.mark.parametrize(
    ("span", "duration_s", "held", "expected"),
    [
        ((10, 20), 64, [], (10, 20)),
        ((20, 10), 64, [], (10, 20)),  # Reversed: sorted.
        ((0, 32), 64, [], (0, 32)),  # Exactly half of the video.
        ((0, 33), 64, [], "too_long"),
        ((100, 160), 1000, [], (100, 160)),  # Exactly a minute.
        ((100, 161), 1000, [], "too_long"),
        ((10, 11), 64, [], (10, 11)),  # Exactly a second.
        ((10, 10), 64, [], "too_short"),
        ((10, 10.9), 64, [], "too_short"),
        ((-1, 5), 64, [], "out_of_bounds"),
        ((60, 65), 64, [], (60, 64)),  # One second of tolerance, then clipped.
        ((60, 66), 64, [], "out_of_bounds"),
        ((64, 65), 64.5, [], (64, 64.5)),  # The last, incomplete second.
        ((64, 65), 64, [], "out_of_bounds"),  # Tolerated end, but nothing of it is inside.
        ((math.nan, 5), 64, [], "not_a_span"),
        ((0, math.inf), 64, [], "not_a_span"),
        ((10, 20), 64, [(10, 20)], "repeated"),
        ((10, 20), 64, [(11, 20)], "repeated"),  # IoU 9/10.
        ((10, 20), 64, [(13, 20)], (10, 20)),  # IoU 7/10 is not above 0.7.
        ((10, 20), 64, [(30, 40), (10, 19)], "repeated"),
        ((10, 20), 64, [(20, 30)], (10, 20)),
    ],
)
def test_training_rules(span: Pair, duration_s: float, held: list[Pair], expected: Pair | str) -> None:
    checked = SpanRules().check(Span(*span), duration_s, [Span(*pair) for pair in held])
    assert checked == (Malformed(expected) if isinstance(expected, str) else Span(*expected))


@pytest.mark.parametrize(
    ("span", "duration_s", "held", "expected"),
    [
        ((10, 20), 64, [], (5, 25)),  # 5 s on both sides.
        ((2, 20), 64, [], (0, 25)),
        ((50, 62), 64, [], (45, 64)),
        ((-3, 70), 64, [], (0, 64)),  # No upper length, clamped.
        ((50, 62), 64.9, [], (45, 64)),  # The last whole second.
        ((0, 1), 0.9, [], "too_short"),
        ((100, 110), 64, [], "out_of_bounds"),
        ((66, 70), 64, [], (58.5, 64)),  # Padded [61, 64): 3 s; widened to 64/8 = 8 s around 62.5, clamped.
        ((67, 70), 64, [], "too_short"),  # Padding leaves [62, 64).
        ((100, 104), 1000, [], (87, 117)),  # 14 s padded, widened to 30 s around 102.
        ((100, 104), 160, [], (92, 112)),  # Widened to 160/8 = 20 s only.
        ((2, 4), 1000, [], (0, 19.5)),  # Padded [0, 9), middle 4.5, widened to [-10.5, 19.5), clamped.
        ((10, 20), 64, [(5, 25)], "repeated"),
        ((10, 20), 64, [(19, 40)], (5, 25)),  # IoU 6/35.
        ((10, 20), 64, [(15, 30)], "repeated"),  # IoU 10/25 is above 0.3.
    ],
)
def test_evaluation_rules(span: Pair, duration_s: float, held: list[Pair], expected: Pair | str) -> None:
    checked = SpanRules.evaluation().check(Span(*span), duration_s, [Span(*pair) for pair in held])
    assert checked == (Malformed(expected) if isinstance(expected, str) else Span(*expected))


def test_repeats_can_be_allowed() -> None:
    assert SpanRules(repeat_iou=1.0).check(Span(1.0, 5.0), 64.0, [Span(1.0, 5.0)]) == Span(1.0, 5.0)


@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0.1, 1e5),
    st.sampled_from([SpanRules(), SpanRules.evaluation(), SpanRules(out_of_bounds="clamp", expand_to_s=4.0)]),
)
def test_an_accepted_span_is_inside_the_video_and_no_repeat(
    start_s: float, end_s: float, duration_s: float, rules: SpanRules
) -> None:
    held = [Span(0.0, duration_s / 4)]
    checked = rules.check(Span(start_s, end_s), duration_s, held)
    if isinstance(checked, Malformed):
        assert checked.reason in tuple(MalformedReason)
    else:
        assert 0.0 <= checked.start_s < checked.end_s <= duration_s
        assert iou(checked, held[0]) <= rules.repeat_iou


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reversed_spans": "swap"}, "sort or reject, got 'swap'"),
        ({"max_frames": -1}, "max_frames must be at least 0, got -1"),
        ({"out_of_bounds": "ignore"}, "reject or clamp, got 'ignore'"),
        ({"min_length_s": -1.0}, "min_length_s must be a number of seconds of at least 0, got -1"),
        ({"pad_s": math.nan}, "pad_s"),
        ({"max_fraction": 1.5}, "max_fraction must be above 0 and at most 1, got 1.5"),
        ({"repeat_iou": 0.0}, "repeat_iou"),
        ({"min_length_s": 20.0, "max_length_s": 10.0}, "at least min_length_s"),
        ({"max_length_s": math.nan}, "max_length_s"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpanRules(**values)


@pytest.mark.parametrize(
    ("span", "fps", "expected"),
    [
        ((4, 6), 2.0, (4, 6)),
        ((0, 64), 0.25, (0, 64)),  # The whole video: 16 frames.
        ((0, 65), 0.24, (0, 64)),  # In whole seconds, as the last one is incomplete: 15 frames.
        ((4, 6), 8.0, (4, 6)),
        ((4, 6), 8.5, "too_many_frames"),  # 17 frames.
        ((0, 64), 1e308, "too_many_frames"),
        ((4, 6), 0.4, "too_few_frames"),  # 0.8 frames.
        ((4, 6), 0.0, "too_few_frames"),
        ((4, 6), -2.0, "too_few_frames"),
        ((4, 6), math.inf, "too_few_frames"),
        ((4, 6), math.nan, "too_few_frames"),
        ((4, 6), None, (4, 6)),  # The environment's own rate.
        ((6, 4), 2.0, "reversed"),
        ((4, 4), 2.0, "too_short"),
        ((70, 72), 2.0, "out_of_bounds"),
        ((60, 66), 2.0, "out_of_bounds"),
        ((-1, 2), 2.0, "out_of_bounds"),
        ((60.5, 61), 2.0, (60.5, 61)),
        ((math.nan, 2), 2.0, "not_a_span"),
    ],
)
def test_rules_of_videozoomer(span: Pair, fps: float | None, expected: Pair | str) -> None:
    held = [Span(4.0, 6.0)]  # Repeats are allowed.
    checked = SpanRules.videozoomer().check(Span(*span), 64.0, held, fps)
    assert checked == (Malformed(expected) if isinstance(expected, str) else Span(*expected))


def test_a_rate_decides_nothing_unless_frames_are_limited() -> None:
    assert SpanRules().check(Span(4.0, 6.0), 64.0, fps=1e6) == Span(4.0, 6.0)
