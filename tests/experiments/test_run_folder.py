import json
from pathlib import Path

import pytest

from videozoom.experiments.errors import UserError
from videozoom.experiments.run_folder import RunFolder


def test_a_new_folder_holds_the_configuration_and_the_environment(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "runs" / "a", "seed: 3\n", seed=3)
    assert run.config_file.read_text(encoding="utf-8") == "seed: 3\n"
    recorded = json.loads(run.environment_file.read_text(encoding="utf-8"))
    assert recorded["seed"] == 3
    assert recorded["packages"]["numpy"][0].isdigit()
    assert run.checkpoints.is_dir()
    assert RunFolder.open(run.path).path == run.path


def test_an_equal_run_is_set_aside_whole(tmp_path: Path) -> None:
    for number in range(3):
        run = RunFolder.create(tmp_path / "a", "seed: 3\n", seed=3)
        assert not run.metrics_file.exists()
        run.metrics_file.write_text(f"{number}\n", encoding="utf-8")
    kept = [(tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8") for name in ("a.1", "a.2", "a")]
    assert kept == ["0\n", "1\n", "2\n"]


def test_another_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "a", "seed: 3\n", seed=3).metrics_file.write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds a run of another configuration"):
        RunFolder.create(tmp_path / "a", "seed: 4\n", seed=4)
    assert (tmp_path / "a" / "metrics.jsonl").exists()
    run = RunFolder.create(tmp_path / "a", "seed: 4\n", seed=4, overwrite=True)
    assert not run.metrics_file.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match="is not empty and is no run folder"):
        RunFolder.create(tmp_path, "seed: 3\n", seed=3, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="is a file"):
        RunFolder.create(tmp_path / "a", "", seed=0)
    with pytest.raises(UserError, match="is no run folder"):
        RunFolder.open(tmp_path)


def test_results_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_results({"rows": []})
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_results({"seconds": float("nan")})
    assert json.loads(run.results_file.read_text(encoding="utf-8")) == {"rows": []}
