from pathlib import Path

import numpy as np
import pytest

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, MalformedReason, ZoomIn
from videozoom.envs.observation import Turn, VideoClip
from videozoom.envs.tasks import Span, Task
from videozoom.envs.video_zoom import VideoZoomEnv

JUNK = Malformed(MalformedReason.NO_BOX)


class BlankFrames:
    """Frames that show nothing."""

    def duration_s(self, video: Path) -> float:
        return 64.0

    def fast_view(self, video: Path) -> VideoClip:
        return self.slow_clip(video, Span(0.0, 64.0))

    def slow_clip(self, video: Path, span_s: Span) -> VideoClip:
        return VideoClip(np.zeros((2, 28, 28, 3), np.uint8), np.linspace(*span_s, 2), span_s, f"{span_s}")


def make_env(max_steps: int = 5) -> VideoZoomEnv:
    task = Task("t0", Path("0.mp4"), 64.0, "Which?", ("a", "b", "c"), "B", (Span(12.0, 16.0),))
    return VideoZoomEnv([task], frames=BlankFrames(), max_steps=max_steps)


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
