"""Protocol of VideoZoomer: an overview with times in text, zooms at a rate of choice, the whole transcript kept.

Source: VideoZoomer, released code. The wording of the prompts is ours; `prompts` loads another.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.messages import Message, Prompt, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.observation import EPISODE_KINDS, QUESTION_KINDS, Observation, Turn, VideoClip
from videozoom.envs.overlay import TimestampOverlay
from videozoom.envs.protocols.wording import fill, load_free_questions, load_wording
from videozoom.envs.protocols.zoom_tags import ANSWER, THINK, ZOOM, find_action, read_answer, read_request
from videozoom.envs.sampling import FRAMES_PER_PATCH, num_frames_at
from videozoom.envs.tasks import OPTION_LETTERS, EpisodeKind, QuestionKind, Span

Part = TextPart | VideoPart | SampledPart

_SHORTEST_S = 1e-6
"""Shorter spans get the protocol's rate, whatever it gives."""
_DIGITS = 3
"""Significant digits of a rate that is written without having been asked for."""


class FrameLayout(StrEnum):
    """How the frames of a clip are shown."""

    IMAGES = "images"
    """Each as an image of its own, after its time: as published. A frame takes all its tokens for itself."""
    PAIRS = "pairs"
    """Two at a time, after their times: half the tokens, but two moments, seconds apart in an overview, share each."""
    VIDEO = "video"
    """All as one video, without times in text: as published for models without the tool."""


@dataclass(frozen=True, slots=True)
class VideoZoomerPreset:
    """One of the published variants. Names of wordings are names of text files."""

    system: str = "system"
    reply: str = "reply"
    refused: str = "refused"
    frames: FrameLayout = FrameLayout.IMAGES
    is_answer_boxed: bool = False
    r"""Whether `write` puts answers in `\boxed{}`, as the system prompt then asks; `parse` reads both."""
    tells_last_round: bool = True


PRESETS = {
    "rl": VideoZoomerPreset(),
    "eval": VideoZoomerPreset(system="system_boxed", is_answer_boxed=True),
    "sft": VideoZoomerPreset(reply="reply_plain", refused="refused_plain"),
    "no_tool": VideoZoomerPreset(system="system_plain", frames=FrameLayout.VIDEO, tells_last_round=False),
}
r"""`rl`: as in reinforcement learning. `eval`: as in evaluation, which asks for answers in `\boxed{}`. `sft`: as in
the making of supervised data, where replies stand in no `<tool_response>` block. `no_tool`: as the model without the
tool is evaluated; give it one step."""


