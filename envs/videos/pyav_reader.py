"""The default reader: PyAV, which brings its own FFmpeg."""

from collections import defaultdict
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.containers import decode_errors
from videozoom.envs.videos.decode_plan import DecodeRun, decode_runs, first_needed
from videozoom.envs.videos.decoding import SKIPPING_CODECS, DecodePass
from videozoom.envs.videos.frame_conversion import FrameConverter
from videozoom.envs.videos.index import VideoIndex, scan
from videozoom.envs.videos.reader import DecodedFrames, SizeRule
from videozoom.envs.videos.resizing import Resize, resizing_fingerprint

_METHOD = 2
"""Part of the fingerprint: goes up when the pixels of a sound file may change."""

_MAX_TAKEN, _MAX_TAKEN_PX = 16, 16 * 640 * 360
"""Frames, and their pixels, that are kept to be converted together: one by one, each finds the caches cold."""


class PyAVReader:
    """Exact for every file that has an index, at the cost of decoding what the wanted frames depend on.

    Decodes each group of pictures from its key frame to the last wanted frame, leaves out what no wanted frame depends
    on where the decoder can, and writes what is wanted, resized, into the result. Frames that were not found are tried
    again with nothing left out, then in one go from the start of the file; if they are still missing, each shows the
    nearest frame that can be decoded, and is reported as filled. Frames after a damage, up to the next key frame, count
    as missing even if the decoder returns them. Implements `VideoReader`.

    Damage is what FFmpeg reports. Noise that happens to decode is not noticed, nor are packets that a transport stream
    or an .flv file lost without a trace: the times are right even so, the frames up to the next key frame may not be.
    """

    @property
    def fingerprint(self) -> str:
        version = ".".join(str(part) for part in av.library_versions["libavcodec"])
        return f"pyav-libavcodec-{version}-{_METHOD}-{resizing_fingerprint()}"

    def scan(self, path: Path) -> VideoIndex:
        return scan(path)

    def read(
        self, path: Path, index: VideoIndex, frames: NDArray[np.int64], size: SizeRule, resize: Resize
    ) -> DecodedFrames:
        wanted, places = np.unique(np.asarray(frames, np.int64), return_inverse=True)
        if not len(wanted) or wanted[0] < 0 or wanted[-1] >= len(index.pts):
            raise IndexError(f"{path}: frames are numbered from 0 to {len(index.pts) - 1}, not {list(frames)[:9]}")
        with decode_errors(path):
            request = _Request(path, index, index.positions[wanted].tolist(), FrameConverter(size, resize))
            filled = np.flatnonzero(np.isin(places, list(request.read())))
        is_as_asked = np.array_equal(places, np.arange(len(wanted)))
        return DecodedFrames(request.images if is_as_asked else request.images[places], tuple(filled.tolist()))


class _Request:
    """The frames of one request, by the positions of their packets, and which of them are still missing."""

    def __init__(self, path: Path, index: VideoIndex, positions: list[int], convert: FrameConverter) -> None:
        self.images = np.empty((len(positions), 0, 0, 3), np.uint8)
        """`[F, H, W, 3]`, one for each position; made when the first frame is there, whose size is that of all."""
        self._path, self._packets, self._codec = path, index.packets, index.codec
        self._needed = first_needed(index.packets)
        self._rows = {position: [row] for row, position in enumerate(positions)}
        self._missing = set(positions)
        self._convert = convert
        self._taken: list[tuple[int, av.VideoFrame]] = []

    def read(self) -> set[int]:
        """Read all frames and return the rows that are filled; raises `VideoDecodeError` if no frame can be decoded."""
        if self._codec in SKIPPING_CODECS:
            self._try(is_skipping=True)
        if self._missing:
            self._try(is_skipping=False)
        if not self._missing:
            return set()
        sound = self._try_from_the_start()
        filled = {self._rows[position][0] for position in self._missing}
        self._fill(sound)
        return filled

    def _try(self, *, is_skipping: bool) -> None:
        runs = decode_runs(self._needed, self._missing)
        self._missing -= self._decode(runs, is_skipping=is_skipping)

    def _try_from_the_start(self) -> set[int]:
        """Decode all up to the second key frame after the last missing frame, and return the sound positions."""
        last = max(self._missing)
        later_keys = np.flatnonzero(self._packets.is_key[last + 1 :])
        end = last + 1 + int(later_keys[1]) if len(later_keys) > 1 else len(self._packets.pts) - 1
        sound = self._decode([DecodeRun(0, end)])
        self._missing -= sound
        return sound

    def _fill(self, sound: set[int]) -> None:
        """Let every missing frame show the nearest sound one."""
        if not self._missing:
            return
        if not sound:
            raise VideoDecodeError(f"{self._path}: no frame can be decoded; the file is damaged.")
        times, nearest = self._packets.pts, np.array(sorted(sound))
        rows: dict[int, list[int]] = defaultdict(list)
        for position in self._missing:
            rows[int(nearest[np.abs(times[nearest] - times[position]).argmin()])] += self._rows[position]
        self._rows, self._missing = rows, set(rows)
        self._try(is_skipping=False)
        if self._missing:
            self._missing -= self._decode([DecodeRun(0, max(self._missing))])
        if self._missing:
            raise VideoDecodeError(f"{self._path}: frames can be decoded at one time and not at another.")

    def _decode(self, runs: list[DecodeRun], *, is_skipping: bool = False) -> set[int]:
        decode_pass = DecodePass(self._packets, self._needed, self._missing, self._take, is_skipping=is_skipping)
        sound = decode_pass.over(self._path, runs)
        self._convert_taken()
        return sound

    def _take(self, position: int, frame: av.VideoFrame) -> None:
        self._taken.append((position, frame))
        if len(self._taken) * frame.width * frame.height >= _MAX_TAKEN_PX or len(self._taken) == _MAX_TAKEN:
            self._convert_taken()

    def _convert_taken(self) -> None:
        if not self._taken:
            return
        images = self._convert([frame for _, frame in self._taken])
        if not self.images.size:
            self.images = np.empty((len(self.images), *images[0].shape), np.uint8)
        for (position, _), image in zip(self._taken, images, strict=True):
            for row in self._rows[position]:
                self.images[row] = image
        self._taken.clear()
