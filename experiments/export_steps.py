"""Steps of recorded episodes, as exports take them: conversations of texts and clips."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from videozoom.envs.messages import Prompt, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Task
from videozoom.experiments.errors import UserError
from videozoom.rollout.playback import PlayedStep
from videozoom.rollout.trace_rows import TraceRow

PLACEHOLDERS = ("<image>", "<video>", "<audio>")
"""What trainers put clips in the place of; a text that holds one of them would shift all that follow."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: its texts and clips in order."""

    role: Role
    content: tuple[str | VideoClip, ...]

    def text(self, placeholder: Callable[[VideoClip], str]) -> str:
        """Return the message as text, with placeholders for clips."""
        return "".join(part if isinstance(part, str) else placeholder(part) for part in self.content)


@dataclass(frozen=True, slots=True)
class ExportedStep:
    """One step: a conversation and what the policy wrote at its end."""

    row: TraceRow
    task: Task
    step: PlayedStep

    @property
    def turns(self) -> list[Turn]:
        """The prompt, without the words that the step forced; who speaks twice in a row speaks once."""
        return turns_of(self.step.prompt)

    @property
    def completion(self) -> str:
        """What was written, after the words that the step forced."""
        return self.step.prompt.assistant_prefix + self.step.text

    @property
    def clips(self) -> list[VideoClip]:
        """All clips of the prompt, in order."""
        return [part for turn in self.turns for part in turn.content if isinstance(part, VideoClip)]

    @property
    def has_placeholder(self) -> bool:
        """Whether a text would be taken for the place of a clip."""
        texts = [part for turn in self.turns for part in turn.content if isinstance(part, str)]
        return any(word in text for word in PLACEHOLDERS for text in (*texts, self.completion))

    def facts(self) -> dict[str, Any]:
        """Return where the step comes from and what it was worth."""
        row = self.row
        names = ("task_id", "phase", "policy", "iteration", "kind", "member", "status", "advantage")
        return {
            **{name: row[name] for name in names},
            "step": self.step.index,
            "is_last_step": self.step.is_last,
            "reward": row["reward"]["total"],
        }


def turns_of(prompt: Prompt) -> list[Turn]:
    """Return the messages of a prompt."""
    speakers = groupby(prompt.messages, key=lambda message: message.role)
    return [
        Turn(role, _contents(part for message in messages for part in message.content)) for role, messages in speakers
    ]


def check_whole_videos(prompt: Prompt) -> None:
    """Look whether every clip is a video of its own.

    Raises:
        UserError: One goes on in another, with frames of another size: no video file can do that.
    """
    parts = (part for message in prompt.messages for part in message.content)
    if any(isinstance(part, VideoPart) and part.goes_on for part in parts):
        raise UserError(
            "protocol.template=a shows clips within the fast view, frames of two sizes in one video, which no video "
            "file can hold; export with --format trl, which takes frames as images"
        )


def _contents(parts: Iterable[TextPart | VideoPart | SampledPart]) -> tuple[str | VideoClip, ...]:
    """Return texts and clips; texts that follow each other are one, for trainers put different things between them."""
    contents: list[str | VideoClip] = []
    for part in parts:
        if isinstance(part, VideoPart):
            contents.append(part.clip)
        elif contents and isinstance(contents[-1], str):
            contents[-1] += part.text
        else:
            contents.append(part.text)
    return tuple(contents)
