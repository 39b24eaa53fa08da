"""`videozoom train`: cold start and reinforcement learning as a config says, in a run folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.experiments.build import (
    build_env_maker,
    check_config,
    model_source,
)
from videozoom.experiments.build_tracking import open_tracker
from videozoom.experiments.build_training import (
    TrainingData,
    grpo_name,
    grpo_settings,
    grpo_world,
)
from videozoom.experiments.cold_start_run import run_cold_start, stage_phases
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config
from videozoom.experiments.contestants import model_contestant
from videozoom.experiments.evaluate import build_evaluator
from videozoom.experiments.grpo_settings import ModelSource
from videozoom.experiments.grpo_training import Schedule, Trained, train_grpo
from videozoom.experiments.open_traces import open_traces
from videozoom.experiments.report import write_report
from videozoom.experiments.restarts import restarting
from videozoom.experiments.result_rows import eval_metrics, print_results
from videozoom.experiments.resuming import START, Resumption, resume_run
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.storage import storage_errors
from videozoom.experiments.tracking import Trackers
from videozoom.rollout.traces import TraceWriter

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
    resumption = resume_run(run, stage_phases(config), {grpo_name(config): run.checkpoints})
    tracker = open_tracker(run, config, main_phase=grpo_name(config), frames=data.frames)
    with tracker, open_traces(run, config, tracker) as traces:
        return _Training(config, run, data, tracker, traces, resumption).run()


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
