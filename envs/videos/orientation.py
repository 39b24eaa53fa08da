"""`Orientation`: how a stored picture becomes the one that players show."""

import math
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import av
import numpy as np
from numpy.typing import NDArray

from videozoom.envs.videos.containers import decode_errors, opened


class Orientation(NamedTuple):
    """Rows and columns change places first, then their order is reversed."""

    is_transposed: bool = False
    is_upside_down: bool = False
    """Whether the order of rows is reversed."""
    is_reversed: bool = False
    """Whether the order of columns is reversed."""

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        """Return the one that a decoded frame asks for: of quarter turns and mirror images, the nearest."""
        try:
            matrix = cast(Any, frame.side_data).get("DISPLAYMATRIX")
        except ValueError:
            # PyAV knows no name for something else that comes with the frame. A mirror image is missed then.
            angle = math.radians(frame.rotation)
            return cls.of_matrix(math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle))
        if matrix is None:
            return cls()
        values = np.frombuffer(bytes(matrix), np.int32).tolist()
        return cls.of_matrix(values[0], values[1], values[3], values[4])

    @classmethod
    def of_matrix(cls, a: float, b: float, c: float, d: float) -> Self:
        """Return the one of a display matrix, which brings column x and row y to a*x + c*y and b*x + d*y.

        Source: ISO/IEC 14496-12, track header; FFmpeg's `libavutil/display.h`.

        Example:
            >>> Orientation.of_matrix(0, 1, -1, 0)  # A quarter turn to the right.
            Orientation(is_transposed=True, is_upside_down=False, is_reversed=True)
        """
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, d < 0, a < 0)
        return cls(True, b < 0, c < 0)

    @property
    def is_mirror_image(self) -> bool:
        """Whether turning alone does not do."""
        return self.is_transposed ^ self.is_upside_down ^ self.is_reversed

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a view of an image `[H, W, 3]` as players show it."""
        image = image.swapaxes(0, 1) if self.is_transposed else image
        return image[:: -1 if self.is_upside_down else 1, :: -1 if self.is_reversed else 1]


def is_mirror_image(path: Path) -> bool:
    """Return whether a file's first frame is shown mirrored; raises `VideoDecodeError`."""
    with decode_errors(path), opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        return first is not None and Orientation.of(first).is_mirror_image
