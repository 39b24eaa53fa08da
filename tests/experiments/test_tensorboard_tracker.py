import logging
from pathlib import Path

import numpy as np
import pytest
from tensorboard_events import events

from videozoom.experiments.alarms import Alarm, AlarmName, AlarmState
from videozoom.experiments.dashboards import SECTIONS
from videozoom.experiments.tensorboard_tracker import TensorBoardTracker, custom_scalars
from videozoom.experiments.tracked_rollouts import RolloutRow, RolloutTable

ALARM = Alarm(AlarmName.NO_VARIANCE, AlarmState.ON, "grpo", 3, "group/zero_std/rate", 1.0, 0.95)
TABLE = RolloutTable("rollouts/train", 3, "train", (RolloutRow({"reward": 1.0}, np.zeros((4, 8, 3), np.uint8)),))


def test_metrics_are_scalars_over_iterations(tmp_path: Path) -> None:
    tracker = TensorBoardTracker(tmp_path, main_phase="decoupled_grpo")
    tracker.log({"loss/sft": 2.0}, 10, "cot")
    tracker.log({"reward/total/mean": 0.25, "progress/iteration": 1}, 1, "decoupled_grpo")
    # Whole after every call: a killed run loses nothing.
    scalars = {(step, value.tag): value.simple_value for step, value in events(tmp_path) if value.simple_value}
    assert scalars == {(10, "cot/loss/sft"): 2.0, (1, "reward/total/mean"): 0.25}
    tracker.close()


def test_rollouts_are_pictures_with_words_and_alarms_are_words(tmp_path: Path) -> None:
    tracker = TensorBoardTracker(tmp_path)
    tracker.show(TABLE)
    tracker.alert(ALARM)
    tracker.close()
    found = list(events(tmp_path))
    ((step, picture),) = [(step, value) for step, value in found if value.image.encoded_image_string]
    assert (step, picture.tag) == (3, "rollouts/train/1")
    assert (picture.image.height, picture.image.width) == (4, 8)
    texts = [b"".join(value.tensor.string_val) for _, value in found]
    assert any(b"**reward**: 1.0" in text for text in texts)
    assert any(ALARM.text.encode() in text for text in texts)


def test_a_resumed_run_adds_to_the_folder(tmp_path: Path) -> None:
    for iteration in (1, 2):
        tracker = TensorBoardTracker(tmp_path)
        tracker.log({"loss/total": 0.5}, iteration)
        tracker.close()
    assert {step for step, value in events(tmp_path) if value.tag == "loss/total"} == {1, 2}


def test_the_dashboard_is_a_page_of_charts(tmp_path: Path) -> None:
    TensorBoardTracker(tmp_path).close()
    layouts = [value for _, value in events(tmp_path) if "custom_scalars" in value.tag]
    assert len(layouts) == 1
    assert b"zoom/hit/rate" in b"".join(layouts[0].tensor.string_val)
    page = custom_scalars(SECTIONS)
    assert page["Is it looking?"]["Zooms at all, and on the evidence"] == [
        "Multiline",
        ["zoom/used/rate", "zoom/hit/rate"],
    ]


def test_tensorboard_never_stops_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = TensorBoardTracker(tmp_path)

    def fail(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker._file, "write", fail)
    with caplog.at_level(logging.WARNING):
        for iteration in range(3):
            tracker.log({"loss/total": 0.5}, iteration)
        tracker.show(TABLE)
        tracker.alert(ALARM)
        tracker.close()
    (message,) = [record.message for record in caplog.records]
    assert message == "TensorBoard failed ([Errno 28] No space left on device); the run goes on without it"


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tensorboard").write_text("in the way", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        tracker = TensorBoardTracker(tmp_path / "tensorboard")
        tracker.log({"loss/total": 0.5}, 1)
        tracker.close()
    assert len(caplog.records) == 1
