"""A thin RLlib box around the policy: RLlib builds and moves it, and never looks inside."""

from collections.abc import Collection
from typing import Any

from ray.rllib.core.rl_module.torch import TorchRLModule

from videozoom.experiments.grpo_settings import ModelSource
from videozoom.experiments.weights import load_weights, pack_weights
from videozoom.policies.qwen_vl import QwenVLPolicy

SOURCE = "source"
"""Key of the `ModelSource` in a module's `model_config`."""
SAMPLING = "sampling"
"""Key of the sampling options."""


class QwenVLModule(TorchRLModule):  # type: ignore[misc]
    """Holds a `QwenVLPolicy`. Its state is what training changes; frozen weights come from the checkpoint."""

    policy: QwenVLPolicy

    def setup(self) -> None:
        """Load the checkpoint; called by RLlib's constructor."""
        source: ModelSource = self.model_config[SOURCE]
        self.policy = source.load(self.model_config[SAMPLING])
        self.model = self.policy.model

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        inference_only: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the trained weights.

        RLlib's own version goes through numpy, which has no bfloat16. For inference it is empty: rollout workers load
        the checkpoint themselves and are sent newer weights with their requests.
        """
        return {} if inference_only else pack_weights(self.policy.trained_parameters())

    def set_state(self, state: dict[str, Any]) -> None:
        """Take the weights of `get_state`."""
        if state:
            load_weights(self.policy.trained_parameters(), state)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        raise NotImplementedError("sampling and learning call the policy; RLlib's batches cannot hold ragged video")
