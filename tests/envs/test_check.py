"""The checker: sound environments pass, and each kind of broken one is told what is wrong with it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from memory_world import MemoryFrames, make_tasks

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.check import ZoomEnvError, check_zoom_env
from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.observation import VideoClip, VideoDecodeError
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import Span, Status
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.envs.wrappers import DiscreteActions, FixedShape, TextActions
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rewards.rubric import Rubric


class Frames(MemoryFrames):
    """Knows which videos there are."""

    def fast_view(self, video: Path) -> VideoClip:
        if not video.stem.isdigit():
            raise VideoDecodeError(f"{video}: no such file")
        return super().fast_view(video)


def env_with(**values: Any) -> VideoZoomEnv:
    return VideoZoomEnv(make_tasks(), **({"frames": Frames()} | values))


@pytest.mark.parametrize(
    "make",
    [
        env_with,
        lambda: env_with(mask_unreadable=False),
        lambda: env_with(max_steps=5, render_mode="rgb_array"),
        lambda: env_with(span_rules=SpanRules.evaluation()),
        lambda: gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=make_tasks(), frames=Frames()),
        lambda: FixedShape(DiscreteActions(env_with())),
        lambda: TextActions(env_with(), LoveR1Protocol()),
    ],
)
def test_sound_environments_pass(make: Callable[[], Any]) -> None:
    check_zoom_env(make())


def test_an_environment_of_real_videos_passes(tmp_path: Path) -> None:
    tasks = generate(VideoRecipe(num_videos=1, length_s=32.0), tmp_path)
    check_zoom_env(gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=tasks), num_tasks=1)


def test_another_rubric_may_have_another_best() -> None:
    env = env_with(rubric=Rubric.love_r1(format_weight=0.5))
    check_zoom_env(env, gold_reward=1.5)
    with pytest.raises(ZoomEnvError, match=r"right answer B of task 't0' is worth 1.5, not 1: mend the rubric"):
        check_zoom_env(env)


class Scores:
    """A rubric that gives everything the same."""

    def __init__(self, total: float) -> None:
        self.total = total

    def score(self, task: Any, facts: Any) -> RewardBreakdown:
        return RewardBreakdown(self.total, {})


class ChangesResult(VideoZoomEnv):
    """Changes what a step returns."""

    def __init__(self, change: Callable[..., Any]) -> None:
        super().__init__(make_tasks(), frames=Frames())
        self.change = change

    def step(self, action: Any) -> Any:
        return self.change(*super().step(action))


def with_observation(change: Callable[[Any], dict[str, Any]]) -> ChangesResult:
    return ChangesResult(lambda observation, *rest: ({**observation, **change(observation)}, *rest))


class NeverEnds(VideoZoomEnv):
    """Goes on after the end."""

    def step(self, action: Any) -> Any:
        if self.snapshot().is_over:
            self.restore(replace(self.snapshot(), is_over=False))
        return super().step(action)


class ReadsAnything(Frames):
    """Shows black instead of what cannot be read."""

    def fast_view(self, video: Path) -> VideoClip:
        return MemoryFrames.fast_view(self, video)


class OtherSpan(Frames):
    """Shows another span than the one asked for."""

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        return super().slow_clip(video, Span(span_s.start_s + 1.0, span_s.end_s + 1.0))


class OtherTimes(Frames):
    """Shows the right span's name on frames of another."""

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        return replace(super().slow_clip(video, span_s), times_s=np.linspace(0.0, 60.0, 4))


class Noisy(Frames):
    """Never the same twice."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng()

    def fast_view(self, video: Path) -> VideoClip:
        clip = super().fast_view(video)
        return replace(clip, frames=self.rng.integers(0, 255, clip.frames.shape, dtype=np.uint8))


class AcceptsAll(VideoZoomEnv):
    """Puts every zoom somewhere into the video."""

    def _checked_look(self, action: Any, episode: Any) -> Any:
        return ZoomIn(Span(len(episode.turns) * 2.0, len(episode.turns) * 2.0 + 1.0))


class AcceptsNone(VideoZoomEnv):
    """Refuses every zoom."""

    def _checked_look(self, action: Any, episode: Any) -> Any:
        return Malformed("no", action)


class ForgetsSeeds(VideoZoomEnv):
    """Draws tasks from outside."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        options = dict(options or {})
        options.setdefault("task", f"t{np.random.default_rng().integers(5)}")
        return super().reset(seed=seed, options=options)


class LosesState(VideoZoomEnv):
    """Keeps something that a snapshot does not hold."""

    num_answers = 0

    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        self.num_answers += isinstance(action, Answer)
        return observation, reward + 0.5 * (self.num_answers % 2), *rest


class Raises(VideoZoomEnv):
    """Takes a model's mistake for an error."""

    def step(self, action: Any) -> Any:
        if isinstance(action, Malformed):
            raise KeyError(action.reason)
        return super().step(action)


class OnlyObjects(VideoZoomEnv):
    """Does not read structured actions."""

    def step(self, action: Any) -> Any:
        return super().step(Malformed("dict") if isinstance(action, dict) else action)


