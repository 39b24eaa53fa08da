import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from videozoom.envs.videos.plane_scaling import PlaneScaler
from videozoom.envs.videos.resizing import Resize, Resizer, resized

SIZES = [
    ((360, 640), (112, 196)),
    ((360, 640), (336, 588)),
    ((180, 320), (336, 588)),
    ((431, 333), (140, 112)),
    ((112, 112), (28, 28)),
    ((54, 102), (28, 56)),
    ((700, 700), (28, 56)),
    ((16, 640), (28, 28)),
    ((12, 9), (56, 28)),
    ((1, 1), (28, 28)),
]


def noise(height: int, width: int, low: int = 0, high: int = 256) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(low, high, (height, width, 3)).astype(np.uint8)


def reference(image: NDArray[np.uint8], target: tuple[int, int]) -> NDArray[np.float64]:
    """Return what LOVE-R1 computes before it rounds, in double precision."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].double()
    scaled = torch.nn.functional.interpolate(pixels, target, mode="bicubic", antialias=True)
    return scaled[0].permute(1, 2, 0).numpy()


def border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.ones(shape, np.bool_)
    mask[3:-3, 3:-3] = False
    return mask


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_bicubic_is_within_rounding_of_the_reference(source: tuple[int, int], target: tuple[int, int]) -> None:
    image = noise(*source, 80, 176)  # far from black and white: what lies beyond them is cut off at another place
    error = resized(image, target, Resize.BICUBIC) - reference(image, target)
    assert np.abs(error).max() < 1.6
    assert np.abs(error).mean() < 0.35
    assert abs(error.mean()) < 0.02
    assert abs(error[border(error.shape)].mean()) < 0.05


def test_bicubic_is_as_near_as_pillow_for_the_hardest_picture() -> None:
    image = noise(180, 320)
    expected = np.clip(reference(image, (112, 196)), 0, 255)
    ours = np.abs(resized(image, (112, 196), Resize.BICUBIC) - expected)
    pillow = np.abs(np.asarray(Image.fromarray(image).resize((196, 112), Image.Resampling.BICUBIC)) - expected)
    assert ours.mean() < pillow.mean() < 0.5


def test_the_measure_tells_other_filters_apart() -> None:
    image = noise(360, 640, 80, 176)
    expected = reference(image, (112, 196))
    bilinear = np.asarray(Image.fromarray(image).resize((196, 112), Image.Resampling.BILINEAR))
    assert np.abs(bilinear - expected).mean() > 1
    assert np.abs(resized(image, (112, 196), Resize.SWSCALE) - expected).mean() > 1


def test_borders_are_mended() -> None:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (360, 640, 3))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    scaler = PlaneScaler((360, 640), (112, 196))
    expected = reference(image, (112, 196))
    assert np.abs(scaler([frame])[0] - expected).max() < 1.51
    scaler._rows.mend = scaler._columns.mend = lambda *_: None  # type: ignore[method-assign]
    left = np.abs(scaler([frame])[0] - expected)[:, :2]
    noisy = av.VideoFrame.from_ndarray(noise(360, 640), format="rgb24")
    unmended = np.abs(scaler([noisy])[0] - reference(noise(360, 640), (112, 196)))
    assert unmended[:, :2].max() > 4 > unmended[3:-3, 3:-3].max()
    assert left.max() < 4  # on a ramp it does not show


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "gray", "rgba"]
)
@pytest.mark.parametrize("size", [(96, 128), (101, 67), (50, 86)])
def test_frames_of_all_formats_are_scaled_as_their_full_rgb_image(pix_fmt: str, size: tuple[int, int]) -> None:
    resizer = Resizer(Resize.BICUBIC)
    for colorspace, color_range in ((0, 0), (1, 1), (1, 2), (5, 2), (9, 1)):
        frame = av.VideoFrame.from_ndarray(noise(*size), format="rgb24").reformat(format=pix_fmt)
        frame.colorspace, frame.color_range = colorspace or frame.colorspace, color_range
        expected = resized(resizer.rgb(frame), (56, 84), Resize.BICUBIC)
        assert np.array_equal(resizer.bicubic([frame], (56, 84))[0], expected)


def test_several_frames_are_scaled_as_each_one_is() -> None:
    images = [noise(60, 100)[:, ::step] for step in (1, -1)] + [noise(60, 100)]
    frames = [av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24") for image in images]
    resizer = Resizer(Resize.BICUBIC)
    together = resizer.bicubic(frames, (28, 56))
    assert np.array_equal(together, [resized(image, (28, 56), Resize.BICUBIC) for image in images])
    assert np.array_equal(together[0], together[2])
    assert not np.array_equal(together[0], together[1])


def test_an_interrupted_call_does_not_shift_the_frames_of_the_next() -> None:
    images = [noise(60, 100)[:, ::step] for step in (1, -1)]
    first, second = (av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24") for image in images)
    scaler = PlaneScaler((60, 100), (28, 56))
    expected = scaler([second])
    scaler._graph.vpush(scaler._planes(first))
    assert np.array_equal(scaler([second]), expected)


def test_a_resizer_serves_any_sizes_in_turn() -> None:
    resizer = Resizer(Resize.BICUBIC)
    targets = [(28, 56), (56, 28), (84, 84), (28, 28), (112, 56), (28, 56), (84, 84)]
    for number, target in enumerate(targets):
        image = noise(60 + 2 * (number % 3), 100)
        assert np.array_equal(resizer(image, target), resized(image, target, Resize.BICUBIC))


@pytest.mark.parametrize("resize", Resize)
def test_images_of_the_right_size_are_left_alone(resize: Resize) -> None:
    image = noise(28, 56)[:, ::-1]
    same = resized(image, (28, 56), resize)
    assert np.array_equal(same, image)
    assert same.flags.c_contiguous


@pytest.mark.parametrize("resize", Resize)
def test_a_uniform_image_stays_uniform(resize: Resize) -> None:
    for level in (0, 1, 127, 254, 255):
        image = np.full((50, 90, 3), level, np.uint8)
        assert np.abs(resized(image, (28, 112), resize).astype(int) - level).max() <= (resize is Resize.SWSCALE) * 3


def test_area_is_the_mean_over_the_box_rounded_once() -> None:
    image = noise(112, 84)
    means = image.reshape(28, 4, 28, 3, 3).mean((1, 3))
    boxes = resized(image, (28, 28), Resize.AREA)
    assert np.abs(boxes - means).max() <= 0.5 + 1e-6
    assert np.array_equal(boxes, np.asarray(Image.fromarray(image).reduce((3, 4))))  # results depend on every bit
    uneven = np.asarray(Image.fromarray(image).resize((56, 28), Image.Resampling.BOX))
    assert np.array_equal(resized(image, (28, 56), Resize.AREA), uneven)
