"""Evaluation on real generated videos: scripted rules by hand, broken files, and going on where it stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from generated_world import GeneratedWorld, smoke_config
from tensorboard_events import events

from videozoom.envs.task_files import save_tasks
from videozoom.envs.tasks import Span, Task
from videozoom.experiments.build import build_env_maker, build_policy, build_tasks
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.contestants import Contestant, scripted_contestant
from videozoom.experiments.errors import UserError
from videozoom.experiments.evaluate import Evaluator, finished_episodes, run_eval
from videozoom.experiments.run_folder import RunFolder
from videozoom.policies.base import Completion, Request
from videozoom.policies.scripted import ScriptedPolicy, ZoomRule
from videozoom.rollout.traces import TraceWriter, read_traces

RULES = ("never", "uniform", "random", "oracle")


@pytest.fixture
def task_file(generated: GeneratedWorld, tmp_path: Path) -> Path:
    save_tasks(generated.tasks, tmp_path / "tasks.jsonl")
    return tmp_path / "tasks.jsonl"


def rules_config(task_file: Path, run_dir: Path, *overrides: str) -> Config:
    source = ["data.eval.generated=null", f"data.eval.tasks={task_file}"]
    rules = f"eval.policies=[{','.join(RULES)}]"
    places = [f"run_dir={run_dir}", f"video.cache={task_file.parent / 'cache'}"]
    return load_config("smoke", [*source, rules, *places, "eval.batch_size=2", *overrides])


def rows_by_policy(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["policy"]: row for row in results["rows"]}


class Counting:
    """Lets another policy act and counts its requests; stops after some, as Ctrl-C would."""

    def __init__(self, policy: ScriptedPolicy, stop_after: int | None = None) -> None:
        self.policy, self.stop_after = policy, stop_after
        self.task_ids: list[str] = []

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        if self.stop_after is not None and len(self.task_ids) >= self.stop_after:
            raise KeyboardInterrupt
        self.task_ids += [request.task.task_id for request in requests]
        return self.policy.act(requests)


def test_rules_without_a_model_by_hand(generated: GeneratedWorld, task_file: Path, tmp_path: Path) -> None:
    rows = rows_by_policy(run_eval(rules_config(task_file, tmp_path / "run")))
    assert list(rows) == list(RULES)
    oracle, never, uniform, random = (rows[name] for name in ("oracle", "never", "uniform", "random"))
    assert (oracle["accuracy"], oracle["zoom_hit_rate"], oracle["iou_mean"]) == (1.0, 1.0, 1.0)
    assert (oracle["num_steps_mean"], oracle["span_s_mean"], oracle["num_tasks"]) == (2.0, 4.0, 3)
    assert (never["zoom_hit_rate"], never["num_steps_mean"], never["span_s_mean"]) == (0.0, 1.0, None)
    # The whole video of 32 s holds the evidence of 4 s.
    assert (uniform["zoom_hit_rate"], uniform["span_s_mean"], uniform["iou_mean"]) == (1.0, 32.0, 0.125)
    assert (random["span_s_mean"], random["num_steps_mean"]) == (4.0, 2.0)
    assert all(row["num_errors"] == 0 and row["unparsed_rate"] == 0.0 for row in rows.values())


def zooms(run_dir: Path) -> list[Any]:
    return [row["spans_s"] for row in read_traces(run_dir / "traces.jsonl")]


def test_the_run_folder_holds_what_was_returned_and_can_be_run_again(task_file: Path, tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    results = run_eval(rules_config(task_file, first))
    assert json.loads((first / "results.json").read_text()) == results
    assert (first / "report.html").stat().st_size > 1000
    assert run_eval(load_config(first / "config.yaml", [f"run_dir={again}"])) == results
    assert zooms(again) == zooms(first)
    # Control: chance follows the seed.
    run_eval(load_config(first / "config.yaml", [f"run_dir={other}", "seed=5"]))
    assert zooms(other) != zooms(first)


def test_trackers_get_what_was_measured_and_a_few_rollouts(task_file: Path, tmp_path: Path) -> None:
    run_eval(rules_config(task_file, tmp_path / "run", "tracking.tensorboard=true"))
    found = [value for _, value in events(tmp_path / "run" / "tensorboard")]
    accuracy = {it.tag: it.simple_value for it in found if it.tag.endswith("/accuracy")}
    assert set(accuracy) == {f"{rule}/eval/held_out/accuracy" for rule in RULES}
    assert accuracy["oracle/eval/held_out/accuracy"] == 1.0
    pictures = {it.tag.rpartition("/")[0] for it in found if it.image.encoded_image_string}
    assert pictures == {f"{rule}/rollouts/eval" for rule in RULES}
    # What `results.json` holds already is in no second file.
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_missing_video_is_counted_and_left_out(generated: GeneratedWorld, task_file: Path, tmp_path: Path) -> None:
    [gone, *rest] = generated.tasks
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(gone.video.read_bytes())
    moved = Task("moved", copy, gone.duration_s, gone.question, gone.options, gone.answer, gone.evidence)
    save_tasks([moved, *rest], task_file)
    config = rules_config(task_file, tmp_path / "run")
    tasks = build_tasks(config.data.eval, tmp_path)
    copy.unlink()
    contestant = scripted_contestant(config, ZoomRule.ORACLE, tasks, generated.frames, None)
    with TraceWriter(tmp_path / "traces.jsonl") as traces:
        row = Evaluator(tasks, generated.protocol, traces, batch_size=2).run(contestant)
    assert (row["num_tasks"], row["num_errors"], row["accuracy"]) == (2, 1, 1.0)
    traces = {row["task_id"]: row for row in read_traces(tmp_path / "traces.jsonl")}
    assert traces["moved"]["status"] == "error_decode"
    assert "copy.mp4" in traces["moved"]["error"]


def counted(
    world: GeneratedWorld, run: RunFolder, config: Config, *, stop_after: int | None = None, seed: int = 0
) -> tuple[list[str], dict[str, Any] | None]:
    """Evaluate the random rule and return which tasks acted, and the row unless it was stopped."""
    policy = Counting(ScriptedPolicy(ZoomRule.RANDOM, world.protocol, random_length_s=4.0), stop_after)
    contestant = Contestant("mine", policy, build_env_maker(config, world.tasks, world.frames), lambda _: 2)
    row = None
    with TraceWriter(run.traces_file) as traces:
        evaluator = Evaluator(world.tasks, world.protocol, traces, 1, seed, finished_episodes(run))
        try:
            row = evaluator.run(contestant)
        except KeyboardInterrupt:
            assert stop_after is not None
    return policy.task_ids, row


def test_finished_tasks_are_not_run_again(generated: GeneratedWorld, task_file: Path, tmp_path: Path) -> None:
    config = rules_config(task_file, tmp_path / "run")
    first, second, third = (task.task_id for task in generated.tasks)
    whole, row = counted(generated, RunFolder(tmp_path / "whole"), config)
    assert whole == [first] * 2 + [second] * 2 + [third] * 2
    stopped, nothing = counted(generated, RunFolder(tmp_path / "run"), config, stop_after=3)
    # The second episode had made one of its two steps.
    assert (stopped, nothing) == ([first, first, second], None)
    resumed, row_again = counted(generated, RunFolder(tmp_path / "run"), config)
    assert resumed == [second] * 2 + [third] * 2
    assert row_again == row
    assert list(read_traces(tmp_path / "run" / "traces.jsonl")) == list(
        read_traces(tmp_path / "whole" / "traces.jsonl")
    )
    assert counted(generated, RunFolder(tmp_path / "run"), config) == ([], row)


def test_episodes_of_another_seed_do_not_count(generated: GeneratedWorld, task_file: Path, tmp_path: Path) -> None:
    config = rules_config(task_file, tmp_path / "run")
    counted(generated, RunFolder(tmp_path / "run"), config)
    acted, _ = counted(generated, RunFolder(tmp_path / "run"), config, seed=1)
    assert len(acted) == 6


def test_an_evaluation_goes_on_in_its_folder(task_file: Path, tmp_path: Path) -> None:
    config = rules_config(task_file, tmp_path / "run")
    results = run_eval(config)
    traces = (tmp_path / "run" / "traces.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "traces.jsonl").write_text("".join(traces[:4]) + traces[4][:50])
    (tmp_path / "run" / "results.json").unlink()
    assert run_eval(config, resume=True) == results
    assert (tmp_path / "run" / "traces.jsonl").read_text().splitlines(keepends=True) == traces
    # More rules may join, and the folder's configuration says so.
    fewer = rules_config(task_file, tmp_path / "run", "eval.policies=[oracle]")
    assert [row["policy"] for row in run_eval(fewer, resume=True)["rows"]] == ["oracle"]
    assert load_config(tmp_path / "run" / "config.yaml").eval.policies == ("oracle",)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("seed=5", "was evaluated with seed=0, not 5"),
        ("video.slow_max_frames=2", r"was evaluated with video\.slow_max_frames=4, not 2"),
        ("env.span_rules.max_length_s=9", r"was evaluated with env\.span_rules\.max_length_s=16\.0, not 9\.0"),
    ],
)
def test_episodes_under_other_settings_are_not_mixed(
    override: str, sentence: str, task_file: Path, tmp_path: Path
) -> None:
    run_eval(rules_config(task_file, tmp_path / "run"))
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(UserError, match=sentence):
        run_eval(rules_config(task_file, tmp_path / "run", override), resume=True)
    assert (tmp_path / "run" / "config.yaml").read_text() == before


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_the_folder_of_a_training_is_never_taken(how: dict[str, bool], task_file: Path, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "seed: 0\n", seed=0)
    (run.checkpoints / "cold_start").mkdir()
    with pytest.raises(UserError, match="holds a training with its checkpoints"):
        run_eval(rules_config(task_file, tmp_path / "run"), **how)
    assert (run.checkpoints / "cold_start").is_dir()


def test_a_model_without_a_checkpoint_is_refused(task_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"policy\.checkpoint is not set"):
        run_eval(rules_config(task_file, tmp_path / "run", "eval.policies=[never,model]"))
    assert not (tmp_path / "run").exists()


def test_a_model_acts_on_its_own_and_answers_for_the_rules(videos: Path, tmp_path: Path) -> None:
    config = smoke_config(videos, tmp_path / "run")
    corpus = ["Which sign appears in the red scene?"] * 2
    build_policy(config, tmp_path / "model", lambda: corpus)
    overrides = [f"policy.checkpoint={tmp_path / 'model'}", "eval.policies=[model,never,oracle]"]
    rows = rows_by_policy(run_eval(smoke_config(videos, tmp_path / "run", *overrides)))
    traces = list(read_traces(tmp_path / "run" / "traces.jsonl"))
    assert {name: rows[name]["num_steps_mean"] for name in ("never", "oracle")} == {"never": 1.0, "oracle": 2.0}
    assert rows["oracle"]["zoom_hit_rate"] == 1.0
    tokens = {
        name: [[step["num_completion_tokens"] for step in row["steps"]] for row in traces if row["policy"] == name]
        for name in rows
    }
    assert all(count > 0 for episode in tokens["model"] for count in episode)
    # Rules write their zooms; only the answer is the model's.
    assert all(zoom == 0 and answer > 0 for zoom, answer in tokens["oracle"])
    untrained_knows = [row["answer"] == row["task"]["answer"] for row in traces if row["policy"] == "oracle"]
    assert rows["oracle"]["accuracy"] == sum(untrained_knows) / 3
    assert Span(*traces[-1]["spans_s"][0]) == Span(*traces[-1]["task"]["evidence"][0])
    # A checkpoint answers for the rules even where it is not measured itself.
    run_eval(smoke_config(videos, tmp_path / "oracle", overrides[0], "eval.policies=[oracle]"))
    steps = [row["steps"] for row in read_traces(tmp_path / "oracle" / "traces.jsonl")]
    assert [[step["num_completion_tokens"] for step in episode] for episode in steps] == tokens["oracle"]
