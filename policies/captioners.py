"""Captioner and question answerer made of any policy that sees: Qwen2.5-VL, or a model behind a chat server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from videozoom.envs.captions.sources import CaptionError, Segment
from videozoom.envs.captions.tree import LEVELS, Level
from videozoom.envs.messages import Message, Prompt, Role, TextPart, VideoPart
from videozoom.envs.observation import FrameSource, Observation, VideoClip
from videozoom.envs.overlay import TimestampOverlay
from videozoom.envs.protocols.tagged import find_block
from videozoom.envs.protocols.wording import fill, load_wording
from videozoom.envs.tasks import Span, Task
from videozoom.envs.videos.file_ids import digest_of
from videozoom.policies.base import Policy, Request

_PART = ("start", "end")
_FILES: dict[str, tuple[str, ...]] = {
    "system": (),
    **{str(level): _PART for level in LEVELS},
    "question": (*_PART, "question"),
}


class PolicyCaptioner:
    """Shows a policy the frames of a span, with their times drawn, and takes what it writes for the caption.

    Args:
        policy: Who writes; give it a greedy one, so that captions can be made again.
        frames: What reads the frames of each level: the longer the spans, the more and smaller they are.
        name: Names the policy and the frames: captions are kept under it (`fingerprint`).
        prompts: Folder of the wording, or the name of a shipped one.

    Source: LongVideo-R1, released code: 128, 64 and 32 frames of at most 256, 362 and 512 pixels a side. Departs from
    it: times are drawn on the frames, and there are no subtitles.
    """

    def __init__(
        self, policy: Policy, frames: Mapping[Level, FrameSource], name: str, prompts: str | Path = "captioner"
    ) -> None:
        self._asking = _Asking(policy, name, prompts)
        self._frames = dict(frames)
        self.fingerprint = self._asking.fingerprint

    def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
        """Return a caption of each segment; all are asked for at once.

        Raises:
            CaptionError: if the policy writes nothing.
            VideoDecodeError: if a span cannot be read.
        """
        prompts = [
            self._asking.prompt(self._frames[it.level].slow_clip(video, it.span_s), str(it.level), it.span_s)
            for it in segments
        ]
        return self._asking.texts(video, prompts, "caption")


class PolicyVideoQA:
    """Shows a policy the frames of a span and a question, and takes what it writes for the answer.

    Args:
        policy: Who answers.
        frames: What reads the frames; 16 of them in the released code of LongVideo-R1.
        name: As of `PolicyCaptioner`.
        prompts: As of `PolicyCaptioner`.
    """

    def __init__(self, policy: Policy, frames: FrameSource, name: str, prompts: str | Path = "captioner") -> None:
        self._asking = _Asking(policy, name, prompts)
        self._frames = frames
        self.fingerprint = self._asking.fingerprint

    def answer(self, video: Path, span_s: Span, question: str) -> str:
        """Return what the span shows of what is asked; raises as `PolicyCaptioner.captions`."""
        clip = self._frames.slow_clip(video, span_s)
        return self._asking.texts(video, [self._asking.prompt(clip, "question", span_s, question)], "answer")[0]


class _Asking:
    """Asks a policy about clips."""

    def __init__(self, policy: Policy, name: str, prompts: str | Path) -> None:
        self._policy, self._wording = policy, load_wording(prompts, _FILES)
        self._overlay = TimestampOverlay()
        self.fingerprint = digest_of(name, sorted(self._wording.items()))

    def prompt(self, clip: VideoClip, wording: str, span_s: Span, question: str = "") -> Prompt:
        times = {"start": f"{span_s.start_s:.1f}", "end": f"{span_s.end_s:.1f}"}
        words = fill(self._wording[wording], **times, question=question)
        return Prompt(
            (
                Message(Role.SYSTEM, (TextPart(self._wording["system"]),)),
                Message(Role.USER, (VideoPart(self._overlay(clip)), TextPart(words))),
            )
        )

    def texts(self, video: Path, prompts: Sequence[Prompt], tag: str) -> list[str]:
        """Return what the policy writes inside the tag, or all of it where it writes no such tag."""
        # There is no episode: policies that look at one cannot describe videos.
        nothing, task = cast("Observation", {}), Task("caption", video, 0.0, "", (), "")
        texts = []
        for completion in self._policy.act([Request(prompt, nothing, task) for prompt in prompts]):
            block = find_block(completion.text, tag)
            text = (completion.text if block is None else block.content).strip()
            if not text:
                raise CaptionError(f"{video}: there is no {tag} ({completion.error or 'the model wrote nothing'}).")
            texts.append(text)
        return texts
