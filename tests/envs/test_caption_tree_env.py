import copy
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, MalformedReason, ZoomIn
from videozoom.envs.caption_tree_env import CaptionTreeEnv
from videozoom.envs.captions.gold import gold_visits
from videozoom.envs.captions.sources import CaptionError, Segment
from videozoom.envs.captions.tree import Level, WidthRule
from videozoom.envs.generated.captions import TruthVideoQA, events_by_video
from videozoom.envs.generated.plan import plan_video, tasks_of
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.tasks import Span, Status, Task

TASK = Task("t", Path("v.mp4"), 64.0, "Who?", ("bars", "lines"), "B", (Span(17.0, 18.0),))
REASON = MalformedReason


class Writer:
    """Says where and how closely it was asked to look; fails where it is told to."""

    fingerprint = "writer"

    def __init__(self, failing: Level | None = None, error: type[Exception] = CaptionError) -> None:
        self.failing, self.error = failing, error
        self.asked: list[Segment] = []

    def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
        self.asked += segments
        if any(segment.level is self.failing for segment in segments):
            raise self.error(f"{video}: nobody there")
        return [f"{segment.level} {segment.span_s.start_s:g}-{segment.span_s.end_s:g}" for segment in segments]

    def answer(self, video: Path, span_s: Span, question: str) -> str:
        if self.failing is Level.LOW:
            raise self.error(f"{video}: nobody there")
        return f"{question} at {span_s.start_s:g}-{span_s.end_s:g}"


def make(**settings: Any) -> CaptionTreeEnv:
    return CaptionTreeEnv([TASK], **({"captioner": Writer(), "video_qa": Writer(), "max_steps": 5} | settings))


def run(env: CaptionTreeEnv, *actions: Any, **options: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    env.reset(seed=0, options={"task": TASK, **options})
    for action in actions:
        result = env.step(action)
    return result


def test_an_episode_starts_with_the_captions_of_the_high_level_and_no_others_are_made() -> None:
    writer = Writer()
    observation, info = make(captioner=writer).reset(seed=0)
    assert observation["captions"] == ("high 0-16", "high 16-32", "high 32-48", "high 48-64")
    assert (observation["width"], observation["duration_s"], observation["turns"]) == (4, 64.0, ())
    assert info == {"task_id": "t", "status": Status.RUNNING, "step": 0}
    assert len(writer.asked) == 4


def test_captions_and_answers_are_brought_and_the_answer_ends_the_episode() -> None:
    actions = (GetCaption((2, 1)), GetCaption((2, 1, 2)), AskVideo((2, 1, 2), "Who?"), Answer("B"))
    observation, reward, terminated, truncated, info = run(make(), *actions)
    assert [turn.text for turn in observation["turns"]] == ["medium 16-20", "low 17-18", "Who? at 17-18", None]
    assert (terminated, truncated, info["status"], observation["step"]) == (True, False, Status.ANSWERED, 4)
    # Captions count, questions do not: 4 s were read for 1 s of evidence, F1 = 2 * 1 / (4 + 1).
    assert info["facts"].spans_s == (Span(16.0, 20.0), Span(17.0, 18.0))
    assert reward == pytest.approx(1.4)


def test_the_same_caption_may_be_read_again_and_that_is_penalised() -> None:
    once = run(make(), GetCaption((2, 1, 2)), Answer("B"))
    twice = run(make(), GetCaption((2, 1, 2)), GetCaption((2, 1, 2)), Answer("B"))
    assert (once[1], twice[1]) == (pytest.approx(2.0), pytest.approx(1.8))


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (GetCaption((2,)), REASON.UNKNOWN_NODE),  # Of the high level: it was read at the start.
        (GetCaption(()), REASON.UNKNOWN_NODE),
        (GetCaption((0, 1)), REASON.UNKNOWN_NODE),
        (GetCaption((5, 1)), REASON.UNKNOWN_NODE),
        (GetCaption((1, 5, 1)), REASON.UNKNOWN_NODE),
        (GetCaption((1, 1, 1, 1)), REASON.UNKNOWN_NODE),
        (AskVideo((2, 1), "Who?"), REASON.UNKNOWN_NODE),
        (AskVideo((2, 1, 0), "Who?"), REASON.UNKNOWN_NODE),
        (AskVideo((2, 1, -1), "Who?"), REASON.UNKNOWN_NODE),
        (ZoomIn(Span(0.0, 4.0)), REASON.NOT_ALLOWED),
        (Answer("C"), REASON.UNKNOWN_OPTION),
        (Malformed(REASON.NO_ACTION), REASON.NO_ACTION),
    ],
)
def test_what_is_not_taken_costs_a_step_and_the_episode_goes_on(action: Action, reason: MalformedReason) -> None:
    env = make()
    observation, _, terminated, truncated, info = run(env, action)
    assert info["action"] == Malformed(reason)
    assert (info["status"], observation["step"], terminated, truncated) == (Status.RUNNING, 1, False, False)
    assert observation["turns"][0].text is None
    _, reward, _, _, info = env.step(Answer("B"))
    assert (info["facts"].spans_s, info["facts"].num_malformed, reward) == ((), 1, 1.0)


