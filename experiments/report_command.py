"""`videozoom report`: checks what is asked for, writes the page, and says where it is."""

from collections.abc import Sequence
from pathlib import Path

from videozoom.experiments.errors import UserError
from videozoom.experiments.progress import console
from videozoom.experiments.report import write_reports
from videozoom.experiments.run_folder import RunFolder


def run_report(run_dirs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of one or many runs and return its path.

    Args:
        run_dirs: Run folders, in the order they are to stand in.
        out: Where the page goes; `None` for `report.html` in the folder of one run, or `comparison.html` beside the
            first of several.

    Raises:
        UserError: a folder is no run, or the page cannot be written.
    """
    for run_dir in run_dirs:
        _check(run_dir)
    if out is None:
        out = RunFolder(run_dirs[0]).report_file if len(run_dirs) == 1 else run_dirs[0].parent / "comparison.html"
    if out.is_dir():
        out = out / "report.html"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_reports(run_dirs, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); choose another place with --out") from error
    size = out.stat().st_size / 1e6
    console.print(f"Open {out} in a browser ({size:.1f} MB, needs no other file).", markup=False, soft_wrap=True)
    return out


def _check(run_dir: Path) -> None:
    run = RunFolder(run_dir)
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} is no folder; give the run_dir of a run")
    known = (run.config_file, run.metrics_file, run.traces_file, run.results_file)
    if not any(file.is_file() for file in known):
        inner = sorted(path.parent.name for path in run_dir.glob("*/metrics.jsonl"))
        hint = f"; it holds runs: {', '.join(inner[:5])}" if inner else ""
        raise UserError(
            f"{run_dir} is no run folder: it has no config.yaml, metrics.jsonl, traces.jsonl or results.json{hint}"
        )
