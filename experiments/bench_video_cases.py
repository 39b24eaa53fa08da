"""The cases of `videozoom bench video`: which jobs are measured, and which of them stand side by side."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.sampling import PATCH_PX, fast_frame_indices, frame_size, slow_frame_indices
from videozoom.envs.tasks import Span
from videozoom.envs.videos import decord_reader
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.reader import build_reader
from videozoom.envs.videos.resizing import Resize
from videozoom.experiments.bench_process import Job
from videozoom.experiments.bench_video_jobs import (
    DecordRead,
    FastView,
    FfmpegFloor,
    Floor,
    KnownSlowClip,
    Question,
    SecondUse,
    SlowClip,
    TorchcodecRead,
    WarmQuestion,
)
from videozoom.experiments.bench_video_reference import Decoder, ReferenceQuestion, ReferenceView, View, num_reads
from videozoom.experiments.errors import UserError

FAST_FPS, FAST_FRAMES, FAST_TOKENS = 2.0, 768, 32
SLOW_FPS, SLOW_FRAMES, SLOW_TOKENS = 2.0, 32, 256
"""LOVE-R1's, the defaults of a run."""
NUM_ROLLOUTS, NUM_STEPS = 8, 3
CLIP_S = 30.0
_SHORT_S = 60.0
"""Questions about videos up to this long are read in full by the reference pattern too."""

_REFERENCE_BYTES_PER_VALUE = 9
"""Memory the reference pattern takes for each value of each frame: bytes several times over, and floating point."""
_MEMORY_SHARE = 0.7
"""Part of the free memory that it may take."""


_REQUIRED = ("ours", "ours_unknown_file", "floor")
"""Methods that need nothing but this project."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A video that is measured."""

    name: str
    path: Path
    index: VideoIndex
    height_px: int
    width_px: int
    memory_bytes: int
    """What methods that need much memory are told to get along with."""

    @classmethod
    def of(cls, path: Path, name: str) -> "Subject":
        """Return a video; raises `UserError` if it cannot be read."""
        try:
            index = scan(path)
            if index.num_missing:
                raise UserError(f"{path}: the file is cut short; {index.num_missing} frames are missing at its end")
            whole = build_reader().read(path, index, np.zeros(1, np.int64), lambda *size: size, Resize.BICUBIC)
        except VideoDecodeError as error:
            raise UserError(
                f"cannot measure on {str(error).removesuffix('.')}; give a video that can be read"
            ) from error
        height_px, width_px = whole.frames.shape[1:3]
        return cls(name, path, index, height_px, width_px, free_bytes())

    @property
    def fast(self) -> View:
        """What a fast view reads."""
        index = self.index
        return self._view(fast_frame_indices(len(index.pts), index.duration_s, FAST_FPS, FAST_FRAMES), FAST_TOKENS)

    def slow(self, span_s: Span) -> View:
        """Return what a slow clip reads."""
        return self._view(slow_frame_indices(self.index.times_s, span_s, SLOW_FPS, SLOW_FRAMES), SLOW_TOKENS)

    def spans_s(self, num: int) -> tuple[Span, ...]:
        """Return spans for slow clips, spread over the video, no two the same."""
        length_s = min(CLIP_S, self.index.duration_s / 2)
        starts_s = np.linspace(0.0, self.index.duration_s - length_s, num)
        return tuple(Span(start_s, start_s + length_s) for start_s in starts_s.tolist())

    def _view(self, frames: NDArray[np.int64], tokens: int) -> View:
        size = frame_size(self.height_px, self.width_px, tokens * PATCH_PX**2)
        return View(tuple(frames.tolist()), tuple(self.index.times_s[frames].tolist()), size)


@dataclass(frozen=True, slots=True)
class Part:
    """A job, and how often its cost counts."""

    job: Job
    weight: float = 1.0
    without: str = ""
    """A fact in seconds that does not count."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One method in one case: the sum of its parts."""

    method: str
    parts: tuple[Part, ...]
    decoder: str = ""
    """What decodes, where the method leaves that open."""

    @property
    def is_required(self) -> bool:
        """Whether the case is worth nothing without it."""
        return self.method in _REQUIRED

    @property
    def is_extrapolated(self) -> bool:
        """Whether something else was measured than what is stated."""
        return any(part.weight != 1.0 for part in self.parts)


@dataclass(frozen=True, slots=True)
class Case:
    """Methods that do the same, side by side."""

    name: str
    video: str
    entries: tuple[Entry, ...]


def fast_case(name: str, video: Subject) -> Case:
    """Return the first fast view of a video."""
    ours = _one("ours", FastView(video.path))
    return Case(
        name,
        video.name,
        (ours, *_whole_floors(video), *_reference_views(video, video.fast), *_others(video, video.fast)),
    )


