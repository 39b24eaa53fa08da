"""Scripted policies in the real environment: every zoom passes, and only the choice of the clip differs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.observation import VideoClip
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.policies.base import Completion, Request
from videozoom.policies.scripted import SCRIPTED_SPAN_RULES, ScriptedPolicy, ZoomRule
from videozoom.rollout.runner import EpisodeSpec, run_episodes
from videozoom.rollout.types import Trajectory

PROTOCOL = LoveR1Protocol("love_r1_compact", timestamps=False)
DURATION_S = 63.5
EVIDENCE = (Span(12.0, 16.0), Span(63.0, 63.5))
TASK = Task("t0", Path("v.mp4"), DURATION_S, "Which?", ("a", "b", "c", "d"), "C", EVIDENCE)


class BlankFrames:
    """Frames that show nothing, of a video that does not end at a whole second."""

    def duration_s(self, video: Path) -> float:
        return DURATION_S

    def fast_view(self, video: Path) -> VideoClip:
        return self.slow_clip(video, Span(0.0, DURATION_S))

    def slow_clip(self, video: Path, span_s: Span) -> VideoClip:
        return VideoClip(np.zeros((2, 28, 28, 3), np.uint8), np.linspace(*span_s, 2, endpoint=False), span_s, "blank")


class AlwaysB:
    """Answers B and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        self.requests += requests
        return [Completion(PROTOCOL.write(Answer("B"), "", request.observation)) for request in requests]


def play(policy: ScriptedPolicy, num_episodes: int = 1, *, task: Task = TASK, seed: int = 0) -> list[Trajectory]:
    specs = [
        EpisodeSpec(task, EpisodeKind.MULTI_STEP, 0, (seed, index), policy.rule.num_steps(task))
        for index in range(num_episodes)
    ]

    def make_env() -> VideoZoomEnv:
        return VideoZoomEnv([task], BlankFrames(), span_rules=SCRIPTED_SPAN_RULES)

    return run_episodes(specs, make_env=make_env, protocol=PROTOCOL, policy=policy)


@pytest.mark.parametrize(
    ("rule", "spans"),
    [
        (ZoomRule.NEVER, ()),
        (ZoomRule.UNIFORM, (Span(0.0, DURATION_S),)),
        (ZoomRule.ORACLE, EVIDENCE),
    ],
)
def test_where_each_rule_looks(rule: ZoomRule, spans: tuple[Span, ...]) -> None:
    [trajectory] = play(ScriptedPolicy(rule, PROTOCOL))
    assert trajectory.spans_s == spans
    assert trajectory.status is Status.ANSWERED
    assert len(trajectory.steps) == len(spans) + 1


def test_the_oracle_knows_the_answer_and_the_others_guess() -> None:
    assert {it.answer for it in play(ScriptedPolicy(ZoomRule.ORACLE, PROTOCOL), 40)} == {"C"}
    guesses = [it.answer for it in play(ScriptedPolicy(ZoomRule.NEVER, PROTOCOL), 400)]
    assert {letter: guesses.count(letter) > 60 for letter in "ABCD"} == dict.fromkeys("ABCD", True)
    assert len(guesses) == sum(guesses.count(letter) for letter in "ABCD")


@pytest.mark.parametrize("length_s", [4.0, 7.5, 30.0, 100.0])
def test_random_spans_have_their_length_and_lie_in_the_video(length_s: float) -> None:
    trajectories = play(ScriptedPolicy(ZoomRule.RANDOM, PROTOCOL, random_length_s=length_s), 60)
    spans = [span for trajectory in trajectories for span in trajectory.spans_s]
    assert len(spans) == 60
    assert all(span.start_s >= 0.0 and span.end_s <= DURATION_S for span in spans)
    # Whole seconds are written: a span may be up to a second longer than asked for.
    wanted_s = min(length_s, DURATION_S)
    assert all(wanted_s <= span.length_s < wanted_s + 1 for span in spans)
    assert len({span.start_s for span in spans}) > 20 or length_s > DURATION_S


def test_random_spans_follow_the_seed() -> None:
    policy = ScriptedPolicy(ZoomRule.RANDOM, PROTOCOL, random_length_s=4.0)
    first, again, other = (play(policy, 20, seed=seed) for seed in (1, 1, 2))
    assert [it.spans_s for it in first] == [it.spans_s for it in again]
    assert [it.spans_s for it in first] != [it.spans_s for it in other]


def test_an_answerer_answers_from_the_clips_the_rule_chose() -> None:
    answerer = AlwaysB()
    trajectories = play(ScriptedPolicy(ZoomRule.ORACLE, PROTOCOL, answerer=answerer), 3)
    assert [it.answer for it in trajectories] == ["B"] * 3
    assert len(answerer.requests) == 3
    for request in answerer.requests:
        assert [clip.span_s for clip in request.observation["clips"]] == list(TASK.evidence)
        assert request.prompt.assistant_prefix.startswith("I get the answer.")


def test_episodes_at_different_steps_act_in_one_call() -> None:
    policy = ScriptedPolicy(ZoomRule.UNIFORM, PROTOCOL, answerer=AlwaysB())
    [zooming, answering] = [VideoZoomEnv([TASK], BlankFrames(), span_rules=SCRIPTED_SPAN_RULES) for _ in range(2)]
    first, _ = zooming.reset(seed=0, options={"max_steps": 2})
    last, _ = answering.reset(seed=0, options={"max_steps": 1})
    requests = [Request(PROTOCOL.prompt(it), it, TASK) for it in (last, first, last)]
    actions = [
        PROTOCOL.parse(completion.text, request.observation)
        for completion, request in zip(policy.act(requests), requests, strict=True)
    ]
    assert [type(action) for action in actions] == [Answer, ZoomIn, Answer]


def test_without_evidence_the_oracle_answers_at_once() -> None:
    task = Task("t1", Path("v.mp4"), DURATION_S, "Which?", ("a", "b"), "A")
    [trajectory] = play(ScriptedPolicy(ZoomRule.ORACLE, PROTOCOL), task=task)
    assert (len(trajectory.steps), trajectory.answer) == (1, "A")
