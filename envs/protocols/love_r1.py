"""Protocol of LOVE-R1: fast view, zoomed clips, question; a zoom or an answer in a box, after a fixed prefix.

Source: LOVE-R1, Sec. 3 (template (c)), Sec. 4.2 (prefixes), Sec. 5.1 (timestamps, forced answer at the last step).
The wording of the prompts is ours; `prompts` loads another.
"""

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.answer_texts import read_answer
from videozoom.envs.messages import Message, Prompt, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.observation import EPISODE_KINDS, QUESTION_KINDS, Observation, VideoClip
from videozoom.envs.overlay import TimestampOverlay
from videozoom.envs.protocols.boxed import PARSERS, BoxRules, find_box, read_letter, read_span
from videozoom.envs.protocols.templates import Template, in_place
from videozoom.envs.protocols.wording import NO_FREE_QUESTIONS, FreeQuestions, load_free_questions
from videozoom.envs.tasks import OPTION_LETTERS, EpisodeKind, QuestionKind, Span

ZOOM_PREFIX = "I need to zoom in on the video.\n\n"
ANSWER_PREFIX = "I get the answer.\n\n"

_PROMPT_FOLDERS = Path(__file__).parent / "prompts"
_PLACEHOLDER = re.compile(r"\{(question|options)\}")


