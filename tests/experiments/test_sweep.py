"""Whole sweeps: in this process, in those of Ray Tune, interrupted, with a failed cell."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from study_files import STUDY, make_plan, write_study

from videozoom.experiments import grpo_training, study_steps, sweep
from videozoom.experiments.cli import main
from videozoom.experiments.study_plan import Plan, Step, StepKind
from videozoom.experiments.study_steps import StepCache
from videozoom.experiments.study_work import StepResult


class Texts(HTMLParser):
    """The texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> tuple[Plan, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sweep")
    plan = make_plan(folder, videos=videos)
    results = sweep.run_sweep(plan, folder=folder / "out", cache=StepCache(folder / "cache"))
    return plan, folder, results


def test_a_sweep_ends_in_numbers_of_every_cell(swept: tuple[Plan, Path, dict[str, Any]]) -> None:
    _, folder, results = swept
    assert json.loads((folder / "out" / "results.json").read_text())["rows"] == results["rows"]
    assert [row["row"] for row in results["rows"]] == ["none", "multi", "one_step", "random"]
    assert (results["num_runs"], results["num_finished"]) == (8, 8)
    one_step = results["rows"][2]
    assert one_step["measures"]["num_steps"]["by_seed"] == {"0": 1.0, "1": 1.0}
    assert one_step["num_tasks"] == {"0": 3, "1": 3}
    assert one_step["differences"]["num_steps"]["by_seed"].keys() == {"0", "1"}
    assert results["rows"][0]["differences"] == {}
    costs = [row["measures"]["training_cpu_s"]["mean"] for row in results["rows"]]
    assert costs[0] < costs[1] == costs[2] == costs[3]
    # Of training's own episodes, which a cold start does not have.
    sampled = [row["measures"].get("sampled_hit_rate", {}).get("mean") for row in results["rows"]]
    assert sampled[0] is None
    assert all(0.0 <= rate <= 1.0 for rate in sampled[1:])
    assert [claim["verdict"] for claim in results["claims"]] == ["open"]


def test_the_report_shows_cells_claims_and_the_papers_numbers(swept: tuple[Plan, Path, dict[str, Any]]) -> None:
    page = (swept[1] / "out" / "report.html").read_text(encoding="utf-8")
    texts = Texts(page).texts
    assert "A study in seconds" in texts
    assert "65.7" in texts
    assert any(text.startswith("Learning helps: cannot be told.") for text in texts)
    assert "rollout.zoom_step_fraction=0" in texts
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_same_sweep_again_does_nothing(
    swept: tuple[Plan, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, folder, results = swept
    monkeypatch.setattr(study_steps, "WORK", {})
    again = sweep.run_sweep(plan, folder=folder / "out", cache=StepCache(folder / "cache"), jobs=2)
    assert again["rows"] == results["rows"]


def test_an_interrupted_training_goes_on_from_its_checkpoint_to_the_same_numbers(
    swept: tuple[Plan, Path, dict[str, Any]], tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(tmp_path, videos=videos, seeds=[0])
    cache = StepCache(tmp_path / "cache")
    write = grpo_training._write_traces
    iterations: list[int] = []

    def stop_after_one(traces: Any, record: Any, name: str) -> None:
        iterations.append(record.iteration)
        if len(iterations) == 2:
            raise KeyboardInterrupt
        write(traces, record, name)

    monkeypatch.setattr(grpo_training, "_write_traces", stop_after_one)
    with pytest.raises(KeyboardInterrupt, match="The same command goes on"):
        sweep.run_sweep(plan, folder=tmp_path / "out", cache=cache)
    assert not (tmp_path / "out").exists()
    results = sweep.run_sweep(plan, folder=tmp_path / "out", cache=cache)
    # The iteration that was lost is done again, the one before it, which had a checkpoint, is not.
    assert iterations == [iterations[0], iterations[0] + 1, iterations[0] + 1]
    for here, there in zip(results["rows"], swept[2]["rows"], strict=True):
        for name in ("accuracy", "num_steps"):
            assert here["measures"][name]["by_seed"]["0"] == there["measures"][name]["by_seed"]["0"]


def test_a_failed_cell_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(step: Step, folder: Path, needed: list[StepResult]) -> dict[str, Any]:
        if step.kind is StepKind.GRPO:
            raise RuntimeError("no memory left")
        return {"checkpoint": "x", "episodes": [{"task_id": "a", "accuracy": 1.0, "num_steps": 2.0}]}

    monkeypatch.setattr(study_steps, "WORK", dict.fromkeys(StepKind, work))
    command = [
        "sweep",
        str(write_study(tmp_path)),
        "--jobs",
        "0",
        f"--cache={tmp_path / 'c'}",
        f"--out={tmp_path / 'o'}",
    ]
    assert main(command) == 1
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["num_finished"] == 2
    assert results["rows"][0]["measures"]["accuracy"]["mean"] == 1.0
    assert results["rows"][1]["measures"] == {}
    assert set(results["rows"][1]["failed"]) == {"0", "1"}
    told = " ".join(capsys.readouterr().err.split())
    assert "RuntimeError: no memory left" in told
    assert "--retry-failed" in told
    monkeypatch.setattr(
        study_steps, "WORK", {kind: lambda *_: {"checkpoint": "x", "episodes": []} for kind in StepKind}
    )
    assert main(command) == 1  # Failed cells are not tried again by themselves.
    assert main([*command, "--retry-failed"]) == 0


def test_a_dry_run_lists_cells_and_what_is_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(write_study(tmp_path)), "--dry-run", f"--cache={tmp_path / 'c'}", "--seeds=4,5,6"]) == 0
    shown = capsys.readouterr().out
    assert "4 cells x 3 seeds (4, 5, 6) on smoke" in shown
    assert "rollout.zoom_step_fraction=0" in shown
    assert "in evaluation: env.max_steps=1" in shown
    assert "cold_start: 3 different for 12 uses, 3 to do" in shown
    assert "grpo: 3 different for 9 uses, 3 to do" in shown
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sweep"], "needs one study, got none"),
        (["sweep", "nothing_like_it"], "No study 'nothing_like_it'"),
        (["sweep", "table2b", "--seeds=1,1"], "--seeds must be different numbers"),
        (["sweep", "table2b", "grpo.learning_rate=1", "--dry-run"], "cell none: Unknown key 'grpo.learning_rate'"),
    ],
)
def test_wrong_commands_end_with_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_checkpoints_on_the_way_are_evaluated(
    swept: tuple[Plan, Path, dict[str, Any]], videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = swept[1]
    cells = {"multi": STUDY["cells"]["multi"] | {"iteration": 1}, "none": STUDY["cells"]["none"]}
    plan = make_plan(folder, videos=videos, cells=cells, seeds=[0])
    monkeypatch.setattr(study_steps, "WORK", {StepKind.EVALUATE: study_steps.WORK[StepKind.EVALUATE]})
    results = sweep.run_sweep(plan, folder=folder / "on_the_way", cache=StepCache(folder / "cache"))
    assert results["num_finished"] == 2


def test_an_evaluation_alone_gives_the_same_numbers_and_its_own_costs(
    swept: tuple[Plan, Path, dict[str, Any]], videos: Path
) -> None:
    _, folder, results = swept
    cells = {name: STUDY["cells"][name] for name in ("none", "multi")}
    plan = make_plan(folder, videos=videos, cells=cells, seeds=[0], evaluates_alone=True)
    alone = sweep.run_sweep(plan, folder=folder / "alone", cache=StepCache(folder / "cache"))
    for here, there in zip(alone["rows"], results["rows"], strict=False):
        for name in ("accuracy", "num_steps"):
            assert here["measures"][name]["by_seed"]["0"] == there["measures"][name]["by_seed"]["0"]
    cache = StepCache(folder / "cache")
    found = cache.find(plan.runs[0].step)
    assert found is not None
    assert found.facts["peak_mib"] == found.peak_mib > 0
    assert 0 < found.facts["cpu_s"] == found.cpu_s


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_trials_of_ray_tune_give_the_same_numbers(
    swept: tuple[Plan, Path, dict[str, Any]], tmp_path: Path, videos: Path
) -> None:
    plan = make_plan(tmp_path, videos=videos, cells={"none": STUDY["cells"]["none"]}, claims=[])
    results = sweep.run_sweep(plan, folder=tmp_path / "out", cache=StepCache(tmp_path / "cache"), jobs=2)
    assert results["num_finished"] == 2
    for here, there in zip(results["rows"], swept[2]["rows"], strict=False):
        for name in ("accuracy", "num_steps"):
            assert here["measures"][name]["by_seed"] == there["measures"][name]["by_seed"]
