"""What holds for the parsers of all protocols, whatever a model writes."""

import pytest
from fuzzed_protocols import DURATION_S, OPTIONS, PARSERS
from output_fuzzer import check_action, check_parser, check_zoom, fuzzed

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import Span


def check(name: str, num: int) -> None:
    parse, valid, rules = PARSERS[name]
    counts = check_parser(parse, fuzzed(valid, num), OPTIONS, rules, DURATION_S)
    # A fuzzer that only makes what cannot be read, or only what can, tests nothing.
    assert counts["Malformed"] > 0.1 * num
    assert counts["Answer"] > 0.03 * num
    assert sum(counts.values()) - counts["Malformed"] - counts["Answer"] > 0.03 * num


@pytest.mark.parametrize("name", PARSERS)
def test_fuzzed_outputs_are_actions_within_the_rules_or_malformed(name: str) -> None:
    check(name, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_a_hundred_thousand_fuzzed_outputs_are_actions_within_the_rules_or_malformed(name: str) -> None:
    check(name, 100_000)


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(
    "unit", ["<video_zoom>", "</answer>", "<answer>", "{", "[", '{"a":', "9", "\\boxed{", "<think>"]
)
def test_a_megabyte_of_one_thing_is_malformed(name: str, unit: str) -> None:
    parse, valid, _ = PARSERS[name]
    filler = unit * (2**20 // len(unit))
    assert isinstance(parse(filler), Malformed)
    check_action(parse(filler + valid[0]), OPTIONS)
    check_action(parse(valid[0] + filler), OPTIONS)


@pytest.mark.parametrize(
    "action",
    [
        Answer("E"),
        Answer("a"),
        ZoomIn(Span(float("nan"), 1.0)),
        ZoomIn(Span(0.0, 1.0), float("inf")),
        Malformed("odd"),
        3,
    ],
)
def test_the_check_of_actions_can_fail(action: object) -> None:
    with pytest.raises(AssertionError):
        check_action(action, OPTIONS)  # type: ignore[arg-type]


def test_the_check_of_zooms_can_fail() -> None:
    class Broken(SpanRules):
        def check(self, span_s: Span, *_: object) -> Span:
            return span_s

    check_zoom(ZoomIn(Span(4.0, 6.0), 2.0), Broken(max_frames=16), 64.0)
    for zoom in (ZoomIn(Span(60.0, 70.0)), ZoomIn(Span(6.0, 4.0)), ZoomIn(Span(4.0, 6.0), 9.0)):
        with pytest.raises(AssertionError):
            check_zoom(zoom, Broken(max_frames=16), 64.0)
