import base64
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from videozoom.envs.messages import Message, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span
from videozoom.policies.chat_content import ChatContent, ImageFormat


def clip(*levels: int, key: str = "clip", size: int = 8) -> VideoClip:
    frames = np.stack([np.full((size, size + 4, 3), level, np.uint8) for level in levels])
    return VideoClip(frames, np.arange(len(levels)) * 2.5, Span(0.0, 10.0), key)


def pixels(url: str) -> Any:
    head, data = url.split(",")
    return head, np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"))


def test_frames_follow_each_other_with_their_times_between_the_texts() -> None:
    message = Message(
        Role.USER, (TextPart("Whole video:"), VideoPart(clip(10, 20)), TextPart("\nWhich "), TextPart("sign?"))
    )
    [written] = ChatContent().messages([message])
    assert written["role"] == "user"
    kinds = [part["type"] for part in written["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"]
    texts = [part["text"] for part in written["content"] if part["type"] == "text"]
    assert texts == ["Whole video:\n[0.0 s]", "\n[2.5 s]", "\nWhich sign?"]
    levels = [
        pixels(part["image_url"]["url"])[1][0, 0, 0] for part in written["content"] if part["type"] == "image_url"
    ]
    assert levels == [10, 20]


def test_messages_without_frames_are_plain_text() -> None:
    messages = [
        Message(Role.SYSTEM, (TextPart("Be brief."),)),
        Message(Role.ASSISTANT, (SampledPart("I look ", (1, 2)), TextPart("again."))),
    ]
    assert ChatContent().messages(messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "I look again."},
    ]


def test_times_can_be_left_out_and_detail_given() -> None:
    content = ChatContent(time_tags=False, image_detail="low")
    [written] = content.messages([Message(Role.USER, (VideoPart(clip(10, 20)),))])
    assert [part["type"] for part in written["content"]] == ["image_url", "image_url"]
    assert [part["image_url"]["detail"] for part in written["content"]] == ["low", "low"]


def test_png_keeps_every_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 30, 40, 3), dtype=np.uint8)
    noisy = VideoClip(noise, np.zeros(1), Span(0.0, 1.0), "noise")
    head, decoded = pixels(ChatContent().data_urls(noisy)[0])
    assert head == "data:image/png;base64"
    assert np.array_equal(decoded, noise[0])
    # Control: the others do not.
    assert not np.array_equal(pixels(ChatContent(ImageFormat.JPEG).data_urls(noisy)[0])[1], noise[0])


@pytest.mark.parametrize("image_format", [ImageFormat.JPEG, ImageFormat.WEBP])
def test_other_formats_are_close(image_format: ImageFormat) -> None:
    head, decoded = pixels(ChatContent(image_format).data_urls(clip(90, size=32))[0])
    assert head == f"data:image/{image_format};base64"
    assert decoded.shape == (32, 36, 3)
    assert np.abs(decoded.astype(int) - 90).max() <= 4


def test_a_clip_is_encoded_once_and_another_is_not_taken_for_it() -> None:
    content = ChatContent()
    first = content.data_urls(clip(10))
    assert content.data_urls(clip(10)) is first
    assert content.data_urls(clip(99, key="other")) != first
