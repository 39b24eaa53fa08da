"""Patches against the Hugging Face image processor, which needs no torchvision."""

import numpy as np
import pytest
from PIL import Image

from videozoom.policies.patches import patchify


def test_equal_to_the_hugging_face_processor() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    frame = np.random.default_rng(0).integers(0, 256, (56, 84, 3), dtype=np.uint8)
    theirs = Qwen2VLImageProcessorPil(do_resize=False)(images=[Image.fromarray(frame)], return_tensors="np")
    # An image is a pair of equal frames.
    ours = patchify(np.stack([frame, frame]))
    assert theirs["image_grid_thw"].tolist() == [[1, 4, 6]]
    np.testing.assert_allclose(ours, theirs["pixel_values"], atol=1e-6)


def test_frames_of_a_pair_are_kept_apart() -> None:
    dark, bright = np.zeros((28, 28, 3), np.uint8), np.full((28, 28, 3), 255, np.uint8)
    patches = patchify(np.stack([dark, bright, bright, dark])).reshape(2, 4, 3, 2, 14, 14)
    assert (patches[0, :, :, 0] < patches[0, :, :, 1]).all()
    assert (patches[1, :, :, 0] > patches[1, :, :, 1]).all()


def test_an_odd_last_frame_fills_its_pair() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    assert np.array_equal(patchify(frames), patchify(frames[[0, 1, 2, 2]]))


@pytest.mark.parametrize("shape", [(2, 30, 28, 3), (2, 28, 27, 3), (0, 28, 28, 3)])
def test_sides_that_cannot_be_cut_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 28"):
        patchify(np.zeros(shape, np.uint8))
