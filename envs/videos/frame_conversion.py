"""From what a decoder returns to upright RGB images of the size that is wanted."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import av
import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.orientation import Orientation
from videozoom.envs.videos.reader import SizeRule
from videozoom.envs.videos.resizing import Resize, Resizer


class FrameConverter:
    """Converts the frames of one video. The first one decides the size of all."""

    def __init__(self, size: SizeRule, resize: Resize) -> None:
        self._size, self._resizer = size, Resizer(resize)
        self._target: tuple[int, int] | None = None

    def __call__(self, frames: Sequence[av.VideoFrame]) -> list[NDArray[np.uint8]]:
        """Return frames as RGB `[H, W, 3]`, upright and resized; faster for several than one by one."""
        return [image for form, alike in groupby(frames, _form) for image in self._alike(*form, list(alike))]

    def _alike(
        self, height: int, width: int, orientation: Orientation, frames: list[av.VideoFrame]
    ) -> Iterable[NDArray[np.uint8]]:
        resizer, upright = self._resizer, (width, height) if orientation.is_transposed else (height, width)
        self._target = target = self._target or self._size(*upright)
        if any(orientation):
            return [resizer(orientation.upright(resizer.rgb(frame)), target) for frame in frames]
        if upright == target or resizer.resize is Resize.AREA:
            return [resizer(resizer.rgb(frame), target) for frame in frames]
        if resizer.resize is Resize.SWSCALE:
            return [resizer.swscale(frame, target) for frame in frames]
        return resizer.bicubic(frames, target)


def _form(frame: av.VideoFrame) -> tuple[int, int, Orientation]:
    """Return the height and width as stored, and what makes the frame upright."""
    return frame.height, frame.width, Orientation.of(frame)
