"""A canvas of two layers, whose fast view cannot show its signs.

A frame is the sum of two layers. The *coarse* layer is constant on blocks of two cells: background, clutter, the cue's
coloured frame, panels, grain. The *detail* layer, the signs, has mean zero on every block. So the mean over a block is
the coarse layer exactly, whatever the signs are.

Shapes: F frames, H and W pixels, R and C rows and columns of blocks.
"""

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.generated.signs import PATTERNS

INK_LUMA = 55
"""Luma of ink above, and of paper below, the block's mean. In RGB that is 55 * 255 / 219 = 64.04 levels: a whole number
keeps the mean over a block the same after conversion to RGB and rounding."""
PANEL_LUMA = 126
"""Mean luma of a panel, and the luma of a blank one."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Some frames being drawn, in YUV 4:2:0."""

    coarse_FRC: NDArray[np.int16]
    """Luma of each block."""
    chroma_FRC2: NDArray[np.uint8]
    """U and V of each block."""
    detail_FHW: NDArray[np.int16]
    """What is added to the luma of each pixel; sums to 0 over each block."""
    cell_px: int
    """Side of a sign's cell; a block is two."""

    @classmethod
    def blank(cls, num_frames: int, height_px: int, width_px: int, cell_px: int) -> Self:
        """Return a grey canvas."""
        rows, columns = height_px // (2 * cell_px), width_px // (2 * cell_px)
        return cls(
            coarse_FRC=np.full((num_frames, rows, columns), PANEL_LUMA, np.int16),
            chroma_FRC2=np.full((num_frames, rows, columns, 2), 128, np.uint8),
            detail_FHW=np.zeros((num_frames, height_px, width_px), np.int16),
            cell_px=cell_px,
        )

    @property
    def num_rows(self) -> int:
        """R."""
        return int(self.coarse_FRC.shape[1])

    @property
    def num_columns(self) -> int:
        """C."""
        return int(self.coarse_FRC.shape[2])

    def part(self, first: int, end: int) -> Self:
        """Return frames `[first, end)` as a canvas that shares memory with this one."""
        return type(self)(
            self.coarse_FRC[first:end], self.chroma_FRC2[first:end], self.detail_FHW[first:end], self.cell_px
        )

    def fill(self, luma_RC: NDArray[np.floating], chroma: tuple[int, int]) -> None:
        """Cover everything with a background."""
        self.coarse_FRC[:] = luma_RC
        self.chroma_FRC2[:] = chroma
        self.detail_FHW[:] = 0

    def draw_frame(self, num_blocks: int, colour_yuv: tuple[int, int, int]) -> None:
        """Draw a coloured frame of this thickness along the edges, on top of everything."""
        inside = slice(num_blocks, -num_blocks)
        is_edge = np.ones((self.num_rows, self.num_columns), bool)
        is_edge[inside, inside] = False
        self.coarse_FRC[:, is_edge] = colour_yuv[0]
        self.chroma_FRC2[:, is_edge] = colour_yuv[1:]
        self.detail_FHW[:, is_edge.repeat(2 * self.cell_px, 0).repeat(2 * self.cell_px, 1)] = 0

    def draw_panel(self, row: int, column: int, num_tiles: int, sign: str | None) -> None:
        """Draw a panel that repeats `sign` in each direction, or a blank one, with its corner at a block."""
        side, block_px = 2 * num_tiles, 2 * self.cell_px
        self.coarse_FRC[:, row : row + side, column : column + side] = PANEL_LUMA
        rows, columns = (slice(corner * block_px, (corner + side) * block_px) for corner in (row, column))
        self.detail_FHW[:, rows, columns] = 0 if sign is None else _sign_pixels(sign, num_tiles, self.cell_px)

    def draw_patch(self, rows: slice, columns: slice, luma: int) -> None:
        """Draw a plain grey patch over some rows and columns of blocks."""
        block_px = 2 * self.cell_px
        self.coarse_FRC[:, rows, columns] = luma
        self.chroma_FRC2[:, rows, columns] = 128
        self.detail_FHW[:, _pixels(rows, block_px), _pixels(columns, block_px)] = 0

    def planar(self, grain_FRC: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Return the frames, with grain added, as `[F, 3 * H / 2, W]`: the Y plane, then U, then V."""
        num_frames, height, width = self.detail_FHW.shape
        block_px = 2 * self.cell_px
        yuv = np.empty((num_frames, height * 3 // 2, width), np.uint8)
        luma = (self.coarse_FRC + grain_FRC).repeat(block_px, axis=1).repeat(block_px, axis=2)
        yuv[:, :height] = np.clip(luma + self.detail_FHW, 16, 235)
        chroma = self.chroma_FRC2.repeat(self.cell_px, axis=1).repeat(self.cell_px, axis=2)
        yuv[:, height:] = np.moveaxis(chroma, 3, 1).reshape(num_frames, height // 2, width)
        return yuv


def _pixels(blocks: slice, block_px: int) -> slice:
    return slice(blocks.start * block_px, blocks.stop * block_px)


@cache
def _sign_pixels(sign: str, num_tiles: int, cell_px: int) -> NDArray[np.int16]:
    pattern = np.tile(PATTERNS[sign], (num_tiles, num_tiles)) * np.int16(INK_LUMA)
    pixels = pattern.repeat(cell_px, axis=0).repeat(cell_px, axis=1)
    pixels.setflags(write=False)
    return pixels
