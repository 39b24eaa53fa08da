"""Videos in every form that is read, whose frames spell their numbers; and ways to damage them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from video_makers import write_numbered_video

NUM_FRAMES = 90
FIRST_NUMBER = 150_000
"""What the first frame spells: large, so that all 18 bits are in use."""
STEADY_MS = range(0, 40 * NUM_FRAMES, 40)
"""25 frames per second."""
_UNEVEN_MS = np.cumsum(np.random.default_rng(0).choice([40, 40, 200, 13], NUM_FRAMES)).tolist()

# SVT-AV1 reports its settings on stderr otherwise.
os.environ.setdefault("SVT_LOG", "0")


def wide_image(number: int, height: int = 48, width: int = 96) -> NDArray[np.uint8]:
    """Return an image of 3x6 cells, dark or bright, that spell 18 bits, under a little moving noise."""
    bits = np.array([(FIRST_NUMBER + number) >> bit & 1 for bit in range(18)], np.uint8).reshape(3, 6)
    grey = (50 + 150 * bits).repeat(height // 3, axis=0).repeat(width // 6, axis=1)
    noise = np.random.default_rng(0).integers(-20, 21, (height, width, 3))
    return (grey[:, :, None] + np.roll(noise, 2 * number, axis=1)).astype(np.uint8)


def wide_numbers(frames: NDArray[np.uint8]) -> list[int]:
    """Return the numbers that frames `[F, 3 * m, 6 * n, 3]` spell, counted from 0; raises if one is blurred."""
    num_frames, height, width = frames.shape[:3]
    cells = frames.mean(3).reshape(num_frames, 3, height // 3, 6, width // 6)
    inside = cells[:, :, height // 12 : -(height // 12), :, width // 24 : -(width // 24)].mean((2, 4))
    if (np.abs(inside - 125) < 45).any():
        raise ValueError("a frame is not one of the numbered ones")
    return ((inside > 125).reshape(num_frames, 18) @ (1 << np.arange(18)) - FIRST_NUMBER).tolist()


@dataclass(frozen=True)
class Kind:
    """How a video is written, and what is shown of it."""

    codec: str = "libx264"
    container: str = "mp4"
    options: dict[str, str] = field(default_factory=dict)
    times_ms: Sequence[int] = STEADY_MS
    settings: dict[str, Any] = field(default_factory=dict)
    """More arguments of `write_numbered_video`."""
    write: Callable[[Path, "Kind"], object] | None = None
    """Writes the file, instead of `write_numbered_video`."""
    change: Callable[[Path], object] | None = None
    """Changes the file that was written."""
    first: int = 0
    """Number of the first frame that is shown."""

    @property
    def is_available(self) -> bool:
        """Whether this build of PyAV has the encoder."""
        return self.codec in av.codec.codecs_available

    def make(self, path: Path) -> Path:
        """Write the video."""
        if self.write:
            self.write(path, self)
        else:
            arguments = {"codec": self.codec, "container_format": self.container, "options": self.options}
            write_numbered_video(path, self.times_ms, **{"image": wide_image, **arguments, **self.settings})
        if self.change:
            self.change(path)
        return path


@cache
def decoded_in_sequence(path: Path) -> dict[int, NDArray[np.uint8]]:
    """Return all frames as upright RGB, by presentation time: decoded from first to last, none left out."""
    images: dict[int, NDArray[np.uint8]] = {}
    shown = SHOWN[_matrix(path.read_bytes())]
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            images.setdefault(frame.pts, shown(frame.to_ndarray(format="rgb24")))
    return images


def as_it_is(height: int, width: int) -> tuple[int, int]:
    """Size rule that resizes nothing."""
    return height, width


Matrix = tuple[int, int, int, int]
SHOWN: dict[Matrix, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (0, 1, 1, 0): lambda image: np.rot90(np.fliplr(image), 1),
    (0, -1, -1, 0): lambda image: np.rot90(np.fliplr(image), -1),
}
"""What players make of a stored picture, by the matrix in the header: where columns and rows go, right and down."""
_ONE = 1 << 16


def show_as(*matrix: int) -> Callable[[Path], None]:
    """Set the matrix in the header of an .mp4 file, as cameras do that were turned."""

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        place = data.index(b"tkhd") + 44
        a, b, c, d = (_ONE * value for value in matrix)
        values = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
        data[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
        path.write_bytes(data)

    return change


def _matrix(data: bytes) -> Matrix:
    place = data.find(b"tkhd") + 44
    if place < 44:
        return 1, 0, 0, 1
    a, b, c, d = (int.from_bytes(data[place + 4 * i :][:4], "big", signed=True) // _ONE for i in (0, 1, 3, 4))
    return a, b, c, d


def start_at(num_frames: int) -> Callable[[Path], None]:
    """Move the start of an .mp4 file's edit list, as a cut without re-encoding does; 25 frames per second."""

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        place, media = data.index(b"elst") + 12, data.index(b"mdhd") + 16
        ticks_per_s = int.from_bytes(data[media : media + 4], "big")
        start = int.from_bytes(data[place + 4 : place + 8], "big") + num_frames * ticks_per_s // 25
        data[place + 4 : place + 8] = start.to_bytes(4, "big")
        length = int.from_bytes(data[place : place + 4], "big") - num_frames * 40
        data[place : place + 4] = length.to_bytes(4, "big")
        path.write_bytes(data)

    return change


