"""VideoZoomer from its configuration: episodes, cold-start samples, evaluation, training and parity, all short."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from generated_world import TINY, GeneratedWorld, text_of
from parity_check import assert_parity_over_five_rounds

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.generated.narration import describe, events_of, locate, span_of
from videozoom.envs.messages import Role, SampledPart
from videozoom.envs.protocols.videozoomer import VideoZoomerProtocol
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.experiments.build import build_env_maker, build_frames, build_protocol
from videozoom.experiments.cold_start_transcripts import TranscriptData
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.evaluate import run_eval
from videozoom.experiments.train import run_train
from videozoom.policies.base import Completion, Request
from videozoom.rollout.runner import EpisodeSpec, run_episodes
from videozoom.rollout.traces import read_traces
from videozoom.rollout.types import Trajectory

SHORT = (
    *TINY,
    *(f"cold_start.stages.{index}.{name}" for index in range(3) for name in ("num_steps=2", "batch_size=2")),
    # As published; the small configuration has one video with drawn times.
    *("protocol.frames=images", "protocol.timestamps=false"),
    *("rollout.group_size=2", "rollout.tasks_per_iteration=1", "grpo.num_iterations=1", "grpo.eval_every=0"),
)


def config(videos: Path, run_dir: Path, *overrides: str) -> Config:
    places = [f"data.videos={videos}", f"video.cache={videos / 'cache'}", f"run_dir={run_dir}"]
    return load_config("videozoomer", [*SHORT, *places, *overrides])


class Says:
    """Says texts in order, one per round."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.prompts: list[str] = []

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        self.prompts += [text_of(request.prompt) for request in requests]
        return [Completion(self.texts[request.observation["step"]]) for request in requests]


def zoom(segment: str, fps: str) -> str:
    return f'<think>I look.</think><video_zoom> {{"segment": {segment}, "fps": {fps}}} </video_zoom>'


def episode(videos: Path, task: Task, *texts: str) -> tuple[Trajectory, list[str]]:
    """Return the episode of an agent that says `texts`, and what it was shown each time: the published wording."""
    settings = config(videos, videos / "run", "protocol.prompts=videozoomer")
    policy = Says(*texts)
    [trajectory] = run_episodes(
        [EpisodeSpec(task, EpisodeKind.MULTI_STEP, 0, (1,), settings.env.max_steps)],
        make_env=build_env_maker(settings, (task,), build_frames(settings)),
        protocol=build_protocol(settings),
        policy=policy,
    )
    return trajectory, policy.prompts


def test_an_episode_of_mistakes_is_told_each_of_them_and_may_still_be_right(
    generated: GeneratedWorld, videos: Path
) -> None:
    [task, *_] = generated.tasks  # 32 s
    answer = f"<think>I see.</think><answer>{task.answer}</answer>"
    texts = [zoom("[8, 4]", "2"), zoom("[4, 12]", "3"), zoom("[40, 44]", "2"), zoom("[4, 8]", "1"), answer]
    trajectory, prompts = episode(videos, task, *texts)
    assert [step.action for step in trajectory.steps] == [
        Malformed("reversed"),
        Malformed("too_many_frames"),
        Malformed("out_of_bounds"),
        ZoomIn(Span(4.0, 8.0), 1.0),
        Answer(task.answer),
    ]
    assert "ends (4 s) before it starts (8 s)" in prompts[1]
    assert "would be 24 frames, and at most 16" in prompts[2]
    assert "from 40 s to 44 s is not inside the video, which goes from 0 s to 32 s" in prompts[3]
    assert prompts[4].count("<frame0_time4.00s>") == 1
    assert "last round" in prompts[4] and "last round" not in prompts[3]  # noqa: PT018
    for earlier, later in pairwise(prompts):
        assert later.startswith(earlier)
    assert (trajectory.status, trajectory.reward.parts["format"]) == (Status.ANSWERED, 0.0)
    assert trajectory.reward.total == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("texts", "status", "reward"),
    [
        (["<think>I see.</think><answer>{right}</answer>"], Status.ANSWERED, 1.0),
        ([zoom("[4, 8]", "1"), "<think>I see.</think><answer>{right}</answer>"], Status.ANSWERED, 1.0),
        ([zoom("[4, 8]", "1"), "<answer>({right})</answer>"], Status.ANSWERED, 0.9),
        (["<think>I see.</think><answer>{wrong}</answer>"], Status.ANSWERED, 0.1),
        (["<answer>{wrong}</answer>"], Status.ANSWERED, 0.0),
        (["{right}.", "{right}.", "{right}.", "{right}.", "{right}."], Status.MALFORMED, 0.0),
        ([zoom("[4, 8]", "1")] * 5, Status.MALFORMED, 0.0),  # a zoom in the last round
        ([zoom("[4, 8]", "0.1")] * 4 + ["<think></think><answer>{right}</answer>"], Status.ANSWERED, 0.9),  # no frames
    ],
)
def test_episodes_are_worth_what_was_published(
    generated: GeneratedWorld, videos: Path, texts: list[str], status: Status, reward: float
) -> None:
    [task, *_] = generated.tasks
    wrong = next(letter for letter in task.letters if letter != task.answer)
    said = [text.replace("{right}", task.answer).replace("{wrong}", wrong) for text in texts]
    trajectory, _ = episode(videos, task, *said)
    assert trajectory.status == status
    assert not trajectory.is_masked
    assert trajectory.reward.total == pytest.approx(reward)


