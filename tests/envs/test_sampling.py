import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.sampling import fast_frame_indices, frame_size, num_visual_tokens, slow_frame_indices
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