def _turned_image(number: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(wide_image(number)))


def _mirrored_image(number: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.fliplr(wide_image(number)))


def _flipped_image(number: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.flipud(wide_image(number)))


def _transposed_image(number: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(wide_image(number).swapaxes(0, 1))


def _uneven_image(number: int) -> NDArray[np.uint8]:
    return wide_image(number, 54, 102)


def _write_with_sound_first(path: Path, kind: Kind) -> None:
    with av.open(str(path), "w", format=kind.container) as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        video = _add_video(container, kind.options)
        for number in range(NUM_FRAMES):
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 640), np.float32), format="fltp", layout="mono")
            wave.sample_rate, wave.pts, wave.time_base = 16000, 640 * number, Fraction(1, 16000)
            container.mux(sound.encode(wave))
            container.mux(video.encode(_frame(wide_image(number), number)))
        container.mux(sound.encode(None))
        container.mux(video.encode(None))


def _write_beside_a_smaller_one(path: Path, kind: Kind) -> None:
    with av.open(str(path), "w", format=kind.container) as container:
        small, large = _add_video(container, kind.options, 24, 48), _add_video(container, kind.options)
        small.disposition = Disposition(0)
        large.disposition = Disposition.default
        for number in range(NUM_FRAMES):
            container.mux(small.encode(_frame(wide_image(number + 1000, 24, 48), number)))
            container.mux(large.encode(_frame(wide_image(number), number)))
        container.mux(small.encode(None))
        container.mux(large.encode(None))


def _add_video(container: Any, options: dict[str, str], height: int = 48, width: int = 96) -> Any:
    stream = container.add_stream("libx264", rate=25, options={"crf": "10", "threads": "1", **options})
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    return stream


