"""Clip features: the vision tower's output, computed once per clip while the tower is frozen."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from videozoom.envs.observation import VideoClip
from videozoom.policies.patches import patchify

if TYPE_CHECKING:
    from videozoom.policies.rendering import Renderer


class VisionFeatures:
    """Computes clip features `[N, D]`, N the clip's placeholder tokens; keeps them while the tower is frozen."""

    def __init__(self, tower: Any, renderer: "Renderer", *, is_frozen: bool, cache_bytes: int = 1 << 30) -> None:
        """Keep at most `cache_bytes` of features, least recently used out first."""
        self.tower, self.renderer = tower, renderer
        self.is_frozen, self.cache_bytes = is_frozen, cache_bytes
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        self._held_bytes = 0

    def clear(self) -> None:
        """Forget all features; needed whenever the tower's weights change."""
        self._cache.clear()
        self._held_bytes = 0

    def __call__(self, clips: Sequence[VideoClip]) -> list[Tensor]:
        """Return features of each clip, in order; equal keys are computed once per call, or once ever if frozen."""
        unique = {clip.key: clip for clip in clips}
        known = {key: self._cache[key] for key in unique if key in self._cache} if self.is_frozen else {}
        missing = [clip for key, clip in unique.items() if key not in known]
        if missing:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
                computed = self._compute(missing)
            known |= {clip.key: features for clip, features in zip(missing, computed, strict=True)}
        if self.is_frozen:
            self._keep(known)
        return [known[clip.key] for clip in clips]

    def _compute(self, clips: Sequence[VideoClip]) -> tuple[Tensor, ...]:
        patch_px, merge = self.renderer.patch_px, self.renderer.merge
        patches = np.concatenate([patchify(clip.frames, patch_px=patch_px, merge=merge) for clip in clips])
        grids = [self.renderer.grid(clip) for clip in clips]
        grid_thw = torch.tensor([[g.num_pairs, g.num_rows * merge, g.num_columns * merge] for g in grids])
        parameter = next(self.tower.parameters())
        pixels = torch.from_numpy(patches).to(device=parameter.device, dtype=parameter.dtype)
        output = self.tower(pixels, grid_thw=grid_thw.to(parameter.device)).pooler_output
        return torch.split(output, [grid.num_tokens for grid in grids])

    def _keep(self, features: dict[str, Tensor]) -> None:
        for key, tensor in features.items():
            if key not in self._cache:
                self._cache[key] = tensor
                self._held_bytes += tensor.nbytes
            self._cache.move_to_end(key)
        while self._held_bytes > self.cache_bytes and self._cache:
            _, dropped = self._cache.popitem(last=False)
            self._held_bytes -= dropped.nbytes
