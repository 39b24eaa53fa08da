"""From what a decoder returns to upright RGB images of the size that is wanted."""

from collections.abc import Sequence
from itertools import groupby

import av
import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.reader import SizeRule
from videozoom.envs.videos.resizing import Resize, Resizer


class FrameConverter:
    """Converts the frames of one video. The first one decides the size of all."""

    def __init__(self, size: SizeRule, resize: Resize) -> None:
        self._size, self._resizer = size, Resizer(resize)
        self._target: tuple[int, int] | None = None

    def __call__(self, frames: Sequence[av.VideoFrame]) -> NDArray[np.uint8]:
        """Return frames as RGB `[F, H, W, 3]`, upright and resized; faster for several than one by one."""
        return np.concatenate([self._alike(list(group)) for _, group in groupby(frames, _shape)])

    def _alike(self, frames: list[av.VideoFrame]) -> NDArray[np.uint8]:
        (height, width), quarter_turns = _shape(frames[0])
        upright = (width, height) if quarter_turns % 2 else (height, width)
        self._target = target = self._target or self._size(*upright)
        if not quarter_turns and upright != target:
            if self._resizer.resize is Resize.BICUBIC:
                return self._resizer.bicubic(frames, target)
            if self._resizer.resize is Resize.SWSCALE:
                return np.stack([self._resizer.swscale(frame, target) for frame in frames])
        return np.stack([self._resizer(np.rot90(self._resizer.rgb(frame), quarter_turns), target) for frame in frames])


def _shape(frame: av.VideoFrame) -> tuple[tuple[int, int], int]:
    """Return the height and width as stored, and the quarter turns to the left that make the frame upright."""
    return (frame.height, frame.width), round(frame.rotation / 90) % 4
