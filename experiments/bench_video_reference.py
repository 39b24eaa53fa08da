"""How published code reads videos, to compare with: `ReferenceView` and `ReferenceQuestion`.

All frames of a view at full size in one array, timestamps drawn on each, all of them to floating point and through one
antialiased bicubic resize; nothing kept, so that every step of every rollout reads everything again.

Source: LOVE-R1, released code (`_generate_and_score_completions` of its GRPO trainer). Departs from it to its
advantage: the font is loaded once, one thread is used, and in a question the file is opened once per step.
Shape legend: F frame, C channel, H height, W width.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from videozoom.envs.videos.containers import opened
from videozoom.envs.videos.index import scan
from videozoom.experiments.bench_process import Job

if TYPE_CHECKING:
    import torch

_FONT_FRACTION = 8
"""Font height is the frame's shorter side divided by this."""


class Decoder(StrEnum):
    """What reads the frames."""

    DECORD = "decord"
    """As the published code does."""
    PYAV = "pyav"
    """Where decord is not installed: from key frame to wanted frame, like decord, without its detours."""


@dataclass(frozen=True, slots=True)
class View:
    """What is read in one go."""

    frames: tuple[int, ...]
    """Display indices, ascending."""
    times_s: tuple[float, ...]
    size: tuple[int, int]
    """Height and width that frames are resized to."""


@dataclass(frozen=True, slots=True)
class ReferenceView(Job):
    """One view, the file opened for it."""

    video: Path
    view: View
    decoder: Decoder

    def load(self) -> None:
        _load(self.decoder)

    def run(self, folder: Path) -> tuple["torch.Tensor", Mapping[str, float]]:
        with _pattern(self.video, self.decoder) as pattern:
            return pattern.read(self.view), pattern.cpu_s

    def facts(self, result: tuple["torch.Tensor", Mapping[str, float]]) -> Mapping[str, float]:
        images, cpu_s = result
        return {"num_frames": len(images), **cpu_s}


@dataclass(frozen=True, slots=True)
class ReferenceQuestion(Job):
    """All rollouts of one question.

    Every step starts anew: it reads the fast view, the clips chosen in earlier steps for the prompt, and those and its
    own for the answer's prompt.
    """

    video: Path
    fast: View
    rollouts: tuple[tuple[View, ...], ...]
    """The clips of each rollout, one for each step."""
    decoder: Decoder

    max_runs: ClassVar[int | None] = 1  # It is long, and repeats itself.

    def load(self) -> None:
        _load(self.decoder)

    def run(self, folder: Path) -> Counter[str]:
        num_reads: Counter[str] = Counter()
        for clips in self.rollouts:
            for step in range(1, len(clips) + 1):
                with _pattern(self.video, self.decoder) as pattern:
                    pattern.read(self.fast)
                    for clip in (*clips[: step - 1], *clips[:step]):
                        pattern.read(clip)
                        num_reads["num_slow_decodes"] += 1
                num_reads["num_fast_decodes"] += 1
        return num_reads

    def facts(self, result: Mapping[str, float]) -> Mapping[str, float]:
        return result


def num_reads(num_rollouts: int, num_steps: int) -> tuple[int, int]:
    """Return how many fast views and slow clips a question takes.

    Example:
        >>> num_reads(num_rollouts=8, num_steps=3)
        (24, 72)
    """
    return num_rollouts * num_steps, num_rollouts * num_steps**2


class _Reader(Protocol):
    """An open file."""

    def batch(self, frames: Sequence[int]) -> NDArray[np.uint8]:
        """Return frames `[F, H, W, 3]` at full size."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class _DecordReader:
    def __init__(self, video: Path) -> None:
        import decord

        self._reader = decord.VideoReader(str(video), ctx=decord.cpu(0))

    def batch(self, frames: Sequence[int]) -> NDArray[np.uint8]:
        images: NDArray[np.uint8] = self._reader.get_batch(list(frames)).asnumpy()
        return images

    def close(self) -> None:
        del self._reader


class _PlainReader:
    def __init__(self, video: Path) -> None:
        self._index = scan(video)
        self._opening = opened(video)
        self._container, self._stream = self._opening.__enter__()

    def batch(self, frames: Sequence[int]) -> NDArray[np.uint8]:
        return np.stack(list(self._frames(frames)))

    def close(self) -> None:
        self._opening.__exit__(None, None, None)

    def _frames(self, frames: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Yield frames; jumps to a key frame only where that leaves frames out."""
        key_pts = np.sort(self._index.packets.pts[self._index.packets.is_key])
        reached: int | None = None
        decoded = self._container.decode(self._stream)
        for wanted_pts in self._index.pts[list(frames)].tolist():
            start_pts = int(key_pts[max(0, np.searchsorted(key_pts, wanted_pts, side="right") - 1)])
            if reached is None or reached < start_pts:
                self._container.seek(start_pts, stream=self._stream)
                decoded = self._container.decode(self._stream)
            for frame in decoded:
                reached = frame.pts
                if reached is not None and reached >= wanted_pts:
                    yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    break


class _Pattern:
    """An open file, read as the published code does; counts the CPU seconds of each part."""

    def __init__(self, video: Path, decoder: Decoder) -> None:
        self.cpu_s: defaultdict[str, float] = defaultdict(float)
        with self._counting("open_cpu_s"):
            self._reader: _Reader = _DecordReader(video) if decoder is Decoder.DECORD else _PlainReader(video)

    def read(self, view: View) -> "torch.Tensor":
        """Return the view as `[F, C, H, W]`, floating point, 0 to 255."""
        import torch

        with self._counting("decode_cpu_s"):
            batch_FHWC = self._reader.batch(view.frames)
        with self._counting("draw_cpu_s"):
            drawn = [_drawn(image, int(time_s)) for image, time_s in zip(batch_FHWC, view.times_s, strict=True)]
            drawn_FHWC = np.stack(drawn)
        with self._counting("resize_cpu_s"):
            frames_FCHW = torch.from_numpy(drawn_FHWC).permute(0, 3, 1, 2).float()
            resize = torch.nn.functional.interpolate
            resized = resize(frames_FCHW, view.size, mode="bicubic", antialias=True, align_corners=False)
            return resized.clamp_(0, 255).round_()

    def close(self) -> None:
        self._reader.close()

    @contextmanager
    def _counting(self, part: str) -> Iterator[None]:
        started_s = time.process_time()
        try:
            yield
        finally:
            self.cpu_s[part] += time.process_time() - started_s


@contextmanager
def _pattern(video: Path, decoder: Decoder) -> Iterator[_Pattern]:
    pattern = _Pattern(video, decoder)
    try:
        yield pattern
    finally:
        pattern.close()


def _drawn(image: NDArray[np.uint8], second: int) -> NDArray[np.uint8]:
    """Return a copy of a frame with a number in its bottom right corner."""
    picture = Image.fromarray(image)
    font = _font(min(picture.size) // _FONT_FRACTION)
    ImageDraw.Draw(picture).text((picture.width, picture.height), str(second), (255, 0, 0), font, anchor="rd")
    return np.array(picture)


@lru_cache
def _font(height_px: int) -> Any:
    return ImageFont.load_default(max(1, height_px))


def _load(decoder: Decoder) -> None:
    import torch

    torch.set_num_threads(1)
    if decoder is Decoder.DECORD:
        import decord  # noqa: F401
