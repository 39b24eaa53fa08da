"""Running the cold start of a config in a run folder: what a run was broken off in goes on, what fails begins again."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videozoom.experiments.build import build_policy, build_sampling, model_source
from videozoom.experiments.build_training import TrainingData, build_annotate, supervised_stages
from videozoom.experiments.checkpoints import (
    atomic_folder,
    checkpoint_folder,
    keep_latest_checkpoint,
    latest_checkpoint,
    load_trainer_state,
    save_trainer_state,
)
from videozoom.experiments.cold_start import ColdStart, GivenUp
from videozoom.experiments.config import Config
from videozoom.experiments.interrupts import StopRequest
from videozoom.experiments.progress import console
from videozoom.experiments.resuming import START, unfinished_start
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.tiny_corpus import BlankFrames, tiny_corpus
from videozoom.experiments.tracking import Trackers
from videozoom.rollout.video_metrics import VideoMeter

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy


def stage_phases(config: Config) -> list[str]:
    """Return the phases that metrics of the cold start are logged under, in order, those of later tries included."""
    tries = range(config.cold_start.tries)
    return [_phase(stage.name, attempt) for attempt in tries for stage in config.cold_start.stages]


def run_cold_start(config: Config, run: RunFolder, data: TrainingData, tracker: Trackers) -> Path:
    """Return the checkpoint that reinforcement learning starts from, after the supervised stages if there are any.

    A cold start that the run folder already holds is not repeated; one that was broken off goes on from its last
    checkpoint, to the same weights. A try that a stage gives up is followed by another, with other random numbers.

    Raises:
        KeyboardInterrupt: Ctrl-C; the step that was under way is in a checkpoint.
    """
    if not config.cold_start.stages and config.policy.checkpoint is not None:
        return config.policy.checkpoint
    folder, unfinished = run.checkpoints / START, unfinished_start(run)
    if folder.is_dir():
        shutil.rmtree(unfinished, ignore_errors=True)
        return folder
    last = latest_checkpoint(unfinished)
    attempt = 0 if last is None else load_trainer_state(last)["progress"]["try"]
    with StopRequest("this step") as stop:
        while True:
            try:
                policy, is_done = _try(config, run, data, tracker, stop, attempt)
                break
            except GivenUp as given_up:
                console.print(f"{given_up}: the cold start begins again, with other random numbers", markup=False)
                shutil.rmtree(unfinished, ignore_errors=True)
                attempt += 1
    if is_done:
        with atomic_folder(folder) as temporary:
            policy.save(temporary)
        shutil.rmtree(unfinished, ignore_errors=True)
    if stop.requested:
        raise KeyboardInterrupt
    return folder


def _try(
    config: Config, run: RunFolder, data: TrainingData, tracker: Trackers, stop: StopRequest, attempt: int
) -> tuple["QwenVLPolicy", bool]:
    """Return a model, and whether it went through all stages; raises `GivenUp`, but never at the last try."""
    unfinished, seed = unfinished_start(run), _seed(config.seed, attempt)
    last, stages = latest_checkpoint(unfinished), supervised_stages(config)
    if attempt + 1 >= config.cold_start.tries:
        stages = [replace(stage, give_up_after=None) for stage in stages]
    if last is None:
        policy = _untrained(config.model_copy(update={"seed": seed}), run, data)
    else:
        policy = model_source(config, last).load(build_sampling(config))

    def save(optimizer: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        # Counted over all tries, as `stage_phases` does.
        tried = {"try": attempt, "phase": attempt * len(stages) + progress["stage"]}
        with atomic_folder(checkpoint_folder(unfinished, progress["num_steps"])) as temporary:
            policy.save(temporary)
            save_trainer_state(temporary, optimizer, {**progress, **tried})
        keep_latest_checkpoint(unfinished)

    cold_start = ColdStart(
        data.cold_start,
        build_annotate(config, data.frames),
        seed,
        weight_decay=config.cold_start.weight_decay,
        max_grad_norm=config.cold_start.grad_clip_norm,
        max_tokens_per_batch=config.cold_start.max_tokens_per_batch,
        save=save,
        save_every=config.cold_start.checkpoint_every,
        is_stopping=lambda: stop.requested,
    )
    meter = VideoMeter(data.frames)
    is_done = cold_start.run(
        policy,
        stages,
        lambda stage, step, metrics: tracker.log(metrics | meter.metrics(), step, _phase(stage, attempt)),
        None if last is None else load_trainer_state(last),
    )
    return policy, is_done


def _phase(stage: str, attempt: int) -> str:
    return f"{stage}-try-{attempt + 1}" if attempt else stage


def _seed(seed: int, attempt: int) -> int:
    """Return the seed of a try; the first has the run's own."""
    return int(np.random.SeedSequence((seed, attempt)).generate_state(1)[0]) if attempt else seed


def _untrained(config: Config, run: RunFolder, data: TrainingData) -> "QwenVLPolicy":
    """Return the model that a cold start begins with; the words of a tiny one are those of its tasks."""
    tasks = [task for part in (*data.cold_start.values(), data.train) for task in part]
    blank = build_annotate(config, BlankFrames())
    return build_policy(config, run.checkpoints / "untrained", lambda: tiny_corpus(tasks, blank, seed=config.seed))
