"""The zoom timeline of a finished rollout."""

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.actions import ZoomIn
from videozoom.envs.episode import Zoom
from videozoom.envs.filmstrip import read_frames
from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import Task
from videozoom.envs.timeline import timeline_image
from videozoom.rollout.types import Trajectory


def zooms_of(trajectory: Trajectory) -> tuple[Zoom, ...]:
    """Return the trajectory's accepted zooms with the steps that made them."""
    return tuple(
        Zoom(index, step.action.span_s)
        for index, step in enumerate(trajectory.steps, start=1)
        if isinstance(step.action, ZoomIn)
    )


def trajectory_image(trajectory: Trajectory, task: Task, frame_source: FrameSource | None) -> NDArray[np.uint8]:
    """Return the zoom timeline of `trajectory`, `[H, W, 3]` uint8, for tables of images.

    Frames are read again; without a source, or when the video is gone, the axis and the bands are still drawn.
    """
    zooms = zooms_of(trajectory)
    frames = read_frames(task, [zoom.span_s for zoom in zooms], frame_source)
    reward = f"reward {trajectory.reward.total:.2f}"
    caption = f"{trajectory.kind}, {trajectory.status} after {len(trajectory.steps)} steps, {reward}"
    return np.asarray(timeline_image(task, zooms, frames, answer=trajectory.answer, caption=caption))
