"""RLlib's PPO, unchanged, learns to zoom and to answer from nothing.

Run it with `python -m videozoom.experiments.examples.train_rllib`.
"""

import argparse
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.tune.registry import register_env
from torch import Tensor, nn

from videozoom.experiments.examples.small_world import make_env, make_frames, make_tasks, random_policy, score
from videozoom.experiments.examples.zoom_network import ZoomNetwork, orthogonal

ENV = "small_zoom_world"
HELD_OUT_SEED = 2


class ZoomModule(TorchRLModule, ValueFunctionAPI):  # type: ignore[misc]
    """`ZoomNetwork` with a head for actions and one for values, in the form this library takes."""

    def setup(self) -> None:
        """Build the layers."""
        self.network = ZoomNetwork(self.observation_space)
        num_features = self.network.num_features
        self.policy_head = nn.Sequential(nn.Linear(num_features, 64), nn.Tanh(), nn.Linear(64, self.action_space.n))
        self.value_head = nn.Sequential(nn.Linear(num_features, 64), nn.Tanh(), nn.Linear(64, 1))
        for head, gain in ((self.policy_head, 0.01), (self.value_head, 1.0)):
            head.apply(orthogonal)
            orthogonal(head[-1], gain)  # All actions are equally likely at first.

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        features = self.network(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: self.policy_head(features), Columns.EMBEDDINGS: features}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Return the values `[B]` of a batch."""
        features = self.network(batch[Columns.OBS]) if embeddings is None else embeddings
        values: Tensor = self.value_head(features).squeeze(-1)
        return values

    def best_action(self, arrays: dict[str, Any]) -> int:
        """Return the likeliest action for one observation."""
        with torch.no_grad():
            observations = {name: torch.as_tensor(np.array(array)[None]) for name, array in arrays.items()}
            return int(self.policy_head(self.network(observations)).argmax())


def train(folder: Path, num_steps: int = 30_000, num_videos: int = 100, seed: int = 0) -> dict[str, float]:
    """Return shares of right answers and of hits on held-out tasks, of the trained and of a random policy."""
    frames = make_frames()
    tasks, held_out = make_tasks(folder, num_videos, seed=1), make_tasks(folder, 50, seed=HELD_OUT_SEED)
    env = make_env(tasks, frames)
    assert isinstance(env.action_space, gymnasium.spaces.Discrete)
    num_actions = int(env.action_space.n)
    # Half of the episodes are single zooms: they teach where to look.
    register_env(ENV, lambda _: make_env(tasks, frames, zoom_step_fraction=0.5))
    config = (
        PPOConfig()
        .environment(ENV)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .training(
            lr=1e-3,
            gamma=1.0,
            lambda_=1.0,
            train_batch_size=1024,
            minibatch_size=128,
            num_epochs=6,
            entropy_coeff=0.01,
            clip_param=0.2,
            vf_loss_coeff=0.5,
            grad_clip=0.5,
            use_kl_loss=False,
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=ZoomModule, observation_space=env.observation_space, action_space=env.action_space
            )
        )
        .debugging(seed=seed, log_level="ERROR")
    )
    algorithm = config.build_algo()
    try:
        for _ in range(-(-num_steps // 1024)):
            algorithm.train()
        module = algorithm.get_module()
        right, hits = score(module.best_action, held_out, frames)
    finally:
        algorithm.stop()
    random_right, random_hits = score(random_policy(num_actions), held_out, frames)
    return {"right": right, "hits": hits, "random_right": random_right, "random_hits": random_hits}


def main() -> None:
    """Train, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/examples"), help="where generated videos are kept")
    parser.add_argument("--steps", type=int, default=30_000, help="environment steps")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, value in train(arguments.folder, arguments.steps, seed=arguments.seed).items():
        print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main()
