import logging
import os
import pickle
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from videozoom.envs.captions.kept_texts import KeptCaptioner, KeptTexts, KeptVideoQA
from videozoom.envs.captions.sources import CaptionError, Segment
from videozoom.envs.captions.tree import Level
from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.tasks import Span

HIGH, LOW = Segment(Span(0.0, 16.0), Level.HIGH), Segment(Span(0.0, 1.0), Level.LOW)


class Writer:
    """Writes captions and answers, and counts them."""

    def __init__(self, fingerprint: str = "writer 1") -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []

    def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
        self.asked += [f"{segment.level} {segment.span_s.start_s:g}" for segment in segments]
        return [f"{self.fingerprint}: {segment.level} of {video.read_text()}" for segment in segments]

    def answer(self, video: Path, span_s: Span, question: str) -> str:
        self.asked.append(question)
        return f"{question} {video.read_text()}"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_text("a dog")
    # Long ago, so that a change would show in its time.
    os.utime(path, (1e9, 1e9))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_captions_are_made_when_they_are_asked_for_and_once(video: Path, folder: Path) -> None:
    writer = Writer()
    captioner = KeptCaptioner(writer, KeptTexts(folder))
    assert writer.asked == []
    assert captioner.captions(video, [HIGH]) == ["writer 1: high of a dog"]
    assert captioner.captions(video, [LOW, HIGH]) == ["writer 1: low of a dog", "writer 1: high of a dog"]
    assert captioner.captions(video, []) == []
    assert writer.asked == ["high 0", "low 0"]


def test_what_is_asked_twice_at_once_is_made_once(video: Path, folder: Path) -> None:
    writer = Writer()
    assert len(set(KeptCaptioner(writer, KeptTexts(folder)).captions(video, [HIGH, HIGH, HIGH]))) == 1
    assert writer.asked == ["high 0"]


def test_another_process_finds_the_captions_also_of_a_video_that_was_moved(video: Path, folder: Path) -> None:
    first, second = Writer(), Writer()
    KeptCaptioner(first, KeptTexts(folder)).captions(video, [HIGH, LOW])
    moved = Path(shutil.move(video, video.with_name("moved.mp4")))
    assert KeptCaptioner(second, KeptTexts(folder)).captions(moved, [LOW]) == ["writer 1: low of a dog"]
    assert second.asked == []


def test_other_content_another_model_and_another_span_have_captions_of_their_own(video: Path, folder: Path) -> None:
    kept = KeptTexts(folder)
    writer, other = Writer(), Writer("writer 2")
    captioner = KeptCaptioner(writer, kept)
    captioner.captions(video, [HIGH])
    assert KeptCaptioner(other, kept).captions(video, [HIGH]) == ["writer 2: high of a dog"]
    captioner.captions(video, [Segment(Span(16.0, 32.0), Level.HIGH)])
    video.write_text("a cat")
    assert captioner.captions(video, [HIGH]) == ["writer 1: high of a cat"]
    assert writer.asked == ["high 0", "high 16", "high 0"]


def test_answers_are_kept_by_span_and_question(video: Path, folder: Path) -> None:
    writer = Writer()
    for _ in range(2):
        video_qa = KeptVideoQA(writer, KeptTexts(folder))
        assert video_qa.answer(video, Span(0.0, 1.0), "Who?") == "Who? a dog"
        assert video_qa.answer(video, Span(0.0, 1.0), "What?") == "What? a dog"
        assert video_qa.answer(video, Span(1.0, 2.0), "What?") == "What? a dog"
    assert writer.asked == ["Who?", "What?", "What?"]


def test_without_a_folder_texts_stay_in_memory(video: Path, tmp_path: Path) -> None:
    writer = Writer()
    captioner = KeptCaptioner(writer, KeptTexts(None))
    assert captioner.captions(video, [HIGH]) == captioner.captions(video, [HIGH])
    assert writer.asked == ["high 0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video.mp4"]
    pickle.loads(pickle.dumps(captioner)).captions(video, [HIGH])


def test_a_failure_goes_through_and_is_not_kept(video: Path, folder: Path) -> None:
    class Failing(Writer):
        def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
            raise CaptionError(f"{video}: nobody there")

    kept = KeptTexts(folder)
    with pytest.raises(CaptionError, match="nobody there"):
        KeptCaptioner(Failing(), kept).captions(video, [HIGH])
    assert KeptCaptioner(Writer(), kept).captions(video, [HIGH]) == ["writer 1: high of a dog"]


def test_a_missing_video_is_the_worlds_fault(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(VideoDecodeError, match=r"missing\.mp4: cannot read the video"):
        KeptCaptioner(Writer(), KeptTexts(folder)).captions(tmp_path / "missing.mp4", [HIGH])


def test_a_folder_that_cannot_be_written_costs_one_warning(
    video: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    captioner = KeptCaptioner(Writer(), KeptTexts(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING, logger="videozoom.envs"):
        assert captioner.captions(video, [HIGH]) == ["writer 1: high of a dog"]
        assert captioner.captions(video, [LOW]) == ["writer 1: low of a dog"]
    assert (
        sum(
            "cannot be written" in record.message and record.message.startswith("The caption cache")
            for record in caplog.records
        )
        == 1
    )


def test_two_who_ask_at_once_make_it_once(video: Path, folder: Path) -> None:
    class Slow(Writer):
        def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
            time.sleep(0.2)
            return super().captions(video, segments)

    writer = Slow()
    threads = [
        threading.Thread(target=KeptCaptioner(writer, KeptTexts(folder)).captions, args=(video, [HIGH]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.asked == ["high 0"]