def slow_case(name: str, video: Subject) -> Case:
    """Return a slow clip in the middle of a video."""
    span_s = video.spans_s(3)[1]
    view = video.slow(span_s)
    ours = (_one("ours", KnownSlowClip(video.path, span_s)), _one("ours_unknown_file", SlowClip(video.path, span_s)))
    first_pts, last_pts = video.index.pts[[view.frames[0], view.frames[-1]]].tolist()
    floors = [_one("floor", Floor(video.path, first_pts, last_pts))]
    if FfmpegFloor.is_available():
        floors.append(_one("floor_ffmpeg", FfmpegFloor(video.path, span_s)))
    return Case(name, video.name, (*ours, *floors, *_reference_views(video, view), *_others(video, view)))


def second_use_case(video: Subject) -> Case:
    """Return the fast view of a video that another process has seen."""
    ours = _one("ours", SecondUse(video.path))
    return Case("second_use", video.name, (ours, _floor(video), *_reference_views(video, video.fast)))


def question_cases(video: Subject, *, in_full: bool) -> Iterator[Case]:
    """Yield one question, nothing cached and then the fast view cached.

    Args:
        video: the video.
        in_full: whether the reference pattern is measured as a whole, however long that takes, instead of multiplied.
    """
    spans_s = video.spans_s(NUM_ROLLOUTS * NUM_STEPS)
    references = tuple(_reference_questions(video, spans_s, in_full=in_full or video.index.duration_s <= _SHORT_S))
    for state, job in (("cold", Question(video.path, spans_s)), ("warm", WarmQuestion(video.path, spans_s))):
        name = f"question_{NUM_ROLLOUTS}x{NUM_STEPS}_{state}"
        yield Case(name, video.name, (_one("ours", job), _floor(video), *references))


def _one(method: str, job: Job, decoder: str = "") -> Entry:
    return Entry(method, (Part(job),), decoder)


def _floor(video: Subject) -> Entry:
    return _one("floor", Floor(video.path))


def _whole_floors(video: Subject) -> Iterator[Entry]:
    yield _floor(video)
    if FfmpegFloor.is_available():
        yield _one("floor_ffmpeg", FfmpegFloor(video.path))


def _reference_views(video: Subject, view: View) -> Iterator[Entry]:
    for method, decoder in _reference_decoders(video):
        yield Entry(method, (_reference_part(video, view, decoder),), decoder)


def _reference_questions(video: Subject, spans_s: Sequence[Span], *, in_full: bool) -> Iterator[Entry]:
    num_fast, num_slow = num_reads(NUM_ROLLOUTS, NUM_STEPS)
    clips = [video.slow(span_s) for span_s in spans_s]
    rollouts = tuple(tuple(clips[start : start + NUM_STEPS]) for start in range(0, len(clips), NUM_STEPS))
    for method, decoder in _reference_decoders(video):
        fast = _reference_part(video, video.fast, decoder)
        if in_full and fast.weight == 1.0:
            yield _one(method, ReferenceQuestion(video.path, video.fast, rollouts, decoder), decoder)
            continue
        # The file is opened with the fast view of each step, and not again for its clips.
        slow = _reference_part(video, video.slow(video.spans_s(3)[1]), decoder)
        parts = (
            Part(fast.job, num_fast * fast.weight),
            Part(slow.job, num_slow * slow.weight, without="open_cpu_s"),
        )
        yield Entry(method, parts, decoder)


def _reference_part(video: Subject, view: View, decoder: Decoder) -> Part:
    """Return the reference's reading of a view; of its first part where the memory does not hold the whole."""
    frame_bytes = video.height_px * video.width_px * 3 * _REFERENCE_BYTES_PER_VALUE
    num_frames = min(len(view.frames), max(2, int(_MEMORY_SHARE * video.memory_bytes / frame_bytes)))
    first = View(view.frames[:num_frames], view.times_s[:num_frames], view.size)
    return Part(ReferenceView(video.path, first, decoder), len(view.frames) / num_frames)


def _reference_decoders(video: Subject) -> Iterator[tuple[str, Decoder]]:
    """Yield the methods that follow the reference pattern: with decord as published, and with PyAV."""
    if _is_installed("decord") and decord_reader.refusal(video.index) is None:
        yield "reference_pattern", Decoder.DECORD
        yield "reference_pattern_pyav", Decoder.PYAV
    else:
        yield "reference_pattern", Decoder.PYAV


def _others(video: Subject, view: View) -> Iterator[Entry]:
    if _is_installed("decord"):
        yield _one("decord", DecordRead(video.path, view.frames, view.size))
    if _is_installed("torchcodec"):
        yield _one("torchcodec", TorchcodecRead(video.path, view.frames, view.size))


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def free_bytes() -> int:
    """Return how much memory new processes can take."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
