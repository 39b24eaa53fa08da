"""LongVideo-R1 from its configuration: evaluation, training and parity, all short; captions by models and the truth."""

import json
import pickle
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from generated_world import GeneratedWorld
from parity_check import assert_parity_over_five_rounds

from videozoom.envs.captions.sources import Segment
from videozoom.envs.captions.tree import Level
from videozoom.envs.tasks import Span, Task
from videozoom.experiments.build import build_env_maker, build_frames, check_config
from videozoom.experiments.build_captions import PolicyOnUse, build_captioner, build_video_qa
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.evaluate import run_eval
from videozoom.experiments.play import run_play
from videozoom.experiments.train import run_train
from videozoom.policies.base import Completion, Request
from videozoom.policies.qwen_checkpoint import CheckpointError
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.tiny import TinySize, build_tiny
from videozoom.rollout.traces import read_traces

SHORT = (
    *(f"data.{part}.generated.num_videos=3" for part in ("train", "eval", "cold_start.mixed")),
    *("policy.tiny.hidden_size=32", "policy.tiny.num_layers=1", "eval.num_tasks=3", "eval.max_new_tokens=8"),
    *("rollout.max_new_tokens=8", "rollout.group_size=2", "rollout.tasks_per_iteration=1"),
    *(f"cold_start.stages.{stage}.{dial}" for stage in (0, 1) for dial in ("num_steps=2", "batch_size=4")),
    *("grpo.num_iterations=1", "grpo.eval_every=0"),
)


def config(videos: Path, run_dir: Path, *overrides: str) -> Config:
    places = [f"data.videos={videos}", f"video.cache={videos / 'cache'}", f"captions.cache={run_dir}-captions"]
    return load_config("longvideo_r1", [*SHORT, *places, f"run_dir={run_dir}", *overrides])


def test_rules_read_captions_and_the_oracle_is_always_right(videos: Path, tmp_path: Path) -> None:
    results = run_eval(config(videos, tmp_path / "run", "eval.policies=[never,random,uniform,oracle]"))
    rows = {row["policy"]: row for row in results["rows"]}
    assert [rows[name]["num_steps_mean"] for name in ("never", "random", "uniform", "oracle")] == [1, 2, 5, 2]
    assert (rows["oracle"]["accuracy"], rows["oracle"]["reward_mean"], rows["oracle"]["zoom_hit_rate"]) == (1, 2, 1)
    assert rows["never"]["zoom_hit_rate"] == 0
    [first, *_] = [row for row in read_traces(tmp_path / "run" / "traces.jsonl") if row["policy"] == "oracle"]
    assert first["steps"][0]["action"]["type"] == "get_caption"
    assert first["spans_s"] == first["task"]["evidence"]
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_tiny_model_trains(videos: Path, tmp_path: Path) -> None:
    run_train(config(videos, tmp_path / "run"))
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [row["policy"] for row in rows] == ["cold_start", "multi_step_grpo"]
    trained = [row for row in read_traces(tmp_path / "run" / "traces.jsonl") if row["phase"] == "train"]
    for row in trained:
        # A transcript only grows.
        assert all(a < b for a, b in pairwise(step["num_prompt_tokens"] for step in row["steps"]))
        assert {step["num_visual_tokens"] for step in row["steps"]} == {0}
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"reward/evidence_f1/mean", "reward/repeat/mean"} <= {name for row in metrics for name in row}


