"""The configuration of a run: all its sections, each described in a module of its own.

Only `experiments/` knows these classes; everything below takes plain values.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from videozoom.experiments.config_captions import Captions
from videozoom.experiments.config_data import CountOrZero, Data, Section
from videozoom.experiments.config_env import Env, Protocol, Video
from videozoom.experiments.config_policy import Policy
from videozoom.experiments.config_results import Alarms, Demo, Eval, Tracking
from videozoom.experiments.config_reward import Reward, RewardRules
from videozoom.experiments.config_training import ColdStart, Grpo, RayWorkers, Rollout
from videozoom.experiments.love_r1_presets import check_preset


class Config(Section):
    """Everything a run depends on.

    Example:
        >>> Config(name="try", seed=3).run_dir
        PosixPath('runs/try')
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "run"
    """Letters, digits, dots, dashes and underscores."""
    seed: CountOrZero = 0
    """Of weights, samples and tasks; videos have seeds of their own (`data`)."""
    run_dir: Path = Field(default_factory=lambda values: Path("runs", values.get("name", "run")))
    """Folder of the results; `runs/<name>` unless given."""
    data: Data = Data()
    video: Video = Video()
    protocol: Protocol = Protocol()
    env: Env = Env()
    captions: Captions = Captions()
    reward: Reward = Reward()
    reward_rules: RewardRules = RewardRules()
    policy: Policy = Policy()
    rollout: Rollout = Rollout()
    grpo: Grpo = Grpo()
    cold_start: ColdStart = ColdStart()
    ray: RayWorkers = RayWorkers()
    eval: Eval = Eval()
    tracking: Tracking = Tracking()
    alarms: Alarms = Alarms()
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_preset(self.protocol.preset, self.protocol.name)
        kind = "caption_tree" if self.protocol.name == "longvideo_r1" else "video_zoom"
        if self.env.kind != kind:
            raise ValueError(f"protocol.name is {self.protocol.name}, which needs env.kind={kind}, not {self.env.kind}")
        for index, stage in enumerate(self.cold_start.stages):
            if "marks" in stage.objectives and self.env.kind == "caption_tree":
                raise ValueError(f"cold_start.stages.{index}.objectives has 'marks', but captions tell none")
            for source in stage.sources:
                if source not in self.data.cold_start:
                    known = ", ".join(sorted(self.data.cold_start)) or "none"
                    raise ValueError(
                        f"cold_start.stages.{index}.sources names {source!r}, but data.cold_start has: {known}"
                    )
        return self
