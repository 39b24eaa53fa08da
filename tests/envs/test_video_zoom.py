import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from memory_world import DURATION_S, EVIDENCE, MemoryFrames, make_env, make_tasks

from videozoom.envs.actions import Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.envs.video_store import VideoStore
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.rubric import Rubric

JUNK = Malformed(MalformedReason.NO_BOX)


def test_gymnasium_accepts_the_environment_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=make_tasks(), frames=MemoryFrames())
        check_env(env.unwrapped)


def test_wrapped_environment_runs_random_episodes_inside_its_spaces() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=make_tasks(), frames=MemoryFrames())
        env.action_space.seed(0)
        statuses = set()
        for seed in range(30):
            env.reset(seed=seed)
            is_over = False
            while not is_over:
                observation, _, terminated, truncated, info = env.step(env.action_space.sample())
                assert observation in env.observation_space
                is_over = terminated or truncated
            statuses.add(info["status"])
    assert statuses == {Status.ANSWERED, Status.NO_ANSWER}


def test_first_observation_is_the_fast_view_and_the_question() -> None:
    observation, info = make_env().reset(options={"task": "t3"})
    assert observation["fast_view"].span_s == Span(0.0, DURATION_S)
    assert (observation["clips"], observation["question"], observation["options"]) == (
        (),
        "Question 3?",
        ("a", "b", "c"),
    )
    assert (observation["step"], observation["max_steps"], observation["episode_kind"]) == (0, 3, 0)
    assert info == {"task_id": "t3", "status": Status.RUNNING, "step": 0}


def test_zooms_add_clips_sorted_by_start_and_the_answer_ends_the_episode() -> None:
    env = make_env()
    env.reset(options={"task": "t0"})
    observation, reward, terminated, truncated, info = env.step(ZoomIn(Span(40.0, 44.0)))
    assert (reward, terminated, truncated, info["status"]) == (0.0, False, False, Status.RUNNING)
    observation, *_ = env.step(ZoomIn(EVIDENCE))
    assert [clip.span_s for clip in observation["clips"]] == [EVIDENCE, Span(40.0, 44.0)]
    assert observation["step"] == 2
    observation, reward, terminated, truncated, info = env.step(Answer("B"))
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["action"] == Answer("B")
    assert info["facts"] == EpisodeFacts(
        EpisodeKind.MULTI_STEP,
        Status.ANSWERED,
        "B",
        (Span(40.0, 44.0), EVIDENCE),
        num_steps=3,
        num_malformed=0,
        num_clip_frames=8,
    )
    assert info["reward_breakdown"].parts == {"outcome": 1.0, "format": 1.0}


def test_a_wrong_answer_is_worth_nothing() -> None:
    env = make_env()
    env.reset()
    _, reward, terminated, _, info = env.step(Answer("A"))
    assert (reward, terminated, info["status"]) == (0.0, True, Status.ANSWERED)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (ZoomIn(Span(0.0, 60.0)), MalformedReason.TOO_LONG),
        (ZoomIn(Span(-5.0, 5.0)), MalformedReason.OUT_OF_BOUNDS),
        ({"kind": 0, "span_s": np.array([3.0, 3.0])}, MalformedReason.TOO_SHORT),
        ({"kind": 0, "span_s": np.array([np.nan, 3.0])}, MalformedReason.NOT_A_SPAN),
        (Answer("D"), MalformedReason.UNKNOWN_OPTION),
        ({"kind": 1, "choice": 3}, MalformedReason.UNKNOWN_OPTION),
        ({"kind": 1, "choice": 30}, MalformedReason.UNKNOWN_OPTION),
        (Malformed("whatever"), "whatever"),
    ],
)
def test_an_invalid_action_costs_a_step_and_changes_nothing_else(action: Any, reason: str) -> None:
    env = make_env()
    before, _ = env.reset(options={"task": "t0"})
    after, reward, terminated, truncated, info = env.step(action)
    assert info["action"] == Malformed(reason)
    assert (reward, terminated, truncated, info["status"]) == (0.0, False, False, Status.RUNNING)
    assert {**after, "step": 0, "turns": ()} == before
    assert after["step"] == 1
    assert env.step(Answer("B"))[4]["facts"].num_malformed == 1


def test_a_repeated_zoom_is_malformed() -> None:
    env = make_env()
    env.reset()
    env.step(ZoomIn(EVIDENCE))
    observation, *_, info = env.step(ZoomIn(Span(12.0, 17.0)))  # IoU 4/5.
    assert info["action"] == Malformed(MalformedReason.REPEATED)
    assert len(observation["clips"]) == 1


def test_span_rules_are_the_environments() -> None:
    env = make_env(span_rules=SpanRules(max_length_s=3.0))
    env.reset()
    assert env.step(ZoomIn(EVIDENCE))[4]["action"] == Malformed(MalformedReason.TOO_LONG)


