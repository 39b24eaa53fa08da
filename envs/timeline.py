"""The zoom timeline: one picture of one episode.

From top to bottom: the question, the fast view as a strip over time, the evidence, the zooms (numbered by step), and
the slow clips they brought, enlarged. Environments render it, and so do W&B tables and the README.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from videozoom.envs.episode import Episode, Zoom
from videozoom.envs.filmstrip import ZoomFrames, clip_image, fitted, packed, read_clip, strip_image, tick_times
from videozoom.envs.observation import FrameSource, VideoClip
from videozoom.envs.tasks import Span, Task
from videozoom.rewards.overlap import any_overlap

Rgb = tuple[int, int, int]

# Blue against orange: the pair that people with any kind of colour blindness tell apart.
EVIDENCE_RGB: Rgb = (0, 114, 178)
ZOOM_RGB: Rgb = (217, 119, 6)
PAPER_RGB: Rgb = (255, 255, 255)
INK_RGB: Rgb = (31, 41, 55)
MUTED_RGB: Rgb = (107, 114, 128)
GAP_RGB: Rgb = (229, 231, 235)
LANE_RGB: Rgb = (243, 244, 246)
LENS_RGB: Rgb = (252, 238, 219)

WIDTH_PX = 1200
MARGIN_PX = 20
GUTTER_PX = 96
"""Room on the left for the names of the lanes."""
BAND_PX = 22
LANE_PX = BAND_PX + 6
CLIP_FRAME_PX = 132
MAX_OPTION_PX = 420
MAX_CLIP_FRAMES = 4
MAX_STRIP_FRAMES = 64
MAX_ROOM = 4
"""Zooms that the pictures of an episode have room for from its start."""


def timeline_image(
    task: Task,
    zooms: Sequence[Zoom],
    frames: ZoomFrames,
    *,
    answer: str | None = None,
    caption: str = "",
    room_for: int = 0,
) -> Image.Image:
    """Return the zoom timeline of one episode as an RGB image, `WIDTH_PX` wide.

    Args:
        task: The question, its options and its evidence.
        zooms: Accepted zooms in the order they were made.
        frames: What there is to see; without frames the axis and the bands are still drawn.
        answer: The answer, if there was one.
        caption: A last line, e.g. status and reward.
        room_for: Zooms to leave room for, so that the pictures of an episode have one size.
    """
    strip, rows, lines = _strip(frames.fast_view, task), packed(zooms), _option_lines(task, answer)
    num_lanes = 1 + max(len(rows), room_for)
    height = 2 * MARGIN_PX + 62 + 22 * (len(lines) - 1) + strip.height + num_lanes * LANE_PX + 32
    height += (CLIP_FRAME_PX + 46 if zooms or room_for else 0) + 22
    canvas = _Canvas(Image.new("RGB", (WIDTH_PX, height), PAPER_RGB), task)
    top = canvas.title(lines)
    canvas.lane_name("fast view", top + strip.height // 2)
    canvas.image.paste(strip, (canvas.left, top))
    top = canvas.band("evidence", top + strip.height + 6, [(span, "") for span in task.evidence], EVIDENCE_RGB)
    for index, row in enumerate(rows):
        bands = [(zoom.span_s, str(zoom.step)) for zoom in row]
        top = canvas.band("" if index else "zooms", top, bands, ZOOM_RGB)
    bottom = top + 32
    if zooms:
        bottom = canvas.clips(zooms, frames.clips, top - LANE_PX + BAND_PX, bottom)
    canvas.axis(top)
    canvas.text((canvas.left, bottom + 4), caption, 15, MUTED_RGB)
    return canvas.image


def episode_image(episode: Episode, frame_source: FrameSource, reward: float | None = None) -> NDArray[np.uint8]:
    """Return the zoom timeline of an episode so far, `[H, W, 3]` uint8; its size stays while the episode goes on.

    Clips the agent was not shown, as in a `zoom_step` episode, are read from `frame_source`.
    """
    held = {clip.span_s: clip for clip in episode.clips}
    spans_s = [zoom.span_s for zoom in episode.zooms]
    clips = tuple(held.get(span_s) or read_clip(episode.task, span_s, frame_source) for span_s in spans_s)
    frames = ZoomFrames(episode.fast_view if len(episode.fast_view.frames) else None, clips)
    caption = f"{episode.kind}, {episode.status} after {episode.step} of {episode.max_steps} steps"
    if reward is not None:
        caption += f", reward {reward:.2f}"
    room_for = min(max(1, episode.max_steps - 1), MAX_ROOM)
    image = timeline_image(
        episode.task, episode.zooms, frames, answer=episode.answer, caption=caption, room_for=room_for
    )
    return np.asarray(image)


class _Canvas:
    """Draws the parts of a timeline; methods that take `top` return where the next part may start."""

    left = MARGIN_PX + GUTTER_PX
    right = WIDTH_PX - MARGIN_PX

    def __init__(self, image: Image.Image, task: Task) -> None:
        self.image = image
        self.draw = ImageDraw.Draw(image)
        self.task = task

    def x(self, time_s: float) -> float:
        share = min(max(time_s / self.task.duration_s, 0.0), 1.0)
        return self.left + share * (self.right - self.left)

    def text(self, at: tuple[float, float], text: str, size: int, colour: Rgb, anchor: str = "la") -> None:
        self.draw.text(at, text, fill=colour, font=ImageFont.load_default(size), anchor=anchor)

    def lane_name(self, name: str, y: float) -> None:
        self.text((self.left - 10, y), name, 15, MUTED_RGB, anchor="rm")

    def title(self, lines: "list[list[_Option]]") -> int:
        self.text((self.left, MARGIN_PX), _clipped(self.task.question, 20, self.right - self.left), 20, INK_RGB)
        for index, line in enumerate(lines):
            for option in line:
                self.text((option.x, MARGIN_PX + 30 + 22 * index), option.text, 16, option.colour)
        return MARGIN_PX + 62 + 22 * (len(lines) - 1)

    def band(self, name: str, top: int, bands: Sequence[tuple[Span, str]], colour: Rgb) -> int:
        self.lane_name(name, top + BAND_PX / 2)
        self.draw.rectangle((self.left, top, self.right, top + BAND_PX), fill=LANE_RGB)
        for span, label in bands:
            left, right = self.x(span.start_s), max(self.x(span.end_s), self.x(span.start_s) + 4)
            self.draw.rectangle((left, top, right, top + BAND_PX), fill=colour)
            self.text(((left + right) / 2, top + BAND_PX / 2), label, 15, PAPER_RGB, anchor="mm")
        return top + LANE_PX

    def axis(self, top: int) -> None:
        for time_s in tick_times(self.task.duration_s):
            x = self.x(time_s)
            self.draw.line((x, top - 6, x, top), fill=MUTED_RGB)
            self.text((x, top + 3), f"{time_s:g} s", 13, MUTED_RGB, anchor="ra" if x > self.right - 20 else "ma")

    def clips(self, zooms: Sequence[Zoom], clips: Sequence[VideoClip | None], band_bottom: int, top: int) -> int:
        room = (self.right - self.left) / len(zooms)
        for index, (zoom, clip) in enumerate(zip(zooms, clips, strict=True)):
            left, image = self.left + index * room, _clip_image(clip, int(room) - 30)
            self._lens(zoom.span_s, band_bottom, left, left + image.width, top)
            self.text((left, top + 6), self._clip_title(zoom), 15, INK_RGB)
            self.draw.rectangle((left, top + 28, left + image.width - 1, top + 27 + image.height), fill=GAP_RGB)
            self.image.paste(image, (int(left), top + 28), image.convert("RGBA"))
        return top + 28 + CLIP_FRAME_PX + 8

    def _clip_title(self, zoom: Zoom) -> str:
        title = f"zoom {zoom.step}: {zoom.span_s.start_s:g} to {zoom.span_s.end_s:g} s"
        if not self.task.evidence:
            return title
        return title + (", sees evidence" if any_overlap(zoom.span_s, self.task.evidence) else ", misses the evidence")

    def _lens(self, span: Span, band_bottom: int, left: float, right: float, bottom: int) -> None:
        start = self.x(span.start_s)
        end = max(self.x(span.end_s), start + 4)
        beam = [(start, band_bottom), (end, band_bottom), (right, bottom), (left, bottom)]
        self.draw.polygon(beam, fill=LENS_RGB)
        self.draw.line((left, bottom, right, bottom), fill=ZOOM_RGB, width=2)


@dataclass(frozen=True, slots=True)
class _Option:
    """One option as it is drawn."""

    x: float
    text: str
    colour: Rgb


def _strip(fast_view: VideoClip | None, task: Task) -> Image.Image:
    width_px = WIDTH_PX - 2 * MARGIN_PX - GUTTER_PX
    if fast_view is None:
        image = Image.new("RGB", (width_px, 36), GAP_RGB)
        font = ImageFont.load_default(15)
        ImageDraw.Draw(image).text((width_px / 2, 18), "video not available", MUTED_RGB, font, anchor="mm")
        return image
    num_slots = min(len(fast_view.times_s), MAX_STRIP_FRAMES)
    return fitted(strip_image(fast_view, Span(0.0, task.duration_s), num_slots), width_px=width_px)


def _clip_image(clip: VideoClip | None, room_px: int) -> Image.Image:
    if clip is None:
        return Image.new("RGB", (max(1, min(room_px, CLIP_FRAME_PX)), CLIP_FRAME_PX), GAP_RGB)
    frame_width = fitted(Image.fromarray(clip.frames[0]), height_px=CLIP_FRAME_PX).width
    num_frames = max(1, min(len(clip.times_s), MAX_CLIP_FRAMES, room_px // frame_width))
    return clip_image(clip, num_frames, height_px=CLIP_FRAME_PX)


def _option_lines(task: Task, answer: str | None) -> list[list[_Option]]:
    """Return the options, placed from left to right and broken into lines."""
    lines: list[list[_Option]] = [[]]
    x = float(_Canvas.left)
    if not task.options:
        said = [] if answer is None else [(answer, " (answered)", ZOOM_RGB)]
        texts = [(task.answer, " (gold)", EVIDENCE_RGB), *said]
        places = [x + number * (MAX_OPTION_PX + 120) for number in range(len(texts))]
        return [
            [
                _Option(place, _clipped(text, 16, MAX_OPTION_PX) + remark, colour)
                for place, (text, remark, colour) in zip(places, texts, strict=True)
            ]
        ]
    for letter, option in zip(task.letters, task.options, strict=True):
        text = f"{letter}  {_clipped(option, 16, MAX_OPTION_PX)}{_remark(letter, task.answer, answer)}"
        colour = EVIDENCE_RGB if letter == task.answer else ZOOM_RGB if letter == answer else MUTED_RGB
        width = ImageFont.load_default(16).getlength(text)
        if lines[-1] and x + width > _Canvas.right:
            lines.append([])
            x = float(_Canvas.left)
        lines[-1].append(_Option(x, text, colour))
        x += width + 28
    return lines


def _remark(letter: str, gold: str, answer: str | None) -> str:
    if letter == gold:
        return " (gold, chosen)" if answer == gold else " (gold)"
    return " (chosen)" if letter == answer else ""


def _clipped(text: str, size: int, width_px: float) -> str:
    """Return the text, its end replaced by dots if it is wider than `width_px`."""
    font = ImageFont.load_default(size)
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "...") > width_px:
        text = text[:-1]
    return text.rstrip() + "..."
