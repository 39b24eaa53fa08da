"""`videozoom train`: cold start and reinforcement learning as a config says, in a run folder."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.envs.json_lines import keep_json_lines
from videozoom.envs.task_files import write_atomically
from videozoom.experiments.build import build_env_maker, build_policy, build_protocol, check_config, model_source
from videozoom.experiments.build_training import (
    TrainingData,
    build_annotate,
    grpo_name,
    grpo_settings,
    grpo_world,
    supervised_stages,
)
from videozoom.experiments.checkpoints import atomic_folder, latest_checkpoint, load_trainer_state
from videozoom.experiments.cold_start import ColdStart
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config
from videozoom.experiments.evaluate import Evaluator, finished_episodes, model_contestant
from videozoom.experiments.grpo_settings import ModelSource
from videozoom.experiments.grpo_training import Schedule, Trained, train_grpo
from videozoom.experiments.report import write_report
from videozoom.experiments.result_rows import eval_metrics, print_results
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.tiny_corpus import BlankFrames, tiny_corpus
from videozoom.experiments.tracking import STEP, Trackers, open_tracker
from videozoom.rollout.traces import TraceWriter
from videozoom.rollout.video_metrics import VideoMeter

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

START = "cold_start"
"""Name of the model that reinforcement learning starts from."""


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
    if resume is None:
        run = RunFolder.create(config.run_dir, text, seed=config.seed, overwrite=overwrite)
    else:
        run = RunFolder.open(resume)
        write_atomically(run.config_file, text.encode())
    checkpoint = latest_checkpoint(run.checkpoints)
    _forget_lost_metrics(config, run, checkpoint)
    tracker = open_tracker(run, **config.tracking.model_dump(), name=config.name, config=config.model_dump(mode="json"))
    with tracker, TraceWriter(run.traces_file) as traces:
        rows = _Training(config, run, data, tracker, traces).run(checkpoint)
    run.write_results({"rows": rows, "seed": config.seed})
    print_results(rows)
    write_report(run.path, data.frames)


def run_cold_start(config: Config, run: RunFolder, data: TrainingData, tracker: Trackers) -> Path:
    """Return the checkpoint that reinforcement learning starts from, after the supervised stages if there are any.

    A cold start that the run folder already holds is not repeated.

    Raises:
        KeyboardInterrupt: Ctrl-C; the model as it was then is in the checkpoint `cold_start_unfinished`.
    """
    stages = config.cold_start.stages
    if not stages and config.policy.checkpoint is not None:
        return config.policy.checkpoint
    folder = run.checkpoints / START
    if folder.is_dir():
        return folder
    tasks = [task for part in (*data.cold_start.values(), data.train) for task in part]
    blank = build_annotate(config, BlankFrames())
    policy = build_policy(config, run.checkpoints / "untrained", lambda: tiny_corpus(tasks, blank, seed=config.seed))
    cold_start = ColdStart(
        data.cold_start,
        build_annotate(config, data.frames),
        config.seed,
        weight_decay=config.cold_start.weight_decay,
        max_grad_norm=config.cold_start.grad_clip_norm,
        max_tokens_per_batch=config.cold_start.max_tokens_per_batch,
    )
    meter = VideoMeter(data.frames)
    unfinished = folder.with_name(f"{START}_unfinished")
    try:
        cold_start.run(
            policy,
            supervised_stages(config),
            lambda stage, step, metrics: tracker.log(metrics | meter.metrics(), step, stage),
        )
    except KeyboardInterrupt:
        with atomic_folder(unfinished) as temporary:
            policy.save(temporary)
        raise
    with atomic_folder(folder) as temporary:
        policy.save(temporary)
    shutil.rmtree(unfinished, ignore_errors=True)
    return folder


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
        num_env_runners=config.ray.num_env_runners,
        num_learners=config.ray.num_learners,
    )


class _Training:
    """One run from cold start to results."""

    def __init__(
        self, config: Config, run: RunFolder, data: TrainingData, tracker: Trackers, traces: TraceWriter
    ) -> None:
        self._config, self._run, self._data, self._tracker, self._traces = config, run, data, tracker, traces
        self._evaluator = Evaluator(
            data.eval, build_protocol(config), traces, config.eval.batch_size, config.seed, finished_episodes(run)
        )
        self._rows: dict[str, dict[str, Any]] = {}

    def run(self, checkpoint: Path | None) -> list[dict[str, Any]]:
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
                resume=checkpoint,
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


def _forget_lost_metrics(config: Config, run: RunFolder, checkpoint: Path | None) -> None:
    """Remove the metrics of what will be done again: all after the checkpoint, or an unfinished cold start."""
    iteration = load_trainer_state(checkpoint)["progress"]["iteration"] if checkpoint is not None else 0
    has_start = (run.checkpoints / START).is_dir()
    keep_json_lines(
        run.metrics_file,
        lambda row: row[STEP] <= iteration if row["phase"] == grpo_name(config) else has_start,
    )
