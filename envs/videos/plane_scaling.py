"""Antialiased bicubic scaling, fast: each colour plane by FFmpeg's scaler, the borders by arithmetic.

FFmpeg's scaler is several times faster than Pillow's, and as exact where it converts no colours: one plane at a time,
with the usual kernel (its own default is a sharper one). At the borders it repeats the outermost pixels, where the
reference drops the part of the kernel that falls outside and scales up the rest. In one dimension, with `inside` and
`outside` the two parts of the kernel's weight,

    repeated = inside * reference + outside * outermost pixel

so that the reference follows from what FFmpeg returns and from the outermost pixels alone.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

MIN_SIDE_PX = 16
"""FFmpeg's scaler refuses very small images."""
_MAX_SCALERS = 4
_of_thread = threading.local()
_SCALE = "flags=bicubic+accurate_rnd+bitexact:param0=0:param1=0.5"


def plane_scaler(source: tuple[int, int], target: tuple[int, int]) -> "PlaneScaler":
    """Return the calling thread's scaler for a pair of sizes, made at its first use; a few are kept."""
    scalers: OrderedDict[tuple[tuple[int, int], tuple[int, int]], PlaneScaler]
    scalers = _of_thread.__dict__.setdefault("scalers", OrderedDict())
    scaler = scalers.pop((source, target), None) or PlaneScaler(source, target)
    scalers[source, target] = scaler
    if len(scalers) > _MAX_SCALERS:
        scalers.popitem(last=False)
    return scaler


