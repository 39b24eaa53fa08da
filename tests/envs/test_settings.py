"""Mistakes in making an environment are named, with what to do."""

import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import pytest
from memory_world import MemoryFrames, make_env, make_tasks

import videozoom.envs
import videozoom.envs.wrappers
from videozoom.envs.settings import checked_frames
from videozoom.envs.video_store import VideoStore
from videozoom.envs.videos.isolated_reader import IsolatedReader


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"VideoZoom-v0 needs tasks, a task file or a list of Task objects: gymnasium.make\("),
        ({"task": []}, r"Unknown setting of VideoZoom-v0 'task' \(did you mean 'tasks'\?\); there are tasks, frames, "),
        ({"max_step": 3}, r"'max_step' \(did you mean 'max_steps'\?\)"),
        ({"tasks": "none.jsonl"}, "none.jsonl: cannot read the task file"),
        ({"tasks": []}, "VideoZoomEnv needs at least one task"),
        ({"tasks": make_tasks()[0]}, "a list of Task objects, got one Task alone; videozoom.envs.load_tasks reads"),
        ({"tasks": [{"task_id": "a"}]}, "a list of Task objects, got dict"),
        ({"tasks": 3}, "a list of Task objects, got int"),
        ({"tasks": make_tasks(), "frames": "videos"}, r"frames must have fast_view\(video\) and slow_clip"),
        ({"tasks": make_tasks(), "rubric": len}, r"rubric must have score\(task, facts\), as Rubric"),
        ({"tasks": make_tasks(), "zoom_step_fraction": 1.5}, "zoom_step_fraction must be from 0 to 1, got 1.5"),
        ({"tasks": make_tasks(), "max_steps": 0}, "max_steps must be from 1 to 1000, got 0"),
    ],
)
def test_mistakes_in_make_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gymnasium.make("videozoom.envs:VideoZoom-v0", **settings)


def test_the_task_that_was_meant_is_named() -> None:
    with pytest.raises(ValueError, match=r"no task with id 'tt3' among the 5 tasks \(did you mean 't3'\?\)"):
        make_env().reset(options={"task": "tt3"})


def test_a_generator_of_tasks_is_a_list_of_tasks() -> None:
    env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=(task for task in make_tasks()), frames=MemoryFrames())
    assert env.unwrapped.tasks == tuple(make_tasks())  # type: ignore[attr-defined]


def test_without_a_frame_source_videos_are_decoded_in_another_process() -> None:
    frames = checked_frames(None)
    assert isinstance(frames, VideoStore)
    assert isinstance(frames._reader, IsolatedReader)


def test_an_environment_can_be_made_again_from_its_spec() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=make_tasks(), frames=MemoryFrames(), max_steps=7)
        assert env.spec is not None
        again = env.spec.make(render_mode="rgb_array")
    assert again.reset(seed=0)[0]["max_steps"] == 7


@pytest.mark.parametrize(("fraction", "kinds"), [(0.0, {0}), (1.0, {1}), (0.5, {0, 1})])
def test_kinds_are_drawn_in_their_share(fraction: float, kinds: set[int]) -> None:
    env = make_env(zoom_step_fraction=fraction)
    drawn = [env.reset(seed=7 if index == 0 else None)[0]["episode_kind"] for index in range(40)]
    assert set(drawn) == kinds
    assert env.reset(options={"episode_kind": "multi_step"})[0]["episode_kind"] == 0
    again = make_env(zoom_step_fraction=fraction)
    assert drawn == [again.reset(seed=7 if index == 0 else None)[0]["episode_kind"] for index in range(40)]


@pytest.mark.parametrize("package", [videozoom.envs, videozoom.envs.wrappers])
def test_type_checkers_see_what_is_exported(package: ModuleType) -> None:
    source = Path(str(package.__file__)).read_text(encoding="utf-8")
    typed = re.findall(r"^    from [\w.]+\.(\w+) import (\w+) as \2$", source, flags=re.MULTILINE)
    assert {name: module for module, name in typed} == package._EXPORTS
    assert all(getattr(package, name).__name__ == name for name in package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = package.Nothing
