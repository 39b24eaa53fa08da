"""The videos that `videozoom bench video` makes: natural-looking motion and texture, at the bit rates of real ones.

One minute is drawn and encoded, then repeated without encoding it again: decoders read every copy anew.
Shape legend: F frame, H height, W width.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

HEIGHT_PX, WIDTH_PX, FPS = 360, 640, 25
FRAMES_PER_MINUTE = 60 * FPS
_VERSION = 1
"""Part of the files' names: goes up when their content changes."""

_SCENE_FRAMES = (75, 220)
"""Shortest and longest scene."""
_CANVAS_HEIGHT_PX, _CANVAS_WIDTH_PX = 720, 1280
_GRAIN_TILES = 16
_CRF = 30


@dataclass(frozen=True, slots=True)
class BenchVideo:
    """A video to be made.

    Example:
        >>> BenchVideo(num_minutes=10, gop_frames=250).name
        '10min_gop250'
    """

    num_minutes: int
    gop_frames: int
    """Frames from one key frame to the next."""

    @property
    def name(self) -> str:
        """Name of the file, without version and suffix."""
        return f"{self.num_minutes}min_gop{self.gop_frames}"

    def make(self, folder: Path, done: Callable[[], object]) -> Path:
        """Make the file if it is not there, and return it; raises `OSError`.

        Args:
            folder: where it is kept for the next time.
            done: called after each frame that was encoded, and each minute that was copied.
        """
        path = self.path(folder)
        if path.exists():
            return path
        folder.mkdir(parents=True, exist_ok=True)
        minute = _minute(self.gop_frames).path(folder)
        if not minute.exists():
            _whole(minute, lambda part: encode(part, scenes(), FRAMES_PER_MINUTE, self.gop_frames, done))
        _whole(path, lambda part: repeat(minute, part, self.num_minutes, done))
        return path

    def path(self, folder: Path) -> Path:
        """Return where the file is, or will be."""
        return folder / f"{self.name}_v{_VERSION}.mp4"


def num_steps(videos: Iterable[BenchVideo], folder: Path) -> int:
    """Return how often making these videos will call `done`."""
    missing = [video for video in videos if not video.path(folder).exists()]
    minutes = {_minute(video.gop_frames) for video in missing}
    num_encoded = sum(not minute.path(folder).exists() for minute in minutes)
    return num_encoded * FRAMES_PER_MINUTE + sum(video.num_minutes for video in missing)


def encode(
    path: Path, frames: Iterator[NDArray[np.uint8]], num_frames: int, gop_frames: int, done: Callable[[], object]
) -> None:
    """Write frames `[H, W, 3]` as H.264 with x264's usual settings: 3 B-frames, some of them references."""
    settings = f"keyint={gop_frames}:min-keyint={gop_frames}:scenecut=0:bframes=3:b-pyramid=normal:open-gop=0"
    options = {"preset": "medium", "crf": str(_CRF), "g": str(gop_frames), "x264-params": settings}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.pix_fmt = "yuv420p"
        for number, image in zip(range(num_frames), frames, strict=False):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
            done()
        container.mux(stream.encode(None))


def repeat(source: Path, path: Path, times: int, done: Callable[[], object]) -> None:
    """Write a file that shows another one several times; nothing is encoded again."""
    with av.open(str(path), "w", format="mp4") as container, av.open(str(source)) as origin:
        template = origin.streams.video[0]
        stream = container.add_stream_from_template(template)
        length = template.frames / FPS / (template.time_base or 1)
        for number in range(times):
            origin.seek(0)
            for packet in origin.demux(template):
                if packet.dts is None or packet.pts is None:
                    continue  # The last, empty one.
                packet.pts += round(number * length)
                packet.dts += round(number * length)
                packet.stream = stream
                container.mux(packet)
            done()


