"""`videozoom probe RUN_DIR`: which model it takes, where its results go, and how it goes on."""

import json
from pathlib import Path

import pytest
from generated_world import GeneratedWorld

from videozoom.envs.task_files import save_tasks
from videozoom.experiments.build import build_policy
from videozoom.experiments.checkpoints import TRAINER_STATE, checkpoint_folder
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config, load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.probe_command import furthest_checkpoint, run_probe
from videozoom.experiments.run_folder import RunFolder

FEW = ("eval.probes=[blind]", "eval.uniform_frames=[2]", "eval.max_new_tokens=6")


def run_config(folder: Path) -> Config:
    source = ["data.eval.generated=null", f"data.eval.tasks={folder.parent / 'tasks.jsonl'}"]
    tiny = ["policy.tiny.hidden_size=32", "policy.tiny.num_layers=1"]
    return load_config("smoke", [*source, *tiny, f"run_dir={folder}", f"video.cache={folder.parent / 'cache'}"])


@pytest.fixture
def run(generated: GeneratedWorld, tmp_path: Path) -> RunFolder:
    """Return a run with settings and nothing else."""
    save_tasks(generated.tasks, tmp_path / "tasks.jsonl")
    return RunFolder.create(tmp_path / "run", dump_config(run_config(tmp_path / "run")), seed=0)


def test_a_run_is_probed_beside_its_training_and_its_report_shows_it(run: RunFolder) -> None:
    build_policy(run_config(run.path), run.checkpoints / "cold_start", lambda: ["Which sign? bars \\boxed{A} [0, 1]"])
    results = run_probe([str(run.path), *FEW])
    assert json.loads((run.probes / "results.json").read_text()) == results
    assert [row["probe"] for row in results["probes"]] == ["model", "blind"]
    assert [row["num_frames"] for row in results["budgets"]] == [2]
    config = load_config(run.probes / "config.yaml")
    assert (config.policy.checkpoint, config.eval.audit) == (run.checkpoints / "cold_start", True)
    assert "Does it look?" in run.report_file.read_text(encoding="utf-8")
    # The training's own files are as they were.
    assert not run.traces_file.exists()
    assert not run.results_file.exists()
    traces = (run.probes / "traces.jsonl").read_text()
    assert run_probe([str(run.path), *FEW]) == results
    assert (run.probes / "traces.jsonl").read_text() == traces
    with pytest.raises(UserError, match="was evaluated with seed=0, not 5"):
        run_probe([str(run.path), *FEW, "seed=5"])


def test_the_furthest_training_is_taken(run: RunFolder) -> None:
    assert furthest_checkpoint(run) is None
    folders = [
        run.checkpoints / "cold_start",
        checkpoint_folder(run.checkpoints, 4),
        checkpoint_folder(run.checkpoints / "multi_step_grpo", 30),
        checkpoint_folder(run.checkpoints / "decoupled_grpo", 10),
        checkpoint_folder(run.checkpoints / "decoupled_grpo", 20),
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / TRAINER_STATE).touch()
        assert furthest_checkpoint(run) == folder


def test_a_run_without_a_checkpoint_and_what_is_no_run_are_told(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no checkpoint yet"):
        run_probe([str(run.path)])
    with pytest.raises(UserError, match="is no run folder"):
        run_probe([str(tmp_path)])
    with pytest.raises(UserError, match="one run folder or configuration"):
        run_probe(["seed=1"])
    assert not run.probes.exists()
