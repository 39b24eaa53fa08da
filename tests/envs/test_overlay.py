import numpy as np
import pytest

from videozoom.envs.observation import VideoClip
from videozoom.envs.overlay import TimestampOverlay
from videozoom.envs.tasks import Span

RED = np.array([255, 0, 0])


def grey_clip(times_s: list[float], size: tuple[int, int] = (28, 28), key: str = "grey") -> VideoClip:
    frames = np.full((len(times_s), *size, 3), 120, np.uint8)
    frames.flags.writeable = False
    return VideoClip(frames, np.array(times_s), Span(0.0, 1000.0), key)


def drawn_cells(frame: np.ndarray, scale: int) -> list[str]:
    """Return the red part of a frame as rows of # and ., one character per cell of `scale` pixels."""
    red = np.all(frame == RED, axis=2)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    box = red[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return ["".join(".#"[cell] for cell in row) for row in box[::scale, ::scale].astype(int)]


def test_small_frames_show_crisp_digits_of_the_whole_second() -> None:
    drawn = TimestampOverlay().draw(grey_clip([72.9]).frames, np.array([72.9]))
    assert drawn_cells(drawn[0], scale=2) == [
        "###.###",
        "..#...#",
        "..#.###",
        "..#.#..",
        "..#.###",
    ]
    assert {tuple(pixel) for pixel in drawn.reshape(-1, 3)} == {(120, 120, 120), (255, 0, 0)}


def test_digits_are_ten_pixels_high_and_one_pixel_from_the_corner_of_a_28_pixel_frame() -> None:
    drawn = TimestampOverlay().draw(grey_clip([8.0]).frames, np.array([8.0]))
    rows, columns = np.nonzero(np.all(drawn[0] == RED, axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (17, 26, 21, 26)


def test_on_a_plate_the_corner_looks_the_same_whatever_is_behind() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), dtype=np.uint8)
    corners = {
        plate: TimestampOverlay(plate=plate).draw(noise, np.array([37.0, 37.5]))[:, 16:, 12:] for plate in (True, False)
    }
    assert np.array_equal(corners[True][0], corners[True][1])
    assert not np.array_equal(corners[False][0], corners[False][1])
    assert {tuple(pixel) for pixel in corners[True][0].reshape(-1, 3)} == {(0, 0, 0), (255, 0, 0)}
    assert np.array_equal(TimestampOverlay(plate=True).draw(noise, np.array([37.0, 37.0]))[:, :16], noise[:, :16])


def test_long_times_shrink_until_they_fit() -> None:
    drawn = TimestampOverlay().draw(grey_clip([1234.0]).frames, np.array([1234.0]))
    assert drawn_cells(drawn[0], scale=1)[0] == ".#..###.###.#.#"


def test_every_second_up_to_an_hour_looks_different() -> None:
    times_s = np.arange(0.0, 3600.0)
    drawn = TimestampOverlay().draw(np.zeros((3600, 28, 28, 3), np.uint8), times_s)
    assert len({frame.tobytes() for frame in drawn}) == 3600


def test_frames_of_one_second_show_the_same_and_of_another_not() -> None:
    drawn = TimestampOverlay().draw(grey_clip([4.0, 4.9, 5.0]).frames, np.array([4.0, 4.9, 5.0]))
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[1], drawn[2])


@pytest.mark.parametrize("size", [(112, 196), (336, 588)])
def test_large_frames_use_a_font_of_an_eighth_of_the_shorter_side(size: tuple[int, int]) -> None:
    frames = grey_clip([1805.0], size).frames
    drawn = TimestampOverlay().draw(frames, np.array([1805.0]))
    rows, columns = np.nonzero((drawn[0] != frames[0]).any(axis=2))
    assert 0.5 * size[0] / 8 <= rows.max() - rows.min() + 1 <= size[0] / 8
    assert rows.min() > size[0] / 2
    assert columns.min() > size[1] / 2


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (7, 5), (28, 28), (79, 79), (80, 80), (300, 20)])
def test_any_frame_size_can_be_drawn_on(size: tuple[int, int]) -> None:
    frames = grey_clip([0.0, 98765.0], size).frames
    drawn = TimestampOverlay().draw(frames, np.array([0.0, 98765.0]))
    assert drawn.shape == frames.shape
    assert not np.array_equal(drawn, frames)


def test_the_source_is_left_alone_and_no_frames_give_no_frames() -> None:
    clip = grey_clip([3.0])
    TimestampOverlay()(clip)
    assert np.all(clip.frames == 120)
    empty = grey_clip([])
    assert TimestampOverlay().draw(empty.frames, empty.times_s).shape == (0, 28, 28, 3)


def test_the_key_names_the_drawing() -> None:
    clip = grey_clip([3.0], key="named")
    keys = {
        overlay(clip).key
        for overlay in (
            TimestampOverlay(),
            TimestampOverlay((0, 0, 255)),
            TimestampOverlay(digit_scale=1),
            TimestampOverlay(plate=True),
        )
    }
    assert len(keys) == 4
    assert all(key.startswith("named|") for key in keys)
    assert TimestampOverlay()(clip).key == TimestampOverlay()(clip).key


def test_a_group_draws_a_clip_once_and_cannot_change_it() -> None:
    clip = grey_clip([3.0], key="shared")
    first = TimestampOverlay()(clip)
    assert TimestampOverlay()(clip) is first
    assert TimestampOverlay((0, 255, 0))(clip) is not first
    with pytest.raises(ValueError, match="read-only"):
        first.frames[0, 0, 0, 0] = 1


@pytest.mark.parametrize("values", [{"colour": (256, 0, 0)}, {"colour": (0, 0)}, {"digit_scale": 0}])
def test_colours_and_scales_that_cannot_be_drawn_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"colour|digit_scale"):
        TimestampOverlay(**values)  # type: ignore[arg-type]
