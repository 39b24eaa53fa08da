"""The steps of a study, each done once: `StepCache` keeps what they leave behind, by content."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from videozoom.envs.json_lines import read_json_lines
from videozoom.envs.task_files import write_atomically
from videozoom.envs.videos.file_locks import LockState, file_lock
from videozoom.experiments.bench_process import memory_mib, reset_peak, used_cpu_s
from videozoom.experiments.run_folder import RunFolder, environment
from videozoom.experiments.study_plan import Step
from videozoom.experiments.study_work import WORK, StepResult

_RESULT, _FAILURE, _INPUTS = "step.json", "failed.json", "inputs.json"
_WAIT_S = 2.0
"""How long a wait for another process lasts before this one looks for a result again."""

Watch = Callable[[str], None]
"""Is told what is being done."""


class StepFailed(Exception):
    """A step failed, now or in an earlier run; the message is its last line."""


class StepCache:
    """Results of steps in a folder, found by content; any number of processes may use it at once.

    A result is there when `step.json` is: it is written last. A step that failed is not tried again until
    `forget_failures`. One that was interrupted goes on from its last checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def path(self, step: Step) -> Path:
        """Return the folder of a step."""
        return self.folder / step.name

    def find(self, step: Step) -> StepResult | None:
        """Return the result of a step, `None` if it is not finished."""
        file = self.path(step) / _RESULT
        if not file.is_file():
            return None
        row = json.loads(file.read_text(encoding="utf-8"))
        return StepResult(self.path(step), row["facts"], row["cpu_s"], row["wall_s"], row["peak_mib"])

    def metrics(self, step: Step) -> list[dict[str, Any]]:
        """Return what a training logged; nothing if it did not begin."""
        file = RunFolder(self.path(step)).metrics_file
        return list(read_json_lines(file)) if file.is_file() else []

    def failure(self, step: Step) -> str | None:
        """Return in a sentence why a step, or one that it needs, failed; `None` if none did."""
        for it in step.all():
            file = self.path(it) / _FAILURE
            if file.is_file():
                return f"{it.name}: {json.loads(file.read_text(encoding='utf-8'))['error']}"
        return None

    def forget_failures(self, step: Step) -> None:
        """Let a step and those it needs be tried again."""
        for it in step.all():
            (self.path(it) / _FAILURE).unlink(missing_ok=True)

    def result(self, step: Step, watch: Watch = lambda _: None) -> StepResult:
        """Return the result of a step, doing it and what it needs if nobody has yet, or waiting for who does.

        Raises:
            StepFailed: It failed, or one that it needs.
        """
        while (found := self.find(step)) is None:
            if (failure := self.failure(step)) is not None:
                raise StepFailed(failure)
            needed = [self.result(need, watch) for need in step.needs]
            with file_lock(self.folder / "locks" / step.name, _WAIT_S) as state:
                if state is LockState.TIMED_OUT:
                    watch(f"waiting for {step.kind.value}")
                elif self.find(step) is None and self.failure(step) is None:
                    watch(step.kind.value)
                    self._do(step, needed)
        return found

    def _do(self, step: Step, needed: list[StepResult]) -> None:
        folder = self.path(step)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _INPUTS, step.inputs)
        with _recorded_failure(folder / _FAILURE):
            reset_peak()
            before_mib, cpu_s, wall_s = memory_mib("VmRSS"), used_cpu_s(), time.perf_counter()
            facts = WORK[step.kind](step, folder, needed)
            row = {
                "cpu_s": facts.get("cpu_s", used_cpu_s() - cpu_s),
                "wall_s": time.perf_counter() - wall_s,
                "peak_mib": facts.get("peak_mib", memory_mib("VmHWM") - before_mib),
                "facts": facts,
                "environment": environment(step.config.seed),
            }
        _write(folder / _RESULT, row)


@contextmanager
def _recorded_failure(path: Path) -> Iterator[None]:
    """Write down an error of the block, with its traceback, and go on; Ctrl-C is none."""
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines()
        message = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        _write(path, {"error": message, "traceback": traceback.format_exc()})
        raise StepFailed(f"{path.parent.name}: {message}") from error


def _write(path: Path, row: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(row, indent=1, allow_nan=False).encode() + b"\n")
