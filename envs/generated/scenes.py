"""The pixels of a generated video, drawn straight in YUV 4:2:0.

A frame is the sum of two layers. The *coarse* layer is constant on blocks of two cells: background, clutter, the cue's
coloured frame, the panel, grain. The *detail* layer, the signs, has mean zero on every block. So the mean over a block
is the coarse layer exactly, whatever the signs are: what the fast view shows cannot tell them.

Shapes: F frames, H and W pixels, R and C rows and columns of blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.generated.plan import Event, VideoPlan, video_generator
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.generated.signs import CUE_YUV, PATTERNS, SIGNS

INK_LUMA = 56
"""Luma of ink above, and of paper below, the block's mean."""
PANEL_LUMA = 126
"""Mean luma of a panel, and the luma of a blank one."""
GRAIN_LUMA = 3.0
"""Standard deviation of the grain, drawn anew for every block and frame. It dithers the encoder's rounding of a
block's mean, through which the detail would otherwise leave traces in the fast view."""
BORDER_BLOCKS = 2
"""Thickness of the coloured frame."""
_NUM_CLUTTER = 6
_SCENE_S = (4.0, 12.0)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A stretch of background: its look, and the signs lying about in it."""

    luma_RC: NDArray[np.float32]
    chroma: tuple[int, int]
    drift: tuple[float, float]
    """Blocks per second, down and right."""
    places: NDArray[np.int64]
    """`[1 + clutter, 2]`, row and column of the panel and of single signs, in blocks."""
    signs: tuple[str, ...]


def frames(plan: VideoPlan, recipe: VideoRecipe, chunk: int = 64) -> Iterator[NDArray[np.uint8]]:
    """Yield the video's frames as arrays `[F, 3 * H / 2, W]` in planar YUV 4:2:0, at most `chunk` frames at a time."""
    rng = video_generator(recipe, plan.index, purpose=2)
    scenes = _cut_scenes(plan, recipe, rng)
    for first in range(0, plan.num_frames, chunk):
        count = min(chunk, plan.num_frames - first)
        coarse_FRC, chroma_FRC2, detail_FHW = _layers(plan, recipe, scenes, first, count)
        coarse_FRC += np.rint(rng.standard_normal(coarse_FRC.shape, np.float32) * GRAIN_LUMA).astype(np.int16)
        yield _planar(coarse_FRC, chroma_FRC2, detail_FHW, recipe.block_px)


def _layers(
    plan: VideoPlan, recipe: VideoRecipe, scenes: list[tuple[int, _Scene]], first: int, count: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.int16]]:
    rows, columns = recipe.height_px // recipe.block_px, recipe.width_px // recipe.block_px
    coarse_FRC = np.empty((count, rows, columns), np.int16)
    chroma_FRC2 = np.empty((count, rows, columns, 2), np.uint8)
    detail_FHW = np.zeros((count, recipe.height_px, recipe.width_px), np.int16)
    ends = [start for start, _ in scenes[1:]] + [plan.num_frames]
    for (start, scene), end in zip(scenes, ends, strict=True):
        low, high = max(start, first), min(end, first + count)
        for frame in range(low, high):
            _draw_scene(
                coarse_FRC[frame - first], detail_FHW[frame - first], scene, (frame - start) / recipe.fps, recipe
            )
        if low < high:
            chroma_FRC2[low - first : high - first] = scene.chroma
    for event in plan.events:
        low = max(round(event.start_s * recipe.fps), first)
        high = min(round(event.end_s * recipe.fps), first + count)
        if low < high:
            part = slice(low - first, high - first)
            _draw_event(coarse_FRC[part], chroma_FRC2[part], detail_FHW[part], event, recipe)
    return coarse_FRC, chroma_FRC2, detail_FHW


def _cut_scenes(plan: VideoPlan, recipe: VideoRecipe, rng: np.random.Generator) -> list[tuple[int, _Scene]]:
    """Return the background scenes with the frame each starts at."""
    scenes, start = [], 0
    while start < plan.num_frames:
        scenes.append((start, _new_scene(recipe, rng)))
        start += max(1, round(rng.uniform(*_SCENE_S) * recipe.fps))
    return scenes


