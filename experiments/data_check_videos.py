"""What opening a video says about it. Every file is opened in a process that may hang or crash."""

import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.sampling import PATCH_PX, fast_frame_indices, frame_size
from videozoom.envs.videos.index import NoTimestampsError, VideoIndex, scan
from videozoom.envs.videos.reader import build_reader
from videozoom.envs.videos.resizing import Resize
from videozoom.envs.videos.worker_process import WorkerError, WorkerProcess
from videozoom.experiments.data_problems import ProblemKind

_FAST_FPS, _FAST_MAX_FRAMES, _FAST_FRAME_TOKENS = 2.0, 768, 32
"""LOVE-R1's fast view, the default of a run."""
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a file says about itself."""

    duration_s: float | None
    """`None` if it cannot be read."""
    num_frames: int
    findings: tuple[tuple[ProblemKind, str], ...]


def probe_all(
    videos: Sequence[Path], *, decode: bool, num_workers: int, limit_s: float, done: Callable[[], None]
) -> list[VideoFacts]:
    """Return the facts of each video, several files at a time.

    Args:
        videos: the files.
        decode: whether the fast view of each is decoded.
        num_workers: processes.
        limit_s: seconds that one file may take; the process is then killed and the file counts as unreadable.
        done: called after each file.
    """
    workers = [WorkerProcess(limit_s=limit_s) for _ in range(min(num_workers, len(videos)))]
    idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)
    pool = ThreadPoolExecutor(max(1, len(workers)))
    futures: list[Future[VideoFacts]] = [pool.submit(_probe_with, idle, video, decode) for video in videos]
    try:
        for _ in as_completed(futures):
            done()
        return [future.result() for future in futures]
    finally:
        # After Ctrl-C: nothing new begins, and what runs is killed instead of waited for.
        pool.shutdown(wait=False, cancel_futures=True)
        _close(workers)
        while any(future.running() for future in futures):
            # A process that was about to start when the others were killed.
            time.sleep(_POLL_S)
            _close(workers)


def _close(workers: Sequence[WorkerProcess]) -> None:
    for worker in workers:
        worker.close()


def probe(video: Path, decode: bool) -> VideoFacts:
    """Return the facts of a video."""
    try:
        index = scan(video)
    except VideoDecodeError as error:
        is_untimed = isinstance(error, NoTimestampsError)
        kind = ProblemKind.NO_TIMESTAMPS if is_untimed else ProblemKind.UNREADABLE_VIDEO
        return VideoFacts(None, 0, ((kind, _reason(video, error)),))
    if index.num_missing:
        message = f"the file is cut short: {index.num_missing} of the frames it announces are missing"
        return VideoFacts(index.duration_s, len(index.pts), ((ProblemKind.CUT_SHORT, message),))
    findings: list[tuple[ProblemKind, str]] = []
    if decode:
        findings += _decode_findings(video, index)
    if _is_variable(np.diff(index.pts)):
        intervals_s = np.diff(index.times_s)
        message = f"the frame rate varies: frames are {intervals_s.min():.3g} to {intervals_s.max():.3g} s apart"
        findings.append((ProblemKind.VARIABLE_FRAME_RATE, message))
    return VideoFacts(index.duration_s, len(index.pts), tuple(findings))


def _probe_with(idle: "queue.SimpleQueue[WorkerProcess]", video: Path, decode: bool) -> VideoFacts:
    worker = idle.get()
    try:
        return worker.call(probe, video, decode)
    except WorkerError as error:
        message = f"the process that read it {error}"
        return VideoFacts(None, 0, ((ProblemKind.UNREADABLE_VIDEO, message),))
    finally:
        idle.put(worker)


def _decode_findings(video: Path, index: VideoIndex) -> list[tuple[ProblemKind, str]]:
    wanted = fast_frame_indices(len(index.pts), index.duration_s, _FAST_FPS, _FAST_MAX_FRAMES)
    size = partial(frame_size, budget_px=_FAST_FRAME_TOKENS * PATCH_PX**2)
    try:
        filled = build_reader().read(video, index, wanted, size, Resize.AREA).filled
    except VideoDecodeError as error:
        return [(ProblemKind.DAMAGED_FRAMES, _reason(video, error))]
    if not filled:
        return []
    first_s = index.times_s[wanted[min(filled)]]
    message = (
        f"{len(filled)} of the {len(wanted)} frames of its fast view cannot be decoded, the first at {first_s:.1f} s"
    )
    return [(ProblemKind.DAMAGED_FRAMES, message)]


def _is_variable(intervals: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> bool:
    """Whether the time between frames (`[N - 1]`, in ticks) changes by more than rounding."""
    if not len(intervals):
        return False
    usual = float(np.median(intervals))
    return bool((np.abs(intervals - usual) > max(1.0, 0.1 * usual)).any())


def _reason(video: Path, error: VideoDecodeError) -> str:
    return str(error).removeprefix(f"{video}: ").removesuffix(".")
