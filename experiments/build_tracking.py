"""The trackers of a run, as its configuration says."""

from videozoom.envs.observation import FrameSource
from videozoom.experiments.alarm_log import AlarmLog
from videozoom.experiments.alarms import AlarmLimits
from videozoom.experiments.config import Config
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.tensorboard_tracker import TensorBoardTracker
from videozoom.experiments.tracked_rollouts import RolloutPicker
from videozoom.experiments.tracking import JsonlTracker, Tracker, Trackers
from videozoom.experiments.wandb_tracker import WandbTracker


def open_tracker(
    run: RunFolder, config: Config, *, main_phase: str, frames: FrameSource | None = None, name: str | None = None
) -> Trackers:
    """Return the trackers of a training: `metrics.jsonl`, alarms, and the services that `config.tracking` asks for.

    Args:
        run: A new run, or one that goes on: what `metrics.jsonl` holds is kept, and other trackers continue theirs.
        config: The run's settings.
        main_phase: The phase whose metrics have plain names where phases share one list of names.
        frames: Where pictures of rollouts are read from.
        name: What the run is called, if not as in the configuration.
    """
    # Alarms read what the file holds before anything is added to it.
    limits = AlarmLimits(**config.alarms.model_dump(exclude={"enabled"}))
    alarms = AlarmLog(run.alarms_file, limits, metrics_file=run.metrics_file) if config.alarms.enabled else None
    services = _services(run, config, main_phase, name)
    trackers: list[Tracker] = [JsonlTracker(run.metrics_file), *services]
    return Trackers(trackers, alarms=alarms, rollouts=_rollouts(config, services, frames))


def open_eval_tracker(run: RunFolder, config: Config, *, main_phase: str, frames: FrameSource) -> Trackers:
    """Return the services that `config.tracking` asks for, as trackers of an evaluation.

    What it measures is one row for each policy, which `results.json` holds, so that no `metrics.jsonl` is written.
    """
    services = _services(run, config, main_phase, None)
    return Trackers(services, rollouts=_rollouts(config, services, frames))


def _services(run: RunFolder, config: Config, main_phase: str, name: str | None) -> list[Tracker]:
    settings = config.tracking
    services: list[Tracker] = []
    if settings.tensorboard:
        services.append(TensorBoardTracker(run.path / "tensorboard", main_phase=main_phase))
    if settings.wandb:
        wandb = WandbTracker(
            run.path,
            mode=settings.wandb_mode,
            project=settings.project,
            name=name or config.name,
            config=config.model_dump(mode="json"),
            group=settings.group,
            main_phase=main_phase,
        )
        services.append(wandb)
    return services


def _rollouts(config: Config, services: list[Tracker], frames: FrameSource | None) -> RolloutPicker:
    # Nobody looks at tables that no service shows.
    every = config.tracking.rollouts_every if services else 0
    return RolloutPicker(frames, every=every, num_rollouts=config.tracking.num_rollouts, seed=config.seed)
