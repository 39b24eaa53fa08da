"""Messages: what a protocol makes of an observation, before any tokenizer."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from videozoom.envs.observation import VideoClip


class Role(StrEnum):
    """Who speaks in a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class VideoPart:
    """A clip whose frames are final: resized, timestamps drawn; its key says so."""

    clip: VideoClip


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: tuple[TextPart | VideoPart, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation the assistant has to continue, after `assistant_prefix`.

    The prefix belongs to the prompt: it is not sampled and not trained.
    """

    messages: tuple[Message, ...]
    assistant_prefix: str = ""

    def clips(self) -> Iterator[VideoClip]:
        """Yield the prompt's clips in order."""
        for message in self.messages:
            for part in message.content:
                if isinstance(part, VideoPart):
                    yield part.clip