@dataclass(frozen=True, slots=True)
class LoveR1Prompts:
    """The wording of the protocol, one text file each; line breaks at the end of a file do not count."""

    system: str
    question: str
    """Contains `{question}` and `{options}`."""
    instruction: str
    free: FreeQuestions = NO_FREE_QUESTIONS
    """Of questions without options, `question_free.txt` and `forms.txt`; a folder without them has multiple choice
    only."""

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the wording in `folder`: a path, or the name of a shipped one (`love_r1`, `love_r1_compact`).

        Raises:
            ValueError: if a file is missing, or `question.txt` lacks a placeholder.
        """
        shipped = {path.name: path for path in _PROMPT_FOLDERS.iterdir() if path.is_dir()}
        path = shipped.get(str(folder), Path(folder))
        texts = {}
        for name in ("system", "question", "instruction"):
            file = path / f"{name}.txt"
            if not file.is_file():
                raise ValueError(
                    f"Prompt file {file} does not exist: a prompt folder holds system.txt, question.txt and "
                    f"instruction.txt; shipped folders are {', '.join(sorted(shipped))}."
                )
            texts[name] = file.read_text(encoding="utf-8").rstrip("\n")
        for placeholder in ("{question}", "{options}"):
            if placeholder not in texts["question"]:
                raise ValueError(f"{path / 'question.txt'} must contain {placeholder}.")
        return cls(**texts, free=load_free_questions(folder))


class LoveR1Protocol:
    r"""Markov prompts with drawn timestamps; actions in `\boxed{}` after a prefix.

    A prompt holds the fast view, the accepted clips sorted by start (or, by another `template`, in place of what they
    show), and the question; earlier reasoning is dropped.
    In `zoom_step` episodes the zoom prefix is forced, at the last step of a `multi_step` episode the answer prefix;
    otherwise the model chooses and writes its prefix itself.

    Args:
        prompts: Folder of the wording, or the name of a shipped one.
        timestamps: Whether seconds are drawn on the frames.
        timestamp_scale: Pixels per cell of the 3x5 digits on small frames.
        timestamp_plate: Draw them on a black plate.
        timestamp_colour: RGB of the digits.
        parser: Name of a preset in `PARSERS`, or rules of your own.
        template: Where zoomed clips stand: `c` behind the fast view, `a` and `b` in place of what they show; see
            `Template`.
        force_answer: Whether the last step of a `multi_step` episode begins with the answer prefix.
        force_after_malformed: Whether every step after a malformed or refused one does, too.

    Raises:
        ValueError: if the wording cannot be loaded or the parser is unknown.

    Example:
        >>> protocol = LoveR1Protocol("love_r1_compact")
        >>> protocol.write(ZoomIn(Span(12.0, 16.0)), "A red border.", observation)
        'I need to zoom in on the video.\n\nA red border. \\boxed{[12, 16]}'
    """

    name = "love_r1"

    def __init__(
        self,
        prompts: str | Path | None = None,
        *,
        timestamps: bool = True,
        timestamp_scale: int = 2,
        timestamp_plate: bool = False,
        timestamp_colour: tuple[int, int, int] = (255, 0, 0),
        parser: str | BoxRules = "rl",
        template: Template | str = Template.C,
        force_answer: bool = True,
        force_after_malformed: bool = False,
    ) -> None:
        if isinstance(parser, str) and parser not in PARSERS:
            raise ValueError(f"Unknown parser {parser!r}: use one of {', '.join(PARSERS)}, or BoxRules.")
        self.prompts = LoveR1Prompts.load("love_r1" if prompts is None else prompts)
        self.rules = PARSERS[parser] if isinstance(parser, str) else parser
        if template not in tuple(Template):
            raise ValueError(f"Unknown template {template!r}: use one of {', '.join(Template)}.")
        self.template = Template(template)
        self.force_answer, self.force_after_malformed = force_answer, force_after_malformed
        self.overlay = TimestampOverlay(timestamp_colour, timestamp_scale, timestamp_plate) if timestamps else None

    @property
    def question_kinds(self) -> frozenset[QuestionKind]:
        """Kinds of questions that there are words for."""
        return frozenset({QuestionKind.MULTIPLE_CHOICE, *self.prompts.free.forms})

    def without_instruction(self) -> Self:
        """Return the same protocol without its instruction, as in the paper's first training stage."""
        twin = copy.copy(self)
        twin.prompts = replace(self.prompts, instruction="")
        return twin

    def prompt(self, observation: Observation, spoken: Sequence[SampledPart] = ()) -> Prompt:
        """Return system and user message, and the prefix the step forces; what was `spoken` is not kept."""
        return Prompt(
            (
                Message(Role.SYSTEM, (TextPart(self.prompts.system),)),
                Message(Role.USER, self._user_content(observation)),
            ),
            self._forced_prefix(observation),
        )

    def prompt_on_clip(self, clip: VideoClip, header: str, question: str) -> Prompt:
        """Return a prompt about one clip alone, its timestamps drawn: for supervised learning before any episode."""
        content = (TextPart(header), VideoPart(self._drawn(clip)), TextPart(question))
        return Prompt(
            (Message(Role.SYSTEM, (TextPart(self.prompts.system),)), Message(Role.USER, content)), assistant_prefix=""
        )

    def parse(self, text: str, observation: Observation) -> Action:
        """Return the action in `text`, the completion after a forced prefix; unreadable text is `Malformed`."""
        forced = self._forced_prefix(observation)
        prefix = forced or _leading_prefix(text)
        if not prefix and self.rules.require_prefix:
            return Malformed(MalformedReason.NO_PREFIX)
        content = find_box(text, self.rules.box, self.rules.end)
        if content is None:
            return Malformed(MalformedReason.NO_BOX)
        kind = QUESTION_KINDS[observation["question_kind"]]
        # Where the answer is a span, too, only the prefix can tell.
        is_open_to_both = not self.rules.require_prefix and not forced
        if is_open_to_both and not (prefix and kind is QuestionKind.TEMPORAL_GROUNDING):
            prefix = ZOOM_PREFIX if content.strip().startswith("[") else ANSWER_PREFIX
        if prefix == ZOOM_PREFIX:
            rules = self.rules
            span = read_span(content, rules.integers_only, spaces=rules.spaces, lowest_two=rules.lowest_two)
            return ZoomIn(span) if isinstance(span, Span) else Malformed(span)
        if kind is QuestionKind.MULTIPLE_CHOICE:
            answer = read_letter(content, len(observation["options"]), self.rules.letter)
        else:
            answer = read_answer(kind, content)
        return Malformed(answer) if isinstance(answer, MalformedReason) else Answer(answer)

    def write(self, action: Action, reasoning: str, observation: Observation) -> str:
        """Return the completion that `parse` reads as `action`.

        With whole seconds only, a span is widened to them.

        Raises:
            ValueError: if `action` is malformed, if the step forces the other kind of action, if `reasoning` itself
                holds a box, or if an answer would be read otherwise.
        """
        if not isinstance(action, ZoomIn | Answer):
            raise ValueError(f"This action has no text, only a zoom or an answer has: {action}.")
        if "\\boxed{" in reasoning:
            raise ValueError("Reasoning must not contain \\boxed{}: it would be read as the action.")
        prefix = ZOOM_PREFIX if isinstance(action, ZoomIn) else ANSWER_PREFIX
        forced = self._forced_prefix(observation)
        if forced not in ("", prefix):
            raise ValueError(f"This step forces {forced.strip()!r}; {action} cannot be written.")
        box = self._write_span(action.span_s) if isinstance(action, ZoomIn) else action.text
        text = ("" if forced else prefix) + (f"{reasoning} " if reasoning else "") + f"\\boxed{{{box}}}"
        if isinstance(action, Answer) and not observation["options"] and find_box(text, self.rules.box) != box:
            raise ValueError(f"The answer {action.text!r} cannot stand in a box: its braces do not match.")
        return text

    def _forced_prefix(self, observation: Observation) -> str:
        """Return the prefix the step forces, empty if the agent may choose.

        Source: LOVE-R1, Sec. 4.3 (single zoom steps start with the zoom prefix) and Sec. 5.1 (the last step starts with
        the answer prefix; there at inference). The released training code never forces an answer; the evaluation code
        does it at once when an output is malformed or its span refused.
        """
        if EPISODE_KINDS[observation["episode_kind"]] is EpisodeKind.ZOOM_STEP:
            return ZOOM_PREFIX
        if self.force_answer and observation["step"] == observation["max_steps"] - 1:
            return ANSWER_PREFIX
        turns = observation["turns"] if self.force_after_malformed else ()
        return ANSWER_PREFIX if turns and isinstance(turns[-1].action, Malformed) else ""

    def _write_span(self, span_s: Span) -> str:
        if self.rules.integers_only:
            return f"[{math.floor(span_s.start_s)}, {math.ceil(span_s.end_s)}]"
        return _write_times(span_s)

    def _user_content(self, observation: Observation) -> tuple[TextPart | VideoPart, ...]:
        fast_view = self._drawn(observation["fast_view"])
        clips = [self._drawn(clip) for clip in sorted(observation["clips"], key=lambda clip: clip.span_s)]
        parts: list[TextPart | VideoPart] = [TextPart(f"Full video [0, {int(fast_view.span_s.end_s)}]:")]
        if self.template is Template.C:
            parts.append(VideoPart(fast_view))
            for clip in clips:
                parts += [TextPart(f"Subset zoom-in video clip {_write_times(clip.span_s)}:"), VideoPart(clip)]
        else:
            parts += in_place(fast_view, clips, self.template)
        parts.append(TextPart(f"{self._question(observation)}\n{self.prompts.instruction}".rstrip("\n")))
        return tuple(parts)

    def _drawn(self, clip: VideoClip) -> VideoClip:
        return clip if self.overlay is None else self.overlay(clip)

    def _question(self, observation: Observation) -> str:
        kind = QUESTION_KINDS[observation["question_kind"]]
        if kind is not QuestionKind.MULTIPLE_CHOICE:
            return self.prompts.free.fill(kind, observation["question"])
        lines = (f"{letter}. {option}" for letter, option in zip(OPTION_LETTERS, observation["options"], strict=False))
        values = {"question": observation["question"], "options": "\n".join(lines)}
        return _PLACEHOLDER.sub(lambda match: values[match.group(1)], self.prompts.question)


def _leading_prefix(text: str) -> str:
    """Return the prefix `text` starts with, its line breaks aside; empty if none."""
    for prefix in (ZOOM_PREFIX, ANSWER_PREFIX):
        if text.startswith(prefix.rstrip()):
            return prefix
    return ""


def _write_times(span_s: Span) -> str:
    """Return `[start, end]` in seconds, without decimals where there are none."""
    return (
        f"[{', '.join(str(int(time_s)) if float(time_s).is_integer() else repr(float(time_s)) for time_s in span_s)}]"
    )