class VideoZoomerProtocol:
    """The transcript of a conversation about frames; one zoom or the answer per round, after reasoning.

    The first message holds the overview and the question. Each zoom is answered by a user turn with the frames, and so
    is what was no valid action, with the reason why. Before the last round the agent is told that it is the last.

    Args:
        prompts: Folder of the wording, or the name of a shipped one (`videozoomer`, `videozoomer_compact`).
        preset: Name of a preset in `PRESETS`, or one of your own.
        frames: How frames are shown; the preset's way unless given.
        max_frames: The most frames of a zoom, which the prompt tells; the environment's rules enforce them.
        fps: Rate that `write` gives zooms without one, unless these are too many frames or none.
        overlay: Draws the time on every frame, beside the one in text; VideoZoomer draws none.

    Raises:
        ValueError: if the wording cannot be loaded, or a value is not allowed.

    Example:
        >>> protocol = VideoZoomerProtocol()
        >>> protocol.write(ZoomIn(Span(4.0, 6.5), fps=2.0), "Too fast.", observation)
        '<think>Too fast.</think><video_zoom> {"segment": [4, 6.5], "fps": 2} </video_zoom>'
    """

    name = "videozoomer"

    def __init__(
        self,
        prompts: str | Path | None = None,
        *,
        preset: str | VideoZoomerPreset = "rl",
        frames: FrameLayout | str | None = None,
        max_frames: int = 16,
        fps: float = 2.0,
        overlay: TimestampOverlay | None = None,
    ) -> None:
        if isinstance(preset, str) and preset not in PRESETS:
            raise ValueError(f"Unknown preset {preset!r}: use one of {', '.join(PRESETS)}, or a VideoZoomerPreset.")
        if max_frames < 1 or not 0.0 < fps < math.inf:
            raise ValueError(f"max_frames {max_frames}, fps {fps}: use at least 1 and a positive number.")
        self.preset = PRESETS[preset] if isinstance(preset, str) else preset
        self.frames = self.preset.frames if frames is None else FrameLayout(frames)
        self.max_frames, self.fps, self.overlay = max_frames, fps, overlay
        self.wording = load_wording("videozoomer" if prompts is None else prompts, _files(self.preset))
        self._free = load_free_questions("videozoomer" if prompts is None else prompts)
        lines = (line.partition(":") for line in self.wording["reasons"].splitlines())
        self._reasons = {name.strip(): words.strip() for name, _, words in lines}

    @property
    def question_kinds(self) -> frozenset[QuestionKind]:
        """Kinds of questions that there are words for."""
        return frozenset({QuestionKind.MULTIPLE_CHOICE, *self._free.forms})

    def without_instruction(self) -> Self:
        """Return the same protocol without a word about zooming: for supervised learning of reading alone."""
        twin = copy.copy(self)
        twin.preset = replace(self.preset, system="system_plain", tells_last_round=False)
        return twin

    def prompt(self, observation: Observation, spoken: Sequence[SampledPart] = ()) -> Prompt:
        """Return the transcript so far; a turn whose text is not in `spoken` is written from its action."""
        messages = [self._system(), self._first(observation)]
        for number, turn in enumerate(observation["turns"]):
            said = spoken[number] if number < len(spoken) else SampledPart(self._unspoken(turn, observation))
            messages += [Message(Role.ASSISTANT, (said,)), self._reply(turn, number, observation)]
        return Prompt(tuple(messages))

    def prompt_on_clip(self, clip: VideoClip, header: str, question: str) -> Prompt:
        """Return a prompt about one clip alone: for supervised learning before any episode."""
        content = (TextPart(f"{header}\n"), *self._shown(clip), TextPart(f"\n{question}"))
        return Prompt((self._system(), Message(Role.USER, content)))

    def parse(self, text: str, observation: Observation) -> Action:
        """Return the action in `text`; unreadable text is `Malformed`, and so is a zoom in the last round."""
        found = find_action(text)
        if isinstance(found, MalformedReason):
            return Malformed(found)
        if found.tag == ANSWER:
            answer = read_answer(found.content, len(observation["options"]), _kind(observation))
            is_reason = isinstance(answer, MalformedReason)
            return Malformed(answer) if is_reason else Answer(answer, found.is_well_formed)
        zoom = read_request(found.content)
        if isinstance(zoom, MalformedReason):
            return Malformed(zoom)
        zoom = replace(zoom, is_well_formed=found.is_well_formed)
        is_last = not _is_zoom_step(observation) and observation["step"] == observation["max_steps"] - 1
        return Malformed(MalformedReason.NOT_ALLOWED, zoom) if is_last else zoom

    def write(self, action: Action, reasoning: str, observation: Observation) -> str:
        """Return the completion that `parse` reads as `action`; a zoom without a rate is given one.

        Raises:
            ValueError: if `action` is none of this protocol's or not well-formed, if it is a zoom in the last round, or
                if a tag in the reasoning would be read as the protocol's own.
        """
        if not isinstance(action, ZoomIn | Answer) or not action.is_well_formed:
            raise ValueError(f"The protocol {self.name} has no text for {action}.")
        if any(f"<{slash}{tag}>" in reasoning for slash in ("", "/") for tag in (THINK, ZOOM, ANSWER)):
            raise ValueError(f"Reasoning must not contain <{THINK}>, <{ZOOM}>, <{ANSWER}> or their ends.")
        if isinstance(action, Answer):
            if any(f"<{slash}{tag}>" in action.text for slash in ("", "/") for tag in (ZOOM, ANSWER)):
                raise ValueError(f"An answer must not contain <{ZOOM}>, <{ANSWER}> or their ends.")
            content = f"\\boxed{{{action.text}}}" if self.preset.is_answer_boxed else action.text
            return f"<{THINK}>{reasoning}</{THINK}><{ANSWER}>{content}</{ANSWER}>"
        start, end = map(_number, action.span_s)
        fps = _number(self.rate(action.span_s) if action.fps is None else action.fps)
        request = f'{{"segment": [{start}, {end}], "fps": {fps}}}'
        return f"<{THINK}>{reasoning}</{THINK}><{ZOOM}> {request} </{ZOOM}>"

    def _system(self) -> Message:
        text = fill(self.wording[self.preset.system], max_frames=self.max_frames)
        return Message(Role.SYSTEM, (TextPart(text),))

    def _first(self, observation: Observation) -> Message:
        notice = self._notice(0, observation)
        return Message(
            Role.USER, (*self._shown(observation["fast_view"]), TextPart(f"\n{self._question(observation)}{notice}"))
        )

    def _question(self, observation: Observation) -> str:
        kind = _kind(observation)
        if kind is not QuestionKind.MULTIPLE_CHOICE:
            return self._free.fill(kind, observation["question"])
        lines = [f"{letter}. {text}" for letter, text in zip(OPTION_LETTERS, observation["options"], strict=False)]
        return fill(self.wording["question"], question=observation["question"], options="\n".join(lines)).rstrip()

    def _reply(self, turn: Turn, number: int, observation: Observation) -> Message:
        """Return what the agent is told after its turn of that number, from 0."""
        notice = self._notice(number + 1, observation)
        if turn.clip is None:
            refusal = fill(self.wording[self.preset.refused], reason=self._reason(turn, observation))
            return Message(Role.USER, (TextPart(refusal + notice),))
        before, _, after = self.wording[self.preset.reply].partition("{frames}")
        parts: list[Part] = [TextPart(before), *self._shown(turn.clip), TextPart(after + notice)]
        return Message(Role.USER, tuple(part for part in parts if not isinstance(part, TextPart) or part.text))

    def _notice(self, step: int, observation: Observation) -> str:
        """Return what is said of the step of that number besides, on a line of its own; mostly nothing."""
        if _is_zoom_step(observation):
            return f"\n{self.wording['zoom_round']}"
        is_last = step == observation["max_steps"] - 1
        return f"\n{self.wording['last_round']}" if is_last and self.preset.tells_last_round else ""

    def _shown(self, clip: VideoClip) -> list[Part]:
        """Return the frames of a clip, each after its time unless they are one video."""
        clip = clip if self.overlay is None else self.overlay(clip)
        if self.frames is FrameLayout.VIDEO:
            return [VideoPart(clip)]
        together = FRAMES_PER_PATCH if self.frames is FrameLayout.PAIRS else 1
        parts: list[Part] = []
        for first in range(0, len(clip.frames), together):
            shown = range(first, min(first + together, len(clip.frames)))
            parts += [TextPart("".join(self._tag(clip, index) for index in shown)), VideoPart(_excerpt(clip, shown))]
        return parts

    def _tag(self, clip: VideoClip, index: int) -> str:
        time_s = float(clip.times_s[index])
        return fill(self.wording["frame"], index=index, time=f"{time_s:.2f}", second=int(time_s))

    def _reason(self, turn: Turn, observation: Observation) -> str:
        """Return why a turn was no valid action, with the numbers of what it asked for."""
        reason = turn.action.reason if isinstance(turn.action, Malformed) else MalformedReason.NOT_ALLOWED
        asked = turn.action.asked if isinstance(turn.action, Malformed) else turn.action
        values: dict[str, object] = {"max_frames": self.max_frames}
        values["duration"] = _plain(observation["fast_view"].span_s.end_s)
        if isinstance(asked, ZoomIn):
            fps = self.fps if asked.fps is None else asked.fps
            values |= {"start": _plain(asked.span_s.start_s), "end": _plain(asked.span_s.end_s), "fps": _plain(fps)}
            values["frames"] = num_frames_at(asked.span_s.length_s, fps)
        if isinstance(asked, Answer):
            values["letter"] = asked.text
        return fill(self._reasons.get(str(reason), str(reason).replace("_", " ")), **values)

    def _unspoken(self, turn: Turn, observation: Observation) -> str:
        action = turn.action
        return self.write(replace(action, is_well_formed=True), "", observation) if isinstance(action, ZoomIn) else ""

    def rate(self, span_s: Span) -> float:
        """Return the protocol's rate, or the nearest one that gives at least one frame and not too many."""
        length_s = span_s.length_s
        if not _SHORTEST_S <= length_s < math.inf:
            return self.fps
        fps = min(max(self.fps, _rounded(1.0 / length_s, math.ceil)), _rounded(self.max_frames / length_s, math.floor))
        return fps


