from typing import Any

import numpy as np
import pytest
from fuzzed_protocols import observe

from videozoom.envs.messages import TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.protocols.templates import Template, in_place
from videozoom.envs.tasks import Span


def clip(start_s: float, end_s: float, num: int, size_px: int) -> VideoClip:
    times_s = start_s + np.arange(num) * (end_s - start_s) / num
    frames = np.broadcast_to(times_s.astype(np.uint8)[:, None, None, None], (num, size_px, size_px, 3))
    return VideoClip(frames, times_s, Span(start_s, end_s), f"{start_s:g}-{end_s:g}-{size_px}")


FAST = clip(0.0, 10.0, 10, 28)  # A frame each second.


def times(parts: tuple[VideoPart, ...]) -> list[list[float]]:
    return [part.clip.times_s.tolist() for part in parts]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]),
        ([(4, 6)], [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9]]),
        ([(0, 2)], [[0, 1], [2, 3, 4, 5, 6, 7, 8, 9]]),
        ([(8, 10)], [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9]]),
        ([(0, 10)], [[0, 5]]),
        ([(1, 3), (6, 8)], [[0], [1, 2], [3, 4, 5], [6, 7], [8, 9]]),
        ([(1, 3), (3, 5)], [[0], [1, 2], [3, 4], [5, 6, 7, 8, 9]]),
        ([(1, 5), (3, 7)], [[0], [1, 3], [3, 5], [7, 8, 9]]),  # Overlapping ones follow each other.
        ([(1, 9), (3, 5)], [[0], [1, 5], [3, 4], [9]]),  # What the longer one shows does not come back.
        ([(4.2, 4.8)], [[0, 1, 2, 3, 4], [4.2, 4.5], [5, 6, 7, 8, 9]]),
    ],
)
@pytest.mark.parametrize("template", [Template.A, Template.B])
def test_clips_stand_in_place_of_the_fast_frames_they_show(
    spans: list[tuple[float, float]], expected: list[list[float]], template: Template
) -> None:
    parts = in_place(FAST, [clip(*span, 2, 56) for span in spans], template)
    assert np.allclose(np.concatenate(times(parts)), np.concatenate(expected))
    assert [len(part.clip.times_s) for part in parts] == [len(piece) for piece in expected]
    for part in parts:
        assert len(part.clip.frames) == len(part.clip.times_s)
        assert part.clip.frames[:, 0, 0, 0].tolist() == part.clip.times_s.astype(np.uint8).tolist()


def test_one_run_of_video_goes_on_and_separate_videos_do_not() -> None:
    clips = [clip(4.0, 6.0, 2, 56)]
    assert [part.goes_on for part in in_place(FAST, clips, Template.A)] == [False, True, True]
    assert [part.goes_on for part in in_place(FAST, clips, Template.B)] == [False, False, False]


def test_pieces_have_keys_of_their_own() -> None:
    keys = [
        part.clip.key
        for spans in ([(4, 6)], [(3, 6)], [(4, 7)])
        for part in in_place(FAST, [clip(*spans[0], 2, 56)], Template.B)
    ]
    assert len(set(keys)) == 3 + 2 + 2  # Frames 0 to 3 and 6 to 9 come twice.


def content(template: str, **values: Any) -> list[str]:
    observation = observe(fast_view=FAST, **values)
    user = LoveR1Protocol(template=template).prompt(observation).messages[1]  # type: ignore[arg-type]
    return [part.text if isinstance(part, TextPart) else "video" for part in user.content]  # type: ignore[union-attr]


def test_only_the_adopted_template_names_spans() -> None:
    clips = (clip(6.0, 8.0, 2, 56), clip(1.0, 3.0, 2, 56))
    adopted = content("c", clips=clips)
    assert adopted[:-1] == [
        "Full video [0, 10]:",
        "video",
        *("Subset zoom-in video clip [1, 3]:", "video", "Subset zoom-in video clip [6, 8]:", "video"),
    ]
    for template in "ab":
        assert content(template, clips=clips) == ["Full video [0, 10]:", *["video"] * 5, adopted[-1]]


def test_templates_do_not_differ_before_the_first_zoom() -> None:
    observation = observe(fast_view=FAST)
    first, second, third = (LoveR1Protocol(template=template).prompt(observation) for template in "abc")  # type: ignore[arg-type]
    assert first == second == third


def test_an_unknown_template_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="Unknown template 'd': use one of a, b, c"):
        LoveR1Protocol(template="d")