@pytest.mark.parametrize("last", [JUNK, ZoomIn(Span(20.0, 24.0)), ZoomIn(Span(0.0, 64.0))])
def test_no_answer_at_the_last_step_truncates(last: Any) -> None:
    env = make_env()
    env.reset()
    env.step(JUNK)
    env.step(ZoomIn(EVIDENCE))
    observation, reward, terminated, truncated, info = env.step(last)
    assert (reward, terminated, truncated, info["status"]) == (0.0, False, True, Status.NO_ANSWER)
    assert info["facts"].spans_s == (EVIDENCE,)  # What nobody saw is not held.
    assert len(observation["clips"]) == 1


@pytest.mark.parametrize(
    ("last", "mask_unreadable", "status"),
    [
        (JUNK, True, Status.NO_ANSWER),
        (JUNK, False, Status.MALFORMED),
        # Zooming again at the last step is no answer either way.
        (ZoomIn(Span(0.0, 4.0)), False, Status.NO_ANSWER),
    ],
)
def test_an_unreadable_last_step_is_masked_or_scores_nothing(last: Any, mask_unreadable: bool, status: Status) -> None:
    env = make_env(mask_unreadable=mask_unreadable, max_steps=2)
    env.reset(seed=0)
    env.step(JUNK)
    _, reward, _, truncated, info = env.step(last)
    assert (info["status"], reward, truncated) == (status, 0.0, status is Status.NO_ANSWER)


def test_an_answer_at_the_last_step_is_an_answer() -> None:
    env = make_env(max_steps=1)
    env.reset()
    _, reward, terminated, truncated, info = env.step({"kind": np.int64(1), "choice": np.int64(1)})
    assert (reward, terminated, truncated, info["status"]) == (1.0, True, False, Status.ANSWERED)


@pytest.mark.parametrize(
    ("action", "status", "reward"),
    [
        (ZoomIn(EVIDENCE), Status.ZOOMED, 1.0),
        (ZoomIn(Span(15.0, 40.0)), Status.ZOOMED, 1.0),
        (ZoomIn(Span(16.0, 20.0)), Status.ZOOMED, 0.0),
        (ZoomIn(Span(0.0, 60.0)), Status.MALFORMED, 0.0),  # Too long, though it covers the evidence.
        (Answer("B"), Status.MALFORMED, 0.0),
        (JUNK, Status.MALFORMED, 0.0),
    ],
)
def test_zoom_steps_end_at_once_and_are_worth_their_overlap(action: Any, status: Status, reward: float) -> None:
    env = make_env()
    observation, _ = env.reset(options={"episode_kind": EpisodeKind.ZOOM_STEP})
    assert (observation["episode_kind"], observation["max_steps"]) == (1, 1)
    _, scored, terminated, truncated, info = env.step(action)
    assert (scored, terminated, truncated, info["status"]) == (reward, True, False, status)
    assert info["facts"].num_malformed == (status is Status.MALFORMED)


@pytest.mark.parametrize("end", [Answer("A"), Answer("B")])
def test_stepping_after_the_end_or_before_the_start_needs_a_reset(end: Answer) -> None:
    env = make_env()
    with pytest.raises(ResetNeeded):
        env.step(end)
    env.reset()
    env.step(end)
    with pytest.raises(ResetNeeded):
        env.step(end)
    env.reset()
    env.step(end)


def test_a_video_that_cannot_be_read_gives_an_empty_view_and_ends_with_the_next_step() -> None:
    env = make_env("fast_view")
    observation, info = env.reset(options={"task": "t1"})
    assert observation in env.observation_space
    assert len(observation["fast_view"].frames) == 0
    assert (info["status"], info["error"]) == (Status.ERROR_DECODE, "1.mp4: fast_view is broken")
    assert info["reward_breakdown"].total == 0.0
    observation, reward, terminated, truncated, info = env.step(Answer("B"))
    assert observation in env.observation_space
    assert (reward, terminated, truncated, info["status"]) == (0.0, True, False, Status.ERROR_DECODE)
    assert info["facts"].answer is None
    with pytest.raises(ResetNeeded):
        env.step(Answer("B"))


def test_a_span_that_cannot_be_read_ends_the_episode() -> None:
    env = make_env("slow_clip")
    env.reset(options={"task": "t1"})
    observation, reward, terminated, truncated, info = env.step(ZoomIn(EVIDENCE))
    assert (reward, terminated, truncated, info["status"]) == (0.0, True, False, Status.ERROR_DECODE)
    assert info["error"] == "1.mp4: slow_clip is broken"
    assert (observation["clips"], info["facts"].spans_s) == ((), ())