def test_questions_can_be_left_out_or_wait_for_the_caption() -> None:
    ask = AskVideo((2, 1, 2), "Who?")
    assert run(make(video_qa=None), ask)[4]["action"] == Malformed(REASON.NOT_ALLOWED)
    patient = make(caption_before_question=True)
    assert run(patient, ask)[4]["action"] == Malformed(REASON.CAPTION_FIRST)
    assert run(patient, GetCaption((2, 1)), ask)[4]["action"] == Malformed(REASON.CAPTION_FIRST)
    assert run(patient, GetCaption((2, 1, 2)), ask)[4]["action"] == ask


@pytest.mark.parametrize("last", [GetCaption((2, 1, 2)), AskVideo((2, 1, 2), "Who?"), Malformed("no_action")])
@pytest.mark.parametrize(("mask", "status"), [(False, Status.MALFORMED), (True, Status.NO_ANSWER)])
def test_only_an_answer_is_taken_at_the_last_step(last: Action, mask: bool, status: Status) -> None:
    observation, reward, terminated, truncated, info = run(
        make(mask_unreadable=mask), GetCaption((2, 1, 2)), last, max_steps=2
    )
    assert (info["status"], terminated, truncated) == (status, not mask, mask)
    assert isinstance(info["action"], Malformed)
    # What was read before counts all the same.
    assert (reward, observation["turns"][1].text) == (pytest.approx(1.0), None)


@pytest.mark.parametrize("error", [CaptionError, VideoDecodeError])
@pytest.mark.parametrize(
    ("failing", "actions"),
    [
        (Level.HIGH, (Answer("B"),)),
        (Level.MEDIUM, (GetCaption((2, 1)),)),
        (Level.LOW, (AskVideo((2, 1, 2), "Who?"),)),
    ],
)
def test_what_cannot_be_had_ends_the_episode_and_scores_nothing(
    failing: Level, actions: tuple[Action, ...], error: type[Exception]
) -> None:
    writer = Writer(failing, error)
    _, reward, terminated, _, info = run(make(captioner=writer, video_qa=writer), *actions)
    assert (info["status"], info["error"]) == (Status.ERROR_DECODE, "v.mp4: nobody there")
    assert (terminated, reward, info["reward_breakdown"].parts) == (True, 0.0, {})


def test_our_own_mistakes_are_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        run(make(captioner=Writer(Level.MEDIUM, ZeroDivisionError)), GetCaption((2, 1)))


