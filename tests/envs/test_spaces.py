from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, utils

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.observation import Turn, VideoClip
from videozoom.envs.spaces import (
    SpanSpace,
    StringSpace,
    TurnSpace,
    VideoClipSpace,
    action_space,
    answer_spaces,
    observation_space,
)
from videozoom.envs.tasks import QuestionKind, Span, Task

TASK = Task("t", Path("v.mp4"), 64.0, "Which?", ("one", "two", "three", "four"), "B")
WHOLE_S = Span(0.0, 8.0)


def clip(frames: np.ndarray | None = None, times_s: np.ndarray | None = None, span_s: Span = WHOLE_S) -> VideoClip:
    frames = np.zeros((2, 4, 6, 3), np.uint8) if frames is None else frames
    return VideoClip(frames, np.array([0.0, 4.0]) if times_s is None else times_s, span_s, "clip")


@pytest.mark.parametrize(
    "outside",
    [
        "a string",
        clip(frames=np.zeros((2, 4, 6, 3), np.float32)),
        clip(frames=np.zeros((2, 4, 6), np.uint8)),
        clip(frames=np.zeros((2, 4, 6, 4), np.uint8)),
        clip(frames=np.zeros((3, 4, 6, 3), np.uint8)),
        clip(times_s=np.array([4.0, 0.0])),
        clip(times_s=np.array([0.0, np.nan])),
        clip(span_s=Span(8.0, 0.0)),
        clip(span_s=Span(0.0, np.nan)),
    ],
)
def test_clip_space_holds_consistent_clips_only(outside: object) -> None:
    space = VideoClipSpace()
    assert clip() in space
    assert clip(np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0)) in space
    assert outside not in space


def test_turn_space_holds_actions_with_what_they_brought() -> None:
    space = TurnSpace()
    assert Turn(ZoomIn(WHOLE_S), clip()) in space
    assert Turn(Answer("B"), text="Thanks.") in space
    broken = clip(times_s=np.array([4.0, 0.0]))
    for outside in (Answer("B"), Turn("B"), Turn(ZoomIn(WHOLE_S), broken), Turn(Answer("B"), text=3)):  # type: ignore[arg-type]
        assert outside not in space


def test_span_space_holds_times_of_the_video() -> None:
    space = SpanSpace(64.0)
    assert np.array([0.0, 64.0], np.float32) in space
    assert np.array([4.0, 2.0]) in space  # The environment sorts.
    for outside in ([0.0, 1.0], np.array([0.0, 65.0]), np.array([-1.0, 2.0]), np.array([0.0, np.nan]), np.zeros(3)):
        assert outside not in space


@pytest.mark.parametrize("space", [VideoClipSpace(), StringSpace(), TurnSpace(), SpanSpace(64.0), observation_space()])
def test_samples_are_inside_and_repeat_with_the_seed(space: object) -> None:
    space.seed(3)  # type: ignore[attr-defined]
    first = [space.sample() for _ in range(20)]  # type: ignore[attr-defined]
    assert all(sample in space for sample in first)  # type: ignore[operator]
    space.seed(3)  # type: ignore[attr-defined]
    assert str(first) == str([space.sample() for _ in range(20)])  # type: ignore[attr-defined]


def test_sampled_spans_are_sorted() -> None:
    space = SpanSpace(64.0, seed=0)
    assert all(start_s <= end_s for start_s, end_s in (space.sample() for _ in range(50)))


def test_actions_flatten_to_a_box_for_array_learners() -> None:
    space = action_space(max_duration_s=64.0, tasks=[TASK])
    flat = utils.flatten_space(space)
    assert isinstance(flat, Box)
    assert flat.shape == (2 + 2 + 4,)
    sample = space.sample()
    back = utils.unflatten(space, utils.flatten(space, sample))
    assert (back["kind"], back["choice"]) == (sample["kind"], sample["choice"])
    assert np.array_equal(back["span_s"], sample["span_s"])


def test_answers_have_a_text_only_where_a_task_needs_one() -> None:
    number = replace(TASK, task_id="n", kind=QuestionKind.NUMERICAL, options=(), answer="3")
    assert set(answer_spaces([TASK])) == {"choice"}
    assert set(answer_spaces([TASK, number])) == {"choice", "text"}
    assert answer_spaces([number])["choice"] == Discrete(1)


def test_spaces_compare_by_value() -> None:
    assert observation_space() == observation_space()
    assert SpanSpace(64.0) != SpanSpace(65.0)
    assert VideoClipSpace() != StringSpace()
