"""The demo over several seeds: videos of their own, means by hand, and nothing run twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from videozoom.experiments import seeds
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config, load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.seeds import run_seeds, summary_rows, with_seed


class FakeDemo:
    """Stands in for the demo: accuracy is a tenth of the seed."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, config: Config, *, overwrite: bool = False) -> dict[str, Any]:
        self.seeds.append(config.seed)
        run = RunFolder.create(config.run_dir, dump_config(config), seed=config.seed, overwrite=overwrite)
        rows = [{"policy": "never", "accuracy": config.seed / 10, "num_tasks": 300, "iou_mean": None}]
        results = {"rows": rows, "seed": config.seed, "seconds": 1.0, "peak_memory_gib": 1.0}
        run.write_results(results)
        return results


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> FakeDemo:
    demo = FakeDemo()
    monkeypatch.setattr(seeds, "run_demo", demo)
    return demo


def config_in(folder: Path, *overrides: str) -> Config:
    return load_config("smoke", [f"run_dir={folder}", *overrides])


def test_every_seed_has_videos_of_its_own(tmp_path: Path) -> None:
    configs = [with_seed(config_in(tmp_path), seed) for seed in (0, 1, 2)]
    contents = [
        source.content
        for config in configs
        for source in (config.data.train, config.data.eval, *config.data.cold_start.values())
    ]
    assert len(set(contents)) == len(contents) > 2 * len(configs)
    assert [config.run_dir.name for config in configs] == ["seed-0", "seed-1", "seed-2"]
    assert [config.seed for config in configs] == [0, 1, 2]


def test_the_summary_by_hand(demo: FakeDemo, tmp_path: Path) -> None:
    summary = run_seeds(config_in(tmp_path / "demo"), [1, 3])
    assert json.loads((tmp_path / "demo" / "summary.json").read_text()) == summary
    [row] = summary["rows"]
    assert (row["policy"], row["num_seeds"]) == ("never", 2)
    assert row["accuracy"]["values"] == [0.1, 0.3]
    assert row["accuracy"]["mean"] == pytest.approx(0.2)
    # Unbiased: the deviations of 0.1 each, squared and summed, over one degree of freedom.
    assert row["accuracy"]["std"] == pytest.approx(0.02**0.5)
    assert "iou_mean" not in row
    assert [run["seed"] for run in summary["runs"]] == [1, 3]


def test_rows_follow_the_order_of_the_demo() -> None:
    rows = [{"policy": name, "accuracy": 0.5} for name in ("oracle", "never", "cold_start")]
    assert [row["policy"] for row in summary_rows([{"rows": rows}])] == ["never", "cold_start", "oracle"]


def test_finished_seeds_are_not_run_again(demo: FakeDemo, tmp_path: Path) -> None:
    first = run_seeds(config_in(tmp_path), [1, 2])
    assert run_seeds(config_in(tmp_path), [1, 2, 3])["rows"][0]["accuracy"]["values"][:2] == [0.1, 0.2]
    assert demo.seeds == [1, 2, 3]
    assert run_seeds(config_in(tmp_path), [1, 2], overwrite=True)["rows"] == first["rows"]
    assert demo.seeds == [1, 2, 3, 1, 2]


def test_an_unfinished_seed_is_run_again(demo: FakeDemo, tmp_path: Path) -> None:
    run_seeds(config_in(tmp_path), [1])
    (tmp_path / "seed-1" / "results.json").unlink()
    run_seeds(config_in(tmp_path), [1])
    assert demo.seeds == [1, 1]


def test_results_of_other_settings_are_not_mixed_in(demo: FakeDemo, tmp_path: Path) -> None:
    run_seeds(config_in(tmp_path), [1])
    with pytest.raises(UserError, match="holds a run of another configuration"):
        run_seeds(config_in(tmp_path, "grpo.lr=1e-5"), [1])
    run_seeds(config_in(tmp_path, "grpo.lr=1e-5"), [1], overwrite=True)
    assert demo.seeds == [1, 1, 1]
