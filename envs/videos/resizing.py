"""Making frames smaller or larger."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Resize(StrEnum):
    """How frames are made smaller or larger."""

    BICUBIC = "bicubic"
    """Antialiased bicubic, as LOVE-R1 does."""
    AREA = "area"
    """Mean over the box of source pixels; rounded once, and so exact, where the size divides the source's."""


_FILTERS = {Resize.BICUBIC: Image.Resampling.BICUBIC, Resize.AREA: Image.Resampling.BOX}


def resized(image: NDArray[np.uint8], target: tuple[int, int], resize: Resize) -> NDArray[np.uint8]:
    """Return an image `[H, W, 3]` at the target's height and width."""
    height, width = image.shape[:2]
    if (height, width) == target:
        return np.ascontiguousarray(image)
    picture = Image.fromarray(image)
    if resize is Resize.AREA and height % target[0] == 0 and width % target[1] == 0:
        # Rows and columns in one go: `resize` rounds in between, and by that turns fine patterns into brightness.
        return np.asarray(picture.reduce((width // target[1], height // target[0])))
    return np.asarray(picture.resize((target[1], target[0]), _FILTERS[resize]))
