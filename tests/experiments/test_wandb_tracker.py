"""Weights & Biases in a process of its own: with a stand-in that misbehaves, and with the library itself, offline."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from videozoom.experiments.alarms import Alarm, AlarmName, AlarmState
from videozoom.experiments.tracked_rollouts import RolloutRow, RolloutTable
from videozoom.experiments.wandb_tracker import MAX_QUEUED, WandbTracker, run_id_of

SETTINGS: dict[str, Any] = {"mode": "offline", "project": "p", "name": "n", "config": {"seed": 1}, "group": "seeds"}
ALARM = Alarm(AlarmName.NO_VARIANCE, AlarmState.ON, "grpo", 3, "group/zero_std/rate", 1.0, 0.95)
TABLE = RolloutTable("rollouts/train", 3, "train", (RolloutRow({"reward": 1.0}, np.zeros((4, 4, 3), np.uint8)),))

STAND_IN = dedent(
    """
    import json, os, time

    FILE, FAULT = os.environ["FAKE_WANDB_FILE"], os.environ.get("FAKE_WANDB_FAULT", "")

    def note(*what):
        with open(FILE, "a") as file:
            file.write(json.dumps(what, default=str) + "\\n")

    def fault(place):
        if FAULT == place:
            raise ConnectionError("no network")
        if FAULT == f"{place}:exit":
            os._exit(3)
        if FAULT == f"{place}:raise_exit":
            raise SystemExit(5)
        if FAULT == f"{place}:hang":
            time.sleep(600)
        if FAULT == f"{place}:full":
            raise OSError(28, "No space left on device")

    class Run:
        def define_metric(self, name, step_metric):
            note("define_metric", name, step_metric)

        def log(self, row):
            fault("log")
            note("log", {name: value if isinstance(value, (int, float)) else type(value).__name__
                         for name, value in row.items()})

        def alert(self, title, text, level, wait_duration):
            note("alert", title, level)

        def finish(self):
            fault("finish")
            note("finish")

    def Settings(**settings):
        return settings

    def init(**settings):
        if settings["mode"] == "online":
            fault("online")
        fault("init")
        note("init", settings)
        return Run()

    class Image:
        def __init__(self, pixels):
            assert pixels.shape == (4, 4, 3)

    class Table:
        def __init__(self, columns, data):
            note("table", columns, [[type(value).__name__ for value in row] for row in data])
    """
)


class FakeWandb:
    """What the stand-in was asked to do."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file, self._monkeypatch = file, monkeypatch

    def fails(self, fault: str) -> None:
        self._monkeypatch.setenv("FAKE_WANDB_FAULT", fault)

    def calls(self, name: str) -> list[list[Any]]:
        if not self.file.is_file():
            return []
        rows = [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]
        return [arguments for kind, *arguments in rows if kind == name]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    module = tmp_path / "stand_in" / "wandb.py"
    module.parent.mkdir()
    module.write_text(STAND_IN, encoding="utf-8")
    paths = [str(module.parent), *(path for path in sys.path if path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("FAKE_WANDB_FILE", str(tmp_path / "calls.jsonl"))
    return FakeWandb(tmp_path / "calls.jsonl", monkeypatch)


def run_of(folder: Path, num_iterations: int = 3, **settings: Any) -> float:
    """Return how long the tracker kept the run waiting in a short run, its end left aside."""
    tracker = WandbTracker(folder, **SETTINGS | settings)
    started_s = time.perf_counter()
    for iteration in range(1, num_iterations + 1):
        tracker.log({"loss/total": 0.5}, iteration)
    tracker.show(TABLE)
    tracker.alert(ALARM)
    waited_s = time.perf_counter() - started_s
    tracker.close()
    return waited_s


def test_metrics_tables_and_alarms_arrive(fake: FakeWandb, tmp_path: Path) -> None:
    run_of(tmp_path)
    ((settings,),) = fake.calls("init")
    assert {name: settings[name] for name in ("mode", "project", "name", "config", "group")} == SETTINGS
    assert (settings["dir"], settings["resume"]) == (str(tmp_path), "allow")
    *rows, (table,) = fake.calls("log")
    assert [row for (row,) in rows] == [{"loss/total": 0.5, "progress/iteration": i} for i in (1, 2, 3)]
    assert table == {"rollouts/train": "Table", "progress/iteration": 3}
    assert fake.calls("table") == [[["reward", "timeline"], [["float", "Image"]]]]
    assert fake.calls("alert") == [["No variance", "WARN"]]
    assert len(fake.calls("finish")) == 1


def test_every_metric_is_drawn_over_the_iterations_of_its_phase(fake: FakeWandb, tmp_path: Path) -> None:
    tracker = WandbTracker(tmp_path, **SETTINGS, main_phase="decoupled_grpo")
    tracker.log({"loss/sft": 1.0}, 10, "cot")
    tracker.log({"loss/total": 1.0}, 1, "decoupled_grpo")
    tracker.close()
    assert fake.calls("log") == [
        [{"cot/loss/sft": 1.0, "cot/progress/iteration": 10}],
        [{"loss/total": 1.0, "progress/iteration": 1}],
    ]
    steps = dict(fake.calls("define_metric"))
    assert steps["loss/*"] == steps["rollouts/*"] == steps["eval/*"] == "progress/iteration"
    assert steps["cot/*"] == "cot/progress/iteration"


def test_a_resumed_run_keeps_its_id_and_another_folder_has_another(fake: FakeWandb, tmp_path: Path) -> None:
    for folder in ("a", "a", "b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        run_of(tmp_path / folder)
    first, again, other = (settings["id"] for (settings,) in fake.calls("init"))
    assert first == again == run_id_of(tmp_path / "a")
    assert first != other


@pytest.mark.parametrize("fault", ["init", "init:full", "init:raise_exit", "log", "log:full", "finish"])
def test_a_failure_is_one_warning(
    fault: str, fake: FakeWandb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fails(fault)
    with caplog.at_level(logging.WARNING):
        run_of(tmp_path)
    (message,) = [record.message for record in caplog.records]
    assert message.startswith("Weights & Biases failed (")
    assert message.endswith("the run goes on without it")
    assert fake.calls("finish") == []


@pytest.mark.parametrize("fault", ["init:exit", "log:exit"])
def test_a_process_that_dies_is_told_at_the_end(
    fault: str, fake: FakeWandb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fails(fault)
    with caplog.at_level(logging.WARNING):
        run_of(tmp_path)
    assert [record.message for record in caplog.records] == ["Weights & Biases ended early (exit code 3)"]
    assert fake.calls("finish") == []


@pytest.mark.parametrize("fault", ["init:hang", "log:hang", "finish:hang"])
def test_a_service_that_hangs_keeps_nobody_waiting(
    fault: str, fake: FakeWandb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fails(fault)
    # More than the queue and the pipe hold, where nothing is taken out.
    num_iterations = 3 if fault == "finish:hang" else 3 * MAX_QUEUED
    with caplog.at_level(logging.WARNING):
        run_of(tmp_path, num_iterations, close_timeout_s=0.3)
    messages = [record.message for record in caplog.records]
    assert "Weights & Biases did not finish within 0.3 s; it was stopped" in messages
    is_told = "Weights & Biases takes nothing any more; metrics are in metrics.jsonl alone from here on" in messages
    assert is_told == (fault != "finish:hang")
    assert len(messages) == 1 + is_told


def test_what_cannot_be_sent_is_kept_offline(fake: FakeWandb, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake.fails("online")
    with caplog.at_level(logging.WARNING):
        run_of(tmp_path, mode="online")
    (message,) = [record.message for record in caplog.records]
    assert "cannot be reached (no network); the run is kept offline, send it later with: wandb sync" in message
    assert [settings["mode"] for (settings,) in fake.calls("init")] == ["offline"]
    assert len(fake.calls("finish")) == 1


def test_a_killed_run_is_finished_all_the_same(fake: FakeWandb, tmp_path: Path) -> None:
    program = dedent(
        f"""
        import os, signal, time
        from pathlib import Path
        from videozoom.experiments.wandb_tracker import WandbTracker
        tracker = WandbTracker(Path({str(tmp_path)!r}), mode="offline", project="p", name="n", config={{}})
        tracker.log({{"loss/total": 0.5}}, 1)
        while '"log"' not in (Path({str(fake.file)!r}).read_text() if Path({str(fake.file)!r}).exists() else ""):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    deadline_s = time.monotonic() + 60
    while not fake.calls("finish") and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert len(fake.calls("finish")) == 1


def services_of(process_id: int) -> list[int]:
    """Return the processes below a process, from Linux's own list."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process_id:
            found += [int(status.parent.name), *services_of(int(status.parent.name))]
    return found


@pytest.mark.slow
def test_the_real_library_writes_offline(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            run_of(tmp_path)
    assert not caplog.records
    files = list(tmp_path.rglob("*.wandb"))
    # A resumed run is one run in two parts.
    assert {file.stem for file in files} == {f"run-{run_id_of(tmp_path)}"}
    assert all(b"loss/total" in file.read_bytes() for file in files)
    # Pictures wait in the run folder, not in the user's home.
    kept = [file.read_bytes() for file in (tmp_path / "wandb" / "data").rglob("*") if file.is_file()]
    assert any(content.startswith(b"\x89PNG") for content in kept)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's list of processes")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_stopped_service_of_the_real_library_ends_nothing(blow: signal.Signals, tmp_path: Path) -> None:
    tracker = WandbTracker(tmp_path, **SETTINGS, close_timeout_s=2.0)
    tracker.log({"loss/total": 0.5}, 1)
    assert tracker._process is not None
    deadline_s = time.monotonic() + 60
    while not list(tmp_path.rglob("*.wandb")) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    services = services_of(tracker._process.pid)
    assert services
    for service in services:
        os.kill(service, blow)
    for iteration in range(2, 200):
        tracker.log({"loss/total": 0.5}, iteration)
    tracker.close()
    # What was stopped ends as soon as it goes on: nobody waits for it.
    for service in services:
        with suppress(ProcessLookupError):
            os.kill(service, signal.SIGCONT)
    deadline_s = time.monotonic() + 10
    while any(Path(f"/proc/{service}").exists() for service in services) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{service}").exists() for service in services)


@pytest.mark.slow
def test_the_real_library_without_a_network_keeps_the_run_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Nobody listens at this port.
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with caplog.at_level(logging.WARNING):
        run_of(tmp_path, mode="online")
    assert "the run is kept offline" in caplog.text
    assert list(tmp_path.rglob("*.wandb"))