@pytest.mark.parametrize(
    ("action", "status", "reward"),
    [
        (GetCaption((2, 1)), Status.ZOOMED, 1.0),
        (GetCaption((2, 1, 2)), Status.ZOOMED, 1.0),
        (GetCaption((3, 1)), Status.ZOOMED, 0.0),
        (AskVideo((2, 1, 2), "Who?"), Status.MALFORMED, 0.0),
        (Answer("B"), Status.MALFORMED, 0.0),
        (GetCaption((9, 1)), Status.MALFORMED, 0.0),
    ],
)
def test_single_steps_are_worth_their_overlap(action: Action, status: Status, reward: float) -> None:
    result = run(make(), action, episode_kind="zoom_step")
    assert (result[1], result[2], result[4]["status"]) == (reward, True, status)


@pytest.mark.parametrize(
    ("structured", "action"),
    [
        ({"kind": 0, "node": np.array([2, 1, 0])}, GetCaption((2, 1))),
        ({"kind": 0, "node": [2, 1, 3]}, GetCaption((2, 1, 3))),
        ({"kind": 1, "node": [2, 1, 3], "question": "Who?"}, AskVideo((2, 1, 3), "Who?")),
        ({"kind": 2, "choice": 1}, Answer("B")),
        ({"kind": 0, "node": [0, 1, 1]}, Malformed(REASON.UNKNOWN_NODE)),
        ({"kind": 2, "choice": 99}, Malformed(REASON.UNKNOWN_OPTION)),
    ],
)
def test_structured_actions(structured: dict[str, Any], action: Action) -> None:
    assert run(make(), structured)[4]["action"] == action


@pytest.mark.parametrize("bad", [{"kind": 3}, {"kind": 0}, {"kind": 0, "node": "x"}, None, 3])
def test_what_is_no_action_is_an_error(bad: Any) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="An action is GetCaption, AskVideo, Answer"):
        env.step(bad)


def generated_tasks(count: int) -> list[Task]:
    recipe = VideoRecipe(num_videos=count, length_s=256.0, fps=0.5)
    return [task for i in range(count) for task in tasks_of(plan_video(recipe, i), Path(f"{i}.mp4"), recipe)]


def test_generated_videos_need_no_captioner_and_gold_visits_reach_the_highest_reward() -> None:
    tasks = generated_tasks(8)
    env = CaptionTreeEnv(tasks, width_rule=WidthRule(leaf_s=4.0))
    for task in tasks:
        observation, _ = env.reset(options={"task": task.task_id})
        for node in gold_visits(env.tree(task), task.evidence, max_visits=14):
            observation, *_ = env.step(GetCaption(node))
        assert task.options[task.answer_index] in (observation["turns"][-1].text or "")
        assert env.step(Answer(task.answer))[1] == 2.0
    with pytest.raises(ValueError, match="needs a captioner for videos that are not generated"):
        CaptionTreeEnv([TASK])


def test_the_world_of_gymnasium_accepts_it() -> None:
    tasks = generated_tasks(3)
    video_qa = TruthVideoQA(events_by_video(tasks))
    env = gymnasium.make("videozoom.envs:CaptionTree-v0", tasks=tasks, video_qa=video_qa)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)
    observation, _ = env.reset(seed=3)
    assert observation in env.observation_space
    for _ in range(4):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observation in env.observation_space
        if terminated or truncated:
            env.reset()


def test_episodes_can_be_branched_and_environments_copied_and_sent() -> None:
    env = make()
    run(env, GetCaption((2, 1, 2)))
    here, twin = env.snapshot(), copy.deepcopy(env)
    assert env.step(Answer("B"))[1] == 2.0
    observation, info = env.restore(here)
    assert (len(observation["turns"]), info["status"]) == (1, Status.RUNNING)
    assert env.step(Answer("A"))[1] == 1.0
    assert twin.step(Answer("B"))[1] == 2.0
    assert pickle.loads(pickle.dumps(make())).reset(seed=0)[1]["task_id"] == "t"


def test_mistakes_in_settings_are_named() -> None:
    with pytest.raises(ValueError, match="no render mode 'human'"):
        make(render_mode="human")
    with pytest.raises(ValueError, match="Unknown reset option 'steps'"):
        make().reset(options={"steps": 3})
