"""Frames that a model was shown, as files for other trainers: each clip once, every pixel as it was."""

import hashlib
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

from videozoom.envs.observation import VideoClip

FPS = 2
"""Of exported clips: a trainer that samples 2 frames per second takes every frame. Times are drawn on them."""


class MediaFiles:
    """Writes clips below a folder that will be moved to another place when all is written.

    Example:
        >>> media = MediaFiles(Path("out.partial"), Path("out"))
        >>> media.video(clip).as_posix()
        'out/videos/3f2a90c41d7be865.mp4'
    """

    def __init__(self, folder: Path, final: Path) -> None:
        self._folder, self._final = folder, final.absolute()

    def frames(self, clip: VideoClip) -> list[Path]:
        """Return the frames of a clip as PNG files."""
        place = Path("images", _name(clip))
        files = [place / f"{index:04d}.png" for index in range(len(clip.frames))]
        if not (self._folder / place).is_dir():
            (self._folder / place).mkdir(parents=True)
            for file, frame in zip(files, clip.frames, strict=True):
                Image.fromarray(frame).save(self._folder / file)
        return [self._final / file for file in files]

    def video(self, clip: VideoClip) -> Path:
        """Return a clip as a file of lossless H.264, `FPS` frames per second."""
        file = Path("videos", f"{_name(clip)}.mp4")
        if not (self._folder / file).is_file():
            (self._folder / file).parent.mkdir(parents=True, exist_ok=True)
            write_lossless(self._folder / file, clip)
        return self._final / file


def write_lossless(path: Path, clip: VideoClip) -> None:
    """Write the frames of a clip so that decoders give them back bit for bit."""
    with av.open(str(path), "w") as container:
        # RGB, because chroma at half the size would blur small frames.
        options = {"qp": "0", "preset": "ultrafast", "threads": "1"}
        stream = container.add_stream("libx264rgb", rate=Fraction(FPS), options=options)
        stream.height, stream.width = clip.frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _name(clip: VideoClip) -> str:
    return hashlib.blake2b(f"{clip.key} {clip.span_s}".encode(), digest_size=8).hexdigest()
