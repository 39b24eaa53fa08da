"""Damaged files by the hundred, read in a process of its own."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from odd_files import as_it_is

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.index import scan
from videozoom.envs.videos.pyav_reader import PyAVReader
from videozoom.envs.videos.resizing import Resize


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file's bytes after one to three accidents."""
    for _ in range(rng.integers(1, 4)):
        accident = rng.integers(8)
        # Headers lie at both ends, and what happens to them has the oddest effects.
        place = int(rng.choice([rng.integers(len(data) + 1), rng.integers(1500), len(data) - rng.integers(1500)]))
        place = min(max(place, 0), len(data))
        length = int(rng.choice([1, 4, 40, 400, 4000]))
        end = min(place + length, len(data))
        if accident == 0:
            data = data[:place]
        elif accident == 1:
            data = data[:place] + bytes(end - place) + data[end:]
        elif accident == 2:
            data = data[:place] + rng.bytes(end - place) + data[end:]
        elif accident == 3:
            data = data[:place] + data[end:]
        elif accident == 4:
            data = data[:place] + rng.bytes(length) + data[place:]
        elif accident == 5:
            data = data[:end] + data[place:]
        elif accident == 6:
            data = data[:place] + b"\xff" * (end - place) + data[end:]
        else:
            flipped = bytearray(data)
            for bit in rng.integers(0, max(1, 8 * len(data)), length % 97):
                if data:
                    flipped[bit // 8] ^= 1 << (bit % 8)
            data = bytes(flipped)
    return data


def outcomes(sources: list[bytes], folder: Path, seeds: range) -> Iterator[tuple[int, str, int, float]]:
    """Yield for each seed what became of reading a damaged file: seed, what, number of filled frames, CPU seconds."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        path = folder / f"{seed}"
        path.write_bytes(damaged(sources[seed % len(sources)], rng))
        started = time.process_time()
        what, num_filled = _outcome(path, rng)
        yield seed, what, num_filled, time.process_time() - started
        path.unlink()


def _outcome(path: Path, rng: np.random.Generator) -> tuple[str, int]:
    try:
        index = scan(path)
        if not (index.times_s[0] == 0 and (np.diff(index.pts) > 0).all() and np.isfinite(index.times_s).all()):
            return f"times are {index.times_s[:9]}", 0
        frames = rng.integers(0, len(index.pts), rng.choice([1, 8, 40]))
        size = as_it_is if rng.integers(2) else (lambda height, width: (28, 56))
        decoded = PyAVReader().read(path, index, frames, size, Resize(rng.choice(list(Resize))))
    except VideoDecodeError as error:
        is_clear = str(path) in str(error) and "\n" not in str(error) and str(error).endswith(".")
        return "error" if is_clear else f"unclear error: {error}", 0
    if decoded.frames.shape[0] != len(frames) or decoded.frames.dtype != np.uint8:
        return f"frames {decoded.frames.shape} for {len(frames)}", 0
    if any(not 0 <= place < len(frames) for place in decoded.filled):
        return f"filled {decoded.filled} of {len(frames)}", 0
    return "frames", len(decoded.filled)
