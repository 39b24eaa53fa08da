import av
import numpy as np
import pytest
from PIL import Image

from videozoom.envs.videos.plane_scaling import PlaneScaler


@pytest.mark.parametrize("width", [32, 34, 40, 48, 56, 120, 168, 200, 248])
def test_the_last_columns_of_any_width_are_those_of_the_reference(width: int) -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((width, 32), Image.Resampling.BICUBIC)
    frame = av.VideoFrame.from_ndarray(np.asarray(smooth), format="rgb24").reformat(format="yuv420p")
    reference = Image.fromarray(frame.to_ndarray(format="rgb24")).resize((24, 20), Image.Resampling.BICUBIC)
    scaler = PlaneScaler((32, width), (20, 24))
    # Several times: what is left undefined differs from one buffer to the next.
    for _ in range(3):
        (scaled,) = scaler([frame])
        assert np.abs(scaled.astype(int) - np.asarray(reference)).max() <= 8
