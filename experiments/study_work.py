"""What the steps of a study do, each in a run folder of its own, from settings to facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.envs.task_files import write_atomically
from videozoom.envs.tasks import Task
from videozoom.experiments.bench_process import Job, measure
from videozoom.experiments.build import build_env_maker, build_frames, build_tasks, model_source
from videozoom.experiments.build_tracking import open_tracker
from videozoom.experiments.build_training import TrainingData, grpo_name
from videozoom.experiments.checkpoints import checkpoint_folder
from videozoom.experiments.cold_start_run import run_cold_start
from videozoom.experiments.config_files import dump_config
from videozoom.experiments.contestants import MODEL, model_contestant, scripted_contestant
from videozoom.experiments.evaluate import build_evaluator, evaluated_episodes, finished_episodes
from videozoom.experiments.open_traces import open_traces
from videozoom.experiments.result_rows import eval_metrics
from videozoom.experiments.resuming import resume_run
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.study_measures import episode_row
from videozoom.experiments.study_plan import Step, StepKind
from videozoom.experiments.train import train_as_configured
from videozoom.policies.scripted import ZoomRule

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a finished step left behind."""

    folder: Path
    facts: Mapping[str, Any]
    """What the step itself says, such as the rows of its episodes."""
    cpu_s: float
    wall_s: float
    peak_mib: float
    """Most memory the process held, above what it held when the step began."""


def render_videos(step: Step, folder: Path, needed: list[StepResult]) -> Facts:
    """Render the videos of a source, where they are not yet."""
    assert step.source is not None  # of every step of this kind
    return {"num_tasks": len(build_tasks(step.source, step.config.data.videos))}


def cold_start(step: Step, folder: Path, needed: list[StepResult]) -> Facts:
    """Run the supervised stages; one that was interrupted goes on as far as they can."""
    run, config = _run_folder(step, folder), step.config
    data = TrainingData.load(config)
    with open_tracker(run, config, main_phase=grpo_name(config), frames=data.frames, name=step.name) as tracker:
        checkpoint = run_cold_start(config, run, data, tracker)
    return {"checkpoint": _place(checkpoint, folder)}


def reinforce(step: Step, folder: Path, needed: list[StepResult]) -> Facts:
    """Run reinforcement learning from the last step that is needed, or from its own last checkpoint."""
    run, config = _run_folder(step, folder), step.config
    data = TrainingData.load(config)
    name = grpo_name(config)
    resumption = resume_run(run, [], {name: run.checkpoints})
    with (
        open_tracker(run, config, main_phase=grpo_name(config), frames=data.frames, name=step.name) as tracker,
        open_traces(run, config, tracker) as traces,
    ):
        evaluator = build_evaluator(config, data.eval, traces, resumption.finished)

        def evaluate(name: str, policy: "QwenVLPolicy", iteration: int) -> Mapping[str, float]:
            # The last model has a step of its own.
            if iteration >= config.grpo.num_iterations:
                return {}
            contestant = model_contestant(config, name, policy, build_env_maker(config, data.eval, data.frames))
            return eval_metrics(evaluator.run(contestant, iteration=iteration))

        trained = train_as_configured(
            config,
            data,
            model_source(config, _checkpoint(needed[-1])),
            checkpoints=run.checkpoints,
            traces=traces,
            tracker=tracker,
            evaluate=evaluate,
            resume=resumption.checkpoints[name],
            num_logged=resumption.num_logged[name],
        )
    return {"checkpoint": _place(trained.checkpoint, folder), "cpu_s": trained.progress.cpu_s}


def evaluate(step: Step, folder: Path, needed: list[StepResult]) -> Facts:
    """Evaluate a model, or a rule from whose clips it answers, and return the measures of every episode."""
    run, costs = _run_folder(step, folder), {}
    checkpoint = _checkpoint(needed[-1])
    if step.iteration is not None:
        checkpoint = checkpoint_folder(RunFolder(needed[-1].folder).checkpoints, step.iteration)
    if step.is_alone:
        # Episodes of an interrupted evaluation would be missing in what it costs.
        run.traces_file.unlink(missing_ok=True)
        measured = measure(Evaluation(step, checkpoint), folder)
        costs = {"cpu_s": measured.cpu_s, "peak_mib": measured.peak_mib}
    else:
        run_episodes(step, folder, checkpoint)
    episodes = {task_id: trajectory for (_, _, task_id), trajectory in evaluated_episodes(run).items()}
    return {"episodes": [episode_row(task, episodes[task.task_id]) for task in _held_out(step)], **costs}


def run_episodes(step: Step, folder: Path, checkpoint: Path) -> None:
    """Run the episodes of an evaluation that its traces do not hold yet."""
    run, config, tasks = RunFolder(folder), step.config, _held_out(step)
    frames = build_frames(config)
    model = model_source(config, checkpoint).load()
    if step.policy == MODEL:
        contestant = model_contestant(config, MODEL, model, build_env_maker(config, tasks, frames))
    else:
        answerer = model.greedy(config.eval.max_new_tokens)
        contestant = scripted_contestant(config, ZoomRule(step.policy), tasks, frames, answerer)
    with open_traces(run, config) as traces:
        build_evaluator(config, tasks, traces, finished_episodes(run)).run(contestant)


@dataclass(frozen=True, slots=True)
class Evaluation(Job):
    """The episodes of an evaluation, to be measured; the model is loaded within."""

    step: Step
    checkpoint: Path

    def load(self) -> None:
        """Import what a model needs."""
        import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl  # noqa: F401

        from videozoom.policies import qwen_vl  # noqa: F401

    def run(self, folder: Path) -> None:
        """Run them."""
        run_episodes(self.step, folder, self.checkpoint)


WORK: dict[StepKind, Callable[[Step, Path, list[StepResult]], Facts]] = {
    StepKind.VIDEOS: render_videos,
    StepKind.COLD_START: cold_start,
    StepKind.GRPO: reinforce,
    StepKind.EVALUATE: evaluate,
}
"""Takes a step, its folder and the results of what it needs; returns what there is to say. May be interrupted at any
moment and called again."""


def _run_folder(step: Step, folder: Path) -> RunFolder:
    """Return the step's folder as that of a run, which other commands can read."""
    run = RunFolder(folder)
    run.checkpoints.mkdir(exist_ok=True)
    write_atomically(run.config_file, dump_config(step.config).encode())
    return run


def _held_out(step: Step) -> tuple[Task, ...]:
    data, num_tasks = step.config.data, step.config.eval.num_tasks
    return build_tasks(data.eval, data.videos, name="held-out videos")[:num_tasks]


def _checkpoint(result: StepResult) -> Path:
    """Return the model that a training left."""
    return result.folder / str(result.facts["checkpoint"])


def _place(checkpoint: Path, folder: Path) -> str:
    """Return where a checkpoint is: within the step's folder, which may be moved, or somewhere else."""
    path, folder = checkpoint.absolute(), folder.absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
