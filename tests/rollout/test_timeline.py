"""The zoom timelines of rollouts."""

import numpy as np
from drawn_rollouts import DrawnFrames, drawn_task, rollout_of

from videozoom.envs.episode import Zoom
from videozoom.envs.tasks import Span
from videozoom.rollout.timeline import trajectory_image, zooms_of


def test_the_same_rollout_gives_the_same_picture_and_another_does_not() -> None:
    task = drawn_task()
    first, again = (trajectory_image(rollout_of(task), task, DrawnFrames()) for _ in range(2))
    other = trajectory_image(rollout_of(task, [Span(0.0, 4.0)]), task, DrawnFrames())
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_zooms_are_numbered_by_their_step() -> None:
    trajectory = rollout_of(drawn_task(), [Span(0.0, 4.0), Span(8.0, 12.0)], malformed=True)
    assert zooms_of(trajectory) == (Zoom(2, Span(0.0, 4.0)), Zoom(3, Span(8.0, 12.0)))
