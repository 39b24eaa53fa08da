from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, MalformedReason, ZoomIn
from videozoom.envs.observation import Turn, VideoClip
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import Span, Task
from videozoom.envs.video_zoom import VideoZoomEnv

JUNK = Malformed(MalformedReason.NO_BOX)


class BlankFrames:
    """Frames that show nothing."""

    def duration_s(self, video: Path) -> float:
        return 64.0

    def fast_view(self, video: Path) -> VideoClip:
        return self.slow_clip(video, Span(0.0, 64.0))

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        num_frames = 2 if fps is None else round(span_s.length_s * fps)
        frames = np.zeros((num_frames, 28, 28, 3), np.uint8)
        return VideoClip(frames, np.linspace(*span_s, num_frames), span_s, f"{span_s}{fps}")


def make_env(**settings: Any) -> VideoZoomEnv:
    task = Task("t0", Path("0.mp4"), 64.0, "Which?", ("a", "b", "c"), "B", (Span(12.0, 16.0),))
    return VideoZoomEnv([task], frames=BlankFrames(), **({"max_steps": 5} | settings))


def test_observations_tell_every_step_in_order_with_what_it_showed() -> None:
    env = make_env()
    observation, _ = env.reset(options={"task": "t0"})
    assert observation["turns"] == ()
    beyond = ZoomIn(Span(80.0, 90.0))
    for action in (ZoomIn(Span(40.0, 44.0), fps=2.0), JUNK, beyond, ZoomIn(Span(12.0, 16.0))):
        observation, *_ = env.step(action)
    later, earlier = reversed(observation["clips"])
    refused = Turn(Malformed(MalformedReason.OUT_OF_BOUNDS))
    shown = [Turn(ZoomIn(Span(40.0, 44.0), 2.0), later), Turn(JUNK), refused, Turn(ZoomIn(Span(12.0, 16.0)), earlier)]
    assert list(observation["turns"]) == shown
    assert observation["turns"][2].action.asked == beyond  # type: ignore[union-attr]
    observation, *_ = env.step(Answer("B"))
    assert observation["turns"][-1] == Turn(Answer("B"))
    assert observation in env.observation_space


@pytest.mark.parametrize("action", [GetCaption((1,)), AskVideo((1,), "What?")])
def test_actions_of_other_worlds_cost_a_step_and_change_nothing(action: Action) -> None:
    env = make_env()
    env.reset(options={"task": "t0"})
    observation, _, _, _, info = env.step(action)
    assert info["action"] == Malformed(MalformedReason.NOT_ALLOWED)
    assert info["action"].asked == action
    assert (observation["step"], observation["clips"]) == (1, ())


def test_clips_have_the_rate_that_was_asked_for_within_the_rules() -> None:
    env = make_env(span_rules=SpanRules.videozoomer())
    env.reset()
    many, few = ZoomIn(Span(4.0, 8.0), fps=5.0), ZoomIn(Span(4.0, 8.0), fps=1.0)
    for action in (many, few, ZoomIn(Span(8.0, 4.0), fps=1.0)):
        observation, *_ = env.step(action)
    assert [turn.action for turn in observation["turns"]] == [
        Malformed(MalformedReason.TOO_MANY_FRAMES),
        few,
        Malformed(MalformedReason.REVERSED),
    ]
    assert [len(clip.frames) for clip in observation["clips"]] == [4]


def test_facts_count_frames_and_outputs_that_are_not_in_form() -> None:
    env = make_env()
    env.reset()
    env.step(ZoomIn(Span(4.0, 8.0), fps=1.0))
    env.step(ZoomIn(Span(20.0, 23.0), fps=1.0, is_well_formed=False))
    env.step(JUNK)
    *_, info = env.step(Answer("B", is_well_formed=False))
    facts = info["facts"]
    assert (facts.num_clip_frames, facts.num_ill_formed, facts.num_malformed, facts.answer) == (7, 2, 1, "B")