def scenes(seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield frames `[H, W, 3]` of scenes without end: a camera that moves over a landscape in which things move."""
    rng = np.random.default_rng(seed)
    grain = _grain()
    frame = 0
    while True:
        scene = _Scene(rng)
        for moment in range(int(rng.integers(*_SCENE_FRAMES))):
            tile = np.roll(grain[frame % _GRAIN_TILES], 37 * frame, axis=1)
            yield np.clip(np.asarray(scene.picture(moment), np.int16) + tile, 0, 255).astype(np.uint8)
            frame += 1


class _Scene:
    """One shot: a landscape, a moving camera, and things that wander through."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._landscape = Image.fromarray(_leaves(rng, _CANVAS_HEIGHT_PX, _CANVAS_WIDTH_PX))
        # A third of all shots stands still, as real ones do.
        self._pan = rng.uniform(-1.5, 1.5, 2) * (rng.random() > 1 / 3)
        self._zoom = rng.uniform(-0.001, 0.001) * (rng.random() > 1 / 2)
        self._middle = np.array([_CANVAS_WIDTH_PX, _CANVAS_HEIGHT_PX]) / 2 - 70 * self._pan
        self._shake = _wandering(rng, 1.0) + rng.normal(0, 0.5, (_SCENE_FRAMES[1], 2)) * (rng.random() > 1 / 2)
        self._things = [_Thing(rng) for _ in range(int(rng.integers(4, 9)))]

    def picture(self, moment: int) -> Image.Image:
        """Return the picture after so many frames."""
        scale = 1.0 + self._zoom * (moment - 100)
        middle = self._middle + self._pan * moment + self._shake[moment]
        left, top = middle - scale * np.array([WIDTH_PX, HEIGHT_PX]) / 2
        size, view = (WIDTH_PX, HEIGHT_PX), (scale, 0.0, left, 0.0, scale, top)
        picture = self._landscape.transform(size, Image.Transform.AFFINE, view, Image.Resampling.BILINEAR)
        for thing in self._things:
            thing.draw(picture, moment)
        return picture


class _Thing:
    """Something with a texture and soft edges that moves by itself and turns."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._side = int(rng.integers(50, 200))
        self._picture = Image.fromarray(_leaves(rng, self._side, self._side))
        rows, columns = np.mgrid[-1 : 1 : self._side * 1j, -1 : 1 : self._side * 1j]
        distance = np.hypot(rows, columns * rng.uniform(1.0, 2.5))
        self._mask = Image.fromarray((255 * np.clip(6 * (0.9 - distance), 0, 1)).astype(np.uint8))
        self._places = rng.uniform(0, 1, 2) * (WIDTH_PX, HEIGHT_PX) + _wandering(rng, 150.0)
        self._angles = rng.uniform(0, 360) + _wandering(rng, 90.0)[:, 0]

    def draw(self, picture: Image.Image, moment: int) -> None:
        """Draw it as it is after so many frames."""
        left, top = np.rint(self._places[moment] - self._side / 2).astype(int).tolist()
        angle, how = float(self._angles[moment]), Image.Resampling.BILINEAR
        picture.paste(self._picture.rotate(angle, how), (left, top), self._mask.rotate(angle, how))


def _leaves(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Return an RGB image `[H, W, 3]` of things in front of things, of all sizes: edges and spectrum of natural images.

    Source: the dead leaves model (Lee, Mumford and Huang, 2001): radii are distributed as their third inverse power.
    """
    palette = rng.uniform(30, 220, (12, 1)) + rng.normal(0, 18, (12, 3))
    image = Image.new("RGB", (width, height), _colour(palette[0]))
    draw = ImageDraw.Draw(image)
    for _ in range(height * width // 200):
        radius = min(3 / np.sqrt(rng.random()), height / 4)
        row, column, stretch = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.4, 2.5)
        box = (column - radius * stretch, row - radius, column + radius * stretch, row + radius)
        draw.ellipse(box, fill=_colour(palette[rng.integers(12)] + rng.normal(0, 12, 3)))
    # A lens is not sharper than this.
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)), np.float64)
    return np.clip(blurred + _surface(rng, height, width)[:, :, None], 0, 255).astype(np.uint8)


def _surface(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Return light and shade `[H, W]` with the spectrum of natural images: amplitudes fall as the frequency rises."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width))
    shade = np.fft.irfft2(amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape)), s=(height, width))
    light: NDArray[np.float64] = shade / shade.std() * 12
    return light


def _colour(values: NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = np.clip(values, 0, 255).astype(int).tolist()
    return red, green, blue


def _wandering(rng: np.random.Generator, reach: float) -> NDArray[np.float64]:
    """Return a smooth path `[F, 2]` without aim, about `reach` from its start on average."""
    speed = np.convolve(rng.normal(size=_SCENE_FRAMES[1] + 24), np.hanning(25), "valid")
    other = np.convolve(rng.normal(size=_SCENE_FRAMES[1] + 24), np.hanning(25), "valid")
    path = np.cumsum(np.stack([speed, other], axis=1), axis=0)
    scaled: NDArray[np.float64] = path / np.abs(path).mean() * reach
    return scaled


@cache
def _grain() -> NDArray[np.int16]:
    """Return the noise of a sensor, `[F, H, W, 1]`."""
    noise = np.random.default_rng(1).normal(0, 1.5, (_GRAIN_TILES, HEIGHT_PX, WIDTH_PX, 1))
    return np.rint(noise).astype(np.int16)


def _minute(gop_frames: int) -> BenchVideo:
    return BenchVideo(1, gop_frames)


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file, and give it its name when it is whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
