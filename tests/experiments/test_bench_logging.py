import json
from pathlib import Path

import pytest
from fabricated_run import fabricate_run, metric_rows

from videozoom.experiments import bench_logging
from videozoom.experiments.bench_logging import cpu_seconds_of, run_bench_logging, seconds_of, traces_by_iteration
from videozoom.experiments.cli import main
from videozoom.experiments.run_folder import RunFolder


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_run_is_logged_again_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = {name: settings for name, settings in bench_logging.CHOICES.items() if not settings["wandb"]}
    monkeypatch.setattr(bench_logging, "CHOICES", choices)
    run = fabricate_run(tmp_path / "run")
    before = files(run)
    assert main(["bench", "logging", str(run), "--json", "--quiet"]) == 0
    printed = json.loads(capsys.readouterr().out)
    # 24 iterations of two seconds; the made-up cold start has no times.
    assert (printed["run_s"], printed["num_metric_rows"]) == (48.0, len(metric_rows()))
    assert [row["trackers"] for row in printed["rows"]] == ["files alone", "and TensorBoard"]
    for row in printed["rows"]:
        assert row["wall_s"] > 0
        assert row["share"] == pytest.approx(row["wall_s"] / 48.0)
        # The made-up trainings did not log their CPU time.
        assert row["cpu_s"] > 0
        assert row["cpu_share"] is None
    assert files(run) == before


def test_every_choice_of_trackers_is_a_row_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_logging, "CHOICES", {"files alone": bench_logging.CHOICES["files alone"]})
    (cost,) = run_bench_logging(fabricate_run(tmp_path / "run"))
    assert cost.trackers == "files alone"
    assert "files alone" in capsys.readouterr().out


def test_steps_between_rows_of_the_cold_start_count() -> None:
    cold_start = [
        {"progress/iteration": 10, "phase": "cot", "loss/sft": 1.0, "time/step_s": 0.5},
        {"progress/iteration": 16, "phase": "cot", "loss/sft": 1.0, "time/step_s": 1.0},
    ]
    training = [{"progress/iteration": 1, "phase": "grpo", "time/step_s": 2.0, "time/eval_s": 3.0}]
    assert seconds_of([*cold_start, *training]) == 5.0 + 6.0 + 5.0


def test_cpu_seconds_are_those_of_all_trainings() -> None:
    trainings = [("a", 2.0), ("a", 5.0), ("b", 1.0), ("b", 3.0)]
    rows = [{"phase": phase, "progress/cpu_s": cpu_s} for phase, cpu_s in trainings]
    assert cpu_seconds_of([{"phase": "cot", "time/step_s": 1.0}, *rows]) == 8.0


def test_traces_belong_to_the_metrics_that_follow_them(tmp_path: Path) -> None:
    traces = traces_by_iteration(RunFolder(fabricate_run(tmp_path / "run")))
    assert {key: len(rows) for key, rows in traces.items()} == {("cold_start", 40): 12, ("decoupled_grpo", 40): 12}


def test_a_folder_without_a_training_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fabricate_run(tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    assert main(["bench", "logging", str(run)]) == 2
    assert "has no metrics with times; give the folder of a training" in capsys.readouterr().err
    assert main(["bench", "logging", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err
