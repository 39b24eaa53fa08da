"""From a config to what its trainings are made of: tasks, stages, model and recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from videozoom.envs.captions.tree import Level
from videozoom.envs.generated.caption_words import CaptionStyle
from videozoom.envs.observation import FrameSource
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.protocols.videozoomer import VideoZoomerProtocol
from videozoom.envs.tasks import Task
from videozoom.envs.video_store import VideoStore
from videozoom.experiments.build import build_env_maker, build_frames, build_protocol, build_sampling, build_tasks
from videozoom.experiments.build_captions import build_caption_env_maker
from videozoom.experiments.cold_start_captions import CaptionAnnotator
from videozoom.experiments.cold_start_data import ColdStartData
from videozoom.experiments.cold_start_stage import Annotate, Annotator, Objective, SupervisedStage
from videozoom.experiments.cold_start_transcripts import TranscriptData
from videozoom.experiments.config import Config
from videozoom.experiments.errors import UserError
from videozoom.experiments.grpo_settings import GrpoSettings, ModelSource, World
from videozoom.policies.optimizers import OptimizerName
from videozoom.rewards.penalty_schedule import PenaltySchedule
from videozoom.rollout.training_samples import LossAggregation


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The tasks of a run, and what reads their videos."""

    train: tuple[Task, ...]
    eval: tuple[Task, ...]
    cold_start: Mapping[str, tuple[Task, ...]]
    frames: VideoStore

    @classmethod
    def load(cls, config: Config) -> Self:
        """Read or render the tasks of all parts.

        Raises:
            TaskFileError: A task file is missing or wrong.
            UserError: The training tasks have no evidence, and `zoom_step` groups are asked for; or tasks of the cold
                start are not of generated videos.
        """
        videos = config.data.videos
        used = {name for stage in config.cold_start.stages for name in stage.sources}
        data = cls(
            train=build_tasks(config.data.train, videos, name="training videos"),
            eval=build_tasks(config.data.eval, videos, name="held-out videos")[: config.eval.num_tasks],
            cold_start={
                name: build_tasks(config.data.cold_start[name], videos, name=f"{name} videos") for name in sorted(used)
            },
            frames=build_frames(config),
        )
        if config.rollout.zoom_step_fraction and not any(task.evidence for task in data.train):
            raise UserError(
                f"rollout.zoom_step_fraction is {config.rollout.zoom_step_fraction:g}, but no task of data.train has "
                "evidence; annotate some, or set it to 0"
            )
        for name, tasks in data.cold_start.items():
            plain = next((task for task in tasks if "events" not in task.metadata), None)
            if plain is not None:
                raise UserError(
                    f"data.cold_start.{name}: task {plain.task_id!r} has no events in its metadata; the cold start "
                    "learns from generated videos"
                )
        return data


def grpo_name(config: Config) -> str:
    """Return what a config's trained policy is called in tables: `decoupled_grpo` or `multi_step_grpo`."""
    return "decoupled_grpo" if config.rollout.zoom_step_fraction else "multi_step_grpo"


def grpo_settings(config: Config, reference: ModelSource) -> GrpoSettings:
    """Return the numbers of the recipe; `reference` is what a KL term holds the policy to."""
    rollout, grpo = config.rollout, config.grpo
    return GrpoSettings(
        seed=config.seed,
        num_groups=rollout.tasks_per_iteration,
        group_size=rollout.group_size,
        zoom_step_fraction=rollout.zoom_step_fraction,
        resampling_rounds=rollout.resampling_rounds,
        penalties=build_penalties(config),
        sampling=build_sampling(config),
        optimizer=grpo.optimizer,
        lr=grpo.lr,
        warmup_iterations=grpo.warmup_iterations,
        weight_decay=grpo.weight_decay,
        grad_clip_norm=grpo.grad_clip_norm,
        clip_low=grpo.clip_low,
        clip_high=grpo.clip_high,
        kl_coef=grpo.kl_coef,
        entropy_coef=grpo.entropy_coef,
        reference=reference,
        normalise_std=grpo.advantage_norm == "std",
        aggregation=LossAggregation(grpo.loss_aggregation),
        max_tokens_per_batch=grpo.max_tokens_per_batch,
        groups_per_request=config.ray.groups_per_request,
    )


def build_penalties(config: Config) -> PenaltySchedule:
    """Return how a config's penalties change over the training."""
    return PenaltySchedule(
        weights=config.reward.model_dump(),
        num_iterations=config.grpo.num_iterations,
        **config.grpo.penalties.model_dump(),
    )


def grpo_world(config: Config, data: TrainingData) -> World:
    """Return where the episodes of reinforcement learning happen."""
    return World(
        tasks=data.train,
        make_env=build_env_maker(config, data.train, data.frames),
        protocol=build_protocol(config),
        max_steps=config.env.max_steps,
        frames=data.frames,
    )


def build_annotate(config: Config, frames: FrameSource) -> Annotate:
    """Return what makes the annotator of some tasks for a config's protocol, showing it `frames`."""
    protocol = build_protocol(config)
    if isinstance(protocol, LoveR1Protocol):
        return partial(ColdStartData, frames=frames, protocol=protocol, clip_frames=config.cold_start.clip_frames)
    if isinstance(protocol, VideoZoomerProtocol):
        return partial(TranscriptData, frames=frames, protocol=protocol)
    times_from, style = Level(config.captions.times_from), CaptionStyle(config.captions.style)

    def annotate(tasks: Sequence[Task]) -> Annotator:
        return CaptionAnnotator(tasks, build_caption_env_maker(config, tasks), protocol, times_from, style)

    return annotate


def supervised_stages(config: Config) -> list[SupervisedStage]:
    """Return the stages of the cold start."""
    return [
        SupervisedStage(
            name=stage.name,
            objectives={Objective(name): share for name, share in stage.objectives.items()},
            excerpt_pairs=stage.excerpt_pairs,
            wrong_clip_share=stage.wrong_clip_share,
            first_scene_bias=stage.first_scene_bias,
            glance_share=stage.glance_share,
            forced_share=stage.forced_share,
            overview_share=stage.overview_share,
            reads_fast_view=stage.reads_fast_view,
            hasty_share=stage.hasty_share,
            sources=stage.sources,
            num_steps=stage.num_steps,
            batch_size=stage.batch_size,
            optimizer=OptimizerName(stage.optimizer),
            lr=stage.lr,
            num_warmup=stage.warmup_steps,
            decay_from=stage.decay_from,
            final_lr_fraction=stage.final_lr_fraction,
            until_loss=stage.until_loss,
            give_up_after=stage.give_up.after if stage.give_up else None,
            give_up_above=stage.give_up.above if stage.give_up else 0.0,
        )
        for stage in config.cold_start.stages
    ]
