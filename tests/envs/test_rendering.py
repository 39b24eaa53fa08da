"""Pictures of episodes: the environment's `render`."""

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from memory_world import EVIDENCE, MemoryFrames, make_env, make_tasks

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.tasks import Span
from videozoom.envs.timeline import EVIDENCE_RGB, ZOOM_RGB


def has(image: Any, colour: tuple[int, int, int], *, least_px: int = 300) -> bool:
    return bool((image == colour).all(axis=-1).sum() >= least_px)


def test_pictures_of_an_episode_have_one_size_and_show_what_was_done() -> None:
    env = make_env(render_mode="rgb_array")
    env.reset(options={"task": "t0"})
    images = [env.render()]
    for action in (Malformed("x"), ZoomIn(EVIDENCE), Answer("C")):
        env.step(action)
        images.append(env.render())
    assert {image.shape for image in images} == {images[0].shape}
    assert all(image.dtype == np.uint8 for image in images)
    assert [has(image, ZOOM_RGB) for image in images] == [False, False, True, True]
    assert all(has(image, EVIDENCE_RGB) for image in images)
    assert len({image.tobytes() for image in images}) == 4


def test_rendering_changes_nothing_and_is_repeatable() -> None:
    env, silent = make_env(render_mode="rgb_array"), make_env()
    for each in (env, silent):
        each.reset(seed=0)
    first, again = env.render(), env.render()
    assert first.tobytes() == again.tobytes()
    assert env.step(ZoomIn(EVIDENCE))[0] == silent.step(ZoomIn(EVIDENCE))[0]


def test_a_zoom_step_shows_the_clip_that_the_agent_did_not_see() -> None:
    env = make_env(render_mode="rgb_array")
    env.reset(options={"episode_kind": "zoom_step"})
    env.step(ZoomIn(Span(40.0, 44.0)))
    assert env.snapshot().clips == ()
    assert has(env.render(), ZOOM_RGB)
    assert env.frames.reads == ["fast_view", "slow_clip"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("broken", ["fast_view", "slow_clip"])
def test_what_cannot_be_read_leaves_axis_and_bands(broken: str) -> None:
    env = make_env(broken, render_mode="rgb_array")
    env.reset()
    env.step(ZoomIn(EVIDENCE))
    image = env.render()
    assert has(image, EVIDENCE_RGB)
    assert not has(image, ZOOM_RGB)


def test_long_episodes_still_fit_in_a_picture() -> None:
    env = make_env(render_mode="rgb_array", max_steps=60)
    env.reset()
    for start in range(50):
        env.step(ZoomIn(Span(float(start), start + 2.0)))
    assert env.render().shape[0] < 2000


def test_pictures_can_be_collected_for_a_video() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(
            "videozoom.envs:VideoZoom-v0", tasks=make_tasks(), frames=MemoryFrames(), render_mode="rgb_array_list"
        )
        env.reset(seed=0)
        env.step(ZoomIn(EVIDENCE))
        assert len(env.render()) == 2  # type: ignore[arg-type]


def test_without_a_render_mode_nothing_is_drawn_and_a_warning_says_so() -> None:
    env = make_env()
    env.reset()
    with pytest.warns(UserWarning, match='render_mode="rgb_array"'):
        assert env.render() is None
    with pytest.raises(ResetNeeded):
        make_env(render_mode="rgb_array").render()
