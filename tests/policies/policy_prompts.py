"""Prompts on random clips for the policy tests."""

import numpy as np

from videozoom.envs.messages import Message, Prompt, Role, TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span


def random_clip(key: str, num_frames: int, side_px: int, span_s: Span, seed: int = 0) -> VideoClip:
    rng = np.random.default_rng((seed, num_frames, *key.encode()))
    return VideoClip(
        frames=rng.integers(0, 256, (num_frames, side_px, side_px, 3), dtype=np.uint8),
        times_s=np.linspace(span_s.start_s, span_s.end_s, num_frames, endpoint=False),
        span_s=span_s,
        key=key,
    )


def prompt_on(
    video: str,
    *,
    num_clips: int = 0,
    prefix: str = "",
    question: str = "Which sign?",
    num_frames: int = 16,
    clips_of: str = "",
) -> Prompt:
    """Return a prompt in the shape of LOVE-R1's, on random frames named after `video`, clips after `clips_of`."""
    parts: list[TextPart | VideoPart] = [
        TextPart("Full video [0, 32]:"),
        VideoPart(random_clip(video, num_frames, 28, Span(0.0, 32.0))),
    ]
    for index in range(num_clips):
        start_s = 4.0 * index
        parts.append(TextPart(f"Subset zoom-in video clip [{start_s:g}, {start_s + 4:g}]:"))
        parts.append(VideoPart(random_clip(f"{video}{clips_of}-{index}", 4, 56, Span(start_s, start_s + 4.0))))
    parts.append(TextPart(question))
    messages = (Message(Role.SYSTEM, (TextPart("Look."),)), Message(Role.USER, tuple(parts)))
    return Prompt(messages, prefix)
