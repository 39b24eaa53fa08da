"""`videozoom train`: cold start and reinforcement learning as a config says, in a run folder."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.build import (
    build_env_maker,
    build_policy,
    build_sampling,
    check_config,
    model_source,
)
from videozoom.experiments.build_tracking import open_tracker
from videozoom.experiments.build_training import (
    TrainingData,
    build_annotate,
    grpo_name,
    grpo_settings,
    grpo_world,
    supervised_stages,
)
from videozoom.experiments.checkpoints import (
    atomic_folder,
    checkpoint_folder,
    keep_latest_checkpoint,
    latest_checkpoint,
    load_trainer_state,
    save_trainer_state,
)
from videozoom.experiments.cold_start import ColdStart
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config
from videozoom.experiments.contestants import model_contestant
from videozoom.experiments.evaluate import build_evaluator
from videozoom.experiments.grpo_settings import ModelSource
from videozoom.experiments.grpo_training import Schedule, Trained, train_grpo
from videozoom.experiments.interrupts import StopRequest
from videozoom.experiments.open_traces import open_traces
from videozoom.experiments.report import write_report
from videozoom.experiments.restarts import restarting
from videozoom.experiments.result_rows import eval_metrics, print_results
from videozoom.experiments.resuming import START, Resumption, resume_run, unfinished_start
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.storage import storage_errors
from videozoom.experiments.tiny_corpus import BlankFrames, tiny_corpus
from videozoom.experiments.tracking import Trackers
from videozoom.rollout.traces import TraceWriter
from videozoom.rollout.video_metrics import VideoMeter

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy


def run_train(config: Config, *, resume: Path | None = None, overwrite: bool = False) -> None:
    """Train as the config says, evaluate before and after, and write a run folder with a report.

    Args:
        config: The run.
        resume: Folder of an earlier run to go on with, from its last checkpoint.
        overwrite: Replace a run of another configuration in the same folder.

    Raises:
        UserError: The run folder is taken, or the tasks do not fit the settings.
        KeyboardInterrupt: Ctrl-C; what was finished is in the run folder.
    """
    check_config(config)
    data = TrainingData.load(config)
    text = dump_config(config)
    again = f"videozoom train --resume {resume or config.run_dir}"
    with storage_errors(resume or config.run_dir, again):
        if resume is None:
            run = RunFolder.create(config.run_dir, text, seed=config.seed, overwrite=overwrite)
        else:
            run = RunFolder.resume(resume, text, seed=config.seed)
        rows = restarting(lambda: _train(config, run, data), max_restarts=config.ray.max_restarts, again=again)
        run.write_results({"rows": rows, "seed": config.seed})
        print_results(rows)
        write_report(run.path, data.frames)


def _train(config: Config, run: RunFolder, data: TrainingData) -> list[dict[str, Any]]:
    """Return the rows of the results table, from wherever the run stands."""
    resumption = resume_run(
        run, [stage.name for stage in config.cold_start.stages], {grpo_name(config): run.checkpoints}
    )
    tracker = open_tracker(run, config, main_phase=grpo_name(config), frames=data.frames)
    with tracker, open_traces(run, config, tracker) as traces:
        return _Training(config, run, data, tracker, traces, resumption).run()


def run_cold_start(config: Config, run: RunFolder, data: TrainingData, tracker: Trackers) -> Path:
    """Return the checkpoint that reinforcement learning starts from, after the supervised stages if there are any.

    A cold start that the run folder already holds is not repeated; one that was broken off goes on from its last
    checkpoint, to the same weights.

    Raises:
        KeyboardInterrupt: Ctrl-C; the step that was under way is in a checkpoint.
    """
    stages = config.cold_start.stages
    if not stages and config.policy.checkpoint is not None:
        return config.policy.checkpoint
    folder, unfinished = run.checkpoints / START, unfinished_start(run)
    if folder.is_dir():
        shutil.rmtree(unfinished, ignore_errors=True)
        return folder
    last = latest_checkpoint(unfinished)
    policy = _untrained(config, run, data) if last is None else model_source(config, last).load(build_sampling(config))

    def save(optimizer: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        with atomic_folder(checkpoint_folder(unfinished, progress["num_steps"])) as temporary:
            policy.save(temporary)
            save_trainer_state(temporary, optimizer, progress)
        keep_latest_checkpoint(unfinished)

    with StopRequest("this step") as stop:
        cold_start = ColdStart(
            data.cold_start,
            build_annotate(config, data.frames),
            config.seed,
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
            supervised_stages(config),
            lambda stage, step, metrics: tracker.log(metrics | meter.metrics(), step, stage),
            None if last is None else load_trainer_state(last),
        )
    if is_done:
        with atomic_folder(folder) as temporary:
            policy.save(temporary)
        shutil.rmtree(unfinished, ignore_errors=True)
    if stop.requested:
        raise KeyboardInterrupt
    return folder


def _untrained(config: Config, run: RunFolder, data: TrainingData) -> "QwenVLPolicy":
    """Return the model that a cold start begins with; the words of a tiny one are those of its tasks."""
    tasks = [task for part in (*data.cold_start.values(), data.train) for task in part]
    blank = build_annotate(config, BlankFrames())
    return build_policy(config, run.checkpoints / "untrained", lambda: tiny_corpus(tasks, blank, seed=config.seed))


def train_as_configured(
    config: Config,
    data: TrainingData,
    source: ModelSource,
    *,
    checkpoints: Path,
    traces: TraceWriter,
    tracker: Trackers,
    evaluate: Callable[[str, "QwenVLPolicy", int], Mapping[str, float]],
    resume: Path | None = None,
    num_logged: int | None = None,
) -> Trained:
    """Run the reinforcement learning of a config from `source`; its policy is called `grpo_name(config)` everywhere."""
    name = grpo_name(config)
    return train_grpo(
        grpo_world(config, data),
        source,
        grpo_settings(config, reference=source),
        Schedule(config.grpo.num_iterations, config.grpo.eval_every, config.grpo.checkpoint_every),
        name=name,
        checkpoints=checkpoints,
        traces=traces,
        log=lambda metrics, iteration: tracker.log(metrics, iteration, name),
        evaluate=lambda policy, iteration: evaluate(name, policy, iteration),
        resume=resume,
        num_logged=num_logged,
        num_env_runners=config.ray.num_env_runners,
        num_learners=config.ray.num_learners,
    )


class _Training:
    """One run from cold start to results."""

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        data: TrainingData,
        tracker: Trackers,
        traces: TraceWriter,
        resumption: Resumption,
    ) -> None:
        self._config, self._run, self._data, self._tracker, self._traces = config, run, data, tracker, traces
        self._resumption = resumption
        self._evaluator = build_evaluator(config, data.eval, traces, resumption.finished)
        self._rows: dict[str, dict[str, Any]] = {}

    def run(self) -> list[dict[str, Any]]:
        """Return the rows of the results table: before and after reinforcement learning."""
        config, name = self._config, grpo_name(self._config)
        source = model_source(config, run_cold_start(config, self._run, self._data, self._tracker))
        self._evaluate(START, source.load(), 0)
        if config.grpo.num_iterations:
            trained = train_as_configured(
                config,
                self._data,
                source,
                checkpoints=self._run.checkpoints,
                traces=self._traces,
                tracker=self._tracker,
                evaluate=self._evaluate,
                resume=self._resumption.checkpoints[name],
                num_logged=self._resumption.num_logged[name],
            )
            if name not in self._rows:
                # The run was complete already; its last evaluation is in the traces.
                self._evaluate(name, model_source(config, trained.checkpoint).load(), trained.progress.iteration)
            self._rows[name]["cpu_seconds_training"] = trained.progress.cpu_s
        return list(self._rows.values())

    def _evaluate(self, name: str, policy: "QwenVLPolicy", iteration: int) -> dict[str, float]:
        make_env = build_env_maker(self._config, self._data.eval, self._data.frames)
        contestant = model_contestant(self._config, name, policy, make_env)
        self._rows[name] = self._evaluator.run(contestant, iteration=iteration)
        return eval_metrics(self._rows[name])
