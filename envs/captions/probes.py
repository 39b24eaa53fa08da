"""Probes of agents that read captions: who writes them sees nothing, or another video. See `videozoom.envs.probes`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videozoom.envs.captions.sources import Captioner, Segment, VideoQA
from videozoom.envs.probes import video_partners
from videozoom.envs.tasks import Span, Task

UNSEEN = "Nothing can be seen."


class BlindCaptioner:
    """Writes that nothing can be seen, whatever it is asked for; also an answerer of questions."""

    fingerprint = "blind"

    def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
        """Return the same words for each segment."""
        return [UNSEEN] * len(segments)

    def answer(self, video: Path, span_s: Span, question: str) -> str:
        """Return the same words."""
        return UNSEEN


@dataclass(frozen=True, slots=True)
class Partner:
    """Another video, and how long it is as a multiple of the one it stands for."""

    video: Path
    ratio: float

    def span(self, span_s: Span) -> Span:
        """Return the span of the partner that stands for one of the video: the same part of it."""
        return Span(self.ratio * span_s.start_s, self.ratio * span_s.end_s)


def caption_partners(tasks: Iterable[Task]) -> dict[Path, Partner]:
    """Return another video for each video of the tasks; raises `ValueError` if there is only one."""
    durations_s = {task.video: task.duration_s for task in tasks}
    return {
        video: Partner(other, durations_s[other] / durations_s[video])
        for video, other in video_partners(durations_s).items()
    }


class OtherVideoCaptioner:
    """Describes the same parts of other videos."""

    def __init__(self, captioner: Captioner, partners: Mapping[Path, Partner]) -> None:
        self._captioner, self._partners = captioner, partners

    @property
    def fingerprint(self) -> str:
        """Names who writes, and that it looks at the wrong video."""
        return f"wrong_video|{self._captioner.fingerprint}"

    def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
        """Return captions of the partner."""
        partner = self._partners[video]
        moved = [Segment(partner.span(segment.span_s), segment.level) for segment in segments]
        return self._captioner.captions(partner.video, moved)


class OtherVideoQA:
    """Answers questions about the same parts of other videos."""

    def __init__(self, video_qa: VideoQA, partners: Mapping[Path, Partner]) -> None:
        self._video_qa, self._partners = video_qa, partners

    @property
    def fingerprint(self) -> str:
        """Names who answers, and that it looks at the wrong video."""
        return f"wrong_video|{self._video_qa.fingerprint}"

    def answer(self, video: Path, span_s: Span, question: str) -> str:
        """Return what the partner shows."""
        partner = self._partners[video]
        return self._video_qa.answer(partner.video, partner.span(span_s), question)
