"""Frames to the patches Qwen2.5-VL's vision tower reads, in numpy: no torchvision needed."""

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.sampling import FRAMES_PER_PATCH

CHANNEL_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
CHANNEL_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def patchify(frames: NDArray[np.uint8], *, patch_px: int = 14, merge: int = 2) -> NDArray[np.float32]:
    """Return normalised patches `[N, 3 * 2 * patch_px**2]` of frames `[F, H, W, 3]`, merge blocks together.

    Equal to the Hugging Face processor's output for a clip whose sides are multiples of `patch_px * merge`;
    like there, the last of an odd number of frames fills its pair.

    Raises:
        ValueError: a side is no multiple of `patch_px * merge`, or there is no frame.
    """
    num_frames, height, width, _ = frames.shape
    if num_frames == 0 or height % (patch_px * merge) or width % (patch_px * merge):
        raise ValueError(
            f"cannot cut {num_frames} frames of {width}x{height} px into patches: "
            f"need at least one frame and sides that are multiples of {patch_px * merge}"
        )
    if num_frames % FRAMES_PER_PATCH:
        frames = np.concatenate([frames, frames[-1:]])
    pixels = (frames.astype(np.float32) * np.float32(1 / 255) - CHANNEL_MEAN) / CHANNEL_STD
    blocks = pixels.reshape(
        len(frames) // FRAMES_PER_PATCH,
        FRAMES_PER_PATCH,
        height // (patch_px * merge),
        merge,
        patch_px,
        width // (patch_px * merge),
        merge,
        patch_px,
        3,
    )
    # pair, block row, block column, row in block, column in block, channel, frame of pair, pixel row, pixel column
    ordered = blocks.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return np.ascontiguousarray(ordered.reshape(-1, 3 * FRAMES_PER_PATCH * patch_px * patch_px))