def test_what_is_trained_is_what_was_sampled_over_all_rounds(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_parity_over_five_rounds(config(videos, tmp_path / "run"), capsys)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = TinySize(hidden_size=32, num_layers=1, num_heads=2, num_kv_heads=1, intermediate_size=32)
    return build_tiny(tmp_path_factory.mktemp("seer"), ["A red scene. A blue scene."] * 2, size=size)


def test_a_vision_model_writes_captions_and_answers_once(
    generated: GeneratedWorld, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seer = f"{{kind: qwen_vl, checkpoint: {checkpoint}, max_new_tokens: 4}}"
    shown = [f"captions.{part}={{frames: 4, tokens: 4}}" for part in ("high", "medium", "low", "question")]
    settings = [f"captions.captioner={seer}", f"captions.video_qa={seer}", "captions.fps=1", *shown]
    made = config(tmp_path, tmp_path / "run", *settings)
    video = generated.tasks[0].video
    segments = [Segment(Span(0.0, 16.0), Level.HIGH), Segment(Span(4.0, 8.0), Level.LOW)]
    captioner, video_qa = build_captioner(made, generated.tasks), build_video_qa(made, generated.tasks)
    assert video_qa is not None
    read_and_write = QwenVLPolicy.act

    def named(policy: QwenVLPolicy, requests: Sequence[Request]) -> list[Completion]:
        # An untrained model writes line breaks.
        assert all(it.num_visual_tokens > 0 for it in read_and_write(policy, requests))
        return [Completion(f"clip {number}") for number in range(len(requests))]

    monkeypatch.setattr(QwenVLPolicy, "act", named)
    captions = captioner.captions(video, segments)
    assert captions == ["clip 0", "clip 1"]
    assert video_qa.answer(video, Span(4.0, 8.0), "Which sign?") == "clip 0"

    def never(*_: object) -> list[Completion]:
        raise AssertionError("it is on the disk")

    monkeypatch.setattr(QwenVLPolicy, "act", never)
    again = pickle.loads(pickle.dumps(build_captioner(made, generated.tasks)))
    assert again.captions(video, segments) == captions
    with pytest.raises(AssertionError, match="on the disk"):
        build_captioner(config(tmp_path, tmp_path / "run", *settings, "captions.fps=2"), ()).captions(video, segments)


def test_a_chat_server_is_reached_when_it_is_needed(tmp_path: Path) -> None:
    seer = "{kind: endpoint, endpoint: {base_url: 'http://127.0.0.1:9/v1', model: m}}"
    made = config(tmp_path, tmp_path / "run", f"captions.captioner={seer}", f"captions.video_qa={seer}")
    captioner, video_qa = build_captioner(made, ()), build_video_qa(made, ())
    assert video_qa is not None
    assert captioner.fingerprint != video_qa.fingerprint
    moved = seer.replace(":9/", ":10/")
    assert build_captioner(config(tmp_path, tmp_path / "run", f"captions.captioner={moved}"), ()).fingerprint == (
        captioner.fingerprint
    )


@pytest.mark.parametrize(
    ("seer", "sentence"),
    [
        ("{kind: qwen_vl, checkpoint: nowhere}", "no checkpoint at nowhere"),
        ("{kind: endpoint, endpoint: {base_url: 'http://127.0.0.1:9', model: m, api_key_env: NO_KEY}}", "NO_KEY"),
        ("{kind: endpoint, endpoint: {base_url: 'http://127.0.0.1:9', model: m}, prompts: mine}", "prompts is 'mine'"),
    ],
)
@pytest.mark.parametrize("who", ["captioner", "video_qa"])
def test_what_a_model_of_captions_lacks_is_told_before_anything_is_made(
    who: str, seer: str, sentence: str, tmp_path: Path
) -> None:
    made = config(tmp_path, tmp_path / "run", f"captions.{who}={seer}")
    with pytest.raises((UserError, CheckpointError), match=sentence):
        check_config(made)
    check_config(config(tmp_path, tmp_path / "run"))


def test_a_policy_is_made_when_it_acts_and_once() -> None:
    made = []

    class Silent:
        def act(self, requests: object) -> list[Completion]:
            return []

    def make() -> Silent:
        made.append(1)
        return Silent()

    policy = PolicyOnUse(make)
    assert made == []
    assert policy.act([]) == policy.act([]) == []
    assert made == [1]


def test_the_truth_is_known_of_generated_videos_only(tmp_path: Path, videos: Path) -> None:
    mine = Task("mine", Path("v.mp4"), 90.0, "Who knocks?", ("a baker", "a fox"), "A")
    made = config(videos, tmp_path / "run")
    with pytest.raises(UserError, match=r"'mine' has no events .*set captions\.captioner\.kind"):
        build_env_maker(made, (mine,), build_frames(made))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("env.kind=video_zoom", "protocol.name is longvideo_r1, which needs env.kind=caption_tree"),
        ("captions.captioner.kind=qwen_vl", "there is no checkpoint"),
        ("captions.captioner.kind=endpoint", "there are no settings of one"),
        ("captions.most_width=2", "least and most are 4 and 2"),
    ],
)
def test_settings_that_do_not_fit_are_told(override: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        config(tmp_path, tmp_path / "run", override)


def test_captions_are_not_played_and_nothing_is_rendered_to_find_out(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"agents of env\.kind=caption_tree read captions"):
        run_play(config(videos, tmp_path / "run", f"data.videos={tmp_path / 'none'}"))
    assert not (tmp_path / "none").exists()
