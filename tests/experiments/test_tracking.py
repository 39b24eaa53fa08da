import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from videozoom.envs.json_lines import read_json_lines
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.envs.trajectory_rows import trajectory_row
from videozoom.experiments.alarm_log import AlarmLog
from videozoom.experiments.alarms import Alarm, AlarmLimits
from videozoom.experiments.build_tracking import open_tracker
from videozoom.experiments.config_files import load_config
from videozoom.experiments.open_traces import open_traces
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.tracked_rollouts import RolloutPicker, RolloutTable, picked_rows
from videozoom.experiments.tracking import TRAIN, JsonlTracker, Trackers, phase_prefix
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.trace_rows import TraceRow

TASK = Task("t", Path("gone.mp4"), 64.0, "Which sign?", ("bars", "lines"), "A", (Span(8.0, 12.0),))


class Recorder:
    """A tracker that keeps what it is given."""

    def __init__(self) -> None:
        self.logged: list[tuple[Mapping[str, float], int, str]] = []
        self.tables: list[RolloutTable] = []
        self.alarms: list[Alarm] = []
        self.is_closed = False

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        self.logged.append((metrics, iteration, phase))

    def show(self, table: RolloutTable) -> None:
        self.tables.append(table)

    def alert(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)

    def close(self) -> None:
        self.is_closed = True


def trace(reward: float, *, phase: str = "train", policy: str = "grpo", status: Status = Status.ANSWERED) -> TraceRow:
    return trajectory_row(
        TASK,
        phase=phase,
        policy=policy,
        iteration=0,
        kind=EpisodeKind.MULTI_STEP,
        member=0,
        seed=(int(100 * reward),),
        status=status,
        answer="A",
        spans_s=[Span(8.0, 12.0)],
        reward=RewardBreakdown(reward, {"outcome": reward}),
        steps=[],
        advantage=0.5,
    )


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
    with open_tracker(RunFolder(tmp_path), load_config("smoke"), main_phase="grpo") as tracker:
        tracker.log({"zoom/hit/rate": 1.0}, 0)
        with pytest.raises(ValueError, match="zoom/hits/rate"):
            tracker.log({"zoom/hits/rate": 1.0}, 1)
    assert len(list(read_json_lines(tmp_path / "metrics.jsonl"))) == 1
    assert not (tmp_path / "tensorboard").exists()
    assert not (tmp_path / "wandb").exists()


def test_names_are_checked_by_the_hook() -> None:
    seen: list[str] = []
    Trackers([], validate_names=seen.extend).log({"any/name": 1.0}, 0)
    assert seen == ["any/name"]


def test_every_tracker_gets_metrics_and_alarms_and_is_closed(tmp_path: Path) -> None:
    recorders = [Recorder(), Recorder()]
    with Trackers(recorders, alarms=AlarmLog(tmp_path / "alarms.jsonl", AlarmLimits())) as tracker:
        tracker.log({"video/decode_error/rate": 0.0}, 1, "grpo")
        tracker.log({"video/decode_error/rate": 0.25}, 2, "grpo")
    for recorder in recorders:
        assert [(iteration, phase) for _, iteration, phase in recorder.logged] == [(1, "grpo"), (2, "grpo")]
        assert [(alarm.name, alarm.iteration) for alarm in recorder.alarms] == [("decode_errors", 2)]
        assert recorder.is_closed


def test_the_time_of_logging_is_logged_with_the_next_metrics() -> None:
    class Slow(Recorder):
        def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
            super().log(metrics, iteration, phase)
            time.sleep(0.05)

    recorder = Slow()
    tracker = Trackers([recorder])
    tracker.log({}, 1)
    with tracker.timed():
        time.sleep(0.02)
    tracker.log({}, 2)
    first, second = (metrics["time/logging_s"] for metrics, _, _ in recorder.logged)
    assert first == 0.0
    assert second >= 0.07


def test_rollouts_of_the_logged_policy_are_shown_when_it_is_time(tmp_path: Path) -> None:
    recorder = Recorder()
    tracker = Trackers([recorder], rollouts=RolloutPicker(None, every=2, num_rollouts=2))
    with open_traces(RunFolder(tmp_path), load_config("smoke"), tracker) as traces:
        for iteration in (1, 2, 3):
            traces.write([trace(iteration / 10 + member / 100) for member in range(4)])
            traces.write([trace(iteration / 10, phase="eval"), trace(0.0, phase="eval", policy="oracle")])
            tracker.log({}, iteration, "grpo")
    train, evaluated = recorder.tables
    assert (train.name, train.iteration, train.phase) == ("rollouts/train", 2, "grpo")
    assert [(row.values["picked"], row.values["reward"]) for row in train.rows] == [("best", 0.23), ("worst", 0.2)]
    assert (evaluated.name, [row.values["policy"] for row in evaluated.rows]) == ("rollouts/eval", ["grpo"])
    # The video is gone, but the axis and the bands are drawn.
    assert train.rows[0].timeline.ndim == 3
    assert train.rows[0].values["zooms_s"] == train.rows[0].values["evidence_s"] == "8-12"
    assert train.rows[0].values["is_right"] is True
    assert len(list(read_json_lines(tmp_path / "traces.jsonl"))) == 16


def test_best_worst_and_random_rollouts_are_picked_once_each() -> None:
    import numpy as np

    rows = [trace(value) for value in (0.3, 0.9, 0.1, 0.5)] + [trace(1.0, status=Status.ERROR_DECODE)]
    picked = picked_rows(rows, 3, np.random.default_rng(0))
    assert [why for why, _ in picked] == ["best", "worst", "random"]
    assert [row["reward"]["total"] for _, row in picked][:2] == [0.9, 0.1]
    assert picked[2][1]["reward"]["total"] in (0.3, 0.5)
    assert len(picked_rows(rows, 99, np.random.default_rng(0))) == 4
    assert [why for why, _ in picked_rows(rows[:1], 4, np.random.default_rng(0))] == ["best"]
    assert picked_rows([], 4, np.random.default_rng(0)) == []


def test_the_main_phase_has_plain_names() -> None:
    assert phase_prefix("decoupled_grpo", "decoupled_grpo") == ""
    assert phase_prefix("multi_step_grpo", "decoupled_grpo") == "multi_step_grpo/"
