"""Prompts as messages of an OpenAI-compatible chat server: frames become images in data URLs."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO
from typing import Any

from PIL import Image

from videozoom.envs.messages import Message, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.videos.lru import LRU

_HELD_BYTES = 128 * 2**20
"""Encoded clips that are kept: every step of an episode, and of its neighbours, shows the same fast view."""


class ImageFormat(StrEnum):
    """How frames are encoded."""

    PNG = "png"
    """Every pixel as it is."""
    JPEG = "jpeg"
    """About a tenth of the size, with colours at full resolution."""
    WEBP = "webp"


_SAVE: dict[ImageFormat, dict[str, Any]] = {
    ImageFormat.PNG: {"compress_level": 6},
    ImageFormat.JPEG: {"quality": 90, "subsampling": 0},
    ImageFormat.WEBP: {"quality": 90, "method": 4},
}


@dataclass(frozen=True, slots=True)
class ChatContent:
    """Writes messages as a chat server takes them.

    Example:
        >>> ChatContent().messages([Message(Role.USER, (TextPart("Which sign?"),))])
        [{'role': 'user', 'content': 'Which sign?'}]
    """

    image_format: ImageFormat = ImageFormat.PNG
    image_detail: str | None = None
    """`low`, `high` or `auto` for servers that know it; `None` leaves it out."""
    time_tags: bool = True
    """Whether the time in seconds stands in text before each frame."""
    held: LRU[tuple[str, ...]] = field(default_factory=lambda: LRU(_HELD_BYTES), repr=False, compare=False)
    """Clips that were encoded recently."""

    def messages(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Return the messages as plain data; those without frames have plain text, which every server takes."""
        return [{"role": str(message.role), "content": self._content(message)} for message in messages]

    def data_urls(self, clip: VideoClip) -> tuple[str, ...]:
        """Return the frames of a clip as data URLs, in order."""
        name = (clip.key, clip.span_s, self.image_format)
        urls = self.held.get(name)
        if urls is None:
            urls = tuple(self._data_url(Image.fromarray(frame)) for frame in clip.frames)
            self.held.put(name, urls, sum(map(len, urls)))
        return urls

    def _content(self, message: Message) -> str | list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for part in self._parts(message):
            if part["type"] == "text" and parts and parts[-1]["type"] == "text":
                # Servers put different things between text parts: what belongs together stays one.
                parts[-1] = {"type": "text", "text": parts[-1]["text"] + part["text"]}
            else:
                parts.append(part)
        if any(part["type"] != "text" for part in parts):
            return parts
        return "".join(part["text"] for part in parts)

    def _parts(self, message: Message) -> Iterator[dict[str, Any]]:
        for part in message.content:
            if not isinstance(part, VideoPart):
                yield {"type": "text", "text": part.text}
                continue
            for time_s, url in zip(part.clip.times_s, self.data_urls(part.clip), strict=True):
                if self.time_tags:
                    yield {"type": "text", "text": f"\n[{time_s:.1f} s]"}
                yield {"type": "image_url", "image_url": self._image(url)}

    def _image(self, url: str) -> dict[str, str]:
        return {"url": url} if self.image_detail is None else {"url": url, "detail": self.image_detail}

    def _data_url(self, image: Image.Image) -> str:
        buffer = BytesIO()
        image.save(buffer, self.image_format.value, **_SAVE[self.image_format])
        return f"data:image/{self.image_format};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
