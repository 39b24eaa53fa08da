"""The one rule that decides which zoom spans are valid; its numbers are fields, published settings are presets."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from videozoom.envs.actions import Malformed, MalformedReason
from videozoom.envs.sampling import num_frames_at
from videozoom.envs.tasks import Span
from videozoom.rewards.overlap import iou


class ReversedSpans(StrEnum):
    """What happens to a span that ends before it starts."""

    SORT = "sort"
    REJECT = "reject"


class OutOfBounds(StrEnum):
    """What happens to a span that leaves the video."""

    REJECT = "reject"
    CLAMP = "clamp"


@dataclass(frozen=True, slots=True)
class SpanRules:
    """Checks a zoom, in this order: finite, sorted, bounds, padding, length, frames, expansion, repeat.

    The defaults are the training rules of LOVE-R1's released code (the paper states none); `evaluation` gives those
    of its evaluation code, `videozoomer` those of VideoZoomer.

    Example:
        >>> SpanRules().check(Span(10.0, 20.0), duration_s=64.0)
        Span(start_s=10.0, end_s=20.0)
        >>> SpanRules().check(Span(10.0, 60.0), duration_s=64.0)
        Malformed(reason=<MalformedReason.TOO_LONG: 'too_long'>)
    """

    min_length_s: float = 1.0
    max_length_s: float = 60.0
    max_fraction: float = 0.5
    """A span must not be longer than this fraction of the video."""
    repeat_iou: float = 0.7
    """A span is a repeat if its IoU with a held span is above this; 1 allows repeats."""
    out_of_bounds: OutOfBounds | str = OutOfBounds.REJECT
    tolerance_s: float = 1.0
    """With `reject`: how far a span may end behind the video, whose duration is rarely a whole second."""
    pad_s: float = 0.0
    """Added at both ends before the lengths are checked."""
    ends_at_whole_s: bool = False
    """Whether spans end at the video's last whole second at the latest."""
    expand_to_s: float = 0.0
    """A valid span shorter than this is widened around its middle; 0 leaves spans as they are."""
    expand_below_s: float = 0.0
    """Only spans shorter than this are widened; 0 for all that are shorter than `expand_to_s`."""
    expand_max_fraction: float = 0.125
    """Spans are not widened beyond this fraction of the video."""
    reversed_spans: ReversedSpans | str = ReversedSpans.SORT
    max_frames: int = 0
    """The most frames that a span may ask for at a rate of its own, and then it must ask for one at least; 0 leaves
    both to whoever reads the frames."""

    def __post_init__(self) -> None:
        """Raise `ValueError` on a number that makes no sense."""
        if self.out_of_bounds not in tuple(OutOfBounds):
            raise ValueError(f"out_of_bounds must be reject or clamp, got {self.out_of_bounds!r}.")
        if self.reversed_spans not in tuple(ReversedSpans):
            raise ValueError(f"reversed_spans must be sort or reject, got {self.reversed_spans!r}.")
        if self.max_frames < 0:
            raise ValueError(f"max_frames must be at least 0, got {self.max_frames}.")
        for name in ("min_length_s", "tolerance_s", "pad_s", "expand_to_s", "expand_below_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} must be a number of seconds of at least 0, got {value}.")
        for name in ("max_fraction", "repeat_iou", "expand_max_fraction"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}.")
        if not self.max_length_s >= self.min_length_s:
            raise ValueError(f"max_length_s ({self.max_length_s}) must be at least min_length_s ({self.min_length_s}).")

    @classmethod
    def evaluation(cls) -> Self:
        """Return the rules of LOVE-R1's released evaluation code: padded, clamped, widened, no upper length.

        Departs from it in what is not a whole second: a span is widened around its middle as it is.
        """
        return cls(
            min_length_s=3.0,
            max_length_s=math.inf,
            max_fraction=1.0,
            repeat_iou=0.3,
            out_of_bounds=OutOfBounds.CLAMP,
            pad_s=5.0,
            ends_at_whole_s=True,
            expand_to_s=30.0,
        )

    @classmethod
    def videozoomer(cls) -> Self:
        """Return the rules of VideoZoomer: up to 16 frames of any span inside the video, repeats allowed.

        Departs from its released code, which shows the last frame again and again for spans behind the video, nothing
        for spans too short to hold a frame, and the text of an exception for reversed ones: none of them is valid here.
        """
        return cls(
            min_length_s=0.0,
            max_length_s=math.inf,
            max_fraction=1.0,
            repeat_iou=1.0,
            reversed_spans=ReversedSpans.REJECT,
            max_frames=16,
        )

    def check(
        self,
        span_s: Span,
        duration_s: float,
        held_spans_s: Iterable[Span] = (),
        fps: float | None = None,
    ) -> Span | Malformed:
        """Return the span to zoom into, inside `[0, duration_s)`, or why there is none.

        Lengths and frames are checked before the end is clipped to the duration: the last, incomplete second can be
        asked for.
        """
        start_s, end_s = sorted((float(span_s.start_s), float(span_s.end_s)))
        if not (math.isfinite(start_s) and math.isfinite(end_s)):
            return Malformed(MalformedReason.NOT_A_SPAN)
        if self.reversed_spans == ReversedSpans.REJECT and span_s.start_s > span_s.end_s:
            return Malformed(MalformedReason.REVERSED)
        if self.out_of_bounds == OutOfBounds.REJECT and (start_s < 0.0 or end_s > duration_s + self.tolerance_s):
            return Malformed(MalformedReason.OUT_OF_BOUNDS)
        padded_s = Span(start_s - self.pad_s, end_s + self.pad_s)
        last_s = float(math.floor(duration_s)) if self.ends_at_whole_s and duration_s >= 1.0 else duration_s
        inside_s = _clip(padded_s, last_s)
        if inside_s.length_s <= 0.0 < padded_s.length_s:
            return Malformed(MalformedReason.OUT_OF_BOUNDS)
        checked_s = inside_s if self.out_of_bounds == OutOfBounds.CLAMP else padded_s
        if checked_s.length_s < self.min_length_s or checked_s.length_s <= 0.0:
            return Malformed(MalformedReason.TOO_SHORT)
        # The whole of a video may be asked for in whole seconds, which it may lack a part of.
        fraction_s = self.max_fraction * duration_s if self.max_fraction < 1.0 else math.inf
        if checked_s.length_s > min(self.max_length_s, fraction_s):
            return Malformed(MalformedReason.TOO_LONG)
        if fps is not None and self.max_frames:
            if not (math.isfinite(fps) and num_frames_at(end_s - start_s, fps) >= 1):
                return Malformed(MalformedReason.TOO_FEW_FRAMES)
            if num_frames_at(end_s - start_s, fps) > self.max_frames:
                return Malformed(MalformedReason.TOO_MANY_FRAMES)
        final_s = self._expand(inside_s, duration_s, last_s)
        if any(iou(final_s, held_s) > self.repeat_iou for held_s in held_spans_s):
            return Malformed(MalformedReason.REPEATED)
        return final_s

    def _expand(self, span_s: Span, duration_s: float, last_s: float) -> Span:
        """Return `span_s` widened around its middle to the length asked for, inside the video."""
        length_s = min(self.expand_to_s, self.expand_max_fraction * duration_s)
        if span_s.length_s >= min(length_s, self.expand_below_s or length_s):
            return span_s
        middle_s = (span_s.start_s + span_s.end_s) / 2
        return _clip(Span(middle_s - length_s / 2, middle_s + length_s / 2), last_s)


def _clip(span_s: Span, duration_s: float) -> Span:
    """Return the part of `span_s` inside `[0, duration_s)`; of length 0 or less if there is none."""
    return Span(max(0.0, span_s.start_s), min(duration_s, span_s.end_s))
