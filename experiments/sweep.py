"""`videozoom sweep`: all cells of a study with all seeds, whatever they share done once, and one table at the end."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoom.envs.task_files import write_atomically
from videozoom.experiments.build import check_config
from videozoom.experiments.progress import console, heard_by
from videozoom.experiments.run_folder import environment
from videozoom.experiments.study_plan import CellRun, Plan, StepKind
from videozoom.experiments.study_report import study_page
from videozoom.experiments.study_results import study_results
from videozoom.experiments.study_steps import StepCache, StepFailed
from videozoom.experiments.study_table import print_study
from videozoom.experiments.sweep_board import Board

STUDIES_FOLDER = Path("runs/studies")
CACHE_FOLDER = Path("runs/study_cache")

Tell = Callable[[str], None]
"""Is told how far a cell is."""


@dataclass(frozen=True, slots=True)
class SweepFiles:
    """What a sweep writes besides the steps."""

    folder: Path

    @property
    def results(self) -> Path:
        """Numbers for programs."""
        return self.folder / "results.json"

    @property
    def report(self) -> Path:
        """The same for people."""
        return self.folder / "report.html"


def run_sweep(
    plan: Plan,
    *,
    folder: Path,
    cache: StepCache,
    jobs: int = 0,
    retry_failed: bool = False,
) -> dict[str, Any]:
    """Do what is not done yet, write `results.json` and `report.html`, print the table, and return the results.

    Args:
        plan: The study.
        folder: Where results and report go.
        cache: What steps left behind, shared by all studies.
        jobs: Cells side by side, each in a process of Ray Tune with one CPU; 0 runs them here, one after the other.
        retry_failed: Try again what failed in an earlier sweep.

    Raises:
        UserError: A cell's configuration names something that is not there; nothing was started.
        KeyboardInterrupt: Ctrl-C; finished steps are kept and half-done trainings go on from their checkpoints.
    """
    started_s = time.perf_counter()
    for config in {run.step.name: run.step.config for run in plan.runs}.values():
        check_config(config)
    if retry_failed:
        for run in plan.runs:
            cache.forget_failures(run.step)
    owed = [run for run in plan.runs if cache.find(run.step) is None and cache.failure(run.step) is None]
    with Board(plan, {(run.row, run.seed): _state(run, cache) for run in plan.runs}) as board:
        try:
            if jobs and owed:
                from videozoom.experiments.sweep_tune import run_with_tune

                run_with_tune(owed, cache.folder, board, jobs=jobs)
            else:
                _run_here(owed, cache, board)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "Interrupted; finished steps and checkpoints are kept. The same command goes on."
            ) from None
    files = SweepFiles(folder)
    folder.mkdir(parents=True, exist_ok=True)
    results = study_results(plan, cache) | {
        "seconds": round(time.perf_counter() - started_s, 1),
        "environment": environment(plan.runs[0].seed),
    }
    write_atomically(files.results, json.dumps(results, indent=1, allow_nan=False).encode() + b"\n")
    write_atomically(files.report, study_page(plan, results, cache).encode())
    print_study(plan.study, results)
    for row in results["rows"]:
        for seed, failure in row["failed"].items():
            console.print(f"Failed: {row['row']}, seed {seed}: {failure}", style="red", markup=False)
    if any(row["failed"] for row in results["rows"]):
        console.print("Run the same command with --retry-failed to try failed cells again.")
    console.print(f"{results['seconds']:.0f} s. Open {files.report}", markup=False)
    return results


def run_cell(run: CellRun, cache: StepCache, tell: Tell) -> str | None:
    """Do what one cell needs and return why that failed, `None` if it did not."""

    def hear(description: str, num_done: int, total: int, /) -> None:
        tell(f"{description} {num_done}/{total}")

    was_quiet, console.quiet = console.quiet, True
    try:
        with heard_by(hear):
            cache.result(run.step, tell)
    except StepFailed as error:
        return str(error)
    finally:
        console.quiet = was_quiet
    return None


def _run_here(runs: Sequence[CellRun], cache: StepCache, board: Board) -> None:
    for run in runs:
        failure = run_cell(run, cache, lambda text, run=run: board.tell(run, text))  # type: ignore[misc]
        board.finish(run, failure)


def _state(run: CellRun, cache: StepCache) -> str:
    if cache.find(run.step) is not None:
        return "done before"
    return "failed before" if cache.failure(run.step) is not None else ""


def describe_plan(plan: Plan, cache: StepCache) -> str:
    """Return what a sweep would do, for `--dry-run`: cells, what they share, and how many trainings are left."""
    study = plan.study
    rows = list(dict.fromkeys(run.row for run in plan.runs))
    seeds = list(dict.fromkeys(run.seed for run in plan.runs))
    lines = [
        f"{study.name}: {study.title}",
        f"{len(rows)} cells x {len(seeds)} seeds ({', '.join(map(str, seeds))}) on {study.base}",
        "",
    ]
    for row in rows:
        run = next(it for it in plan.runs if it.row == row)
        cell = study.cells[run.cell]
        lines.append(f"  {row}: {cell.label}")
        changed = {
            **{k: v for axis, value in run.point.items() for k, v in study.axes[axis][value].items()},
            **cell.set,
        }
        lines += [f"      {key}={json.dumps(value)}" for key, value in changed.items()]
        lines += [f"      in evaluation: {key}={json.dumps(value)}" for key, value in cell.eval.items()]
        lines.append(
            "      " + " <- ".join(step.name for step in (run.step, *reversed(run.training))) + f" (seed {run.seed})"
        )
    lines.append("")
    for kind in StepKind:
        steps = [step for step in plan.steps() if step.kind is kind]
        owed = sum(cache.find(step) is None for step in steps)
        used = sum(sum(step in set(run.step.all()) for run in plan.runs) for step in steps)
        lines.append(f"{kind.value}: {len(steps)} different for {used} uses, {owed} to do")
    return "\n".join(lines)
