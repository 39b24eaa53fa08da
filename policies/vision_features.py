"""Clip features: the vision tower's output, computed once per clip while the tower is frozen."""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from videozoom.envs.observation import VideoClip
from videozoom.envs.videos.file_ids import digest_of
from videozoom.policies.feature_cache import FeatureBudget, FeatureCache, FeatureSource, FeatureStats
from videozoom.policies.patches import patchify

if TYPE_CHECKING:
    from videozoom.policies.rendering import Renderer


class VisionFeatures:
    """Computes clip features `[N, D]`, N the clip's placeholder tokens.

    While the tower is frozen they are kept, in CPU memory and on the disk if there is a folder for them. Clips are then
    computed one by one: features depend on nothing but the clip, so that those of a resumed run, or of another
    process, are the same.
    """

    def __init__(
        self, tower: Any, renderer: "Renderer", *, is_frozen: bool, budget: FeatureBudget | None = None
    ) -> None:
        """Take a tower; `budget` says how much is kept, and where."""
        self.tower, self.renderer = tower, renderer
        self.is_frozen = is_frozen
        self.stats = FeatureStats()
        """What all calls so far took; a clip whose tower is trained counts as computed."""
        self._cache = FeatureCache(budget or FeatureBudget())
        self._fingerprint: str | None = None

    def clear(self) -> None:
        """Forget the features in memory; needed whenever the tower's weights change."""
        self._cache.clear()
        self._fingerprint = None

    def computes_like(self, other: "VisionFeatures") -> bool:
        """Return whether both towers are frozen and give the same features; reads all their weights."""
        return self.is_frozen and other.is_frozen and tower_fingerprint(self.tower) == tower_fingerprint(other.tower)

    def __call__(self, clips: Sequence[VideoClip]) -> list[Tensor]:
        """Return features of each clip, in order, where the tower is; equal keys are computed once per call at most."""
        unique = list({clip.key: clip for clip in clips}.values())
        features = [self._frozen(clip) for clip in unique] if self.is_frozen else self._trained(unique)
        of_key = {clip.key: tensor for clip, tensor in zip(unique, features, strict=True)}
        return [of_key[clip.key] for clip in clips]

    def disk_bytes(self) -> int:
        """Return how many bytes of features are on the disk."""
        return self._cache.num_bytes()

    def _trained(self, clips: Sequence[VideoClip]) -> Sequence[Tensor]:
        self.stats += FeatureStats(num_computed=len(clips))
        return self._compute(clips)

    def _frozen(self, clip: VideoClip) -> Tensor:
        name = self._name(clip)
        known = self._cache.get(name)
        if known is not None:
            features, source = known
            is_in_memory = source is FeatureSource.MEMORY
            self.stats += FeatureStats(num_memory_hits=is_in_memory, num_disk_hits=not is_in_memory)
            return features.to(next(self.tower.parameters()).device)
        self.stats += FeatureStats(num_computed=1)
        with torch.no_grad():
            [computed] = self._compute([clip])
        self._cache.put(name, computed.cpu())
        return computed

    def _name(self, clip: VideoClip) -> str:
        if not self._cache.has_folder:
            return clip.key
        if self._fingerprint is None:
            self._fingerprint = tower_fingerprint(self.tower)
        return digest_of(self._fingerprint, clip.key)

    def _compute(self, clips: Sequence[VideoClip]) -> tuple[Tensor, ...]:
        patch_px, merge = self.renderer.patch_px, self.renderer.merge
        patches = np.concatenate([patchify(clip.frames, patch_px=patch_px, merge=merge) for clip in clips])
        grids = [self.renderer.grid(clip) for clip in clips]
        grid_thw = torch.tensor([[g.num_pairs, g.num_rows * merge, g.num_columns * merge] for g in grids])
        parameter = next(self.tower.parameters())
        pixels = torch.from_numpy(patches).to(device=parameter.device, dtype=parameter.dtype)
        output = self.tower(pixels, grid_thw=grid_thw.to(parameter.device)).pooler_output
        return torch.split(output, [grid.num_tokens for grid in grids])


def tower_fingerprint(tower: Any) -> str:
    """Return a digest of everything besides a clip that decides its features: weights, their type, and what computes.

    Reads all weights.
    """
    digest = hashlib.blake2b(digest_size=16)
    config = tower.config.to_dict() | {"attention": tower.config._attn_implementation}
    versions = {name: version(name) for name in ("torch", "transformers", "pillow")}
    device = next(tower.parameters()).device.type
    digest.update(json.dumps([config, versions, device], sort_keys=True, default=str).encode())
    for name, tensor in sorted(tower.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