def transcript_data(generated: GeneratedWorld, videos: Path, tasks: Sequence[Task]) -> TranscriptData:
    settings = config(videos, videos / "run")
    protocol = build_protocol(settings)
    assert isinstance(protocol, VideoZoomerProtocol)
    return TranscriptData(tasks, build_frames(settings), protocol)


def test_rounds_of_the_annotator_are_read_as_actions_and_follow_what_was_said(
    generated: GeneratedWorld, videos: Path
) -> None:
    data = transcript_data(generated, videos, generated.pairs)
    known = {(span_of(event), locate(event)) for task in generated.pairs for event in events_of(task)}
    seen: Counter[tuple[int, str]] = Counter()
    for index in range(80):
        sample = data.cot(np.random.default_rng(index))
        [_, question, *rounds] = sample.prompt.messages
        spoken, replies = rounds[::2], rounds[1::2]
        assert [message.role for message in (question, *rounds)] == [Role.USER, Role.ASSISTANT] * len(spoken) + [
            Role.USER
        ]
        observation = {
            "question_kind": 0,
            "options": ("a", "b", "c", "d"),
            "step": 0,
            "max_steps": 9,
            "episode_kind": 0,
        }
        for said, reply in zip(spoken, replies, strict=True):
            [part] = said.content
            assert isinstance(part, SampledPart)
            action = data.protocol.parse(part.text, observation)  # type: ignore[arg-type]
            assert isinstance(action, ZoomIn)
            assert (action.span_s, part.text.split("<think>")[1].split("</think>")[0]) in known
            assert action.fps == 1.0
            assert sum(not hasattr(it, "text") for it in reply.content) == 4  # frames of 4 s
        action = data.protocol.parse(sample.completion, observation)  # type: ignore[arg-type]
        assert isinstance(action, ZoomIn | Answer)
        assert action.is_well_formed
        seen[len(spoken), type(action).__name__] += 1
    assert set(seen) == {(0, "ZoomIn"), (1, "ZoomIn"), (2, "ZoomIn"), (2, "Answer")}


def test_the_annotator_guesses_when_it_is_told_that_it_is_the_last_round(
    generated: GeneratedWorld, videos: Path
) -> None:
    data = transcript_data(generated, videos, generated.tasks)
    for index in range(10):
        sample = data.guess(np.random.default_rng(index))
        assert text_of(sample.prompt).endswith("Answer now.")
        assert "<answer>" in sample.completion


def test_what_is_learned_of_reading_alone_says_nothing_of_zooming(generated: GeneratedWorld, videos: Path) -> None:
    data = transcript_data(generated, videos, generated.tasks)
    for index in range(20):
        reading, grounding = data.reading(np.random.default_rng(index)), data.grounding(np.random.default_rng(index))
        for sample in (reading, grounding):
            assert "Zoom or answer" not in text_of(sample.prompt)
            assert "<video_zoom>" not in sample.completion
    sentences = {describe(event) for task in generated.tasks for event in events_of(task)}
    assert any(data.grounding(np.random.default_rng(index)).completion in sentences for index in range(40))


def test_rules_zoom_at_a_rate_of_sixteen_frames_at_most(videos: Path, tmp_path: Path) -> None:
    results = run_eval(config(videos, tmp_path / "run"))
    rows = {row["policy"]: row for row in results["rows"]}
    assert list(rows) == ["never", "uniform", "random", "oracle"]
    assert (rows["oracle"]["accuracy"], rows["oracle"]["zoom_hit_rate"], rows["never"]["zoom_hit_rate"]) == (
        1.0,
        1.0,
        0.0,
    )
    steps = [step for row in read_traces(tmp_path / "run" / "traces.jsonl") for step in row["steps"]]
    zooms = [step["action"] for step in steps if step["action"]["type"] == "zoom_in"]
    assert len(zooms) == 9
    assert all(1 <= it["fps"] * (it["span_s"][1] - it["span_s"][0]) <= 16 for it in zooms)


def test_a_tiny_model_trains(videos: Path, tmp_path: Path) -> None:
    run_train(config(videos, tmp_path / "run"))
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [row["policy"] for row in rows] == ["cold_start", "multi_step_grpo"]
    trained = [row for row in read_traces(tmp_path / "run" / "traces.jsonl") if row["phase"] == "train"]
    assert len(trained) == 2
    assert {row["sampling"]["stop"][0] for row in trained} == {"</video_zoom>"}
    # Every round begins from a longer transcript.
    for row in trained:
        lengths = [step["num_prompt_tokens"] for step in row["steps"]]
        assert lengths == sorted(set(lengths))


def test_what_is_trained_is_what_was_sampled_over_five_rounds(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_parity_over_five_rounds(config(videos, tmp_path / "run"), capsys)
