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
    goes_on: bool = False
    """Whether it stands in the video of the part before it: there are no markers between the two."""


@dataclass(frozen=True, slots=True)
class SampledPart:
    """What the assistant wrote in an earlier step, exactly as it was sampled.

    Its tokens are read again as they are: the same text may have other tokens when it is tokenised anew, and then what
    is trained is not what was sampled.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    """The end-of-turn token included, if it was sampled; empty for scripted policies, whose text is tokenised."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: tuple[TextPart | VideoPart | SampledPart, ...]


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