class PlaneScaler:
    """Scales frames of one size to another; equals the reference but for rounding.

    Source: `torch.nn.functional.interpolate(mode="bicubic", antialias=True)`, and Pillow: a cubic kernel with a = -0.5,
    stretched by the factor of reduction, applied to the full-resolution RGB image.
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        self._rows, self._columns = _Borders(source[0], target[0]), _Borders(source[1], target[1])
        self._packed, self._planar = VideoReformatter(), VideoReformatter()
        self._num_frames = 0
        # Nodes do not keep their graph alive, and a node whose graph is gone crashes the process.
        self._graph = graph = Graph()
        graph.threads = 1  # Otherwise `configure` starts one per core.
        planar = av.VideoFormat("gbrp")
        entry = graph.add_buffer(width=source[1], height=source[0], format=planar, time_base=Fraction(1, 1000))
        split, merge = graph.add("extractplanes", "r+g+b"), graph.add("mergeplanes", "0x102000:gbrp")
        entry.link_to(split)
        for plane in range(3):
            scale = graph.add("scale", f"w={target[1]}:h={target[0]}:{_SCALE}")
            split.link_to(scale, plane, 0)
            scale.link_to(merge, 0, plane)
        graph.link_nodes(merge, graph.add("scale"), graph.add("format", "rgb24"), graph.add("buffersink")).configure()

    def __call__(self, frames: Sequence[av.VideoFrame]) -> NDArray[np.uint8]:
        """Return frames of the source's size as RGB `[F, H, W, 3]` at the target's."""
        scaled = []
        for frame in frames:
            planar = self._planes(frame)
            scaled.append((self._scaled(planar), *_outermost_pixels(planar)))
        images, top_bottom, left_right = (np.stack(arrays) for arrays in zip(*scaled, strict=True))
        self._rows.mend(images, self._columns.repeating(top_bottom))
        self._columns.mend(images.swapaxes(1, 2), self._rows.exact(left_right))
        return images

    def _planes(self, frame: av.VideoFrame) -> av.VideoFrame:
        if not _has_exact_planes(frame):
            frame = self._packed.reformat(frame, format="rgb24", threads=1)
        return self._planar.reformat(frame, format="gbrp", threads=1)

    def _scaled(self, planar: av.VideoFrame) -> NDArray[np.uint8]:
        # The planes are put together again by their time stamps, and those of any frames may repeat.
        self._num_frames += 1
        planar.pts = self._num_frames
        self._graph.vpush(planar)
        scaled = self._graph.vpull()
        while scaled.pts != self._num_frames:  # left over from a call that was interrupted
            scaled = self._graph.vpull()
        return np.asarray(scaled.to_ndarray(), np.uint8)


class _Borders:
    """The pixels near the two ends of one dimension, of `num_source` pixels scaled to `num_target`."""

    def __init__(self, num_source: int, num_target: int) -> None:
        reduction = num_source / num_target
        stretch, reach = max(reduction, 1.0), int(2 * max(reduction, 1.0)) + 1
        centre = (np.arange(num_target)[:, None] + 0.5) * reduction
        weight = _cubic((np.arange(-reach, num_source + reach) + 0.5 - centre) / stretch)
        weight /= weight.sum(1, keepdims=True)
        before, within, after = np.split(weight, [reach, reach + num_source], axis=1)
        self._exact = _Taps(within / within.sum(1, keepdims=True))
        within[:, 0] += before.sum(1)
        within[:, -1] += after.sum(1)
        self._repeating = _Taps(within)
        outside = np.stack([before.sum(1), after.sum(1)]).astype(np.float32)
        self._where = np.flatnonzero(np.abs(outside).max(0) > 1e-6)
        self._outside = outside[:, self._where, None, None]
        self._inside = 1 - self._outside.sum(0)

    def exact(self, lines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return lines `[..., num_source]` scaled as the reference does."""
        return self._exact(lines)

    def repeating(self, lines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return lines `[..., num_source]` scaled as FFmpeg does."""
        return self._repeating(lines)

    def mend(self, images: NDArray[np.uint8], outermost: NDArray[np.float32]) -> None:
        """Mend images `[F, num_target, S, 3]` in place; `outermost` are their scaled outermost lines `[F, 3, 2, S]`."""
        first, last = outermost.transpose(2, 0, 3, 1)[:, :, None]
        mended = (images[:, self._where] - self._outside[0] * first - self._outside[1] * last) / self._inside
        images[:, self._where] = np.clip(np.rint(mended), 0, 255)


class _Taps:
    """A sparse matrix of weights `[num_target, num_source]`, to be applied to lines of pixels."""

    def __init__(self, weight: NDArray[np.float64]) -> None:
        first = np.argmax(weight != 0, axis=1)
        num_taps = int((weight.shape[1] - np.argmax(weight[:, ::-1] != 0, axis=1) - first).max())
        first = np.minimum(first, weight.shape[1] - num_taps)
        self._where = first + np.arange(num_taps)[:, None]
        self._weight = np.take_along_axis(weight.T, self._where, axis=0).astype(np.float32)

    def __call__(self, lines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `[..., num_target]` of lines `[..., num_source]`."""
        scaled: NDArray[np.float32] = np.einsum("...kt,kt->...t", lines[..., self._where], self._weight)
        return scaled


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(distance)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _has_exact_planes(frame: av.VideoFrame) -> bool:
    """Return whether FFmpeg converts a frame to planes of RGB with the same values as to packed RGB.

    For most formats it takes another path, with another interpolation of colours; with odd sizes, another rounding; and
    it leaves the columns after the last multiple of 16 undefined.
    """
    is_common = frame.format.name in ("yuv420p", "yuvj420p") and frame.width % 16 == 0 and frame.height % 2 == 0
    return is_common or frame.format.name in ("rgb24", "gbrp")


def _outermost_pixels(planar: av.VideoFrame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the top and bottom lines `[3, 2, W]` and the left and right ones `[3, 2, H]` of a `gbrp` frame, as RGB."""
    top_bottom = np.empty((3, 2, planar.width), np.float32)
    left_right = np.empty((3, 2, planar.height), np.float32)
    for colour, plane in zip((1, 2, 0), planar.planes, strict=True):
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        top_bottom[colour] = lines[:: planar.height - 1, : planar.width][:2]
        left_right[colour] = lines[: planar.height, : planar.width : planar.width - 1].T
    return top_bottom, left_right
