"""How much an episode may look at."""

import pytest
from memory_world import EVIDENCE, make_env

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.tasks import Span, Status
from videozoom.envs.wrappers.visual_token_budget import OVER_BUDGET, VisualTokenBudget

FAST, SLOW = 16, 8  # 32 frames of one square of 28 pixels, 4 frames of four; two frames share their tokens.


def test_zooms_beyond_the_budget_cost_a_step_and_show_nothing() -> None:
    env = VisualTokenBudget(make_env(), max_tokens=FAST + SLOW)
    _, info = env.reset(options={"max_steps": 4})
    assert (info["visual_tokens"], info["visual_tokens_left"]) == (FAST, SLOW)
    *_, info = env.step(ZoomIn(EVIDENCE))
    assert (info["visual_tokens"], info["visual_tokens_left"]) == (FAST + SLOW, 0)
    observation, *_, info = env.step(ZoomIn(Span(40.0, 44.0)))
    assert info["action"] == Malformed(OVER_BUDGET)
    assert info["action"].asked == ZoomIn(Span(40.0, 44.0))
    assert (len(observation["clips"]), observation["step"], info["visual_tokens"]) == (1, 2, FAST + SLOW)
    _, reward, terminated, _, info = env.step(Answer("B"))
    assert (reward, terminated, info["facts"].num_malformed) == (1.0, True, 1)


def test_a_budget_that_is_met_exactly_is_kept_and_one_less_is_not() -> None:
    for max_tokens, num_clips in ((FAST + 2 * SLOW, 2), (FAST + 2 * SLOW - 1, 1)):
        env = VisualTokenBudget(make_env(), max_tokens)
        env.reset()
        env.step(ZoomIn(EVIDENCE))
        assert len(env.step(ZoomIn(Span(40.0, 44.0)))[0]["clips"]) == num_clips


def test_what_is_not_shown_costs_no_tokens() -> None:
    env = VisualTokenBudget(make_env(), max_tokens=FAST)
    env.reset(options={"episode_kind": "zoom_step"})
    _, reward, *_, info = env.step(ZoomIn(EVIDENCE))
    assert (reward, info["status"], info["visual_tokens"]) == (1.0, Status.ZOOMED, FAST)


def test_a_fast_view_beyond_the_budget_is_named() -> None:
    env = VisualTokenBudget(make_env(), max_tokens=FAST - 1)
    with pytest.raises(ValueError, match="task 't3' takes 16 visual tokens, more than the budget of 15: raise max_tok"):
        env.reset(options={"task": "t3"})
    with pytest.raises(ValueError, match="at least 1, got 0"):
        VisualTokenBudget(make_env(), max_tokens=0)
