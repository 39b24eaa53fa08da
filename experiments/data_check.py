"""`videozoom data check`: whether a task file and its videos are fit for a run."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from videozoom.envs.task_files import TaskRow, read_rows
from videozoom.experiments.data_check_rows import problem_of, real_path, row_problems
from videozoom.experiments.data_check_videos import VideoFacts, probe_all
from videozoom.experiments.data_problems import Problem, ProblemKind, Report, print_report
from videozoom.experiments.progress import progress

EXIT_PROBLEMS = 1


def run_check(
    file: Path, *, decode: bool, num_workers: int | None, tolerance_s: float, limit_s: float, as_json: bool
) -> int:
    """Check a task file, print what was found on standard output, and return the exit code: 0, or 1 for errors.

    Raises:
        TaskFileError: if the file is missing, empty or no text.
    """
    try:
        report = check_tasks(file, decode=decode, num_workers=num_workers, tolerance_s=tolerance_s, limit_s=limit_s)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted before every video was looked at; there is no report.") from None
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        print_report(report, Console(highlight=False))
    return 0 if report.ok else EXIT_PROBLEMS


def check_tasks(
    file: Path,
    *,
    decode: bool = False,
    num_workers: int | None = None,
    tolerance_s: float = 1.0,
    limit_s: float = 600.0,
) -> Report:
    """Return what is wrong with a task file and its videos; every video is opened once.

    Args:
        file: JSON lines, as `load_tasks` reads them.
        decode: whether the fast view of every video is decoded too; finds damage, and takes as long as decoding does.
        num_workers: processes that open videos; `None` for one per CPU.
        tolerance_s: how far a duration, the end of evidence or a number of frames may be off.
        limit_s: seconds that one video may take.

    Raises:
        TaskFileError: if the file is missing, empty or no text.
    """
    file = Path(file)
    rows = read_rows(file)
    rows_of = _rows_by_video(rows, file.parent)
    problems = list(row_problems(rows))
    present = []
    for video, users in rows_of.items():
        if _is_file(video):
            present.append(video)
        else:
            message = f"there is no such video file{_users(users)}; paths are relative to the task file"
            problems.append(problem_of(users[0], ProblemKind.MISSING_VIDEO, message))
    with progress("Checking videos", len(present)) as advance:
        facts = probe_all(
            present, decode=decode, num_workers=num_workers or _num_cpus(), limit_s=limit_s, done=lambda: advance()
        )
    problems += _video_problems(rows_of, dict(zip(present, facts, strict=True)), tolerance_s)
    problems.sort(key=lambda problem: problem.row)
    num_tasks = sum(row.task is not None for row in rows)
    return Report(file, len(rows), num_tasks, len(rows_of), tuple(problems))


def _rows_by_video(rows: Sequence[TaskRow], folder: Path) -> dict[Path, list[TaskRow]]:
    """Return the rows of each video, wrong rows too where they name one."""
    rows_of: dict[Path, list[TaskRow]] = {}
    for row in rows:
        video = row.fields.get("video")
        if isinstance(video, str) and video.strip() and "\0" not in video:
            rows_of.setdefault(real_path(folder / video), []).append(row)
    return rows_of


def _video_problems(
    rows_of: Mapping[Path, Sequence[TaskRow]], facts_of: Mapping[Path, VideoFacts], tolerance_s: float
) -> Iterator[Problem]:
    for video, facts in facts_of.items():
        users = rows_of[video]
        for kind, message in facts.findings:
            yield problem_of(users[0], kind, f"{message}{_users(users)}")
        if facts.duration_s is not None:
            for row in users:
                for kind, message in _disagreements(row, facts.duration_s, facts.num_frames, tolerance_s):
                    yield problem_of(row, kind, message)


def _disagreements(
    row: TaskRow, duration_s: float, num_frames: int, tolerance_s: float
) -> Iterator[tuple[ProblemKind, str]]:
    """Yield where a row says something else than its video."""
    task = row.task
    if task is None:
        return
    if abs(task.duration_s - duration_s) > tolerance_s:
        message = f"duration_s is {task.duration_s:g}, but the video is {duration_s:.3f} s long"
        yield ProblemKind.WRONG_DURATION, message
    announced = task.metadata.get("num_frames")
    slack = max(1.0, tolerance_s * num_frames / duration_s) if duration_s > 0 else 1.0
    if type(announced) is int and abs(announced - num_frames) > slack:
        message = f"metadata.num_frames is {announced}, but the video has {num_frames} frames"
        yield ProblemKind.WRONG_FRAME_COUNT, message
    for start_s, end_s in task.evidence:
        if end_s > duration_s + tolerance_s:
            message = f"evidence span [{start_s:g}, {end_s:g}] ends behind the video, which is {duration_s:.3f} s long"
            yield ProblemKind.EVIDENCE_OUTSIDE, message


def _users(rows: Sequence[TaskRow]) -> str:
    return f" (used by {len(rows)} rows)" if len(rows) > 1 else ""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _num_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
