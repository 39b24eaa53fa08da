"""`videozoom bench video`: what reading videos costs, beside the floor, published code and other decoders."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from videozoom.experiments.bench_folder import measuring_in, unwritable
from videozoom.experiments.bench_journal import Journal, digest
from videozoom.experiments.bench_process import Job
from videozoom.experiments.bench_rounds import Results, measure_all
from videozoom.experiments.bench_video_cases import (
    NUM_ROLLOUTS,
    NUM_STEPS,
    Case,
    Subject,
    fast_case,
    free_bytes,
    question_cases,
    second_use_case,
    slow_case,
)
from videozoom.experiments.bench_video_files import BenchVideo, num_steps
from videozoom.experiments.bench_video_rows import Row, print_rows, rows_of
from videozoom.experiments.errors import UserError
from videozoom.experiments.progress import console, progress
from videozoom.experiments.run_folder import environment

_MAIN = BenchVideo(10, 250)
_FAST = (_MAIN, BenchVideo(10, 30), BenchVideo(60, 30))
_FULL = (*_FAST, BenchVideo(60, 250))
_LIBRARIES = ("decord", "torchcodec")

Video = BenchVideo | Path


@dataclass(frozen=True, slots=True)
class _Plan:
    """Cases that are measured on one video, known by name before there is one."""

    names: tuple[str, ...]
    video: Video
    build: Callable[[Subject], Iterable[Case]]


def run_bench_video(
    file: Path | None,
    *,
    full: bool,
    only: Sequence[str] | None,
    repeats: int,
    folder: Path,
    as_json: bool,
    overwrite: bool = False,
) -> None:
    """Measure, and print a table on standard output, or JSON.

    A run that is interrupted or killed is continued by the next one of the same request.

    Args:
        file: the video to measure on; `None` for made ones.
        full: whether to measure on more videos and to extrapolate nothing.
        only: names of cases; all if empty.
        repeats: runs behind each median.
        folder: where made videos are kept, and caches for as long as they are measured.
        as_json: whether to print what programs read.
        overwrite: whether to begin anew, whatever an interrupted run has measured.

    Raises:
        UserError: a file cannot be read or made, there is no such case, or another run is measuring in the folder.
    """
    plans = _selected(file, only, full=full)
    videos = list(dict.fromkeys(plan.video for plan in plans))
    subjects: dict[Video, Subject] = {it: Subject.of(it, it.name) for it in videos if isinstance(it, Path)}
    request = {"file": file and str(file.resolve()), "full": full, "only": only and sorted(only), "repeats": repeats}
    with measuring_in(folder) as caches:
        subjects |= _made_subjects(videos, folder)
        with _journal(folder, request, subjects.values(), overwrite=overwrite) as journal, _continuable():
            # Only jobs that may take as much memory as those of the interrupted run are equal to them.
            memory_bytes = journal.kept["memory_bytes"]
            subjects = {video: replace(it, memory_bytes=memory_bytes) for video, it in subjects.items()}
            cases = [
                case for plan in plans for case in plan.build(subjects[plan.video]) if not only or case.name in only
            ]
            rows = rows_of(cases, _results(cases, repeats, caches, journal))
            _print(rows, subjects.values(), repeats, as_json=as_json)
            journal.remove()


def case_names(file: Path | None, *, full: bool) -> list[str]:
    """Return the names of the cases, in order."""
    return [name for plan in _plans(file, full=full) for name in plan.names]


def _results(cases: Sequence[Case], repeats: int, folder: Path, journal: Journal) -> Results:
    parts = [(part.job, case, entry) for case in cases for entry in case.entries for part in entry.parts]
    names: dict[Job, str] = {}
    for job, case, entry in parts:
        # What several cases share is measured once, under the name of the first.
        names.setdefault(job, f"{case.name} {entry.method}")
    required = {job for job, _, entry in parts if entry.is_required}
    return measure_all(names, required=required, repeats=repeats, folder=folder, journal=journal)


def _plans(file: Path | None, *, full: bool) -> Iterator[_Plan]:
    fast: Sequence[Video] = [file] if file else _FULL if full else _FAST
    slow: Sequence[Video] = [file] if file else _FULL if full else [_MAIN]
    yield from (_plan("fast", video, fast_case) for video in fast)
    yield from (_plan("slow", video, slow_case) for video in slow)
    video = file or _MAIN
    yield _Plan(("second_use",), video, lambda subject: [second_use_case(subject)])
    names = tuple(f"question_{NUM_ROLLOUTS}x{NUM_STEPS}_{state}" for state in ("cold", "warm"))
    yield _Plan(names, video, lambda subject: question_cases(subject, in_full=full))


def _plan(kind: str, video: Video, build: Callable[[str, Subject], Case]) -> _Plan:
    name = f"{kind}_{video.name if isinstance(video, BenchVideo) else 'file'}"
    return _Plan((name,), video, lambda subject: [build(name, subject)])


def _selected(file: Path | None, only: Sequence[str] | None, *, full: bool) -> list[_Plan]:
    """Return the plans that hold the cases asked for; raises `UserError` for one that is in none."""
    names = case_names(file, full=full)
    for name in only or ():
        if name not in names:
            raise UserError(f"there is no case {name!r} here; --only takes {', '.join(names)}")
    return [plan for plan in _plans(file, full=full) if not only or set(only) & set(plan.names)]


def _made_subjects(videos: Iterable[Video], folder: Path) -> dict[Video, Subject]:
    """Return the made ones of some videos, made where they are not there; raises `UserError` if that cannot be."""
    try:
        made = _made([video for video in videos if isinstance(video, BenchVideo)], folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    return {video: Subject.of(path, path.name) for video, path in made.items()}


def _made(videos: Sequence[BenchVideo], folder: Path) -> dict[BenchVideo, Path]:
    total = num_steps(videos, folder)
    if not total:
        return {video: video.path(folder) for video in videos}
    with progress("Making videos", total) as advance:
        return {video: video.make(folder, advance) for video in videos}


def _journal(folder: Path, request: Mapping[str, Any], subjects: Iterable[Subject], *, overwrite: bool) -> Journal:
    """Return what was measured for a request, and say where that leaves something to know."""
    machine = _environment()
    about = {name: machine[name] for name in ("python", "platform", "cpu", "num_cpus", "packages")}
    about["videos"] = [[it.name, it.path.stat().st_size, it.path.stat().st_mtime_ns] for it in subjects]
    kept = {"memory_bytes": free_bytes(), "sources": _sources()}
    path = folder / f"unfinished_{digest(*request.items())}.jsonl"
    journal = Journal(path, about, kept, overwrite=overwrite)
    if journal.is_replaced and not overwrite:
        console.print("What an interrupted run measured is of another version, machine or file; starting over.")
    if journal.kept["sources"] != kept["sources"]:
        console.print("The code has changed since the run was interrupted; --overwrite measures everything again.")
    return journal


def _sources() -> str:
    """Return what changes with the code that is measured."""
    root = Path(__file__).resolve().parent.parent
    files = sorted([*(root / "envs").rglob("*.py"), *(root / "experiments").glob("bench_[pv]*.py")])
    return digest(*(digest(file.relative_to(root), file.read_text(encoding="utf-8")) for file in files))


@contextmanager
def _continuable() -> Iterator[None]:
    """Let Ctrl-C say how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted; the same command continues with what is left to measure.") from None


def _print(rows: Sequence[Row], subjects: Iterable[Subject], repeats: int, *, as_json: bool) -> None:
    if as_json:
        about = {"rows": rows, "videos": [_about(subject) for subject in subjects], "repeats": repeats}
        print(json.dumps(about | {"environment": _environment()}, indent=2, allow_nan=False))
    else:
        print_rows(rows, Console(highlight=False))


def _about(subject: Subject) -> dict[str, Any]:
    """Return what matters of a video."""
    packets = subject.index.packets
    return {
        "name": subject.name,
        "num_frames": len(subject.index.pts),
        "duration_s": subject.index.duration_s,
        "height_px": subject.height_px,
        "width_px": subject.width_px,
        "codec": subject.index.codec,
        "kilobits_per_s": round(subject.path.stat().st_size * 8e-3 / subject.index.duration_s),
        "num_key_frames": int(np.count_nonzero(packets.is_key)),
    }


def _environment() -> dict[str, Any]:
    about = environment(0)
    del about["seed"]
    for package in _LIBRARIES:
        try:
            about["packages"][package] = version(package)
        except PackageNotFoundError:
            continue
    return about