def test_frames_that_nobody_will_see_are_not_read() -> None:
    frames = MemoryFrames()
    env = VideoZoomEnv(make_tasks(), frames=frames)
    env.reset(options={"episode_kind": "zoom_step"})
    env.step(ZoomIn(EVIDENCE))
    env.reset(options={"max_steps": 1})
    env.step(ZoomIn(EVIDENCE))
    assert frames.reads == ["fast_view", "fast_view"]


def test_tasks_are_drawn_by_the_seed() -> None:
    def drawn(seed: int) -> list[str]:
        env = make_env()
        return [env.reset(seed=seed)[1]["task_id"], *(env.reset()[1]["task_id"] for _ in range(19))]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert set(drawn(1)) == {"t0", "t1", "t2", "t3", "t4"}


def test_a_task_can_be_given_that_is_not_in_the_list() -> None:
    other = Task("other", Path("other.mp4"), DURATION_S, "Other?", ("a", "b"), "A")
    observation, info = make_env().reset(options={"task": other, "max_steps": 7})
    assert (info["task_id"], observation["question"], observation["max_steps"]) == ("other", "Other?", 7)


def test_gold_actions_score_the_maximum_and_junk_scores_nothing() -> None:
    env = make_env()
    for task in make_tasks():
        for kind, gold in ((EpisodeKind.MULTI_STEP, Answer(task.answer)), (EpisodeKind.ZOOM_STEP, ZoomIn(EVIDENCE))):
            env.reset(options={"task": task, "episode_kind": kind})
            assert env.step(gold)[1] == 1.0
            env.reset(options={"task": task, "episode_kind": kind})
            rewards = [0.0]
            is_over = False
            while not is_over:
                _, reward, terminated, truncated, _ = env.step(JUNK)
                rewards.append(reward)
                is_over = terminated or truncated
            assert rewards == [0.0] * len(rewards)


def test_the_rubric_decides_what_an_episode_is_worth() -> None:
    env = make_env(rubric=Rubric.love_r1(format_weight=0.5))
    env.reset()
    assert env.step(Answer("B"))[1] == 1.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VideoZoomEnv([], frames=MemoryFrames()), "at least one task"),
        (lambda: VideoZoomEnv(make_tasks(2) * 2, frames=MemoryFrames()), "'t0' occurs more than once"),
        (lambda: make_env(max_steps=0), "max_steps must be from 1 to 1000, got 0"),
        (lambda: make_env(render_mode="human"), "no render mode 'human'"),
        (
            lambda: make_env().reset(options={"taks": "t0"}),
            r"'taks' \(did you mean 'task'.*; there are task, episode_kind, max_steps",
        ),
        (lambda: make_env().reset(options={"task": "t9"}), "no task with id 't9' among the 5 tasks"),
        (lambda: make_env().reset(options={"episode_kind": "zoom"}), "one of multi_step, zoom_step, got 'zoom'"),
        (lambda: make_env().reset(options={"max_steps": 0}), "got 0"),
    ],
)
def test_mistakes_of_the_user_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("action", ["zoom", None, {}, {"kind": 2}, {"kind": -1, "choice": 0}, {"kind": 0}, {"kind": 1}])
def test_what_is_no_action_is_an_error_and_costs_no_step(action: object) -> None:
    env = make_env()
    env.reset()
    with pytest.raises(ValueError, match="An action is ZoomIn, Answer, Malformed, or a dictionary"):
        env.step(action)
    assert env.step(JUNK)[0]["step"] == 1


def test_real_videos_are_decoded_once_per_clip_and_checked_by_gymnasium(tmp_path: Path) -> None:
    task_file = generate(VideoRecipe(num_videos=2, length_s=32.0), tmp_path)
    store = VideoStore(fast_frame_tokens=1, slow_frame_tokens=4)
    env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=task_file, frames=store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    task = load_tasks(task_file)[0]
    num_decodes = []
    for _ in range(3):
        env.reset(options={"task": task.task_id})
        observation, *_, info = env.step(ZoomIn(task.evidence[0]))
        assert info["status"] is Status.RUNNING
        assert observation["clips"][0].frames.shape[1] > observation["fast_view"].frames.shape[1]
        assert env.step(Answer(task.answer))[1] == 1.0
        num_decodes.append(store.stats.num_decodes)
    assert num_decodes == num_decodes[:1] * 3


def test_a_missing_video_file_is_a_status(tmp_path: Path) -> None:
    missing = Task("gone", tmp_path / "gone.mp4", DURATION_S, "Where?", ("a", "b"), "A")
    _, info = VideoZoomEnv([missing]).reset()
    assert info["status"] is Status.ERROR_DECODE
    assert "gone.mp4" in info["error"]
