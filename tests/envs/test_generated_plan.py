from collections import Counter
from pathlib import Path

import pytest

from videozoom.envs.generated.plan import VideoPlan, plan_video, tasks_of
from videozoom.envs.generated.recipe import RecipeError, VideoRecipe
from videozoom.envs.generated.signs import CUE_YUV, CUES, PATTERNS, SIGNS
from videozoom.envs.tasks import Task

RECIPES = {
    "default": {},
    "decoys": {"decoy_probability": 1.0, "num_decoys": 2},
    "unaligned": {"aligned": False, "num_events": (2, 6)},
    "shuffled": {"fixed_options": False, "num_options": 5},
    "two events": {"evidence_events": 2, "questions_per_video": 3, "decoy_probability": 0.5},
    "two events shuffled": {"evidence_events": 2, "fixed_options": False, "num_options": 6},
    "lengths": {"length_s": (32.0, 96.0), "event_length_s": 2.0, "fps": 5.0},
    "full": {"length_s": 32.0, "num_events": 8},
    "hour": {"length_s": 3600.0, "fps": 25.0, "num_events": 8},
}


def sample(num: int = 40, **dials: object) -> tuple[VideoRecipe, list[VideoPlan], list[Task]]:
    recipe = VideoRecipe(num_videos=num, **dials)  # type: ignore[arg-type]
    plans = [plan_video(recipe, index) for index in range(num)]
    return recipe, plans, [task for plan in plans for task in tasks_of(plan, Path("v.mp4"), recipe)]


@pytest.mark.parametrize("name", RECIPES)
def test_events_lie_within_the_video_and_do_not_overlap(name: str) -> None:
    recipe, plans, _ = sample(**RECIPES[name])
    for plan in plans:
        assert plan.length_s == plan.num_frames / recipe.fps
        assert recipe.length_range_s[0] <= plan.length_s <= recipe.length_range_s[1]
        spans = [(event.start_s, event.end_s) for event in plan.events]
        assert spans == sorted(spans)
        assert all(end - start == pytest.approx(recipe.event_length_s) for start, end in spans)
        ends = [0.0, *(end for _, end in spans)]
        starts = [*(start for start, _ in spans), plan.length_s]
        assert all(end <= start + 1e-9 for end, start in zip(ends, starts, strict=True))
        if recipe.aligned:
            assert all(start % recipe.event_length_s == 0 for start, _ in spans)
        signs = [event for event in plan.events if not event.is_decoy]
        assert recipe.num_events_range[0] <= len(signs) <= recipe.num_events_range[1]
        assert len({event.cue for event in signs}) == len(signs)


@pytest.mark.parametrize("name", RECIPES)
def test_the_answer_follows_from_the_events_at_the_evidence(name: str) -> None:
    recipe, plans, tasks = sample(**RECIPES[name])
    plan_of = {f"v{plan.index:05d}": plan for plan in plans}
    for task in tasks:
        cues = task.metadata["cue"] if recipe.evidence_events > 1 else [task.metadata["cue"]]
        events = plan_of[task.task_id.split("-")[1]].events
        seen = {event.cue: event for event in events if not event.is_decoy}
        assert task.options[task.answer_index] == " and ".join(str(seen[cue].sign) for cue in cues)
        assert set(task.evidence) == {(seen[cue].start_s, seen[cue].end_s) for cue in cues}
        assert all(cue in task.question for cue in cues)
        assert len(set(task.options)) == recipe.num_options
        assert task.metadata["events"] == [event.as_dict() for event in events]


def test_aligned_is_a_dial() -> None:
    _, plans, _ = sample(aligned=False)
    starts = [event.start_s for plan in plans for event in plan.events]
    assert 0.6 < sum(start % 4 != 0 for start in starts) / len(starts) < 0.95  # 7 of 8 frames are no multiple


def test_decoys_repeat_the_queried_cue_apart_from_the_event() -> None:
    _, plans, tasks = sample(200, decoy_probability=0.3)
    num_decoys = 0
    for plan, task in zip(plans, tasks, strict=True):
        for decoy in (event for event in plan.events if event.is_decoy):
            num_decoys += 1
            assert decoy.cue == task.metadata["cue"]
            assert decoy.start_s > task.evidence[0].end_s or decoy.end_s < task.evidence[0].start_s
    assert 35 <= num_decoys <= 85  # 60 +- 4 standard deviations
    comes_first = [plan.events[0].is_decoy for plan in sample(400, decoy_probability=1.0)[1]]
    assert 0.12 < sum(comes_first) / 400 < 0.28  # one of five events


