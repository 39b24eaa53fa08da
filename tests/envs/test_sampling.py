import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.sampling import (
    FrameSpacing,
    bounded_frame_size,
    fast_frame_indices,
    frame_size,
    num_frames_at,
    num_visual_tokens,
    slow_frame_indices,
    strided_frame_indices,
)
from videozoom.envs.tasks import Span


@pytest.mark.parametrize(
    ("num_frames", "duration_s", "fps", "max_frames", "expected"),
    [
        (128, 64.0, 2.0, 768, list(range(128))),
        (10, 5.0, 0.8, 768, [0, 3, 6, 9]),
        (10, 5.0, 2.0, 4, [0, 3, 6, 9]),
        (10, 5.0, 1.0, 768, [0, 3, 6, 9]),  # five wanted, an even number taken
        (7, 7.0, 1.0, 768, [0, 1, 2, 4, 5, 6]),  # 1.2, 2.4, 3.6, 4.8 rounded
        (3, 0.1, 2.0, 768, [0, 2]),  # never fewer than one pair
        (1, 0.5, 2.0, 768, [0, 0]),  # a still image is shown twice
        (4, 400.0, 2.0, 768, [0, 1, 2, 3]),  # never more than there are
    ],
)
def test_the_fast_view_spreads_over_the_whole_video(
    num_frames: int, duration_s: float, fps: float, max_frames: int, expected: list[int]
) -> None:
    assert fast_frame_indices(num_frames, duration_s, fps, max_frames).tolist() == expected


def test_a_video_without_frames_has_no_fast_view() -> None:
    with pytest.raises(ValueError, match="no frames"):
        fast_frame_indices(0, 1.0, 2.0, 768)


@pytest.mark.parametrize(
    ("span", "fps", "max_frames", "expected"),
    [
        (Span(4.0, 8.0), 2.0, 32, [8, 9, 10, 11, 12, 13, 14, 15]),  # the frame at 8 s is not part of it
        (Span(4.0, 8.0), 1.0, 32, [8, 10, 13, 15]),
        (Span(2.0, 5.0), 2.0, 4, [4, 6, 7, 9]),
        (Span(2.0, 4.5), 2.0, 32, [4, 5, 7, 8]),  # five in the span, an even number taken
        (Span(2.25, 3.75), 2.0, 32, [5, 7]),  # 2.5, 3.0, 3.5 s
        (Span(2.0, 2.5), 2.0, 32, [4, 4]),  # one frame, shown twice
        (Span(2.1, 2.4), 2.0, 32, [4, 4]),  # none starts in it: the one on screen
        (Span(9.0, 99.0), 2.0, 32, [18, 19]),
    ],
)
def test_a_slow_clip_takes_frames_of_its_half_open_span(
    span: Span, fps: float, max_frames: int, expected: list[int]
) -> None:
    assert slow_frame_indices(np.arange(20) / 2, span, fps, max_frames).tolist() == expected


def test_rounding_of_times_and_lengths_loses_no_frame() -> None:
    times_s = np.arange(100) * 0.1
    assert slow_frame_indices(times_s, Span(0.1 + 0.2, 0.7), 10.0, 32).tolist() == [3, 4, 5, 6]
    assert len(slow_frame_indices(times_s, Span(0.1, 4.1), 2.0, 32)) == 8


@pytest.mark.parametrize("span", [Span(3.0, 3.0), Span(4.0, 3.0), Span(-1.0, 2.0)])
def test_an_impossible_span_is_refused(span: Span) -> None:
    with pytest.raises(ValueError, match="empty or starts before"):
        slow_frame_indices(np.arange(20) / 2, span, 2.0, 32)


@given(
    start_s=st.floats(0, 50),
    length_s=st.floats(0.01, 50),
    fps=st.floats(0.1, 30),
    video_fps=st.sampled_from([1.0, 2.0, 24000 / 1001, 25.0]),
    max_frames=st.integers(2, 32),
)
def test_slow_indices_are_even_in_number_ascending_and_within_the_span(
    start_s: float, length_s: float, fps: float, video_fps: float, max_frames: int
) -> None:
    times_s = np.arange(int(60 * video_fps)) / video_fps
    indices = slow_frame_indices(times_s, Span(start_s, start_s + length_s), fps, max_frames)
    assert len(indices) % 2 == 0
    assert 2 <= len(indices) <= max_frames
    assert (np.diff(indices) >= 0).all()
    is_on_screen = times_s[indices] + 1 / video_fps > start_s - 1e-5
    assert (is_on_screen & (times_s[indices] < start_s + length_s)).all()


@pytest.mark.parametrize(
    ("height", "width", "tokens", "expected"),
    [
        (720, 1280, 32, (112, 196)),
        (480, 640, 32, (140, 168)),
        (720, 1280, 64, (168, 280)),
        (720, 1280, 256, (336, 588)),
        (480, 640, 256, (392, 504)),
        (720, 1280, 512, (476, 840)),
        (112, 112, 1, (28, 28)),
        (112, 112, 4, (56, 56)),
        (112, 112, 16, (112, 112)),
        (112, 112, 64, (224, 224)),  # small videos are enlarged to the budget
        (10, 2000, 4, (28, 784)),  # no side below 28; 2000 * sqrt(3292 / 20000) = 811
    ],
)
def test_frame_sizes_follow_the_paper(height: int, width: int, tokens: int, expected: tuple[int, int]) -> None:
    assert frame_size(height, width, tokens * 28 * 28) == expected