def _frame(image: NDArray[np.uint8], number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


_B = {"g": "20", "bf": "3", "sc_threshold": "0", "x264-params": "b-pyramid=normal"}
_OPEN = {"g": "20", "bf": "3", "x264-params": "open-gop=1:b-pyramid=normal"}
_HEVC = {"g": "20", "x265-params": "log-level=none"}
_HEVC_4 = {"g": "20", "x265-params": "log-level=none:bframes=4:b-pyramid=1"}
_BY_FRAME = {"clock_hz": 25}
_QUALITY = {"crf": "", "qscale": "2", "g": "20"}
KINDS = {
    "groups_of_1": Kind(options={"g": "1"}),
    "groups_of_2": Kind(options={"g": "2", "bf": "1", "sc_threshold": "0"}),
    "groups_of_30": Kind(options={**_B, "g": "30"}),
    "groups_of_250": Kind(options={**_B, "g": "250"}),
    "no_b_frames": Kind(options={"g": "20", "bf": "0"}),
    "open_groups": Kind(options=_OPEN),
    "intra_refresh": Kind(options={"g": "20", "bf": "0", "x264-params": "intra-refresh=1"}),
    "uneven_times": Kind(options=_B, times_ms=_UNEVEN_MS),
    "edit_list": Kind(options=_B, change=start_at(33), first=33),
    "edit_list_open_groups": Kind(options=_OPEN, change=start_at(38), first=38),
    "turned": Kind(options=_B, settings={"image": _turned_image}, change=show_as(0, 1, -1, 0)),
    "mirrored": Kind(options=_B, settings={"image": _mirrored_image}, change=show_as(-1, 0, 0, 1)),
    "flipped": Kind(options=_B, settings={"image": _flipped_image}, change=show_as(1, 0, 0, -1)),
    "turned_and_mirrored": Kind(options=_B, settings={"image": _transposed_image}, change=show_as(0, 1, 1, 0)),
    "late_start": Kind(options=_B, times_ms=range(5000, 5000 + 40 * NUM_FRAMES, 40)),
    "late_start_matroska": Kind(container="matroska", options=_B, times_ms=range(5000, 5000 + 40 * NUM_FRAMES, 40)),
    "transport_stream": Kind(container="mpegts", options=_B),
    "transport_stream_open_groups": Kind(container="mpegts", options=_OPEN),
    "transport_stream_hevc": Kind("libx265", "mpegts", _HEVC_4),
    "matroska": Kind(container="matroska", options=_B),
    "matroska_open_groups": Kind(container="matroska", options=_OPEN),
    "fragmented": Kind(options=_B, settings={"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "header_first": Kind(options=_B, settings={"container_options": {"movflags": "faststart"}}),
    "flash": Kind(container="flv", options=_B),
    "hevc": Kind("libx265", options=_HEVC),
    "hevc_4_b_frames": Kind("libx265", options=_HEVC_4),
    "vp9": Kind("libvpx-vp9", "webm", {"g": "20", "cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1"}),
    "av1": Kind("libsvtav1", options={"g": "20", "preset": "12", "crf": "20"}),
    "av1_matroska": Kind("libsvtav1", "matroska", {"g": "20", "preset": "12", "crf": "20"}),
    "ten_bits": Kind(options=_B, settings={"pix_fmt": "yuv420p10le"}),
    "full_colour": Kind(options=_B, settings={"pix_fmt": "yuv444p"}),
    "full_range": Kind(options=_B, settings={"pix_fmt": "yuvj420p"}),
    "interlaced": Kind(options={"g": "20", "bf": "2", "x264-params": "tff=1"}),
    "sides_not_of_8": Kind(options=_B, settings={"image": _uneven_image}),
    "avi_mpeg4": Kind("mpeg4", "avi", {"g": "20", "bf": "2", "qscale": "2"}, settings=_BY_FRAME),
    "avi_no_b_frames": Kind(container="avi", options={"g": "20", "bf": "0"}, settings=_BY_FRAME),
    "avi_motion_jpeg": Kind("mjpeg", "avi", {"qscale": "2"}, settings={**_BY_FRAME, "pix_fmt": "yuvj420p"}),
    "mpeg2": Kind("mpeg2video", "mpeg", {"g": "20", "bf": "2", "b": "8M"}, settings=_BY_FRAME),
    "prores": Kind("prores_ks", "mov", settings={"pix_fmt": "yuv422p10le"}),
    "sound_first": Kind(options=_B, write=_write_with_sound_first),
    "sound_first_matroska": Kind(container="matroska", options=_B, write=_write_with_sound_first),
    "two_pictures": Kind(container="matroska", options=_B, write=_write_beside_a_smaller_one),
    "one_frame": Kind(times_ms=[0]),
    "two_frames": Kind(times_ms=[0, 40]),
}
"""Every one can be read, and shows the numbers from `first` on."""
SKIPPABLE = [name for name, kind in KINDS.items() if kind.codec in ("libx264", "libx265")]
UNKNOWN_TIMES = {
    "avi_b_frames": Kind(container="avi", options={"g": "20", "bf": "3"}, settings=_BY_FRAME),
    "bare_h264": Kind(container="h264", options={"g": "20", "bf": "3"}),
}
"""The order of the frames is in the file, their times are not."""
