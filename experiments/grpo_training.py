"""A whole GRPO training: iterations, traces, metrics, evaluations and checkpoints. Takes plain values only."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from videozoom.experiments.checkpoints import checkpoint_folder, load_trainer_state
from videozoom.experiments.grpo_settings import GrpoSettings, ModelSource, Progress, World
from videozoom.experiments.interrupts import StopRequest
from videozoom.experiments.progress import progress
from videozoom.experiments.ray_runtime import quiet_rllib, ray_runtime
from videozoom.rollout.trace_rows import trace_row
from videozoom.rollout.traces import TraceWriter

if TYPE_CHECKING:
    from videozoom.experiments.grpo_algorithm import DecoupledGRPO
    from videozoom.experiments.grpo_records import IterationRecord
    from videozoom.policies.qwen_vl import QwenVLPolicy

Log = Callable[[Mapping[str, float], int], None]
"""Takes registered metrics and the number of finished iterations."""
Evaluate = Callable[["QwenVLPolicy", int], Mapping[str, float]]
"""Evaluates the policy after so many iterations and returns registered metrics."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to train and when to look; evaluation and checkpoint also come at the end."""

    num_iterations: int
    eval_every: int = 0
    """Iterations between evaluations; 0 evaluates only at the end."""
    checkpoint_every: int = 10
    """Iterations between checkpoints; 0 keeps only the last."""

    def is_due(self, every: int, iteration: int) -> bool:
        """Return whether something that happens every so many iterations happens after `iteration` of them.

        Example:
            >>> [i for i in range(1, 8) if Schedule(7).is_due(3, i)]
            [3, 6, 7]
        """
        return iteration >= self.num_iterations or bool(every and iteration % every == 0)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves behind."""

    checkpoint: Path
    """Hugging Face folder of the trained model."""
    progress: Progress


def train_grpo(
    world: World,
    source: ModelSource,
    settings: GrpoSettings,
    schedule: Schedule,
    *,
    name: str,
    checkpoints: Path,
    traces: TraceWriter,
    log: Log,
    evaluate: Evaluate | None = None,
    resume: Path | None = None,
    num_logged: int | None = None,
    num_env_runners: int = 0,
    num_learners: int = 0,
) -> Trained:
    """Train the model of `source` and return where it lies.

    An iteration writes its traces, then its checkpoint, which holds its metrics too; then it is evaluated and logged.
    So the trajectories that made a checkpoint are never missing, an evaluation that was broken off goes on with the
    same weights, and what a crash lost is sampled again, to the same numbers.

    Args:
        world: Where episodes happen.
        source: The model to start from.
        settings: The numbers of the recipe.
        schedule: How long to train, and when to evaluate and to save.
        name: What the policy is called in traces and on the screen.
        checkpoints: Folder for the checkpoints.
        traces: Takes every sampled trajectory.
        log: Takes the metrics of every iteration.
        evaluate: Measures the policy.
        resume: A checkpoint of this training to go on from.
        num_logged: Iterations whose metrics were logged; `None` for all up to that checkpoint.
        num_env_runners: Rollout processes; 0 samples in this one.
        num_learners: Learner processes; 0 learns in this one.

    Raises:
        KeyboardInterrupt: Ctrl-C; the last finished iteration has a checkpoint.
        LearnerLostError: A learner process died.
        ValueError: The settings ask for groups that the tasks cannot give.
    """
    # Importing Ray takes a while.
    from videozoom.experiments.learner_deaths import noticing_lost_learners

    with ray_runtime(num_env_runners + num_learners), StopRequest("this iteration") as stop:
        algorithm = _build(world, source, settings, resume, num_env_runners, num_learners)
        training = _Training(algorithm, schedule, stop, name, checkpoints, traces, log, evaluate)
        try:
            with (
                progress(f"Training, {name}", schedule.num_iterations) as advance,
                noticing_lost_learners(algorithm),
            ):
                advance(algorithm.progress.iteration)
                saved = resume or source.checkpoint
                if resume is not None and num_logged is not None and num_logged < algorithm.progress.iteration:
                    training.report(load_trainer_state(resume)["metrics"])
                while algorithm.progress.iteration < schedule.num_iterations and not stop.requested:
                    metrics, written = training.run_iteration()
                    saved = written or saved
                    advance(note=f"reward {metrics.get('reward/total/mean', 0.0):.3f}")
        finally:
            algorithm.stop()
    if stop.requested and algorithm.progress.iteration < schedule.num_iterations:
        raise KeyboardInterrupt
    return Trained(saved, algorithm.progress)


@dataclass(frozen=True, slots=True)
class _Training:
    """What one iteration after the other does."""

    algorithm: "DecoupledGRPO"
    schedule: Schedule
    stop: StopRequest
    name: str
    checkpoints: Path
    traces: TraceWriter
    log: Log
    evaluate: Evaluate | None

    def run_iteration(self) -> tuple[Mapping[str, float], Path | None]:
        """Return the metrics of one iteration, and its checkpoint if it wrote one."""
        self.algorithm.train()
        record, iteration = self.algorithm.record(), self.algorithm.progress.iteration
        _write_traces(self.traces, record, self.name)
        is_saved = self.stop.requested or self.schedule.is_due(self.schedule.checkpoint_every, iteration)
        if is_saved:
            self._save(iteration)
        self.report(record.metrics)
        if self.stop.requested and not is_saved:
            self._save(iteration)
            is_saved = True
        return record.metrics, checkpoint_folder(self.checkpoints, iteration) if is_saved else None

    def report(self, metrics: Mapping[str, float]) -> None:
        """Evaluate the last iteration, if it is time, and log it; once stopped, an evaluation is left to `resume`."""
        iteration = self.algorithm.progress.iteration
        if self.evaluate is not None and self.schedule.is_due(self.schedule.eval_every, iteration):
            if self.stop.requested:
                return
            started_s = time.perf_counter()
            metrics = {**metrics, **self.evaluate(self.algorithm.policy(), iteration)}
            metrics["time/eval_s"] = time.perf_counter() - started_s
        self.log(metrics, iteration)

    def _save(self, iteration: int) -> None:
        self.traces.sync()
        self.algorithm.write_checkpoint(checkpoint_folder(self.checkpoints, iteration))


def _build(
    world: World,
    source: ModelSource,
    settings: GrpoSettings,
    resume: Path | None,
    num_env_runners: int,
    num_learners: int,
) -> "DecoupledGRPO":
    # Importing RLlib takes seconds.
    from videozoom.experiments.grpo_config import DecoupledGRPOConfig

    quiet_rllib()
    source = source if resume is None else replace(source, checkpoint=resume)
    config = DecoupledGRPOConfig().grpo(world=world, source=source, settings=settings)
    config.env_runners(num_env_runners=num_env_runners).learners(num_learners=num_learners)
    algorithm: DecoupledGRPO = config.build_algo()
    if resume is not None:
        algorithm.resume_from(resume)
    return algorithm


def _write_traces(traces: TraceWriter, record: "IterationRecord", name: str) -> None:
    rows = []
    for group, advantages_G in zip(record.groups, record.advantages, strict=True):
        for trajectory, advantage in zip(group.trajectories, advantages_G.tolist(), strict=True):
            rows.append(
                trace_row(
                    group.task,
                    trajectory,
                    phase="train",
                    policy=name,
                    iteration=record.iteration,
                    advantage=advantage,
                )
            )
    traces.write(rows)
