from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from videozoom.envs.captions.sources import CaptionError, Segment
from videozoom.envs.captions.tree import Level
from videozoom.envs.messages import TextPart, VideoPart
from videozoom.envs.observation import VideoClip, VideoDecodeError
from videozoom.envs.tasks import Span
from videozoom.policies.base import Completion, Request
from videozoom.policies.captioners import PolicyCaptioner, PolicyVideoQA

VIDEO = Path("v.mp4")


class Frames:
    """Grey frames; as many as it is told to."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames

    def duration_s(self, video: Path) -> float:
        return 64.0

    def fast_view(self, video: Path) -> VideoClip:
        raise AssertionError("captions are made from clips")

    def slow_clip(self, video: Path, span_s: Span) -> VideoClip:
        if span_s.end_s > 64.0:
            raise VideoDecodeError(f"{video}: cut short")
        frames = np.full((self.num_frames, 28, 28, 3), 128, np.uint8)
        times_s = np.linspace(*span_s, self.num_frames, endpoint=False)
        return VideoClip(frames, times_s, span_s, f"{self.num_frames} {span_s}")


class Writer:
    """Writes what it is told to, and keeps the requests of each call."""

    def __init__(self, *texts: str, error: str = "") -> None:
        self.texts, self.error = list(texts), error
        self.calls: list[list[Request]] = []

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        self.calls.append(list(requests))
        return [Completion(self.texts.pop(0), error=self.error) for _ in requests]


FRAMES = {Level.HIGH: Frames(8), Level.MEDIUM: Frames(4), Level.LOW: Frames(2)}
HIGH, LOW = Segment(Span(0.0, 16.0), Level.HIGH), Segment(Span(3.0, 4.5), Level.LOW)


def test_segments_are_shown_as_their_level_is_and_described_in_one_call() -> None:
    writer = Writer("<caption> A dog. </caption> Anything else?", "A cat.")
    assert PolicyCaptioner(writer, FRAMES, "writer").captions(VIDEO, [HIGH, LOW]) == ["A dog.", "A cat."]
    [requests] = writer.calls
    clips = [clip for request in requests for clip in request.prompt.clips()]
    assert [(len(clip.frames), clip.span_s) for clip in clips] == [(8, HIGH.span_s), (2, LOW.span_s)]
    # Times are drawn.
    assert all(np.any(clip.frames != 128) for clip in clips)
    words = [part.text for part in requests[1].prompt.messages[-1].content if isinstance(part, TextPart)]
    assert "from 3.0 s to 4.5 s, closely" in words[0]


def test_questions_come_after_the_frames_of_their_span() -> None:
    writer = Writer("<reasoning>Black fur.</reasoning><answer>Yes: {start}.</answer>")
    video_qa = PolicyVideoQA(writer, Frames(16), "writer")
    assert video_qa.answer(VIDEO, Span(3.0, 4.5), "Is it {end}?") == "Yes: {start}."
    video, text = writer.calls[0][0].prompt.messages[-1].content
    assert isinstance(video, VideoPart)
    assert isinstance(text, TextPart)
    assert "Is it {end}?" in text.text


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [("", "refused", "refused"), ("", "", "wrote nothing"), ("<caption> </caption>", "", "wrote nothing")],
)
def test_without_words_there_is_no_caption(text: str, error: str, words: str) -> None:
    with pytest.raises(CaptionError, match=rf"v\.mp4: there is no caption .*{words}"):
        PolicyCaptioner(Writer(text, error=error), FRAMES, "writer").captions(VIDEO, [HIGH])


def test_a_span_that_cannot_be_read_is_the_worlds_fault() -> None:
    with pytest.raises(VideoDecodeError):
        PolicyCaptioner(Writer("x"), FRAMES, "writer").captions(VIDEO, [Segment(Span(60.0, 70.0), Level.LOW)])


def test_the_fingerprint_changes_with_the_model_and_the_wording(tmp_path: Path) -> None:
    for name in ("system", "high", "medium", "low", "question"):
        (tmp_path / f"{name}.txt").write_text("{start} {end} {question}")
    made = [
        PolicyCaptioner(Writer(), FRAMES, "one").fingerprint,
        PolicyCaptioner(Writer(), FRAMES, "two").fingerprint,
        PolicyCaptioner(Writer(), FRAMES, "one", tmp_path).fingerprint,
    ]
    assert len(set(made)) == 3
    assert PolicyVideoQA(Writer(), Frames(2), "one").fingerprint == made[0]
