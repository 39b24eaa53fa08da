"""RLlib's configuration of decoupled GRPO."""

from typing import Any, Self

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from videozoom.experiments.grpo_env_runner import SPACES, GroupEnvRunner
from videozoom.experiments.grpo_learner import GRPOLearner
from videozoom.experiments.grpo_module import SAMPLING, SOURCE, QwenVLModule
from videozoom.experiments.grpo_settings import GrpoSettings, ModelSource, World
from videozoom.policies.qwen_vl import QwenVLPolicy


class DecoupledGRPOConfig(AlgorithmConfig):  # type: ignore[misc]
    """What RLlib needs to build a `DecoupledGRPO`; with the defaults everything runs in one process.

    Example:
        >>> config = DecoupledGRPOConfig().grpo(world=world, source=ModelSource(Path("checkpoints/tiny")))
        >>> algorithm = config.env_runners(num_env_runners=2).learners(num_learners=2).build_algo()
    """

    def __init__(self, algo_class: type | None = None) -> None:
        if algo_class is None:
            from videozoom.experiments.grpo_algorithm import DecoupledGRPO

            algo_class = DecoupledGRPO
        super().__init__(algo_class=algo_class)
        self.env_runner_cls = GroupEnvRunner
        self.world: World | None = None
        self.source: ModelSource | None = None
        self.settings = GrpoSettings()
        self.environment(observation_space=SPACES[0], action_space=SPACES[1], disable_env_checking=True)
        self.env_runners(
            num_env_runners=0,
            create_local_env_runner=False,
            merge_env_runner_states=False,
            broadcast_env_runner_states=False,
        )
        self.learners(num_learners=0)
        self.debugging(log_level="ERROR")
        # A worker that died comes back while the others go on: nothing waits for it.
        self.fault_tolerance(
            restart_failed_env_runners=True,
            delay_between_env_runner_restarts_s=0.0,
            env_runner_health_probe_timeout_s=0.1,
        )
        self._dont_auto_sync_env_runner_states = True

    def grpo(
        self, *, world: World | None = None, source: ModelSource | None = None, settings: GrpoSettings | None = None
    ) -> Self:
        """Set where episodes happen, which model learns, and the numbers of the recipe; `None` leaves one as it is."""
        self.world = world or self.world
        self.source = source or self.source
        self.settings = settings or self.settings
        return self

    def training(self, **options: Any) -> Self:
        """Pass options to RLlib; GRPO's own are set with `grpo`."""
        super().training(**options)
        return self

    @property
    def is_online(self) -> bool:
        """Whether RLlib has to make rollout workers; without remote ones the algorithm makes its own.

        RLlib's group of workers starts Ray even when it is empty, which takes seconds and memory.
        """
        return bool(self.num_env_runners)

    def load_policy(self) -> QwenVLPolicy:
        """Return a policy with the checkpoint's weights that samples as the recipe says.

        Raises:
            ValueError: No model was set.
        """
        if self.source is None:
            raise ValueError("no model to train: set one with grpo(source=ModelSource(...))")
        return self.source.load(self.settings.sampling)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(
            module_class=QwenVLModule,
            observation_space=SPACES[0],
            action_space=SPACES[1],
            model_config={SOURCE: self.source, SAMPLING: self.settings.sampling},
        )

    def get_default_learner_class(self) -> type[GRPOLearner]:
        return GRPOLearner
