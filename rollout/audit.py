"""The counterfactual audit of zooms: the same episode with its zooms replaced. Did looking matter?"""

import zlib
from enum import StrEnum

import numpy as np

from videozoom.envs.actions import ZoomIn
from videozoom.envs.tasks import Span, Task
from videozoom.rollout.types import Trajectory


class Zooms(StrEnum):
    """What the zooms of an episode are replaced by."""

    OWN = "own"
    """Nothing: the control, in which the answer comes about as in the others."""
    GOLD = "gold"
    """Spans of the evidence, one after the other."""
    RANDOM = "random"
    """Spans of the same length, somewhere in the video."""
    NONE = "none"
    """No zoom at all."""


def own_zooms(trajectory: Trajectory) -> tuple[ZoomIn, ...]:
    """Return the zooms of an episode that showed something, in order."""
    zooms = [step.action for step in trajectory.steps if isinstance(step.action, ZoomIn)]
    # A zoom at the last step is taken and shows nothing.
    return tuple(ZoomIn(span_s, zoom.fps) for zoom, span_s in zip(zooms, trajectory.spans_s, strict=False))


def replaced_zooms(task: Task, trajectory: Trajectory, zooms: Zooms) -> tuple[ZoomIn, ...] | None:
    """Return what stands in place of an episode's zooms, never more of them; `None` where that cannot be.

    Gold zooms are as many as there are evidence spans, if the episode had as many; a task without evidence has none.
    Random ones start at whole seconds, as protocols write them, and are the same ones every time.

    Example:
        >>> replaced_zooms(task, trajectory, Zooms.GOLD)
        (ZoomIn(span_s=Span(start_s=12.0, end_s=16.0), fps=None, is_well_formed=True),)
    """
    own = own_zooms(trajectory)
    if zooms is Zooms.OWN:
        return own
    if zooms is Zooms.NONE:
        return ()
    if zooms is Zooms.GOLD:
        pairs = zip(own, task.evidence, strict=False)
        return tuple(ZoomIn(span_s, zoom.fps) for zoom, span_s in pairs) if task.evidence else None
    rng = np.random.default_rng(zlib.crc32(task.task_id.encode()))
    return tuple(ZoomIn(_anywhere(zoom.span_s.length_s, task.duration_s, rng), zoom.fps) for zoom in own)


def _anywhere(length_s: float, duration_s: float, rng: np.random.Generator) -> Span:
    length_s = min(length_s, duration_s)
    start_s = float(rng.integers(0, int(duration_s - length_s) + 1))
    return Span(start_s, start_s + length_s)
