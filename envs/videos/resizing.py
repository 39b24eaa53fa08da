"""Making frames smaller or larger."""

from collections.abc import Sequence
from enum import StrEnum

import av
import numpy as np
import PIL
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from videozoom.envs.videos.plane_scaling import MIN_SIDE_PX, plane_scaler

_CUBIC = Image.Resampling.BICUBIC
_METHOD = 1
"""Part of the fingerprint: goes up when a result may change."""


class Resize(StrEnum):
    """How frames are made smaller or larger."""

    BICUBIC = "bicubic"
    """Antialiased bicubic of the full-resolution RGB image, as LOVE-R1 does; equal to it but for rounding."""
    AREA = "area"
    """Mean over the box of source pixels; rounded once, and so exact, where the size divides the source's."""
    SWSCALE = "swscale"
    """Bicubic in one step with the colour conversion: cheaper, about 43 dB from the above, a little darker."""


class Resizer:
    """Resizes images. Not for several threads at once.

    Example:
        >>> Resizer(Resize.AREA)(np.full((4, 4, 3), 7, np.uint8), (2, 2)).tolist()
        [[[7, 7, 7], [7, 7, 7]], [[7, 7, 7], [7, 7, 7]]]
    """

    def __init__(self, resize: Resize) -> None:
        self.resize = Resize(resize)
        # Kept over all frames, with one thread: setting up the conversion costs many times the conversion.
        self._reformatter = VideoReformatter()

    def __call__(self, image: NDArray[np.uint8], target: tuple[int, int]) -> NDArray[np.uint8]:
        """Return an RGB image `[H, W, 3]` at the target's height and width."""
        height, width = image.shape[:2]
        if (height, width) == target:
            return np.ascontiguousarray(image)
        if self.resize is Resize.AREA:
            return _area(image, target)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        return self.swscale(frame, target) if self.resize is Resize.SWSCALE else self.bicubic([frame], target)[0]

    def bicubic(self, frames: Sequence[av.VideoFrame], target: tuple[int, int]) -> NDArray[np.uint8]:
        """Return frames of one size as RGB `[F, H, W, 3]`, resized; reads them as they are stored, not upright."""
        source = (frames[0].height, frames[0].width)
        if min(*source, *target) < MIN_SIDE_PX:
            pictures = [Image.fromarray(self.rgb(frame)) for frame in frames]
            return np.stack([np.asarray(picture.resize(target[::-1], _CUBIC)) for picture in pictures])
        return plane_scaler(source, target)(frames)

    def swscale(self, frame: av.VideoFrame, target: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a frame as RGB `[H, W, 3]`, resized with the colour conversion; reads it as it is stored."""
        height, width = target
        small = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation="BICUBIC", threads=1
        )
        return np.asarray(small.to_ndarray(), np.uint8)

    def rgb(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return a frame as RGB `[H, W, 3]` at its own size, as it is stored."""
        return np.asarray(self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)


def resizing_fingerprint() -> str:
    """Return what decides the results, given an image: the libraries, their versions, our method."""
    version = ".".join(str(part) for part in av.library_versions["libswscale"])
    return f"swscale-{version}-pillow-{PIL.__version__}-{_METHOD}"


def resized(image: NDArray[np.uint8], target: tuple[int, int], resize: Resize) -> NDArray[np.uint8]:
    """Return an RGB image `[H, W, 3]` at the target's height and width."""
    return Resizer(resize)(image, target)


def _area(image: NDArray[np.uint8], target: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    picture = Image.frombytes("RGB", (width, height), np.ascontiguousarray(image))
    if height % target[0] == 0 and width % target[1] == 0:
        # Rows and columns in one go: `resize` rounds in between, and by that turns fine patterns into brightness.
        picture = picture.reduce((width // target[1], height // target[0]))
    else:
        picture = picture.resize((target[1], target[0]), Image.Resampling.BOX)
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(*target, 3)
