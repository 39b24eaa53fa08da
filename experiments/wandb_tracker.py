"""Weights & Biases as a tracker: everything goes through a process of its own and a queue that never blocks."""

import json
import logging
import os
import pickle
import queue
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from videozoom.envs.task_files import write_atomically
from videozoom.experiments.alarms import Alarm, AlarmState
from videozoom.experiments.tracked_rollouts import RolloutTable
from videozoom.experiments.tracking import STEP, TRAIN, phase_prefix
from videozoom.rollout.metrics import SECTIONS

log = logging.getLogger(__name__)

PROGRAM = "videozoom.experiments.wandb_process"
MAX_QUEUED = 1000
"""Messages that wait for a service that does not take them; more are dropped."""
CLOSE_TIMEOUT_S = {"offline": 60.0, "online": 300.0}
"""How long the end of a run waits for the last of them, by mode."""


class WandbTracker:
    """Sends metrics, rollouts and alarms to Weights & Biases, offline unless told otherwise.

    It never stops a run: what fails is told in a warning, what does not end is left behind.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mode: str,
        project: str,
        name: str,
        config: Mapping[str, Any],
        group: str | None = None,
        main_phase: str = TRAIN,
        close_timeout_s: float | None = None,
    ) -> None:
        """Start the process.

        Args:
            folder: The run folder; `wandb/` in it takes the files, `wandb.json` the id that a resumed run goes on with.
            mode: `offline` or `online`.
            project: Where it belongs.
            name: What the run is called.
            config: All settings.
            group: What it is shown with, such as the other seeds.
            main_phase: The phase whose metrics have plain names.
            close_timeout_s: How long `close` waits at most.
        """
        self._main_phase = main_phase
        self._timeout_s = CLOSE_TIMEOUT_S[mode] if close_timeout_s is None else close_timeout_s
        self._queue: queue.Queue[bytes | None] = queue.Queue(MAX_QUEUED)
        self._is_full = False
        self._prefixes: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            run_id = run_id_of(folder)
            # A session of its own: Ctrl-C is for the run, which then finishes this process in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            log.warning("Weights & Biases cannot be started (%s); the run goes on without it", error)
            return
        self._threads = [threading.Thread(target=it, daemon=True) for it in (self._write, self._read)]
        for thread in self._threads:
            thread.start()
        settings = {"mode": mode, "project": project, "run_id": run_id, "name": name, "group": group}
        self._send("start", str(folder), **settings, config=dict(config))
        for pattern in (*(f"{section}/*" for section in SECTIONS), "rollouts/*"):
            self._send("step_metric", pattern, STEP)

    def log(self, metrics: Mapping[str, float], iteration: int, phase: str = TRAIN) -> None:
        """Send the metrics; those of a phase other than the main one are named after it."""
        prefix = phase_prefix(phase, self._main_phase)
        if prefix and prefix not in self._prefixes:
            self._prefixes.add(prefix)
            self._send("step_metric", f"{prefix}*", f"{prefix}{STEP}")
        self._send("log", {f"{prefix}{name}": float(value) for name, value in {**metrics, STEP: iteration}.items()})

    def show(self, table: RolloutTable) -> None:
        """Send a table of rollouts, the timeline in the last column."""
        prefix = phase_prefix(table.phase, self._main_phase)
        rows = [[*row.values.values(), row.timeline] for row in table.rows]
        step = {f"{prefix}{STEP}": table.iteration}
        self._send("table", f"{prefix}{table.name}", step, [*table.columns, "timeline"], rows)

    def alert(self, alarm: Alarm) -> None:
        """Send an alarm that begins."""
        if alarm.state == AlarmState.ON:
            self._send("alert", alarm.name.replace("_", " ").capitalize(), alarm.text)

    def close(self) -> None:
        """Finish the run, or leave it behind if that takes too long."""
        if self._process is None:
            return
        with suppress(queue.Full):
            self._queue.put(None, timeout=self._timeout_s)
        try:
            if self._process.wait(self._timeout_s):
                log.warning("Weights & Biases ended early (exit code %d)", self._process.returncode)
        except subprocess.TimeoutExpired:
            log.warning("Weights & Biases did not finish within %g s; it was stopped", self._timeout_s)
        # Also the service that it leaves behind when it was killed itself.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=5.0)
        self._process = None

    def _send(self, method: str, *args: Any, **kwargs: Any) -> None:
        if self._process is None:
            return
        try:
            self._queue.put_nowait(pickle.dumps((method, args, kwargs)))
        except queue.Full:
            if not self._is_full:
                log.warning("Weights & Biases takes nothing any more; metrics are in metrics.jsonl alone from here on")
            self._is_full = True

    def _write(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        stdin = self._process.stdin
        with suppress(OSError, ValueError):
            while (message := self._queue.get()) is not None:
                stdin.write(message)
                stdin.flush()
        with suppress(OSError, ValueError):
            stdin.close()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            log.warning("%s", line.decode(errors="replace").strip())


def run_id_of(folder: Path) -> str:
    """Return the id of the run in `folder`, made when it is first asked for: a resumed run keeps it."""
    file = folder / "wandb.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(file.read_text(encoding="utf-8"))["id"])
    run_id = secrets.token_hex(4)
    write_atomically(file, json.dumps({"id": run_id}).encode() + b"\n")
    return run_id
