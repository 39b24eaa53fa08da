"""Stable-Baselines3's PPO, unchanged, learns to zoom and to answer from nothing.

Run it with `pip install "videozoom[sb3]"` and `python -m videozoom.experiments.examples.train_sb3`.
"""

import argparse
from pathlib import Path

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from videozoom.experiments.examples.small_world import make_env, make_frames, make_tasks, random_policy, score
from videozoom.experiments.examples.zoom_network import ZoomNetwork

HELD_OUT_SEED = 2


class ZoomFeatures(BaseFeaturesExtractor):  # type: ignore[misc,unused-ignore]
    """`ZoomNetwork` in the form this library takes."""

    def __init__(self, space: gymnasium.spaces.Dict) -> None:
        network = ZoomNetwork(space)
        super().__init__(space, network.num_features)
        self.network = network

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        features: Tensor = self.network(observations)
        return features


def train(folder: Path, num_steps: int = 25_000, num_videos: int = 100, seed: int = 0) -> dict[str, float]:
    """Return shares of right answers and of hits on held-out tasks, of the trained and of a random policy."""
    torch.set_num_threads(1)
    frames = make_frames()
    tasks, held_out = make_tasks(folder, num_videos, seed=1), make_tasks(folder, 50, seed=HELD_OUT_SEED)
    # Half of the episodes are single zooms: they teach where to look.
    envs = DummyVecEnv([lambda: make_env(tasks, frames, zoom_step_fraction=0.5)] * 8)
    model = PPO(
        "MultiInputPolicy",
        envs,
        policy_kwargs={"features_extractor_class": ZoomFeatures, "net_arch": [64], "normalize_images": False},
        n_steps=128,
        batch_size=128,
        n_epochs=6,
        learning_rate=1e-3,
        ent_coef=0.01,
        gamma=1.0,
        gae_lambda=1.0,
        seed=seed,
    )
    model.learn(num_steps)
    right, hits = score(lambda arrays: int(model.predict(arrays, deterministic=True)[0]), held_out, frames)
    random_right, random_hits = score(random_policy(int(envs.action_space.n)), held_out, frames)
    return {"right": right, "hits": hits, "random_right": random_right, "random_hits": random_hits}


def main() -> None:
    """Train, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/examples"), help="where generated videos are kept")
    parser.add_argument("--steps", type=int, default=25_000, help="environment steps")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, value in train(arguments.folder, arguments.steps, seed=arguments.seed).items():
        print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
