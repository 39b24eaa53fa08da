"""Observations as padded arrays."""

import copy
import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from memory_world import DURATION_S, EVIDENCE, MemoryFrames, make_env, make_tasks

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span, Task
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.envs.wrappers.fixed_shape import FixedShape, fit_into, word_features


def fixed(broken: str = "", **values: Any) -> FixedShape:
    defaults = {"num_fast_frames": 8, "fast_px": (14, 14), "num_clip_frames": 6, "clip_px": (28, 28)}
    return FixedShape(make_env(broken), **(defaults | values))


def test_observations_stay_inside_their_space_through_whole_episodes() -> None:
    env = fixed()
    env.action_space.seed(0)
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        is_over = False
        while not is_over:
            assert observation in env.observation_space
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            is_over = terminated or truncated
        assert observation in env.observation_space


def test_gymnasium_accepts_it_without_a_warning_but_for_the_wrapper_itself() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        warnings.filterwarnings("ignore", message=".*Not able to test alternative render modes.*")
        check_env(fixed(), skip_render_check=True)


def test_fewer_frames_are_chosen_evenly_and_more_are_padded() -> None:
    class Numbered(MemoryFrames):
        def _read(self, view: str, video: Any, span_s: Span, num_frames: int, size_px: int) -> VideoClip:
            clip = super()._read(view, video, span_s, num_frames, size_px)
            clip.frames[:] = np.arange(num_frames)[:, None, None, None]
            return clip

    env = FixedShape(
        VideoZoomEnv(make_tasks(), frames=Numbered()),
        num_fast_frames=8,
        fast_px=(28, 28),
        num_clip_frames=6,
        clip_px=(56, 56),
    )
    env.reset(seed=0)
    observation, *_ = env.step(ZoomIn(EVIDENCE))
    # 32 frames at 0, 64/31, ... seconds: every fourth is shown.
    assert observation["fast_frames"][:, 0, 0, 0].tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert observation["fast_times"] == pytest.approx(np.arange(8) * 4 / 31)
    assert observation["fast_mask"].tolist() == [1.0] * 8
    assert observation["clip_frames"].shape == (2, 6, 56, 56, 3)
    assert observation["clip_frames"][0, :, 0, 0, 0].tolist() == [0, 1, 2, 3, 0, 0]
    assert observation["clip_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [0] * 6]
    assert observation["clip_spans"] == pytest.approx(np.array([[12 / 64, 16 / 64], [0, 0]]))


def test_progress_says_how_far_the_episode_is_and_of_what_kind() -> None:
    env = fixed()
    assert env.reset()[0]["progress"].tolist() == [0.0, 0.0, 0.0]
    env.step(ZoomIn(EVIDENCE))
    observation, *_ = env.step(ZoomIn(Span(40.0, 44.0)))
    assert observation["progress"] == pytest.approx([2 / 3, 1.0, 0.0])
    assert env.reset(options={"episode_kind": "zoom_step"})[0]["progress"].tolist() == [0.0, 1.0, 1.0]


def test_options_beyond_those_of_a_task_are_masked() -> None:
    tasks = [*make_tasks(1), Task("two", make_tasks()[0].video, DURATION_S, "Which one?", ("a", "b"), "A")]
    env = FixedShape(VideoZoomEnv(tasks, frames=MemoryFrames()))
    observation, _ = env.reset(options={"task": "two"})
    assert observation["option_mask"].tolist() == [1.0, 1.0, 0.0]
    assert observation["options"][2].sum() == 0.0
    assert env.reset(options={"task": "t0"})[0]["option_mask"].tolist() == [1.0, 1.0, 1.0]


def test_a_video_that_cannot_be_read_is_black_and_masked() -> None:
    observation, _ = fixed("fast_view").reset()
    assert observation["fast_frames"].max() == 0
    assert observation["fast_mask"].max() == 0.0


def test_clips_without_room_are_named() -> None:
    env = fixed(num_clips=1)
    env.reset()
    env.step(ZoomIn(EVIDENCE))
    with pytest.raises(ValueError, match=r"room for 1 clips, but the episode has 2: make it with num_clips=2\."):
        env.step(ZoomIn(Span(40.0, 44.0)))


def test_options_without_room_are_named() -> None:
    many = Task("many", make_tasks()[0].video, DURATION_S, "Which one?", tuple("abcde"), "A")
    with pytest.raises(
        ValueError, match="room for 3 options, those of the environment's own tasks, but the task has 5"
    ):
        fixed().reset(options={"task": many})


@pytest.mark.parametrize("values", [{"num_fast_frames": 0}, {"clip_px": (0, 5)}, {"num_text_features": 0}])
def test_impossible_shapes_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one frame, pixel, clip and text feature"):
        fixed(**values)


def test_another_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="goes around a VideoZoom environment"):
        FixedShape(gymnasium.make("CartPole-v1"))


@pytest.mark.parametrize(
    ("source", "room", "inside"),
    [
        ((4, 8), (8, 8), (slice(2, 6), slice(0, 8))),
        ((8, 4), (8, 8), (slice(0, 8), slice(2, 6))),
        ((16, 32), (8, 8), (slice(2, 6), slice(0, 8))),
        ((2, 2), (8, 8), (slice(0, 8), slice(0, 8))),
        ((1, 100), (8, 8), (slice(3, 4), slice(0, 8))),
    ],
)
def test_frames_keep_their_shape_and_stand_in_the_middle(
    source: tuple[int, int], room: tuple[int, int], inside: tuple[slice, slice]
) -> None:
    target = np.zeros((2, *room, 3), np.uint8)
    fit_into(target, np.full((2, *source, 3), 9, np.uint8))
    assert (target[:, inside[0], inside[1]] == 9).all()
    assert (target == 9).sum() == target[:, inside[0], inside[1]].size


def test_words_have_the_same_places_in_every_process() -> None:
    program = "from videozoom.envs.wrappers.fixed_shape import word_features as f; print(*f('The red scene', 64))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = word_features("the RED scene?", 64)
    assert [float(number) for number in run.stdout.split()] == here.tolist()
    assert 1 <= here.sum() <= 9
    assert not np.array_equal(here, word_features("the blue scene", 64))
    assert word_features("", 64).sum() == 0.0


def test_the_arrays_of_vector_environments_are_stacked_through_shared_memory() -> None:
    for mode in ("sync", "async"):
        envs = gymnasium.make_vec(
            "videozoom.envs:VideoZoom-v0",
            num_envs=2,
            vectorization_mode=mode,
            wrappers=[FixedShape],
            tasks=make_tasks(),
            frames=MemoryFrames(),
        )
        observations, _ = envs.reset(seed=3)
        expected = [FixedShape(make_env()).reset(seed=seed)[0] for seed in (3, 4)]
        for index, single in enumerate(expected):
            assert data_equivalence({name: array[index] for name, array in observations.items()}, single, exact=True)
        assert observations in envs.observation_space
        envs.close()


def test_copies_go_their_own_way() -> None:
    env = fixed()
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    env.step(ZoomIn(EVIDENCE))
    observation, reward, *_ = twin.step(Answer("B"))
    assert (reward, observation["clip_mask"].sum()) == (1.0, 0.0)
