"""Runs trainings that are killed, or find the disk full, at a chosen moment, in processes that need no time to start.

A process that has imported everything, and computed nothing that starts threads, forks one child per job, read as JSON
lines from stdin. The child counts moments (before and after everything that touches the disk, in the middle of written
lines, after steps of computation) and at the one it was told sends itself SIGKILL, or raises what a full disk does. One
JSON line per job says how it ended.
"""

import errno
import importlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from grpo_world import NonsenseProtocol, make_source

from videozoom.envs.json_lines import JsonLinesWriter
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.experiments import cold_start, evaluate, grpo_env_runner, grpo_learner, train
from videozoom.experiments.cli import is_user_error
from videozoom.experiments.config_files import load_config
from videozoom.experiments.progress import console
from videozoom.policies.qwen_vl import QwenVLPolicy


class Moments:
    """Counts moments; at the last one of a job the process is gone, with nothing flushed, closed or said."""

    def __init__(self, kill_at: int | None, full_at: int | None, run_dir: Path) -> None:
        self.seen: list[str] = []
        self.kill_at, self.full_at = kill_at, full_at
        self.run_dir = str(run_dir)

    def pass_by(self, label: str) -> None:
        self.seen.append(label)
        if len(self.seen) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(self.seen) == self.full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def around(self, owner: Any, name: str, label: str) -> None:
        function = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            # What is written elsewhere, into caches, depends on what ran before.
            place = os.readlink(f"/proc/self/fd/{args[0]}") if name == "fsync" else str(args[0])
            if owner in (os, shutil) and not place.startswith(self.run_dir):
                return function(*args, **kwargs)
            self.pass_by(f"before {label}")
            result = function(*args, **kwargs)
            self.pass_by(f"after {label}")
            return result

        setattr(owner, name, call)

    def watch(self) -> None:
        self.around(os, "replace", "replace")
        self.around(os, "fsync", "fsync")
        self.around(shutil, "rmtree", "rmtree")
        self.around(torch, "save", "optimizer")
        self.around(QwenVLPolicy, "save", "model")
        self.around(cold_start, "supervised_update", "cold start step")
        self.around(grpo_env_runner, "sample_groups", "sampling")
        self.around(grpo_learner, "grpo_gradients", "gradients")
        self.around(evaluate.Evaluator, "run", "evaluation")
        append = JsonLinesWriter.append

        def append_in_halves(writer: JsonLinesWriter, rows: Any) -> None:
            rows, name = list(rows), Path(writer._file.name).name
            self.pass_by(f"before {name}")
            for row in rows[:-1]:
                append(writer, [row])
                self.pass_by(f"inside {name}")
            if rows:
                self._half(writer, rows[-1], name)
                append(writer, rows[-1:])
            self.pass_by(f"after {name}")

        JsonLinesWriter.append = append_in_halves  # type: ignore[method-assign]

    def _half(self, writer: JsonLinesWriter, row: Any, name: str) -> None:
        """Write half of a line, and take it back if the process is still there."""
        file: io.FileIO = writer._file  # type: ignore[assignment]
        start = file.seek(0, os.SEEK_END)
        data = json.dumps(row).encode()
        file.write(data[: len(data) // 2])
        self.pass_by(f"half of a line of {name}")
        file.truncate(start)


def main() -> None:
    console.quiet = True
    # A model with random weights would never be right; read like this, its texts are something to learn from.
    LoveR1Protocol.parse = NonsenseProtocol.parse  # type: ignore[method-assign]
    train.write_report = lambda *_: None
    # Most of transformers is imported when it is used; RLlib, when a training is built.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    importlib.import_module("videozoom.experiments.grpo_config")
    with tempfile.TemporaryDirectory() as folder:
        make_source(Path(folder, "tiny")).load().save(Path(folder, "again"))
    for line in sys.stdin:
        print(json.dumps(in_child(json.loads(line))), flush=True)


def in_child(job: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        with os.fdopen(writing, "w") as answer:
            _run(job, lambda told: print(json.dumps(told), file=answer, flush=True))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        told = answers.read()
    _, status = os.waitpid(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), **(json.loads(told) if told else {})}


def _run(job: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    run_dir = Path(job["run_dir"])
    moments = Moments(job["kill_at"], job["full_at"], run_dir)
    moments.watch()
    config = load_config("smoke", [*job["overrides"], f"run_dir={run_dir}"])
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    try:
        train.run_train(config, resume=run_dir if job["resume"] else None)
    except BaseException as error:
        tell({"error": str(error) if is_user_error(error) else repr(error)})
        os._exit(1)
    tell({"moments": moments.seen})


if __name__ == "__main__":
    main()
