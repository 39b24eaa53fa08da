"""Timestamps drawn on frames: whole seconds, bottom right, on frames at their final size.

Small frames get crisp bitmap digits, because scaled-down outlines are unreadable there; larger ones Pillow's font.
Shape legend: F frame, H height, W width, C channel.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from videozoom.envs.observation import VideoClip

# 3x5 bitmaps, one row per string, of the digits 0 to 9.
_GLYPHS = (
    ("###", "#.#", "#.#", "#.#", "###"),
    (".#.", "##.", ".#.", ".#.", "###"),
    ("###", "..#", "###", "#..", "###"),
    ("###", "..#", "###", "..#", "###"),
    ("#.#", "#.#", "###", "..#", "..#"),
    ("###", "#..", "###", "..#", "###"),
    ("###", "#..", "###", "#.#", "###"),
    ("###", "..#", "..#", "..#", "..#"),
    ("###", "#.#", "###", "#.#", "###"),
    ("###", "#.#", "###", "..#", "###"),
)
_GLYPH_HEIGHT = 5
_FONT_FRACTION = 8
"""Font height is the frame's shorter side divided by this, as in the released code of LOVE-R1."""
_PLATE_RIM_PX = 1
"""How far a plate reaches above and to the left of the digits; below and to the right it reaches the frame's edge."""


