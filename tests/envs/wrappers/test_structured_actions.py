"""Actions in the forms that learners accept."""

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from memory_world import EVIDENCE, make_env

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import EpisodeKind, Span
from videozoom.envs.wrappers.structured_actions import (
    BoxActions,
    DictActions,
    DiscreteActions,
    MultiDiscreteActions,
    span_at,
    zoom_lengths_s,
)

FORMS = {
    DiscreteActions: spaces.Discrete(16 + 3),
    MultiDiscreteActions: spaces.MultiDiscrete([2, 16, 4, 3]),
    BoxActions: spaces.Box(-1.0, 1.0, (6,), np.float32),
    DictActions: spaces.Dict(
        kind=spaces.Discrete(2), span=spaces.Box(-1.0, 1.0, (2,), np.float32), choice=spaces.Discrete(3)
    ),
}


def taken(form: type[gymnasium.Wrapper[Any, Any, Any, Any]], action: Any, **settings: int) -> Any:
    env = form(make_env(), **settings)
    env.reset(seed=0)
    return env.step(action)[4]["action"]


@pytest.mark.parametrize("form", FORMS)
def test_spaces_are_those_that_stock_learners_take(form: Any) -> None:
    assert form(make_env()).action_space == FORMS[form]


@pytest.mark.parametrize("form", FORMS)
def test_sampled_actions_run_episodes_and_no_zoom_is_out_of_place(form: Any) -> None:
    env = form(make_env())
    env.action_space.seed(1)
    reasons, kinds = set(), set()
    for seed in range(40):
        env.reset(seed=seed)
        is_over = False
        while not is_over:
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            kinds.add(type(info["action"]))
            if isinstance(info["action"], Malformed):
                reasons.add(str(info["action"].reason))
            is_over = terminated or truncated
    assert kinds >= {ZoomIn, Answer}
    assert reasons <= {"repeated"}


def test_numbers_name_segments_and_then_answers() -> None:
    assert taken(DiscreteActions, 3) == ZoomIn(EVIDENCE)
    assert taken(DiscreteActions, np.int64(15)) == ZoomIn(Span(60.0, 64.0))
    assert taken(DiscreteActions, 16 + 1) == Answer("B")
    assert taken(DiscreteActions, 0, num_segments=2) == ZoomIn(Span(0.0, 32.0))


def test_segments_that_are_too_long_are_cut_to_their_middle() -> None:
    env = DiscreteActions(make_env(span_rules=SpanRules(max_length_s=8.0)), num_segments=4)
    env.reset()
    span_s = env.step(1)[4]["action"].span_s  # Of [16, 32).
    assert span_s == pytest.approx((20.0, 28.0), abs=1e-6)


def test_four_numbers_name_kind_place_length_and_option() -> None:
    assert taken(MultiDiscreteActions, np.array([1, 9, 9, 2])) == Answer("C")
    # The shortest zoom is 1 s, the longest half of 64 s; in between lengths grow by equal factors.
    for place, length, expected in ((0, 0, (0.0, 1.0)), (15, 0, (63.0, 64.0)), (15, 3, (32.0, 64.0))):
        action = taken(MultiDiscreteActions, np.array([0, place, length, 0]))
        assert action.span_s == pytest.approx(expected, abs=1e-5)
    middle = taken(MultiDiscreteActions, np.array([0, 1, 1, 0]), num_positions=3, num_lengths=3).span_s
    assert middle.length_s == pytest.approx(math.sqrt(32.0), abs=1e-5)
    assert (middle.start_s + middle.end_s) / 2 == pytest.approx(32.0)


def test_a_flat_box_answers_with_the_highest_score() -> None:
    assert taken(BoxActions, np.array([0.1, 0, 0, -1, -0.5, -0.9], np.float32)) == Answer("B")
    span_s = taken(BoxActions, np.array([-0.1, -1, -1, 0, 0, 0], np.float32)).span_s
    assert span_s == pytest.approx((0.0, 1.0), abs=1e-5)
    beyond = taken(BoxActions, np.array([-7.0, 9.0, 9.0, 0, 0, 0], np.float32)).span_s
    assert beyond == pytest.approx((32.0, 64.0), abs=1e-5)
    assert taken(BoxActions, np.full(6, np.nan, np.float32)) == Malformed("not_a_span")


def test_a_dictionary_names_kind_span_and_choice() -> None:
    span = np.array([0.0, 1.0], np.float32)
    assert taken(DictActions, {"kind": 1, "span": span, "choice": 2}) == Answer("C")
    assert taken(DictActions, {"kind": 0, "span": span, "choice": 2}).span_s == pytest.approx((16.0, 48.0), abs=1e-5)


def test_zoom_step_episodes_take_the_same_actions() -> None:
    env = DiscreteActions(make_env())
    env.reset(options={"episode_kind": EpisodeKind.ZOOM_STEP})
    assert env.step(3)[1] == 1.0


@pytest.mark.parametrize("form", [DiscreteActions, MultiDiscreteActions])
def test_counts_must_be_positive(form: Any) -> None:
    name = "num_segments" if form is DiscreteActions else "num_lengths"
    with pytest.raises(ValueError, match=rf"{name} of at least 1, got 0"):
        form(make_env(), **{name: 0})


@given(
    position=st.floats(0.0, 1.0),
    length=st.floats(0.0, 1.0),
    duration_s=st.floats(8.0, 20_000.0),
    rules=st.sampled_from([SpanRules(), SpanRules.evaluation(), SpanRules(max_length_s=math.inf, max_fraction=1.0)]),
)
def test_every_place_and_length_is_valid_under_the_rules(
    position: float, length: float, duration_s: float, rules: SpanRules
) -> None:
    span_s = span_at(position, length, duration_s, rules)
    assert 0.0 <= span_s.start_s <= span_s.end_s <= duration_s
    shortest_s, longest_s = zoom_lengths_s(duration_s, rules)
    if longest_s - 2 * rules.pad_s > 2 * rules.min_length_s:
        assert isinstance(rules.check(span_s, duration_s), Span)
    assert shortest_s <= longest_s
