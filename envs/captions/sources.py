"""Who writes captions and who answers questions about a span: the seams of the caption tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from videozoom.envs.captions.tree import Level
from videozoom.envs.tasks import Span


class CaptionError(Exception):
    """A caption, or an answer about a span, could not be had. The message names the video and the reason."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A span that gets a caption, and how much the caption is to tell."""

    span_s: Span
    level: Level


class Captioner(Protocol):
    """Describes spans of a video. It does not know what will be asked."""

    @property
    def fingerprint(self) -> str:
        """Names everything that decides the text besides the video and the segment: model, wording, frames."""
        ...

    def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
        """Return a caption of each segment, in order; raises `CaptionError` or `VideoDecodeError`."""
        ...


class VideoQA(Protocol):
    """Answers questions about a span of a video, looking at its frames."""

    @property
    def fingerprint(self) -> str:
        """Names everything that decides the answer besides the video, the span and the question."""
        ...

    def answer(self, video: Path, span_s: Span, question: str) -> str:
        """Return what the span shows of what is asked; raises `CaptionError` or `VideoDecodeError`."""
        ...
