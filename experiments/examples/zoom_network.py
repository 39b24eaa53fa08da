"""`ZoomNetwork`: a small convolutional network on the arrays of `FixedShape`.

Shape legend: B sequence of the batch, F frame, C feature.
"""

import math
from collections.abc import Mapping

import gymnasium
import torch
from torch import Tensor, nn


class ZoomNetwork(nn.Module):
    """Compares every frame of the fast view with the question, and reads the first slow clip.

    Frames keep their places, so that what follows can point at one.

    Example:
        >>> network = ZoomNetwork(env.observation_space)
        >>> network(observations_B).shape == (batch_size, network.num_features)
        True
    """

    def __init__(self, space: gymnasium.spaces.Dict, *, width: int = 32) -> None:
        super().__init__()
        num_frames, height_px, width_px, _ = space["fast_frames"].shape  # type: ignore[misc]
        num_words = space["question"].shape[0]  # type: ignore[index]
        self.frame = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (height_px // 4) * (width_px // 4), width),
        )
        self.question = nn.Linear(num_words, width)
        self.match = nn.Sequential(nn.ReLU(), nn.Linear(width, 8), nn.ReLU())
        self.clip = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 4, stride=4),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(width),
            nn.ReLU(),
        )
        num_clip_frames, clip_height_px, clip_width_px = space["clip_frames"].shape[1:4]  # type: ignore[index]
        self.clip(torch.zeros(1, 3, clip_height_px, clip_width_px))  # Tells the lazy layer its size.
        self.apply(orthogonal)
        self.num_features = num_frames * 8 + num_clip_frames * width + space["progress"].shape[0]  # type: ignore[index]

    def forward(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Return features `[B, C]` of a batch of observations."""
        fast = _each(self.frame, observations["fast_frames"])
        asked = self.question(observations["question"].float()).unsqueeze(1)
        matches = self.match(fast * asked).flatten(1)
        # Without a clip its pixels are black, which is a picture too.
        seen = _each(self.clip, observations["clip_frames"][:, 0]) * observations["clip_mask"][:, 0].unsqueeze(-1)
        return torch.cat([matches, seen.flatten(1), observations["progress"]], dim=1)


def orthogonal(module: nn.Module, gain: float = math.sqrt(2.0)) -> None:
    """Set the weights of a layer so that it keeps the size of what passes through; other modules stay as they are."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight, gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _each(network: nn.Module, frames_BFHWC: Tensor) -> Tensor:
    """Return features `[B, F, C]` of each frame, whose pixels are 0 to 255."""
    pixels = frames_BFHWC.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    features: Tensor = network(pixels).unflatten(0, frames_BFHWC.shape[:2])
    return features
