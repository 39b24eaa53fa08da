"""The pictures of a generated video: background scenes with signs lying about, and the planned events."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.generated.canvas import Canvas
from videozoom.envs.generated.plan import Event, VideoPlan, video_generator
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.generated.signs import CUE_YUV, MARKS, SIGNS, MarkPlace

GRAIN_LUMA = 3.0
"""Standard deviation of the grain, drawn anew for every block and frame. It dithers the encoder's rounding of a
block's mean, through which the detail would otherwise leave traces in the fast view."""
BORDER_BLOCKS = 2
"""Thickness of the cue's coloured frame."""
_NUM_CLUTTER = 6
_SCENE_S = (4.0, 12.0)
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class _Scene:
    """A stretch of background: its look, and the signs in it, so that a sign somewhere is no cue."""

    start: int
    """First frame."""
    luma_RC: NDArray[np.float32]
    chroma: tuple[int, int]
    drift: tuple[float, float]
    """Blocks per frame, down and right."""
    places: NDArray[np.int64]
    """`[1 + clutter, 2]`, row and column of a panel and of single signs, in blocks."""
    signs: tuple[str, ...]

    def shift(self, frame: int) -> tuple[int, int]:
        """Return how far it has moved, in blocks."""
        return int(self.drift[0] * (frame - self.start)), int(self.drift[1] * (frame - self.start))


def frames(plan: VideoPlan, recipe: VideoRecipe) -> Iterator[NDArray[np.uint8]]:
    """Yield the video's frames in order, some at a time, as `[F, 3 * H / 2, W]` in planar YUV 4:2:0."""
    rng = video_generator(recipe, plan.index, purpose=2)
    scenes = _cut_scenes(plan, recipe, rng)
    for first in range(0, plan.num_frames, _CHUNK):
        count = min(_CHUNK, plan.num_frames - first)
        canvas = Canvas.blank(count, recipe.height_px, recipe.width_px, recipe.cell_px)
        _draw(canvas, first, plan, recipe, scenes)
        grain = rng.standard_normal(canvas.coarse_FRC.shape, np.float32) * np.float32(GRAIN_LUMA)
        yield canvas.planar(np.rint(grain).astype(np.int16))


def _draw(canvas: Canvas, first: int, plan: VideoPlan, recipe: VideoRecipe, scenes: list[_Scene]) -> None:
    """Draw the frames from `first` on; equal neighbours are drawn at once."""
    starts = np.array([scene.start for scene in scenes])

    def look(frame: int) -> tuple[int, tuple[int, int], int | None]:
        scene = int(np.searchsorted(starts, frame, side="right")) - 1
        return scene, scenes[scene].shift(frame), _event_at(frame, plan, recipe)

    for (scene, shift, event), run in groupby(range(first, first + len(canvas.coarse_FRC)), look):
        frames_drawn = list(run)
        part = canvas.part(frames_drawn[0] - first, frames_drawn[-1] + 1 - first)
        part.fill(np.roll(scenes[scene].luma_RC, shift, (0, 1)), scenes[scene].chroma)
        if event is None:
            _draw_clutter(part, scenes[scene], shift, recipe)
        else:
            _draw_event(part, plan.events[event], recipe)


def _event_at(frame: int, plan: VideoPlan, recipe: VideoRecipe) -> int | None:
    time_s = (frame + 0.5) / recipe.fps
    return next((i for i, event in enumerate(plan.events) if event.start_s <= time_s < event.end_s), None)


def _cut_scenes(plan: VideoPlan, recipe: VideoRecipe, rng: np.random.Generator) -> list[_Scene]:
    scenes, start = [], 0
    while start < plan.num_frames:
        scenes.append(_new_scene(start, recipe, rng))
        start += max(1, round(rng.uniform(*_SCENE_S) * recipe.fps))
    return scenes


def _new_scene(start: int, recipe: VideoRecipe, rng: np.random.Generator) -> _Scene:
    rows, columns = recipe.height_px // recipe.block_px, recipe.width_px // recipe.block_px
    down, right = np.arange(rows)[:, None] / rows, np.arange(columns)[None, :] / columns
    waves, turns = rng.integers(1, 3, 2), rng.uniform(0, 2 * np.pi, 2)
    texture = np.sin(2 * np.pi * waves[0] * down + turns[0]) + np.sin(2 * np.pi * waves[1] * right + turns[1])
    return _Scene(
        start=start,
        luma_RC=(rng.uniform(100, 150) + 8 * texture).astype(np.float32),
        chroma=(int(rng.integers(116, 141)), int(rng.integers(116, 141))),
        drift=(rng.uniform(-0.5, 0.5) / recipe.fps, rng.uniform(-0.5, 0.5) / recipe.fps),
        places=np.stack([rng.integers(0, side, 1 + _NUM_CLUTTER) for side in (rows, columns)], axis=1),
        signs=tuple(str(sign) for sign in rng.choice(SIGNS, 1 + _NUM_CLUTTER)),
    )


def _draw_clutter(canvas: Canvas, scene: _Scene, shift: tuple[int, int], recipe: VideoRecipe) -> None:
    for number, (sign, (row, column)) in enumerate(zip(scene.signs, scene.places.tolist(), strict=True)):
        num_tiles = recipe.detail_tiles if number == 0 else 1
        canvas.draw_panel(
            (row + shift[0]) % (canvas.num_rows - 2 * num_tiles + 1),
            (column + shift[1]) % (canvas.num_columns - 2 * num_tiles + 1),
            num_tiles,
            sign,
        )


def _draw_event(canvas: Canvas, event: Event, recipe: VideoRecipe) -> None:
    canvas.draw_frame(BORDER_BLOCKS, CUE_YUV[event.cue])
    num_tiles = recipe.detail_tiles
    row, column = canvas.num_rows // 2 - num_tiles, canvas.num_columns // 2 - num_tiles
    canvas.draw_panel(row, column, num_tiles, event.sign)
    if event.has_mark and event.sign is not None:
        panel = slice(row, row + 2 * num_tiles), slice(column, column + 2 * num_tiles)
        _draw_mark(canvas, event.sign, *panel)


def _draw_mark(canvas: Canvas, sign: str, panel_rows: slice, panel_columns: slice) -> None:
    """Draw the mark of a sign between its panel and the coloured frame."""
    place, luma = MARKS[sign]
    above, left = slice(BORDER_BLOCKS, panel_rows.start), slice(BORDER_BLOCKS, panel_columns.start)
    right = slice(panel_columns.stop, canvas.num_columns - BORDER_BLOCKS)
    rows, columns = {
        MarkPlace.ABOVE: (above, panel_columns),
        MarkPlace.LEFT_CORNER: (above, left),
        MarkPlace.RIGHT_CORNER: (above, right),
        MarkPlace.LEFT: (panel_rows, left),
    }[place]
    canvas.draw_patch(rows, columns, luma)
