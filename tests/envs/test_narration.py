"""Words for generated events: true to the plan, and read back by hand."""

import re
from pathlib import Path

import pytest

from videozoom.envs.generated.narration import describe, events_of, glimpse, has_mark, locate, span_of
from videozoom.envs.generated.plan import plan_video, tasks_of
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.generated.signs import CUES, SIGNS
from videozoom.envs.tasks import Span, Task

RECIPE = VideoRecipe(num_videos=1, length_s=32.0, num_events=3, decoy_probability=1.0, seed=4)


@pytest.fixture
def task() -> Task:
    return tasks_of(plan_video(RECIPE, 0), Path("v.mp4"), RECIPE)[0]


def test_sentences_by_hand() -> None:
    event = {"start_s": 12.0, "end_s": 16.5, "cue": "red", "sign": "bars", "is_decoy": False}
    assert locate(event) == "The red scene is at 12 to 16.5."
    assert describe(event) == "The red scene shows bars."
    assert describe({**event, "sign": None, "is_decoy": True}) == "The red scene shows nothing."
    assert span_of(event) == Span(12.0, 16.5)


def test_long_videos_keep_their_seconds() -> None:
    event = {"start_s": 3599.5, "end_s": 3603.0, "cue": "red", "sign": "bars", "is_decoy": False}
    assert locate(event) == "The red scene is at 3599.5 to 3603."


def test_events_come_in_order_of_time(task: Task) -> None:
    backwards = {**task.metadata, "events": task.metadata["events"][::-1]}
    shuffled = Task(task.task_id, task.video, task.duration_s, task.question, task.options, "A", metadata=backwards)
    starts = [event["start_s"] for event in events_of(shuffled)]
    assert starts == sorted(starts)
    assert events_of(shuffled) == events_of(task)


def test_what_is_said_of_a_plan_is_true(task: Task) -> None:
    events = events_of(task)
    assert sum(event["is_decoy"] for event in events) == 1
    asked = task.metadata["cue"]
    truth = next(event for event in events if event["cue"] == asked and not event["is_decoy"])
    assert span_of(truth) in task.evidence
    assert describe(truth) == f"The {asked} scene shows {task.options[task.answer_index]}."
    for event in events:
        found = re.fullmatch(r"The (\w+) scene is at (\d+) to (\d+)\.", locate(event))
        assert found
        assert found.groups() == (event["cue"], f"{event['start_s']:g}", f"{event['end_s']:g}")


def test_a_location_names_no_sign_and_a_description_no_time(task: Task) -> None:
    for event in events_of(task):
        assert not set(SIGNS) & set(re.findall(r"\w+", locate(event)))
        assert not re.search(r"\d", describe(event))
        assert event["cue"] in CUES


def test_other_tasks_have_no_events() -> None:
    task = Task("mine", Path("v.mp4"), 8.0, "Which?", ("a", "b"), "A")
    with pytest.raises(ValueError, match="'mine' has no events in its metadata"):
        events_of(task)


def test_a_glimpse_tells_the_sign_of_a_mark_and_old_task_files_have_none() -> None:
    event = {"start_s": 12.0, "end_s": 16.0, "cue": "red", "sign": "bars", "is_decoy": False}
    assert not has_mark(event)
    assert has_mark({**event, "has_mark": True})
    assert glimpse({**event, "has_mark": True}) == "The red scene is marked bars."
