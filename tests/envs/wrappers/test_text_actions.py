"""Texts as actions, through a protocol."""

import gymnasium
import pytest
from memory_world import EVIDENCE, make_env, make_tasks

from videozoom.envs.actions import Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.messages import Prompt, Role
from videozoom.envs.protocols.love_r1 import ANSWER_PREFIX, ZOOM_PREFIX, LoveR1Protocol
from videozoom.envs.tasks import Status
from videozoom.envs.wrappers.text_actions import TextActions

ZOOM = ZOOM_PREFIX + "A border. \\boxed{[12, 16]}"


class Transcript(LoveR1Protocol):
    """Notes what it was told the assistant had said."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, ...]] = []

    def prompt(self, observation: object, spoken: object = ()) -> Prompt:
        self.heard.append(tuple(part.text for part in spoken))  # type: ignore[attr-defined]
        return super().prompt(observation)  # type: ignore[arg-type]


def test_an_agent_that_writes_zooms_and_answers() -> None:
    env = TextActions(make_env(), LoveR1Protocol("love_r1_compact"))
    observation, info = env.reset(options={"task": "t0"})
    assert [message.role for message in info["prompt"].messages] == [Role.SYSTEM, Role.USER]
    assert [clip.span_s for clip in info["prompt"].clips()] == [observation["fast_view"].span_s]
    observation, reward, terminated, _, info = env.step(ZOOM)
    assert (info["action"], reward, terminated) == (ZoomIn(EVIDENCE), 0.0, False)
    assert [clip.span_s for clip in info["prompt"].clips()] == [observation["fast_view"].span_s, EVIDENCE]
    assert info["prompt"].assistant_prefix == ""
    *_, info = env.step("unreadable \N{SNOWMAN}" * 10_000)
    assert info["action"] == Malformed(MalformedReason.NO_PREFIX)
    assert info["prompt"].assistant_prefix == ANSWER_PREFIX  # The last step forces an answer.
    _, reward, terminated, _, info = env.step("\\boxed{B}")
    assert (info["action"], reward, terminated, "prompt" in info) == (Answer("B"), 1.0, True, False)


def test_texts_of_the_space_are_actions() -> None:
    env = TextActions(make_env(), LoveR1Protocol(), max_length=100)
    assert isinstance(env.action_space, gymnasium.spaces.Text)
    assert ZOOM in env.action_space
    assert "x" * 101 not in env.action_space
    env.action_space.seed(0)
    for seed in range(20):
        env.reset(seed=seed)
        for _ in range(3):
            observation, *_, info = env.step(env.action_space.sample())
            assert observation in env.observation_space
        assert info["status"] is Status.NO_ANSWER


def test_protocols_hear_what_was_said_on_this_branch() -> None:
    env = TextActions(make_env(), protocol := Transcript())
    env.reset()
    start = env.unwrapped.snapshot()
    env.step(ZOOM)
    env.step("nothing")
    env.unwrapped.restore(start)
    env.step("something else")
    assert protocol.heard == [(), (ZOOM,), (ZOOM, "nothing"), ("something else",)]
    env.reset()
    assert protocol.heard[-1] == ()


def test_what_is_no_text_is_an_error_and_costs_no_step() -> None:
    env = TextActions(make_env(), LoveR1Protocol())
    env.reset()
    with pytest.raises(ValueError, match=r"An action of TextActions is a text, got 3\."):
        env.step(3)  # type: ignore[arg-type]
    assert env.unwrapped.snapshot().step == 0


def test_a_video_that_cannot_be_read_has_no_prompt_and_ends_with_any_text() -> None:
    env = TextActions(make_env("fast_view"), LoveR1Protocol())
    assert "prompt" not in env.reset()[1]
    assert env.step("")[4]["status"] is Status.ERROR_DECODE


def test_vector_environments_take_texts() -> None:
    envs = gymnasium.vector.SyncVectorEnv([lambda: TextActions(make_env(), LoveR1Protocol()) for _ in range(2)])
    envs.reset(seed=0)
    infos = envs.step((ANSWER_PREFIX + "\\boxed{B}", "junk"))[4]
    assert [str(status) for status in infos["status"]] == ["answered", "running"]
    assert len(make_tasks()) == 5
    envs.close()
