"""What gives signs away: marks in the fast view (`legibility`, measured on encoded files) and habits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pixel_classifier import chance_band, ridge_accuracy

from videozoom.envs.generated import VideoRecipe, generate
from videozoom.envs.generated.plan import plan_video, tasks_of
from videozoom.envs.generated.scenes import frames
from videozoom.envs.generated.signs import MARKS, PATTERNS, SIGNS, usual_sign
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import Span, Task
from videozoom.envs.video_store import Resize, VideoStore

NUM_VIDEOS = 100
RECIPE = VideoRecipe(num_videos=NUM_VIDEOS, length_s=32.0, legibility=0.6, seed=3)
SLOW_PANEL = slice(18, 38)
USED = SIGNS[:4]


def planned(recipe: VideoRecipe, num: int = 40) -> list[list[bool]]:
    return [[event.has_mark for event in plan_video(recipe, index).events] for index in range(num)]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, ...]:
    return load_tasks(generate(RECIPE, tmp_path_factory.mktemp("marks")))


@pytest.fixture(scope="module")
def shown(tasks: tuple[Task, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return fast frames `[E, 8, 28, 28, 3]`, panels of slow clips `[E, 4, 20, 20]`, signs and marks of all events."""
    store = VideoStore(fast_frame_tokens=1, slow_frame_tokens=4, slow_fps=1.0, resize=Resize.AREA)
    rows = []
    for task in tasks:
        fast = store.fast_view(task.video)
        for event in task.metadata["events"]:
            inside = (fast.times_s >= event["start_s"]) & (fast.times_s < event["end_s"])
            slow = store.slow_clip(task.video, Span(event["start_s"], event["end_s"]))
            panel = slow.frames[:, SLOW_PANEL, SLOW_PANEL].mean(3)
            rows.append((fast.frames[inside], panel, USED.index(event["sign"]), event.get("has_mark", False)))
    fast_frames, panels, signs, marks = (np.array(column) for column in zip(*rows, strict=True))
    return fast_frames.astype(np.float32), panels.astype(np.float32), signs, marks


def test_a_fast_view_tells_as_many_signs_as_the_dial_says(shown: tuple[np.ndarray, ...]) -> None:
    fast, _, signs, marks = shown
    assert marks.mean() == pytest.approx(0.6, abs=chance_band(0.6, len(marks)))
    accuracy, num = ridge_accuracy(fast, signs)
    expected = 0.6 + 0.4 * 0.25
    assert accuracy == pytest.approx(expected, abs=chance_band(expected, num))


def test_marked_signs_are_told_and_others_are_not(shown: tuple[np.ndarray, ...]) -> None:
    fast, _, signs, marks = shown
    assert ridge_accuracy(fast[marks], signs[marks])[0] == 1.0
    accuracy, num = ridge_accuracy(fast[~marks], signs[~marks])
    assert abs(accuracy - 0.25) < chance_band(0.25, num)


def test_slow_clips_tell_every_sign(shown: tuple[np.ndarray, ...]) -> None:
    _, panels, signs, _ = shown
    templates = np.stack([np.tile(PATTERNS[sign], (5, 5)) for sign in USED]).astype(np.float32)
    grey = panels.mean(1)
    guesses = np.einsum("ehw,shw->es", grey - grey.mean((1, 2), keepdims=True), templates).argmax(1)
    assert (guesses == signs).all()


def test_without_the_dial_recipes_and_tasks_are_what_they_were(tmp_path: Path) -> None:
    """The hash was taken before the dial existed; folders of that time are still found and used."""
    recipe = VideoRecipe(num_videos=2, length_s=(24, 64), num_events=(2, 5), seed=100, decoy_probability=0.5)
    assert recipe.content_hash == recipe.scenes_hash == "809f15b09b44"
    assert "legibility" not in recipe.as_dict()
    assert "mark" not in json.dumps([task.metadata for task in tasks_of(plan_video(recipe, 0), tmp_path, recipe)])


def test_the_dial_adds_marks_and_changes_nothing_else() -> None:
    plain, some, all_marked = (replace(RECIPE, legibility=share) for share in (0.0, 0.5, 1.0))
    assert len({recipe.content_hash for recipe in (plain, some, all_marked)}) == 3
    assert len({recipe.scenes_hash for recipe in (plain, some, all_marked)}) == 1
    few, more = planned(replace(RECIPE, legibility=0.3)), planned(some)
    assert all(not one or other for a, b in zip(few, more, strict=True) for one, other in zip(a, b, strict=True))
    assert few != more
    assert not any(map(any, planned(plain)))
    assert all(map(all, planned(all_marked)))
    plan = plan_video(some, 0)
    [before], [after] = (list(frames(plan_video(recipe, 0), recipe)) for recipe in (plain, some))
    differs = (before != after).any((1, 2))
    times_s = (np.arange(len(differs)) + 0.5) / some.fps
    marked = [any(it.has_mark and it.start_s <= time_s < it.end_s for it in plan.events) for time_s in times_s]
    assert 0 < sum(marked) < len(marked)
    assert differs.tolist() == marked


def test_the_same_recipe_marks_the_same_events() -> None:
    assert planned(RECIPE) == planned(RECIPE)
    assert planned(RECIPE) != planned(replace(RECIPE, seed=4))


def test_decoys_have_no_marks() -> None:
    recipe = replace(RECIPE, legibility=1.0, decoy_probability=1.0)
    events = [event for index in range(20) for event in plan_video(recipe, index).events]
    assert any(event.is_decoy for event in events)
    assert all(event.has_mark != event.is_decoy for event in events)


def test_marks_of_all_signs_differ_and_fit_into_the_narrowest_margin() -> None:
    assert set(MARKS) == set(SIGNS)
    assert len(set(MARKS.values())) == len(SIGNS)
    recipe = VideoRecipe(
        num_videos=1, length_s=32.0, num_events=8, width_px=64, height_px=64, num_options=8, legibility=1.0
    )
    plan = plan_video(recipe, 0)
    unmarked = replace(plan, events=tuple(replace(event, has_mark=False) for event in plan.events))
    [with_marks], [without] = (list(frames(it, recipe)) for it in (plan, unmarked))
    assert (with_marks != without).any((1, 2)).all()  # Eight events of 4 s fill the video.


def test_habits_make_signs_usual_and_change_nothing_else() -> None:
    plain, some, always = (replace(RECIPE, habit=share) for share in (0.0, 0.5, 1.0))
    assert len({recipe.content_hash for recipe in (plain, some, always)}) == 3
    assert len({recipe.scenes_hash for recipe in (plain, some, always)}) == 1
    shares, places = [], []
    for recipe in (plain, some, always):
        events = [event for index in range(100) for event in plan_video(recipe, index).events]
        shares.append(np.mean([event.sign == usual_sign(event.cue, 4) for event in events]))
        places.append([(event.start_s, event.cue, event.has_mark) for event in events])
    assert shares[0] == pytest.approx(0.25, abs=chance_band(0.25, 400))
    assert shares[1] == pytest.approx(0.625, abs=chance_band(0.625, 400))
    assert shares[2] == 1.0
    assert places[0] == places[1] == places[2]


def test_blank_decoys_stay_blank_whatever_the_habit() -> None:
    recipe = replace(RECIPE, habit=1.0, decoy_probability=1.0)
    for index in range(10):
        assert sum(event.sign is None for event in plan_video(recipe, index).events) == 1