def without(info: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key != name}


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "gold scores nothing": (
        lambda: env_with(rubric=Scores(0.0)),
        "answers: the right answer B of task .* is worth 0",
    ),
    "junk scores": (lambda: env_with(rubric=Scores(1.0)), r"answers: Malformed\(.*is worth 1 in task 't0', as much as"),
    "misses score": (lambda: env_with(rubric=Scores(1.0)), r"zoom steps: ZoomIn\(.* misses the evidence"),
    "hits score nothing": (
        lambda: env_with(rubric=Rubric.from_weights({"outcome": 1.0})),
        r"zoom steps: ZoomIn\(.* hits the evidence of task 't0' and is worth 0, not 1",
    ),
    "unreadable videos are hidden": (
        lambda: env_with(frames=ReadsAnything()),
        "statuses: a video that does not exist must end with status error_decode, not ",
    ),
    "flags are swapped": (
        lambda: ChangesResult(lambda o, r, terminated, truncated, i: (o, r, truncated, terminated, i)),
        "statuses: status answered goes with terminated=True, truncated=False, not with terminated=False, truncated=T",
    ),
    "no answer has no status": (
        lambda: ChangesResult(
            lambda o, r, te, tr, i: (o, r, te, tr, i | ({"status": Status.ANSWERED} if tr else {})),
        ),
        "statuses: steps without an answer must end with status no_answer or malformed, not answered",
    ),
    "another span is shown": (lambda: env_with(frames=OtherSpan()), r"spans: after accepted zooms \[Span.* the clips"),
    "other frames are shown": (
        lambda: env_with(frames=OtherTimes()),
        r"spans: the clip of Span.*has frames from 0 to",
    ),
    "clips are lost": (lambda: with_observation(lambda o: {"clips": o["clips"][:0]}), "adds one clip of its span"),
    "clips are not sorted": (
        lambda: with_observation(lambda o: {"clips": o["clips"][::-1]}),
        "spans: clips must be sorted by start",
    ),
    "every zoom is accepted": (
        lambda: AcceptsAll(make_tasks(), frames=Frames()),
        "is outside the video and was ta",
    ),
    "no zoom is accepted": (lambda: AcceptsNone(make_tasks(), frames=Frames()), "no zoom into task 't0' was accepted"),
    "a refused zoom changes the question": (
        lambda: with_observation(lambda o: {"question": f"{o['question']} {o['step']}"}),
        "spans: ZoomIn.* was refused and changed the observation",
    ),
    "an observation lacks a key": (
        lambda: ChangesResult(lambda o, *rest: (without(o, "options"), *rest)),
        "an observation with the keys .* instead of .*'options'",
    ),
    "an observation is outside its space": (
        lambda: with_observation(lambda o: {"options": list(o["options"])}),
        r"what comes back: observation\['options'\] is outside observation_space",
    ),
    "info lacks the facts": (
        lambda: ChangesResult(lambda *result: (*result[:4], without(result[4], "facts"))),
        "info has no 'facts' at the end of an episode",
    ),
    "status and flags disagree": (
        lambda: ChangesResult(lambda *result: (*result[:4], result[4] | {"status": Status.RUNNING})),
        r"info\['status'\] is 'running' with terminated=True",
    ),
    "reward and breakdown disagree": (
        lambda: ChangesResult(lambda o, reward, *rest: (o, reward * 0.5, *rest)),
        r"the reward is 0.5, info\['reward_breakdown'\] says 1",
    ),
    "steps are rewarded": (
        lambda: ChangesResult(lambda o, reward, *rest: (o, reward if rest[0] or rest[1] else 0.1, *rest)),
        "a step before the last one is worth 0.1",
    ),
    "steps are counted twice": (
        lambda: with_observation(lambda o: {"step": 2 * o["step"]}),
        r"observation\['step'\] is 2, info\['step'\] is 1",
    ),
    "it goes on after the end": (lambda: NeverEnds(make_tasks(), frames=Frames()), "after the end .* must raise gymn"),
    "frames are random": (
        lambda: env_with(frames=Noisy()),
        r"actions give another observation\['fast_view'\]",
    ),
    "tasks are drawn from outside": (
        lambda: ForgetsSeeds(make_tasks(), frames=Frames()),
        "draw other tasks the second time: draw with self.np_random alone",
    ),
    "state is outside the snapshot": (
        lambda: LosesState(make_tasks(), frames=Frames()),
        "goes on otherwise after",
    ),
    "a model's mistake raises": (lambda: Raises(make_tasks(), frames=Frames()), "stopped by KeyError: 'junk'; reset"),
    "dictionaries are not read": (
        lambda: OnlyObjects(make_tasks(), frames=Frames()),
        "A dictionary of action_space",
    ),
    "gymnasium complains": (
        lambda: ChangesResult(lambda o, reward, *rest: (o, str(reward), *rest)),
        "Gymnasium's checker: .*reward returned by `step",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(name: str) -> None:
    make, message = BROKEN[name]
    with pytest.raises(ZoomEnvError, match=message):
        check_zoom_env(make())


def test_a_wrapper_that_leaves_its_space_is_named() -> None:
    class Doubles(gymnasium.ObservationWrapper[Any, Any, Any]):
        def observation(self, observation: Any) -> Any:
            return observation | {"progress": observation["progress"] + 2.0}

    with pytest.raises(ZoomEnvError, match=r"layer: observation\['progress'\] is outside env.observation_space: widen"):
        check_zoom_env(Doubles(FixedShape(env_with())))


def test_what_cannot_branch_is_named() -> None:
    env = env_with()
    env.snapshot = None  # type: ignore[assignment,method-assign]
    with pytest.raises(ZoomEnvError, match=r"branching: there is no snapshot\(\) and restore"):
        check_zoom_env(env)


def test_an_environment_without_tasks_needs_some() -> None:
    with pytest.raises(ZoomEnvError, match=r"no property `tasks` .* call check_zoom_env\(env, tasks=\.\.\.\)"):
        check_zoom_env(gymnasium.make("CartPole-v1"))
    check_zoom_env(env_with(), tasks=make_tasks(1))


def test_every_problem_is_one_line() -> None:
    with pytest.raises(ZoomEnvError) as caught:
        check_zoom_env(env_with(rubric=Scores(0.0)))
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(f"{len(rest)} problems of <VideoZoomEnv")
    assert all(line.startswith("- ") and line.endswith(".") for line in rest)