@dataclass(frozen=True, slots=True)
class TimestampOverlay:
    """Draws the time of each frame, in whole seconds, in its bottom right corner.

    Departs from the released code of LOVE-R1, which draws on frames of native size and then shrinks them: here the
    digits are drawn on the frames the model sees, so that they stay legible whatever the resize does.

    Example:
        >>> clip = VideoClip(np.zeros((2, 28, 28, 3), np.uint8), np.array([0.0, 12.5]), Span(0.0, 13.0), "v")
        >>> TimestampOverlay()(clip).key
        'v|seconds:ff0000:2'

    Source: LOVE-R1, Sec. 5.1 ("we add the frame number in the frames following NumPro"). The released code draws
    seconds, not frame numbers; so do we.
    """

    colour: tuple[int, int, int] = (255, 0, 0)
    """RGB, each 0 to 255."""
    digit_scale: int = 2
    """Pixels per cell of the 3x5 digits on small frames: 2 makes digits 6 px wide and 10 px high."""
    plate: bool = False
    """Whether the digits stand on a black plate, so that they look the same in front of any picture."""

    def __post_init__(self) -> None:
        """Raise `ValueError` on a colour or a scale that cannot be drawn."""
        if len(self.colour) != 3 or any(not 0 <= value <= 255 for value in self.colour):
            raise ValueError(f"colour must be three numbers from 0 to 255, got {self.colour}.")
        if self.digit_scale < 1:
            raise ValueError(f"digit_scale must be at least 1 pixel per cell, got {self.digit_scale}.")

    @property
    def suffix(self) -> str:
        """What is appended to a clip's key: the same suffix means the same drawing."""
        return (
            "|seconds:"
            + "".join(f"{value:02x}" for value in self.colour)
            + f":{self.digit_scale}{':plate' * self.plate}"
        )

    def __call__(self, clip: VideoClip) -> VideoClip:
        """Return `clip` with timestamps drawn; a recently drawn clip is not drawn again."""
        return _DRAWN.get_or_draw(clip, self)

    def draw(self, frames_FHWC: NDArray[np.uint8], times_s: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return a copy of the frames `[F, H, W, 3]` with `int(times_s[frame])` drawn on each."""
        drawn_FHWC = frames_FHWC.copy()
        seconds_F = np.maximum(times_s, 0.0).astype(np.int64)
        starts = np.flatnonzero(np.diff(seconds_F, prepend=seconds_F[:1] - 1))
        for start, end in zip(starts, [*starts[1:], len(seconds_F)], strict=False):
            self._blend(drawn_FHWC[start:end], str(seconds_F[start]))
        return drawn_FHWC

    def _blend(self, frames_FHWC: NDArray[np.uint8], text: str) -> None:
        """Draw `text` in place on frames that show the same second."""
        height_px, width_px = frames_FHWC.shape[1:3]
        opacity_HW = _text_opacity(text, height_px, width_px, self.digit_scale)
        rows, columns = opacity_HW.shape
        bottom, right = height_px - _margin_px(height_px, width_px), width_px - _margin_px(height_px, width_px)
        if self.plate:
            frames_FHWC[:, max(0, bottom - rows - _PLATE_RIM_PX) :, max(0, right - columns - _PLATE_RIM_PX) :] = 0
        region_FHWC = frames_FHWC[:, bottom - rows : bottom, right - columns : right]
        colour_C = np.array(self.colour, np.uint16)
        weight_HW1 = opacity_HW[:, :, None].astype(np.uint16)
        blended = (region_FHWC * (255 - weight_HW1) + colour_C * weight_HW1 + 127) // 255
        region_FHWC[...] = blended.astype(np.uint8)


def _margin_px(height_px: int, width_px: int) -> int:
    """Return the distance of the digits from the frame's edges."""
    return min(height_px, width_px) // 28


@lru_cache(maxsize=8192)
def _text_opacity(text: str, height_px: int, width_px: int, digit_scale: int) -> NDArray[np.uint8]:
    """Return the opacity `[h, w]`, 0 to 255, of `text` for frames of the given size, cropped to fit into them."""
    margin_px = _margin_px(height_px, width_px)
    free_height_px, free_width_px = height_px - margin_px, width_px - margin_px
    font_px = min(height_px, width_px) // _FONT_FRACTION
    if font_px >= _GLYPH_HEIGHT * digit_scale:
        opacity = _font_opacity(text, font_px)
    else:
        cells = 4 * len(text) - 1
        fitting_scale = min(free_width_px // cells, free_height_px // _GLYPH_HEIGHT)
        opacity = _bitmap_opacity(text, max(1, min(digit_scale, fitting_scale)))
    # Keep the last digits: they tell neighbouring frames apart.
    return opacity[max(0, opacity.shape[0] - free_height_px) :, max(0, opacity.shape[1] - free_width_px) :]


def _bitmap_opacity(text: str, scale: int) -> NDArray[np.uint8]:
    """Return `text` in 3x5 digits with one empty column between them, each cell `scale` pixels."""
    cells = np.zeros((_GLYPH_HEIGHT, 4 * len(text) - 1), np.uint8)
    for position, digit in enumerate(text):
        for row, line in enumerate(_GLYPHS[int(digit)]):
            cells[row, 4 * position : 4 * position + 3] = [255 * (cell == "#") for cell in line]
    return cells.repeat(scale, axis=0).repeat(scale, axis=1)


def _font_opacity(text: str, font_px: int) -> NDArray[np.uint8]:
    """Return `text` in Pillow's default font, cropped to its ink."""
    font = ImageFont.load_default(font_px)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 1, int(bottom - top) + 1))
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=font)
    return np.asarray(image).copy()


class _DrawnClips:
    """The most recently drawn clips, up to a number of bytes: the members of a group share one drawing."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._clips: OrderedDict[tuple[object, ...], VideoClip] = OrderedDict()
        self._lock = threading.Lock()

    def get_or_draw(self, clip: VideoClip, overlay: TimestampOverlay) -> VideoClip:
        """Return the drawn clip, from the cache if it was drawn recently."""
        name = (clip.key, clip.span_s, overlay)
        with self._lock:
            if name in self._clips:
                self._clips.move_to_end(name)
                return self._clips[name]
        frames = overlay.draw(clip.frames, clip.times_s)
        frames.flags.writeable = False
        drawn = VideoClip(frames, clip.times_s, clip.span_s, clip.key + overlay.suffix)
        with self._lock:
            if name not in self._clips:
                self._clips[name] = drawn
                self._num_bytes += frames.nbytes
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._clips.popitem(last=False)[1].frames.nbytes
        return drawn


_DRAWN = _DrawnClips(max_bytes=256 * 2**20)