def _files(preset: VideoZoomerPreset) -> dict[str, tuple[str, ...]]:
    """Return the text files that a preset needs, each with the placeholders it has to contain."""
    return {
        preset.system: (),
        "system_plain": (),
        "question": ("question", "options"),
        "frame": (),
        preset.reply: ("frames",),
        preset.refused: ("reason",),
        "last_round": (),
        "zoom_round": (),
        "reasons": (),
    }


def _kind(observation: Observation) -> QuestionKind:
    return QUESTION_KINDS[observation["question_kind"]]


def _is_zoom_step(observation: Observation) -> bool:
    return EPISODE_KINDS[observation["episode_kind"]] is EpisodeKind.ZOOM_STEP


def _excerpt(clip: VideoClip, shown: range) -> VideoClip:
    """Return some neighbouring frames of a clip."""
    part = slice(shown.start, shown.stop)
    frame_s = clip.span_s.length_s / len(clip.frames)
    span_s = Span(clip.span_s.start_s + shown.start * frame_s, clip.span_s.start_s + shown.stop * frame_s)
    return VideoClip(clip.frames[part], clip.times_s[part], span_s, f"{clip.key}[{shown.start}:{shown.stop}]")


def _number(value: float) -> str:
    """Return a number that is read as the same one, without decimals where there are none."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _plain(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.3g}"


def _rounded(value: float, how: Callable[[float], int]) -> float:
    """Return a positive number rounded to a few digits, up or down."""
    scale = 10.0 ** (_DIGITS - 1 - math.floor(math.log10(value)))
    return how(value * scale) / scale