def test_fixed_options_are_the_same_everywhere_and_all_letters_occur() -> None:
    for dials in ({}, {"evidence_events": 2}):
        _, _, tasks = sample(200, **dials)
        assert len({task.options for task in tasks}) == 1
        counts = Counter(task.answer for task in tasks)
        assert set(counts) == set("ABCD")
        assert max(counts.values()) < 80


def test_shuffled_options_tell_nothing_by_place_or_frequency() -> None:
    _, _, tasks = sample(400, fixed_options=False, num_options=4)
    assert len({task.options for task in tasks}) > 300
    assert all(60 < count < 140 for count in Counter(task.answer for task in tasks).values())
    assert {task.options[task.answer_index] for task in tasks} == set(SIGNS)


def test_one_of_two_events_does_not_give_the_answer_away() -> None:
    _, _, tasks = sample(100, evidence_events=2)
    for task in tasks:
        first, second = task.options[task.answer_index].split(" and ")
        pairs = [option.split(" and ") for option in task.options]
        assert sum(pair[0] == first for pair in pairs) == 2
        assert sum(pair[1] == second for pair in pairs) == 2


def test_questions_of_one_video_differ() -> None:
    _, _, tasks = sample(questions_per_video=4)
    for first in range(0, len(tasks), 4):
        assert len({task.question for task in tasks[first : first + 4]}) == 4


def test_ids_differ_between_recipes_and_stay_when_videos_are_added() -> None:
    recipes = [{}, {"seed": 1}, {"length_s": 32.0}, {"fps": 4.0}, {"decoy_probability": 0.1}]
    ids = [task.task_id for dials in recipes for task in sample(5, **dials)[2]]
    assert len(set(ids)) == 25
    assert sample(5)[2] == sample(8)[2][:5]


def test_different_seeds_and_lengths_give_unrelated_videos() -> None:
    def layout(**dials: object) -> list[list[tuple[str, str | None]]]:
        return [[(event.cue, event.sign) for event in plan.events] for plan in sample(20, **dials)[1]]

    assert layout() == layout()
    for other in (layout(seed=1), layout(length_s=96.0)):
        assert sum(a == b for a, b in zip(layout(), other, strict=True)) <= 1


def test_signs_have_the_same_ink_in_every_quadrant_and_are_orthogonal() -> None:
    for name in SIGNS:
        quadrants = PATTERNS[name].reshape(2, 2, 2, 2).sum((1, 3))
        assert (quadrants == 0).all()
        for other in SIGNS:
            assert (PATTERNS[name] * PATTERNS[other]).sum() == (16 if name == other else 0)
    assert set(CUE_YUV) == set(CUES)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"num_videos": 0}, "num_videos is 0 but must be at least 1"),
        ({"length_s": 30.0}, r"length_s is 30.0 but must be multiples of event_length_s \(4\)"),
        ({"length_s": (64.0, 32.0)}, "length_s is .* the smaller first"),
        ({"length_s": 16.0, "decoy_probability": 0.1}, "length_s is 16.0 but must be at least 20 to hold 5 events"),
        ({"event_length_s": 0.3}, "event_length_s is 0.3 but must be a whole number of frames"),
        ({"num_events": 9}, "num_events is 9 but must be between 1 and 8"),
        ({"num_events": 2, "evidence_events": 3}, "evidence_events is 3 but must be between 1 and the number"),
        ({"questions_per_video": 5}, "questions_per_video is 5 but must be between 1 and 4"),
        ({"decoy_probability": 1.5}, "decoy_probability is 1.5 but must be between 0 and 1"),
        ({"num_decoys": 0}, "num_decoys is 0 but must be at least 1"),
        ({"width_px": 110}, "width_px is 110 but must be a multiple of 4"),
        ({"height_px": 60}, "height_px is 60 but must be a multiple of 4 and at least 64"),
        ({"cell_px": 3}, "cell_px is 3 but must be even"),
        ({"num_options": 9}, "num_options is 9 but must be at most 8"),
        ({"num_options": 5, "evidence_events": 2}, "num_options is 5 but must be a number to the power"),
        ({"quality": 60}, "quality is 60 but must be between 0 and 51"),
        ({"fps": 0.0}, "fps is 0.0 but must be positive"),
    ],
)
def test_impossible_dials_are_one_clear_sentence(dials: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        VideoRecipe(**{"num_videos": 1, **dials})  # type: ignore[arg-type]
    assert str(caught.value).endswith(".")