def _new_scene(recipe: VideoRecipe, rng: np.random.Generator) -> _Scene:
    rows, columns = recipe.height_px // recipe.block_px, recipe.width_px // recipe.block_px
    down, right = np.arange(rows)[:, None] / rows, np.arange(columns)[None, :] / columns
    waves, turns = rng.integers(1, 3, 2), rng.uniform(0, 2 * np.pi, 2)
    texture = np.sin(2 * np.pi * waves[0] * down + turns[0]) + np.sin(2 * np.pi * waves[1] * right + turns[1])
    return _Scene(
        luma_RC=(rng.uniform(100, 150) + 8 * texture).astype(np.float32),
        chroma=(int(rng.integers(116, 141)), int(rng.integers(116, 141))),
        drift=(float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.5, 0.5))),
        places=np.stack([rng.integers(0, side, 1 + _NUM_CLUTTER) for side in (rows, columns)], axis=1),
        signs=tuple(str(sign) for sign in rng.choice(SIGNS, 1 + _NUM_CLUTTER)),
    )


def _draw_scene(
    coarse_RC: NDArray[np.int16], detail_HW: NDArray[np.int16], scene: _Scene, time_s: float, recipe: VideoRecipe
) -> None:
    rows, columns = coarse_RC.shape
    shift = (int(scene.drift[0] * time_s), int(scene.drift[1] * time_s))
    coarse_RC[:] = np.roll(scene.luma_RC, shift, (0, 1))
    for number, (sign, place) in enumerate(zip(scene.signs, scene.places, strict=True)):
        tiles = recipe.detail_tiles if number == 0 else 1
        row = int(place[0] + shift[0]) % (rows - 2 * tiles + 1)
        column = int(place[1] + shift[1]) % (columns - 2 * tiles + 1)
        _draw_panel(coarse_RC[None], detail_HW[None], row, column, tiles, sign, recipe)


def _draw_event(
    coarse_FRC: NDArray[np.int16],
    chroma_FRC2: NDArray[np.uint8],
    detail_FHW: NDArray[np.int16],
    event: Event,
    recipe: VideoRecipe,
) -> None:
    _, rows, columns = coarse_FRC.shape
    is_border = np.ones((rows, columns), bool)
    is_border[BORDER_BLOCKS:-BORDER_BLOCKS, BORDER_BLOCKS:-BORDER_BLOCKS] = False
    luma, *chroma = CUE_YUV[event.cue]
    coarse_FRC[:, is_border] = luma
    chroma_FRC2[:, is_border] = chroma
    detail_FHW[:, np.kron(is_border, np.ones((recipe.block_px, recipe.block_px), bool))] = 0
    tiles = recipe.detail_tiles
    _draw_panel(coarse_FRC, detail_FHW, rows // 2 - tiles, columns // 2 - tiles, tiles, event.sign, recipe)


def _draw_panel(
    coarse_FRC: NDArray[np.int16],
    detail_FHW: NDArray[np.int16],
    row: int,
    column: int,
    tiles: int,
    sign: str | None,
    recipe: VideoRecipe,
) -> None:
    side, block = 2 * tiles, recipe.block_px
    coarse_FRC[:, row : row + side, column : column + side] = PANEL_LUMA
    place = (slice(None), slice(row * block, (row + side) * block), slice(column * block, (column + side) * block))
    detail_FHW[place] = 0 if sign is None else _sign_pixels(sign, tiles, recipe.cell_px)


def _sign_pixels(sign: str, tiles: int, cell_px: int) -> NDArray[np.int16]:
    pattern = np.tile(PATTERNS[sign], (tiles, tiles)) * np.int16(INK_LUMA)
    return pattern.repeat(cell_px, axis=0).repeat(cell_px, axis=1)


def _planar(
    coarse_FRC: NDArray[np.int16], chroma_FRC2: NDArray[np.uint8], detail_FHW: NDArray[np.int16], block_px: int
) -> NDArray[np.uint8]:
    count, height, width = detail_FHW.shape
    yuv = np.empty((count, height * 3 // 2, width), np.uint8)
    luma = coarse_FRC.repeat(block_px, axis=1).repeat(block_px, axis=2) + detail_FHW
    yuv[:, :height] = np.clip(luma, 16, 235)
    planes = chroma_FRC2.repeat(block_px // 2, axis=1).repeat(block_px // 2, axis=2)
    yuv[:, height:] = np.moveaxis(planes, 3, 1).reshape(count, height // 2, width)
    return yuv
