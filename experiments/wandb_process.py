"""The process that talks to Weights & Biases: `python -m videozoom.experiments.wandb_process`, started by a run.

It stands alone so that nothing it meets (a service that hangs, dies or fills the disk, an exit that never comes) can
reach the run. It reads pickled `(name, arguments)` from standard input until that ends, which is also what it sees when
the run is killed; the W&B run is then finished all the same. Each line it writes is a sentence for the user.
"""

import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

INIT_TIMEOUT_S = 30.0
"""How long to try to reach the service."""


class WandbRun:
    """A run of Weights & Biases. It falls back to offline if the service cannot be reached."""

    def __init__(self) -> None:
        self._run: Any = None

    def start(
        self, folder: str, *, mode: str, project: str, run_id: str, name: str, group: str | None, config: dict[str, Any]
    ) -> None:
        """Begin a run, or go on with the one of this id."""
        # Pictures of tables that are not sent yet; they would lie in the user's home otherwise.
        os.environ.setdefault("WANDB_DATA_DIR", str(Path(folder, "wandb", "data")))
        import wandb

        def init(mode: str) -> Any:
            settings = wandb.Settings(console="off", silent=True, init_timeout=INIT_TIMEOUT_S)
            return wandb.init(
                dir=folder,
                mode=mode,  # type: ignore[arg-type]
                project=project,
                id=run_id,
                name=name,
                group=group,
                config=config,
                resume="allow",
                settings=settings,
            )

        try:
            self._run = init(mode)
        except Exception as error:
            if mode == "offline":
                raise
            say(
                f"Weights & Biases cannot be reached ({one_line(error)}); the run is kept offline, send it later with: "
                f"wandb sync {Path(folder, 'wandb')}/offline-run-*"
            )
            self._run = init("offline")

    def step_metric(self, pattern: str, step: str) -> None:
        """Draw the metrics of a pattern over another metric."""
        self._run.define_metric(pattern, step_metric=step)

    def log(self, values: Mapping[str, float]) -> None:
        """Send metrics."""
        self._run.log(dict(values))

    def table(
        self, name: str, step: Mapping[str, float], columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Send a table whose last column holds pictures."""
        import wandb

        data = [[*row[:-1], wandb.Image(row[-1])] for row in rows]
        self._run.log({name: wandb.Table(columns=list(columns), data=data), **step})

    def alert(self, title: str, text: str) -> None:
        """Send an alert."""
        self._run.alert(title=title, text=text, level="WARN", wait_duration=0)

    def finish(self) -> None:
        """Finish the run, if it began."""
        if self._run is not None:
            self._run.finish()


def serve(stream: BinaryIO, run: WandbRun) -> None:
    """Do what the stream says until it ends; after a failure, only read."""
    is_broken = False
    while (message := read_message(stream)) is not None:
        if not is_broken:
            is_broken = not attempt(lambda method, args, kwargs: getattr(run, method)(*args, **kwargs), *message)
    if not is_broken:
        attempt(run.finish)


def attempt(act: Callable[..., object], *arguments: Any) -> bool:
    """Return whether `act` worked; if not, say why."""
    try:
        act(*arguments)
    except BaseException as error:
        # Whatever it is: there is nobody above who could do better, and the run must not notice.
        say(f"Weights & Biases failed ({one_line(error)}); the run goes on without it")
        return False
    return True


def read_message(stream: BinaryIO) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
    """Return the next message, `None` at the end, also in the middle of a message."""
    try:
        message: tuple[str, tuple[Any, ...], dict[str, Any]] = pickle.load(stream)
    except (EOFError, pickle.UnpicklingError):
        return None
    return message


def one_line(error: BaseException) -> str:
    """Return what an error says, or what it is."""
    return " ".join(str(error).split()) or type(error).__name__


def say(sentence: str) -> None:
    """Tell the run."""
    print(sentence, flush=True)


if __name__ == "__main__":
    serve(sys.stdin.buffer, WandbRun())
