"""`videozoom demo` end to end on a few generated videos: what it leaves behind, and that it repeats itself exactly."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from generated_world import smoke_config
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from videozoom.envs.tasks import Span, Task
from videozoom.experiments.build import build_tasks
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.demo import ROW_ORDER, run_demo, video_words
from videozoom.experiments.tracking import JsonlTracker
from videozoom.rollout.metrics import check_names
from videozoom.rollout.trace_rows import SCHEMA_VERSION
from videozoom.rollout.traces import read_traces

# Enough to write valid actions now and then, which the format reward tells from the others. The KL term trains on
# tokens without an advantage too, so that every iteration has some.
DEMO = (
    "seed=1",
    "cold_start.stages=[{name: cot, objectives: {cot: 1}, sources: {mixed: 1}, num_steps: 60, batch_size: 8}]",
    "cold_start.stages.0.lr=2e-2",
    "cold_start.stages.0.first_scene_bias=0.25",
    "rollout.group_size=4",
    "rollout.tasks_per_iteration=4",
    "rollout.max_new_tokens=32",
    "reward.format=1",
    "grpo.kl_coef=0.1",
    "demo.multi_step=true",
    "demo.notes=[A remark of mine.]",
)
# What depends on the clock, or on what is in a cache already.
CLOCKS = ("time/", "perf/", "progress/cpu_s", "video/")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless_metrics(run_dir: Path) -> list[dict[str, Any]]:
    rows = lines(run_dir / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith(CLOCKS)} for row in rows]


def timeless_rows(run_dir: Path) -> list[dict[str, Any]]:
    rows = json.loads((run_dir / "results.json").read_text())["rows"]
    return [{name: value for name, value in row.items() if name != "cpu_seconds_training"} for row in rows]


@pytest.fixture(scope="module")
def config(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return smoke_config(videos, tmp_path_factory.mktemp("runs") / "demo", *DEMO)


@pytest.fixture(scope="module")
def run_dir(config: Config) -> Path:
    returned = run_demo(config)
    assert json.loads((config.run_dir / "results.json").read_text()) == returned
    return config.run_dir


def test_results_keep_their_contract(run_dir: Path) -> None:
    results = json.loads((run_dir / "results.json").read_text())
    policies = ["never", "uniform", "random", "cold_start", "multi_step_grpo", "decoupled_grpo", "oracle"]
    assert [row["policy"] for row in results["rows"]] == policies == list(ROW_ORDER)
    for row in results["rows"]:
        assert 0.0 <= row["accuracy_ci95"][0] <= row["accuracy"] <= row["accuracy_ci95"][1] <= 1.0
        assert 0.0 <= row["zoom_hit_rate"] <= 1.0
        assert 1.0 <= row["num_steps_mean"] <= 3.0
        assert row["num_tasks"] == 3
    assert results["seed"] == 1
    assert 0.1 < results["peak_memory_gib"] < 64.0
    assert results["seconds"] > 0.0


def test_training_cost_is_told_of_what_was_trained(run_dir: Path) -> None:
    rows = {row["policy"]: row for row in json.loads((run_dir / "results.json").read_text())["rows"]}
    assert {name for name, row in rows.items() if "cpu_seconds_training" in row} == {
        "cold_start",
        "multi_step_grpo",
        "decoupled_grpo",
    }


def test_rules_look_where_they_say(run_dir: Path) -> None:
    rows = {row["policy"]: row for row in timeless_rows(run_dir)}
    assert (rows["oracle"]["zoom_hit_rate"], rows["oracle"]["iou_mean"]) == (1.0, 1.0)
    assert (rows["never"]["zoom_hit_rate"], rows["never"]["num_steps_mean"]) == (0.0, 1.0)
    assert rows["uniform"]["span_s_mean"] == 64.0
    assert rows["random"]["span_s_mean"] == rows["oracle"]["span_s_mean"] == 4.0


def test_metrics_are_registered_and_hold_every_phase(run_dir: Path, config: Config) -> None:
    rows = lines(run_dir / "metrics.jsonl")
    stages = [stage.name for stage in config.cold_start.stages]
    assert list(dict.fromkeys(row["phase"] for row in rows)) == [*stages, "multi_step_grpo", "decoupled_grpo"]
    for row in rows:
        check_names(name for name in row if name != "phase")
        if row["phase"] not in stages:
            assert {"reward/total/mean", "eval/held_out/accuracy", "loss/total"} <= set(row)


def test_sampler_and_learner_agree_in_every_iteration(run_dir: Path) -> None:
    trained = [row for row in lines(run_dir / "metrics.jsonl") if row["phase"].endswith("_grpo")]
    assert len(trained) == 4
    assert all(row["loss/trained_tokens/sum"] > 50 for row in trained)
    assert all(row["policy/sampler_logprob_gap/max"] < 1e-5 for row in trained)


def test_traces_hold_every_episode(run_dir: Path, config: Config) -> None:
    traces = list(read_traces(run_dir / "traces.jsonl"))
    assert all(next(iter(row)) == "schema_version" and row["schema_version"] == SCHEMA_VERSION for row in traces)
    counts = {
        (phase, policy): sum((row["phase"], row["policy"]) == (phase, policy) for row in traces)
        for phase, policy in {(row["phase"], row["policy"]) for row in traces}
    }
    sampled = config.grpo.num_iterations * config.rollout.tasks_per_iteration * config.rollout.group_size
    assert counts == {
        ("train", "multi_step_grpo"): sampled,
        ("train", "decoupled_grpo"): sampled,
        ("eval", "multi_step_grpo"): 2 * 3,
        ("eval", "decoupled_grpo"): 2 * 3,
        **{("eval", name): 3 for name in ("cold_start", "never", "uniform", "random", "oracle")},
    }
    kinds = {row["kind"] for row in traces if row["policy"] == "multi_step_grpo"}
    assert kinds == {"multi_step"}


def test_checkpoints_are_ordinary_model_folders(run_dir: Path) -> None:
    for name in ("cold_start", "multi_step_grpo/iteration_000002", "decoupled_grpo/iteration_000002"):
        folder = run_dir / "checkpoints" / name
        _, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert AutoTokenizer.from_pretrained(folder).chat_template


def test_the_report_needs_no_other_file(run_dir: Path) -> None:
    page = (run_dir / "report.html").read_text()
    assert "A remark of mine." in page
    assert not [word for word in ('src="http', "src='http", "<link", "@import") if word in page]


def test_notes_say_what_the_videos_are_like(run_dir: Path, config: Config) -> None:
    notes = json.loads((run_dir / "results.json").read_text())["notes"]
    assert notes[0] == "3 held-out questions; evidence lasts 4 s, and guessing is right in 25 %."
    tasks = build_tasks(config.data.cold_start["mixed"], config.data.videos)
    assert f"The cold start learned from mixed: {video_words(tasks)}." in notes
    [planted] = [note for note in notes if "planted" in note]
    assert "in stage cot of the cold start, 25 % of the first zooms go to the video's first scene" in planted
    assert notes[-1] == "A remark of mine."


def test_videos_in_words() -> None:
    plain = [Task(name, Path("v.mp4"), length_s, "?", ("a", "b"), "A") for name, length_s in (("a", 8.0), ("b", 9.5))]
    assert video_words(plain) == "2 questions on videos of 8 to 9.5 s"
    event = {"start_s": 0.0, "end_s": 4.0, "cue": "red", "sign": "bars", "is_decoy": False}
    events = {"events": [event, {**event, "is_decoy": True}]}
    told = Task("c", Path("v.mp4"), 8.0, "?", ("a", "b"), "A", (Span(0.0, 4.0),), events)
    assert video_words([told]) == "1 question on videos of 8 s with 1 scenes, blank look-alikes in 100 %"


def test_the_saved_configuration_runs_again_to_the_same_numbers(run_dir: Path, config: Config, tmp_path: Path) -> None:
    assert load_config(run_dir / "config.yaml") == config
    run_demo(load_config(run_dir / "config.yaml", [f"run_dir={tmp_path / 'again'}"]))
    assert timeless_rows(tmp_path / "again") == timeless_rows(run_dir)
    assert timeless_metrics(tmp_path / "again") == timeless_metrics(run_dir)
    assert lines(tmp_path / "again" / "traces.jsonl") == lines(run_dir / "traces.jsonl")


def test_a_demo_that_was_interrupted_twice_ends_like_one_that_was_not(
    run_dir: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = JsonlTracker.log
    due = [("cot", 30), ("decoupled_grpo", 1)]

    def log_and_press(tracker: JsonlTracker, metrics: dict[str, float], iteration: int, phase: str) -> None:
        log(tracker, metrics, iteration, phase)
        if due and (phase, iteration) == due[0]:
            due.pop(0)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(JsonlTracker, "log", log_and_press)
    config = config.model_copy(update={"run_dir": tmp_path / "run"})
    with pytest.raises(KeyboardInterrupt):
        run_demo(config)
    with pytest.raises(KeyboardInterrupt):
        run_demo(config, resume=config.run_dir)
    results = run_demo(config, resume=config.run_dir)
    assert results["notes"][-1].startswith("This run was interrupted")
    assert timeless_rows(config.run_dir) == timeless_rows(run_dir)
    assert timeless_metrics(config.run_dir) == timeless_metrics(run_dir)
    assert lines(config.run_dir / "traces.jsonl") == lines(run_dir / "traces.jsonl")


def test_another_seed_gives_other_numbers(run_dir: Path, tmp_path: Path) -> None:
    """Control: the test above sees a difference."""
    overrides = [f"run_dir={tmp_path / 'other'}", "seed=2", "demo.multi_step=false"]
    run_demo(load_config(run_dir / "config.yaml", overrides))
    ours, others = (
        [row for row in timeless_metrics(folder) if row["phase"] != "multi_step_grpo"]
        for folder in (run_dir, tmp_path / "other")
    )
    assert [row["phase"] for row in ours] == [row["phase"] for row in others]
    assert not any(mine == other for mine, other in zip(ours, others, strict=True))


@pytest.mark.parametrize(
    ("pressed_at", "checkpoint", "num_episodes"),
    [
        (("cot", 4), "cold_start_unfinished/iteration_000004", 0),
        (("decoupled_grpo", 1), "decoupled_grpo/iteration_000001", 4 * 4),
    ],
)
def test_ctrl_c_leaves_a_checkpoint_and_whole_traces(
    pressed_at: tuple[str, int],
    checkpoint: str,
    num_episodes: int,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = JsonlTracker.log

    def log_and_press(tracker: JsonlTracker, metrics: dict[str, float], iteration: int, phase: str) -> None:
        log(tracker, metrics, iteration, phase)
        if (phase, iteration) == pressed_at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(JsonlTracker, "log", log_and_press)
    few = [f"{name}=4" for name in ("cold_start.stages.0.num_steps", "cold_start.stages.0.batch_size")]
    overrides = [*DEMO, *few, "demo.multi_step=false"]
    with pytest.raises(KeyboardInterrupt):
        run_demo(smoke_config(config.data.videos, tmp_path / "run", *overrides))
    Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "run" / "checkpoints" / checkpoint)
    traces = list(read_traces(tmp_path / "run" / "traces.jsonl"))
    assert sum(row["phase"] == "train" for row in traces) == num_episodes
    assert not (tmp_path / "run" / "results.json").exists()
