"""The zoom timeline of a finished rollout."""

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.actions import GetCaption, ZoomIn
from videozoom.envs.episode import Zoom
from videozoom.envs.filmstrip import read_frames
from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import Task
from videozoom.envs.timeline import timeline_image
from videozoom.rollout.types import Trajectory


def zooms_of(trajectory: Trajectory) -> tuple[Zoom, ...]:
    """Return the trajectory's accepted zooms, or the captions it read, with the steps that made them."""
    steps = list(enumerate(trajectory.steps, start=1))
    zooms = tuple(Zoom(index, step.action.span_s) for index, step in steps if isinstance(step.action, ZoomIn))
    # A caption's span is the tree's to know; one asked for at the last step was not read.
    reads = [index for index, step in steps if isinstance(step.action, GetCaption)]
    return zooms or tuple(Zoom(index, span_s) for index, span_s in zip(reads, trajectory.spans_s, strict=False))


def trajectory_image(trajectory: Trajectory, task: Task, frame_source: FrameSource | None) -> NDArray[np.uint8]:
    """Return the zoom timeline of `trajectory`, `[H, W, 3]` uint8, for tables of images.

    Frames are read again; without a source, or when the video is gone, the axis and the bands are still drawn.
    """
    zooms = zooms_of(trajectory)
    frames = read_frames(task, [zoom.span_s for zoom in zooms], frame_source)
    reward = f"reward {trajectory.reward.total:.2f}"
    caption = f"{trajectory.kind}, {trajectory.status} after {len(trajectory.steps)} steps, {reward}"
    return np.asarray(timeline_image(task, zooms, frames, answer=trajectory.answer, caption=caption))
