"""What a person sees while a sweep works: on a terminal a table of cells by seeds, elsewhere a line per change."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from videozoom.experiments.progress import console
from videozoom.experiments.study_plan import CellRun, Plan


class Board:
    """Shows how far each cell is with each seed."""

    def __init__(self, plan: Plan, states: Mapping[tuple[str, int], str]) -> None:
        """Begin with what is known by row and seed; nothing, if a run waits."""
        self._plan = plan
        self._states = dict(states)
        # Its own: the one of the project is silenced while steps run.
        self._console = Console(stderr=True, highlight=False, quiet=console.quiet)
        self._live = Live(self, console=self._console, refresh_per_second=2) if self._console.is_terminal else None
        self._last: dict[tuple[str, int], str] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        else:
            known = sum(bool(state) for state in self._states.values())
            self._console.print(f"{self._plan.study.name}: {len(self._states)} runs, {known} known already")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def tell(self, run: CellRun, text: str) -> None:
        """Show what a run does now, e.g. `Training, decoupled_grpo 12/40`."""
        self._states[_key(run)] = text
        what = text.rstrip("0123456789/ ")
        if self._live is None and self._last.get(_key(run)) != what:
            self._last[_key(run)] = what
            self._console.print(f"{run.row}, seed {run.seed}: {what}", markup=False, soft_wrap=True)

    def finish(self, run: CellRun, failure: str | None) -> None:
        """Show that a run is over, well or not."""
        self._states[_key(run)] = "done" if failure is None else "failed"
        if self._live is None or failure is not None:
            end = "done" if failure is None else f"failed: {failure}"
            num_over = sum(state.split()[:1] in (["done"], ["failed"]) for state in self._states.values())
            line = f"{run.row}, seed {run.seed}: {end} ({num_over} of {len(self._states)})"
            self._console.print(line, markup=False, soft_wrap=True)

    def __rich__(self) -> Table:
        """Return the table as it is now."""
        seeds = list(dict.fromkeys(run.seed for run in self._plan.runs))
        table = Table(title=self._plan.study.title, box=None, padding=(0, 2, 0, 0), title_justify="left")
        for column in ("cell", *(f"seed {seed}" for seed in seeds)):
            table.add_column(column, no_wrap=True)
        for row in dict.fromkeys(run.row for run in self._plan.runs):
            table.add_row(row, *(_styled(self._states[row, seed]) for seed in seeds))
        return table


def _key(run: CellRun) -> tuple[str, int]:
    return run.row, run.seed


def _styled(state: str) -> Text:
    styles = {"done": "green", "failed": "red", "waiting": "yellow"}
    return Text(state or "-", style=styles.get(state.partition(" ")[0], "") if state else "dim")