@given(st.integers(16, 3000), st.integers(16, 3000), st.integers(1, 512))
def test_frame_sizes_are_multiples_of_28_near_the_budget(height: int, width: int, tokens: int) -> None:
    resized = frame_size(height, width, tokens * 28 * 28)
    assert all(side % 28 == 0 and side >= 28 for side in resized)
    if max(height, width) / min(height, width) < 2 and tokens >= 16:
        assert 0.5 <= resized[0] * resized[1] / (tokens * 28 * 28) <= 1.8


def test_visual_tokens_count_pairs_of_frames() -> None:
    assert num_visual_tokens(768, 112, 196) == 384 * 28
    assert num_visual_tokens(32, 336, 588) == 16 * 252
    assert num_visual_tokens(4, 56, 56) == 8
    assert num_visual_tokens(3, 28, 28) == 2


@pytest.mark.parametrize(
    ("num_frames", "duration_s", "fps", "max_frames", "expected"),
    [
        (240, 8.0, 0.5, 64, [0, 60, 120, 180]),
        (241, 241 / 30, 0.5, 64, [0, 60, 120, 180, 240]),  # an odd number is kept
        (128, 64.0, 0.5, 64, list(range(0, 128, 4))),
        (48, 2.0, 0.7, 64, [0, 34]),  # 24 / 0.7 = 34.3, rounded
        (10, 5.0, 30.0, 64, list(range(10))),  # never less than every frame
        (3, 0.1, 0.5, 64, [0]),
        (240, 8.0, 0.5, 3, [0, 119, 239]),  # too many: spread, 119.5 cut
        (10, 10.0, 1.0, 4, [0, 3, 6, 9]),
    ],
)
def test_an_overview_takes_every_nth_frame_or_spreads_the_most_it_may_have(
    num_frames: int, duration_s: float, fps: float, max_frames: int, expected: list[int]
) -> None:
    assert strided_frame_indices(num_frames, duration_s, fps, max_frames).tolist() == expected


def test_videos_up_to_128_s_are_overviewed_at_half_a_frame_a_second() -> None:
    """At 30 frames per second: VideoZoomer's 64 frames."""
    assert len(strided_frame_indices(128 * 30, 128.0, 0.5, 64)) == 64
    longer = strided_frame_indices(130 * 30, 130.0, 0.5, 64)
    assert (len(longer), longer[-1]) == (64, 130 * 30 - 1)


def test_a_video_without_frames_has_no_overview() -> None:
    with pytest.raises(ValueError, match="no frames"):
        strided_frame_indices(0, 1.0, 0.5, 64)


@pytest.mark.parametrize(
    ("span", "fps", "expected"),
    [
        (Span(4.0, 6.0), 2.0, [8, 9, 10, 11]),
        (Span(2.0, 5.0), 1.0, [4, 6, 9]),  # three, which is no even number
        (Span(2.0, 5.0), 0.4, [4]),
        (Span(2.0, 2.2), 1.0, [4]),  # the rules refuse it; who reads it shows one frame
        (Span(2.0, 4.0), 8.0, [4, 5, 6, 7]),  # 16 wanted, four there
        (Span(0.0, 10.0), 2.0, list(np.rint(np.linspace(0, 19, 16)).astype(int))),  # 20 wanted, 16 allowed
    ],
)
def test_a_clip_in_strides_has_the_frames_that_were_asked_for(span: Span, fps: float, expected: list[int]) -> None:
    assert slow_frame_indices(np.arange(20) / 2, span, fps, 16, FrameSpacing.STRIDE).tolist() == expected


@pytest.mark.parametrize(
    ("length_s", "fps", "expected"),
    [(2.5, 2.0, 5), (4.1 - 0.1, 2.0, 8), (0.4, 2.0, 0), (1e300, 1e300, 10**9), (1e300, -1e300, -(10**9))],
)
def test_frames_at_a_rate_are_counted_down_and_not_without_end(length_s: float, fps: float, expected: int) -> None:
    assert num_frames_at(length_s, fps) == expected


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ((720, 1280), (224, 420)),  # first 237 x 422; 120 tokens
        ((1080, 1920), (224, 420)),
        ((240, 320), (252, 308)),  # 99 tokens: as it is, but for multiples of 28
        ((112, 112), (168, 168)),  # 12544 px are fewer than 25088: enlarged
        ((128, 3000), (56, 1540)),  # 65 x 1533 first
        (
            (360, 270),
            (364, 252),
        ),  # rounded, 364 x 280 are too many: scaled to the bound, 365.8 x 274.3, and rounded down
    ],
)
def test_frames_keep_their_size_within_bounds(native: tuple[int, int], expected: tuple[int, int]) -> None:
    assert bounded_frame_size(*native, 32 * 784, 128 * 784) == expected


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_bounded_sizes_are_multiples_of_28_and_within_bounds_unless_very_long(height_px: int, width_px: int) -> None:
    height, width = bounded_frame_size(height_px, width_px, 32 * 784, 128 * 784)
    assert height % 28 == width % 28 == 0
    assert height * width >= 32 * 784 or min(height, width) == 28
    if max(height_px, width_px) <= 20 * min(height_px, width_px):
        assert height * width <= 128 * 784
