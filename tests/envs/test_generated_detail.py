"""The detail is absent from the fast view and legible in a slow clip, measured on encoded files."""

from typing import NamedTuple

import numpy as np
import pytest
from pixel_classifier import chance_band, ridge_accuracy

from videozoom.envs.generated import VideoRecipe, generate
from videozoom.envs.generated.signs import PATTERNS, SIGNS
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import Span, Task
from videozoom.envs.video_store import Resize, VideoStore

NUM_VIDEOS = 150
FAST_PANEL = slice(9, 19)
SLOW_PANEL = slice(18, 38)
USED = SIGNS[:4]


class Events(NamedTuple):
    """E events, half with a sign and half blank decoys."""

    fast: np.ndarray
    """`[E, 8, 10, 10, 3]`, the panel in the fast view."""
    bicubic: np.ndarray
    """The same with a resize that does not keep to blocks."""
    slow: np.ndarray
    """`[E, 8, 20, 20, 3]`, the panel in the slow clip."""
    labels: np.ndarray
    """`[E]`, number of the sign, -1 without one."""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Events:
    recipe = VideoRecipe(num_videos=NUM_VIDEOS, length_s=32.0, decoy_probability=1.0, questions_per_video=4, seed=11)
    tasks = load_tasks(generate(recipe, tmp_path_factory.mktemp("detail")))
    store = VideoStore(fast_frame_tokens=1, slow_frame_tokens=4, resize=Resize.AREA)
    leaky = VideoStore(fast_frame_tokens=1, resize=Resize.BICUBIC)
    rows = [row for task in tasks[::4] for row in _rows(task, store, leaky)]
    fast, bicubic, slow, labels = (np.array(column) for column in zip(*rows, strict=True))
    return Events(fast.astype(np.float32), bicubic.astype(np.float32), slow.astype(np.float32), labels)


def _rows(task: Task, store: VideoStore, leaky: VideoStore) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    rows = []
    fast, bicubic = store.fast_view(task.video), leaky.fast_view(task.video)
    for event in task.metadata["events"]:
        shown = (fast.times_s >= event["start_s"]) & (fast.times_s < event["end_s"])
        slow = store.slow_clip(task.video, Span(event["start_s"], event["end_s"]))
        label = -1 if event["sign"] is None else USED.index(event["sign"])
        panels = (clip.frames[shown, FAST_PANEL, FAST_PANEL] for clip in (fast, bicubic))
        rows.append((*panels, slow.frames[:, SLOW_PANEL, SLOW_PANEL], label))
    return rows


def test_the_sign_cannot_be_told_from_the_fast_view(events: Events) -> None:
    has_sign = events.labels >= 0
    accuracy, num = ridge_accuracy(events.fast[has_sign], events.labels[has_sign])
    assert num == 300
    assert abs(accuracy - 0.25) < chance_band(0.25, num)


def test_the_same_classifier_tells_the_sign_from_the_slow_clip(events: Events) -> None:
    has_sign = events.labels >= 0
    accuracy, _ = ridge_accuracy(events.slow[has_sign], events.labels[has_sign])
    assert accuracy > 0.95


def test_a_decoy_cannot_be_told_from_an_event_in_the_fast_view(events: Events) -> None:
    accuracy, num = ridge_accuracy(events.fast, (events.labels >= 0).astype(int))
    assert num == 600
    assert abs(accuracy - 0.5) < chance_band(0.5, num)


def test_the_same_classifier_tells_decoys_where_something_leaks(events: Events) -> None:
    is_event = (events.labels >= 0).astype(int)
    assert ridge_accuracy(events.slow, is_event)[0] > 0.95
    accuracy, num = ridge_accuracy(events.bicubic, is_event)
    assert accuracy > 0.5 + 2 * chance_band(0.5, num)


def test_a_template_reads_the_sign_in_a_slow_clip(events: Events) -> None:
    templates = np.stack([np.tile(PATTERNS[sign], (5, 5)) for sign in SIGNS]).astype(np.float32)
    grey = events.slow.mean((1, 4))
    scores = np.einsum("ehw,shw->es", grey - grey.mean((1, 2), keepdims=True), templates) / 400
    has_sign = events.labels >= 0
    assert (scores[has_sign].argmax(1) == events.labels[has_sign]).mean() >= 0.99
    assert np.abs(scores[~has_sign]).max() < 0.2 * scores[has_sign].max(1).min()


def test_every_frame_of_a_slow_clip_shows_the_sign(events: Events) -> None:
    templates = np.stack([np.tile(PATTERNS[sign], (5, 5)) for sign in SIGNS]).astype(np.float32)
    grey = events.slow[events.labels >= 0].mean(4)
    guesses = np.einsum("efhw,shw->efs", grey - grey.mean((2, 3), keepdims=True), templates).argmax(2)
    assert (guesses == events.labels[events.labels >= 0, None]).mean() >= 0.99
