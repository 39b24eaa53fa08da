import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from videozoom.envs.json_lines import read_json_lines
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.tracking import JsonlTracker, Trackers, WandbTracker, open_tracker

WANDB = {"mode": "offline", "project": "p", "name": "n", "config": {"seed": 1}}


class FakeWandb:
    """Records what is sent; fails from the `fail_at`-th row on."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.rows, self.settings = fail_at, [], {}
        self.is_finished = False

    def Settings(self, **_: object) -> None:
        pass

    def init(self, **settings: Any) -> "FakeWandb":
        self.settings = settings
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        pass

    def log(self, row: dict[str, float]) -> None:
        if self.fail_at is not None and len(self.rows) >= self.fail_at:
            raise ConnectionError("no network")
        self.rows.append(row)

    def finish(self) -> None:
        self.is_finished = True


@pytest.fixture
def fake_wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_every_call_is_one_line_with_the_iteration_first(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    tracker.log({"loss/total": 0.5, "optim/lr": 1}, 3, "cot")
    # Whole before it is closed: a killed run loses nothing.
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == (
        '{"progress/iteration": 3, "phase": "cot", "loss/total": 0.5, "optim/lr": 1.0}\n'
    )
    tracker.close()


def test_a_number_that_json_cannot_hold_becomes_null(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    tracker.log({"loss/total": float("nan"), "loss/kl": float("inf")}, 0)
    tracker.close()
    assert list(read_json_lines(tmp_path / "metrics.jsonl")) == [
        {"progress/iteration": 0, "phase": "train", "loss/total": None, "loss/kl": None}
    ]


def test_a_name_outside_the_registry_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with open_tracker(RunFolder(tmp_path), wandb=False, wandb_mode="offline", project="p", name="n", config={}) as t:
        t.log({"zoom/hit/rate": 1.0}, 0)
        with pytest.raises(ValueError, match="zoom/hits/rate"):
            t.log({"zoom/hits/rate": 1.0}, 1)
    assert len(list(read_json_lines(tmp_path / "metrics.jsonl"))) == 1


def test_names_are_checked_by_the_hook() -> None:
    seen: list[str] = []
    Trackers([], validate_names=seen.extend).log({"any/name": 1.0}, 0)
    assert seen == ["any/name"]


def test_wandb_gets_the_metrics_offline(tmp_path: Path, fake_wandb: FakeWandb) -> None:
    tracker = WandbTracker(tmp_path, **WANDB)
    tracker.log({"loss/total": 0.5}, 3)
    tracker.close()
    assert fake_wandb.settings["mode"] == "offline"
    assert fake_wandb.rows == [{"progress/iteration": 3, "loss/total": 0.5}]
    assert fake_wandb.is_finished


def test_wandb_never_stops_a_run(tmp_path: Path, fake_wandb: FakeWandb, caplog: pytest.LogCaptureFixture) -> None:
    fake_wandb.fail_at = 1
    tracker = WandbTracker(tmp_path, **WANDB)
    with caplog.at_level(logging.WARNING):
        for iteration in range(4):
            tracker.log({"loss/total": 0.5}, iteration)
        tracker.close()
    assert len(fake_wandb.rows) == 1
    assert [record.message for record in caplog.records] == [
        "Weights & Biases failed (no network); the run goes on with metrics.jsonl alone"
    ]


def test_wandb_that_does_not_start_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace())
    tracker = WandbTracker(tmp_path, **WANDB)
    tracker.log({"loss/total": 0.5}, 0)
    tracker.close()


@pytest.mark.slow
def test_the_real_wandb_writes_offline(tmp_path: Path) -> None:
    tracker = WandbTracker(tmp_path, **WANDB)
    tracker.log({"loss/total": 0.5}, 0)
    tracker.close()
    assert list(tmp_path.rglob("*.wandb"))
