"""Zoom timelines: what is drawn where, and what happens without a video."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from drawn_rollouts import DrawnFrames, drawn_task

from videozoom.envs.episode import Zoom
from videozoom.envs.filmstrip import clip_image, fitted, packed, read_frames, strip_image, tick_times
from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import Span, Task
from videozoom.envs.timeline import EVIDENCE_RGB, GUTTER_PX, MARGIN_PX, WIDTH_PX, ZOOM_RGB, timeline_image


def drawn(task: Task, zooms: Sequence[Zoom], source: FrameSource | None, **values: Any) -> np.ndarray:
    frames = read_frames(task, [zoom.span_s for zoom in zooms], source)
    return np.asarray(timeline_image(task, zooms, frames, **values))


def columns_of(image: np.ndarray, colour: tuple[int, int, int], *, least_rows: int = 20) -> list[tuple[int, int]]:
    """Return the runs `[start, end)` of columns that hold the colour in at least so many rows: the bands."""
    is_band = (image == colour).all(axis=-1).sum(axis=0) >= least_rows
    edges = np.flatnonzero(np.diff(np.r_[0, is_band.astype(int), 0]))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def x_of(time_s: float) -> float:
    left, right = MARGIN_PX + GUTTER_PX, WIDTH_PX - MARGIN_PX
    return left + time_s / 64.0 * (right - left)


def test_evidence_and_zooms_lie_at_their_times() -> None:
    image = drawn(drawn_task(), [Zoom(1, Span(8.0, 16.0))], DrawnFrames())
    assert image.dtype == np.uint8
    assert image.shape[1:] == (WIDTH_PX, 3)
    assert columns_of(image, EVIDENCE_RGB) == [(pytest.approx(x_of(24.0), abs=1.5), pytest.approx(x_of(28.0), abs=1.5))]
    # The number of the step is written over the band's middle.
    runs = columns_of(image, ZOOM_RGB)
    assert (runs[0][0], runs[-1][1]) == (pytest.approx(x_of(8.0), abs=1.5), pytest.approx(x_of(16.0), abs=1.5))


def test_no_zoom_no_band() -> None:
    image = drawn(drawn_task(), [], DrawnFrames(), answer="B")
    assert columns_of(image, ZOOM_RGB) == []
    assert columns_of(image, EVIDENCE_RGB) != []


def test_the_strip_shows_the_video_from_left_to_right() -> None:
    image = drawn(drawn_task(), [], DrawnFrames())
    height = round((WIDTH_PX - 2 * MARGIN_PX - GUTTER_PX) / 32)
    row = next(y for y in range(image.shape[0]) if tuple(image[y, int(x_of(1.0))]) == (0, 0, 0))
    middle = image[row + height // 2]
    assert [int(middle[int(x_of(time_s + 1.0)), 0]) for time_s in range(0, 64, 2)] == list(range(0, 64, 2))


@pytest.mark.parametrize(("source", "video"), [(None, "v.mp4"), (DrawnFrames(), "missing.mp4")])
def test_without_the_video_bands_remain(source: DrawnFrames | None, video: str) -> None:
    image = drawn(drawn_task(video=video), [Zoom(2, Span(40.0, 44.0))], source)
    assert len(columns_of(image, EVIDENCE_RGB)) == 1
    assert columns_of(image, ZOOM_RGB)


def test_long_options_take_more_lines_instead_of_leaving_the_picture() -> None:
    options = tuple(f"{letter} long answer about something that happened" for letter in "uvwxyz")
    task = Task("t", drawn_task().video, 64.0, "Why? " * 60, options, "C", (Span(24.0, 28.0),))
    long, short = (drawn(t, [], DrawnFrames()) for t in (task, drawn_task()))
    assert long.shape[0] > short.shape[0]
    assert (long[:, WIDTH_PX - MARGIN_PX // 2 :] == 255).all()


def test_overlapping_zooms_get_rows_of_their_own() -> None:
    zooms = [Zoom(1, Span(0, 4)), Zoom(2, Span(2, 6)), Zoom(3, Span(4, 8)), Zoom(4, Span(0, 8))]
    assert packed(zooms) == [[zooms[0], zooms[2]], [zooms[1]], [zooms[3]]]
    assert packed([]) == [[]]


def test_a_strip_takes_frames_of_its_window_evenly() -> None:
    clip = DrawnFrames().fast_view(drawn_task().video)
    strip = np.asarray(strip_image(clip, Span(32.0, 64.0), 4))
    assert strip.shape == (8, 32, 3)
    assert strip[0, ::8, 0].tolist() == [32, 40, 48, 56]
    assert np.asarray(strip_image(clip, Span(63.0, 63.5), 1))[0, 0, 0] == 62


def test_pictures_with_room_for_the_same_zooms_have_one_size() -> None:
    zooms = [Zoom(1, Span(0.0, 8.0)), Zoom(2, Span(4.0, 12.0))]
    shapes = {drawn(drawn_task(), zooms[:num], DrawnFrames(), room_for=2).shape for num in range(3)}
    assert len(shapes) == 1
    assert {drawn(drawn_task(), zooms[:num], DrawnFrames()).shape for num in range(3)} != shapes


def test_slow_frames_stand_apart() -> None:
    clip = DrawnFrames().slow_clip(drawn_task().video, Span(40.0, 48.0))
    image = np.asarray(clip_image(clip, 2, height_px=16))
    assert image.shape == (16, 34, 4)
    assert image[0, [0, 15, 18, 33], 0].tolist() == [40, 40, 44, 44]
    assert image[0, 16:18, 3].tolist() == [0, 0]


def test_enlarging_keeps_pixels_sharp() -> None:
    clip = DrawnFrames().fast_view(drawn_task().video)
    strip = strip_image(clip, Span(0.0, 64.0), 2)
    assert set(np.asarray(fitted(strip, width_px=160)).ravel().tolist()) == {0, 32}
    assert fitted(strip, height_px=80).size == (160, 80)


@pytest.mark.parametrize("duration_s", [3.0, 64.0, 599.0, 3600.0, 7200.0, 90000.0])
def test_ticks_are_few_round_and_inside(duration_s: float) -> None:
    times = tick_times(duration_s)
    assert times[0] == 0.0
    assert times[-1] <= duration_s
    assert 4 <= len(times) <= 9
