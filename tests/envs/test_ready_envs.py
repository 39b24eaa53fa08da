"""Environments that do not wait for each other."""

import threading
from pathlib import Path
from typing import Any

import pytest
from memory_world import EVIDENCE, MemoryFrames, make_env, make_tasks

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.observation import VideoClip
from videozoom.envs.ready_envs import ReadyEnvs
from videozoom.envs.tasks import Span
from videozoom.envs.video_zoom import VideoZoomEnv


class Gated(MemoryFrames):
    """Reads slow clips only once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        assert self.gate.wait(60.0)
        return super().slow_clip(video, span_s, fps)


def test_a_slow_environment_holds_up_nobody() -> None:
    slow = Gated()
    makers: list[Any] = [lambda: VideoZoomEnv(make_tasks(), frames=slow), *[make_env] * 15]
    with ReadyEnvs(makers) as envs:
        for index in range(16):
            envs.reset(index, seed=index)
        assert sorted(envs.wait().index for _ in range(16)) == list(range(16))
        num_finished = 0
        for index in range(16):
            envs.step(index, ZoomIn(EVIDENCE))
        while num_finished < 45:  # Three whole episodes of each of the others.
            result = envs.wait()
            assert result.index != 0
            num_finished += result.is_over
            if result.is_over:
                assert (result.reward, result.info["facts"].num_steps) == (1.0, 2)
                envs.reset(result.index)
            else:
                has_looked = bool(result.observation["clips"])
                envs.step(result.index, Answer("B") if has_looked else ZoomIn(EVIDENCE))
        while envs.num_busy > 1:
            envs.wait()
        slow.gate.set()
        result = envs.wait()
        assert (result.index, len(result.observation["clips"])) == (0, 1)


def test_results_are_those_of_the_environment_itself() -> None:
    alone = make_env()
    with ReadyEnvs([make_env]) as envs:
        envs.reset(0, seed=4, options={"max_steps": 2})
        result, (observation, info) = envs.wait(), alone.reset(seed=4, options={"max_steps": 2})
        assert (result.observation, result.info, result.reward, result.is_over) == (observation, info, 0.0, False)
        for action in (ZoomIn(EVIDENCE), ZoomIn(EVIDENCE)):
            envs.step(0, action)
            result = envs.wait()
            expected = alone.step(action)
            found = (result.observation, result.reward, result.terminated, result.truncated, result.info)
            assert found == expected
        assert result.is_over


def test_mistakes_are_raised_where_they_are_waited_for() -> None:
    with ReadyEnvs([make_env, make_env]) as envs:
        with pytest.raises(RuntimeError, match="No environment is busy"):
            envs.wait()
        envs.reset(0)
        with pytest.raises(ValueError, match="Environment 0 is busy"):
            envs.step(0, Answer("A"))
        envs.wait()
        envs.step(0, "no action")
        with pytest.raises(ValueError, match="An action is ZoomIn"):
            envs.wait()
        envs.step(0, Answer("B"))  # It goes on.
        assert envs.wait().reward == 1.0
    with pytest.raises(ValueError, match="at least one"):
        ReadyEnvs([])


def test_waiting_has_a_limit() -> None:
    slow = Gated()
    with ReadyEnvs([lambda: VideoZoomEnv(make_tasks(), frames=slow)]) as envs:
        envs.reset(0)
        envs.wait()
        envs.step(0, ZoomIn(EVIDENCE))
        with pytest.raises(TimeoutError, match=r"None of 1 environments had a result within 0.01 s\."):
            envs.wait(timeout_s=0.01)
        slow.gate.set()
        assert envs.wait().index == 0
