"""Episodes that a person plays, on real generated videos."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated_world import GeneratedWorld
from PIL import Image

from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import Span, Task
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.experiments.play_episode import PlayedEpisode
from videozoom.experiments.play_server import BadRequest, Game
from videozoom.rollout.viewer_timeline import LabelledRollout

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def task(generated: GeneratedWorld) -> Task:
    return generated.tasks[0]


def env_of(world: GeneratedWorld, task: Task) -> VideoZoomEnv:
    return VideoZoomEnv([task], world.frames, max_steps=3, span_rules=SpanRules(max_length_s=8.0))


@pytest.fixture
def played(generated: GeneratedWorld, task: Task) -> PlayedEpisode:
    return PlayedEpisode(env_of(generated, task), task)


def picture(src: str) -> Any:
    return np.asarray(Image.open(BytesIO(base64.b64decode(src.split(",")[1]))).convert("RGB"))


def test_the_truth_is_told_at_the_end_and_not_before(played: PlayedEpisode, task: Task) -> None:
    told = json.dumps([played.state(), played.fast_view()])
    assert played.state()["truth"] is None
    assert str(list(task.evidence[0])) not in told
    assert "evidence" not in told
    assert task.task_id not in told
    played.answer(task.answer)
    truth = played.state()["truth"]
    assert (truth["is_right"], truth["answer"]) == (True, task.answer)
    assert truth["evidence"][0]["span_s"] == list(task.evidence[0])


def test_the_fast_view_is_sent_frame_by_frame(played: PlayedEpisode, generated: GeneratedWorld, task: Task) -> None:
    clip, sent = generated.frames.fast_view(task.video), played.fast_view()
    sheet = picture(sent["src"])
    assert sent["times_s"] == clip.times_s.tolist()
    for index, frame in enumerate(clip.frames):
        top, left = index // sent["columns"] * sent["height"], index % sent["columns"] * sent["width"]
        assert np.array_equal(sheet[top : top + sent["height"], left : left + sent["width"]], frame)


def test_a_zoom_brings_its_frames(played: PlayedEpisode, generated: GeneratedWorld, task: Task) -> None:
    played.zoom(Span(4.0, 8.0))
    state = played.state()
    [turn] = state["turns"]
    clip = generated.frames.slow_clip(task.video, Span(4.0, 8.0))
    assert (turn["step"], turn["span_s"], turn["problem"]) == (1, [4.0, 8.0], None)
    assert [frame["time_s"] for frame in turn["frames"]] == clip.times_s.tolist()
    assert np.array_equal(picture(turn["frames"][-1]["src"]), clip.frames[-1])
    assert (state["step"], state["can_zoom"], state["is_over"]) == (1, True, False)


@pytest.mark.parametrize(
    ("span", "problem"),
    [
        (Span(4.0, 8.0), None),
        (Span(0.0, 9.0), "it is too long"),
        (Span(4.0, 4.5), "it is too short"),
        (Span(28.0, 40.0), "it leaves the video"),
        (Span(float("nan"), 4.0), "that is no span"),
    ],
)
def test_a_span_is_judged_before_and_refused_as_it_is_for_a_model(
    played: PlayedEpisode, span: Span, problem: str | None
) -> None:
    assert played.problem(span) == problem
    assert played.state()["step"] == 0
    played.zoom(span)
    [turn] = played.state()["turns"]
    assert turn["problem"] == problem
    assert bool(turn["frames"]) == (problem is None)
    assert played.state()["step"] == 1


def test_a_repeated_zoom_is_refused(played: PlayedEpisode) -> None:
    played.zoom(Span(4.0, 8.0))
    assert played.problem(Span(4.0, 8.0)) == "it shows nearly the same as an earlier zoom"


def test_the_last_step_has_no_zoom(played: PlayedEpisode, task: Task) -> None:
    played.zoom(Span(4.0, 8.0))
    played.zoom(Span(12.0, 16.0))
    assert (played.state()["can_zoom"], played.state()["is_over"]) == (False, False)
    played.answer(task.answer)
    assert played.is_right


def test_the_trajectory_is_what_happened(played: PlayedEpisode, task: Task) -> None:
    played.zoom(task.evidence[0])
    wrong = next(letter for letter in task.letters if letter != task.answer)
    played.answer(wrong)
    trajectory = played.trajectory()
    assert (trajectory.answer, trajectory.spans_s, len(trajectory.steps)) == (wrong, task.evidence, 2)
    assert (trajectory.reward.total, trajectory.status) == (0.0, "answered")
    card = played.state()["truth"]["card"]
    assert "sees the evidence (IoU 1.00)" in card
    assert "reward 0.00" in card
    # A person says nothing.
    assert "<blockquote>" not in card


def test_others_stand_beside_at_the_end(generated: GeneratedWorld, task: Task, played: PlayedEpisode) -> None:
    played.answer(task.answer)
    model = LabelledRollout("decoupled GRPO", played.trajectory())
    beside = PlayedEpisode(env_of(generated, task), task, (model,))
    assert "decoupled GRPO" not in json.dumps(beside.state())
    beside.answer(task.answer)
    assert "decoupled GRPO" in beside.state()["truth"]["card"]


def test_a_video_that_cannot_be_read_ends_its_episode(generated: GeneratedWorld, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    task = Task("t", broken, 16.0, "Which?", ("a", "b"), "A", (Span(0.0, 4.0),))
    played = PlayedEpisode(env_of(generated, task), task)
    state = played.state()
    assert state["is_over"]
    assert "broken.mp4" in state["error"]
    assert played.fast_view()["times_s"] == []


def test_text_is_escaped(generated: GeneratedWorld, task: Task) -> None:
    hostile = Task("t", task.video, task.duration_s, HOSTILE, (HOSTILE, "b"), "B", task.evidence)
    played = PlayedEpisode(env_of(generated, hostile), hostile)
    played.answer("A")
    assert HOSTILE not in played.state()["truth"]["card"]
    assert "&lt;img" in played.state()["truth"]["card"]


@pytest.fixture
def game(generated: GeneratedWorld) -> Game:
    return Game(generated.tasks, lambda task: PlayedEpisode(env_of(generated, task), task))


def test_a_game_is_counted_once_for_each_question(game: Game, generated: GeneratedWorld) -> None:
    assert game.score() == "0 questions played, 0 right"
    first, second = generated.tasks[:2]
    wrong = next(letter for letter in first.letters if letter != first.answer)
    for position, letter in [(0, wrong), (0, first.answer), (1, second.answer)]:
        begun = game.call("start", {"position": position})
        state = game.call("answer", {"episode": begun["episode"], "letter": letter})
    assert (state["num_played"], state["num_right"], state["num_tasks"]) == (2, 1, 3)
    assert game.score() == "2 questions played, 1 right"


def test_episodes_of_two_pages_do_not_mix(game: Game) -> None:
    one, other = game.call("start", {"position": 0}), game.call("start", {"position": 1})
    game.call("zoom", {"episode": one["episode"], "start_s": 4, "end_s": 8})
    assert game.call("check", {"episode": other["episode"], "start_s": 4, "end_s": 8}) == {"problem": None}
    state = game.call("answer", {"episode": other["episode"], "letter": "A"})
    assert (state["position"], state["step"]) == (1, 1)


def test_episodes_of_pages_that_were_closed_are_forgotten(game: Game) -> None:
    first = game.call("start", {"position": 0})["episode"]
    for _ in range(8):
        game.call("start", {"position": 0})
    with pytest.raises(BadRequest, match="this episode is over; start another one"):
        game.call("answer", {"episode": first, "letter": "A"})


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("start", {}, "position must be from 0 to 2"),
        ("start", {"position": 3}, "position must be from 0 to 2"),
        ("start", {"position": -1}, "position must be from 0 to 2"),
        ("start", {"position": "0"}, "position must be from 0 to 2"),
        ("zoom", {"episode": "1"}, "start_s and end_s must be numbers of seconds"),
        ("zoom", {"episode": "1", "start_s": None, "end_s": 4}, "start_s and end_s must be numbers"),
        ("zoom", {"episode": "7", "start_s": 0, "end_s": 4}, "this episode is over"),
        ("zoom", {"episode": ["1"], "start_s": 0, "end_s": 4}, "this episode is over"),
        ("answer", {"episode": "1", "letter": "Z"}, "there is no such option"),
        ("answer", {"episode": "1", "letter": ["A"]}, "there is no such option"),
        ("answer", {"episode": "1"}, "there is no such option"),
        ("score", {}, "there is no score"),
        ("__init__", {}, "there is no __init__"),
    ],
)
def test_what_makes_no_sense_is_said(name: str, values: dict[str, Any], sentence: str, game: Game) -> None:
    game.call("start", {"position": 0})
    with pytest.raises(BadRequest, match=sentence):
        game.call(name, values)
    assert game.call("check", {"episode": "1", "start_s": 4, "end_s": 8}) == {"problem": None}


def test_an_episode_that_ended_stays_as_it_is(game: Game) -> None:
    game.call("start", {"position": 0})
    game.call("answer", {"episode": "1", "letter": "A"})
    with pytest.raises(BadRequest, match="this episode is over"):
        game.call("answer", {"episode": "1", "letter": "B"})
