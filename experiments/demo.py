"""`videozoom demo`: from nothing to an agent that learned to zoom, and a report that shows it."""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from videozoom.envs.generated.narration import events_of
from videozoom.envs.tasks import Task
from videozoom.experiments.build import (
    build_env_maker,
    check_config,
    evidence_length_s,
    model_source,
)
from videozoom.experiments.build_tracking import open_tracker
from videozoom.experiments.build_training import TrainingData, grpo_name
from videozoom.experiments.cold_start_run import run_cold_start, stage_phases
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config
from videozoom.experiments.contestants import model_contestant, scripted_contestant
from videozoom.experiments.evaluate import Evaluator, build_evaluator
from videozoom.experiments.grpo_training import Trained
from videozoom.experiments.open_traces import open_traces
from videozoom.experiments.progress import console
from videozoom.experiments.report import write_report
from videozoom.experiments.restarts import restarting
from videozoom.experiments.result_rows import eval_metrics, print_results
from videozoom.experiments.resuming import START, Resumption, resume_run
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.storage import storage_errors
from videozoom.experiments.tracking import Trackers
from videozoom.experiments.train import train_as_configured
from videozoom.policies.scripted import ZoomRule
from videozoom.rollout.traces import TraceWriter

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

ROW_ORDER = ("never", "uniform", "random", START, "multi_step_grpo", "decoupled_grpo", "oracle")
_RULE_MEANINGS = {
    ZoomRule.NEVER: "Answered by the trained model from the fast view alone.",
    ZoomRule.UNIFORM: "Answered by the trained model from large frames spread over the whole video.",
    ZoomRule.RANDOM: "Answered by the trained model from a random clip as long as the evidence.",
    ZoomRule.ORACLE: "Answered by the trained model from the annotated evidence: the most that zooming can bring.",
}
_RESUMED = (
    "This run was interrupted and went on later: its seconds, its memory and the CPU seconds of the cold start are "
    "those of the last part."
)


def run_demo(config: Config, *, resume: Path | None = None, overwrite: bool = False) -> dict[str, Any]:
    """Render videos, cold-start a model, train it with decoupled GRPO, evaluate, and write the report.

    With `resume`, the folder of an earlier demo, it goes on where that one was interrupted.

    Returns what `results.json` holds: `rows` in the order of `ROW_ORDER`, `seconds` of wall time, `peak_memory_gib`,
    `seed` and `notes`.

    Raises:
        UserError: the run folder is taken by another run.
        KeyboardInterrupt: Ctrl-C; checkpoints and traces of what was finished are in the run folder.
    """
    started_s = time.perf_counter()
    check_config(config)
    data = TrainingData.load(config)
    folder = resume or config.run_dir
    again = f"videozoom demo --resume {folder}"
    with storage_errors(folder, again):
        text = dump_config(config)
        if resume is None:
            run = RunFolder.create(folder, text, seed=config.seed, overwrite=overwrite)
        else:
            run = RunFolder.resume(folder, text, seed=config.seed)
        console.print(f"videozoom demo, seed {config.seed}: everything goes to {folder}", markup=False)
        rows = restarting(lambda: _run(config, run, data), max_restarts=config.ray.max_restarts, again=again)
        results: dict[str, Any] = {
            "rows": [rows[name] for name in ROW_ORDER if name in rows],
            "seconds": round(time.perf_counter() - started_s, 1),
            "peak_memory_gib": round(peak_memory_gib(), 2),
            "seed": config.seed,
            "notes": [*_notes(config, data), *([_RESUMED] if resume else [])],
        }
        run.write_results(results)
        print_results(results["rows"])
        report = write_report(run.path, data.frames)
    console.print(f"{results['seconds']:.0f} s, {results['peak_memory_gib']:.1f} GiB. Open {report}", markup=False)
    return results


def _run(config: Config, run: RunFolder, data: TrainingData) -> dict[str, dict[str, Any]]:
    """Return the results rows by policy, from wherever the demo stands."""
    names = ["multi_step_grpo", grpo_name(config)] if config.demo.multi_step else [grpo_name(config)]
    stages = stage_phases(config)
    resumption = resume_run(run, stages, {name: run.checkpoints / name for name in names})
    tracker = open_tracker(run, config, main_phase=grpo_name(config), frames=data.frames)
    with tracker, open_traces(run, config, tracker) as traces:
        evaluator = build_evaluator(config, data.eval, traces, resumption.finished)
        return _Demo(config, run, data, tracker, traces, resumption, evaluator).run()


def peak_memory_gib() -> float:
    """Return the largest memory this process, or a finished child, ever held."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Linux counts in KiB, macOS in bytes.
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


@dataclass(slots=True)
class _Demo:
    """The steps of the demo, which share their folder and files."""

    config: Config
    run_folder: RunFolder
    data: TrainingData
    tracker: Trackers
    traces: TraceWriter
    resumption: Resumption
    evaluator: Evaluator
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> dict[str, dict[str, Any]]:
        """Return the results rows by policy."""
        config = self.config
        started_cpu_s = time.process_time()
        start = run_cold_start(config, self.run_folder, self.data, self.tracker)
        cold_start_cpu_s = time.process_time() - started_cpu_s
        self._evaluate_model(START, model_source(config, start).load(), 0)
        self.rows[START]["cpu_seconds_training"] = round(cold_start_cpu_s, 1)
        if config.demo.multi_step:
            rollout = config.rollout.model_copy(update={"zoom_step_fraction": 0.0})
            self._train(config.model_copy(update={"rollout": rollout}), start)
        trained = self._train(config, start)
        self._evaluate_rules(trained)
        return self.rows

    def _train(self, config: Config, start: Path) -> Trained:
        """Train from the cold start, evaluating on the way."""
        name = grpo_name(config)
        trained = train_as_configured(
            config,
            self.data,
            model_source(config, start),
            checkpoints=self.run_folder.checkpoints / name,
            traces=self.traces,
            tracker=self.tracker,
            evaluate=self._evaluate_model,
            resume=self.resumption.checkpoints[name],
            num_logged=self.resumption.num_logged[name],
        )
        if name not in self.rows:
            # It was complete already; its last evaluation is in the traces.
            policy = model_source(config, trained.checkpoint).load()
            self._evaluate_model(name, policy, trained.progress.iteration)
        self.rows[name]["cpu_seconds_training"] = round(trained.progress.cpu_s, 1)
        return trained

    def _evaluate_model(self, name: str, policy: "QwenVLPolicy", iteration: int) -> Mapping[str, float]:
        make_env = build_env_maker(self.config, self.data.eval, self.data.frames)
        contestant = model_contestant(self.config, name, policy, make_env)
        self.rows[name] = self.evaluator.run(contestant, iteration=iteration)
        return eval_metrics(self.rows[name])

    def _evaluate_rules(self, trained: Trained) -> None:
        """Let rules choose the clips and the trained model answer from them. Source: LOVE-R1, Table 2c."""
        model = model_source(self.config, trained.checkpoint).load()
        answerer = model.greedy(self.config.eval.max_new_tokens)
        for rule, meaning in _RULE_MEANINGS.items():
            contestant = scripted_contestant(self.config, rule, self.data.eval, self.data.frames, answerer)
            row = self.evaluator.run(contestant, iteration=trained.progress.iteration)
            self.rows[rule.value] = row | {"meaning": meaning}


def _notes(config: Config, data: TrainingData) -> list[str]:
    """Return what a reader of the table has to know."""
    # Where there are no options, guessing is not worth mentioning.
    chance = fmean(1 / len(task.options) if task.options else 0.0 for task in data.eval)
    notes = [
        f"{len(data.eval)} held-out questions; evidence lasts {evidence_length_s(data.eval):g} s, and guessing is "
        f"right in {100 * chance:.0f} %.",
        "The rules (never, uniform, random, oracle) choose the clip; the trained model answers from it.",
        *(f"The cold start learned from {name}: {video_words(tasks)}." for name, tasks in data.cold_start.items()),
        *(
            f"A mistake was planted for reinforcement learning to mend: in stage {stage.name} of the cold start, "
            f"{100 * stage.first_scene_bias:.0f} % of the first zooms go to the video's first scene, whatever is asked."
            for stage in config.cold_start.stages
            if stage.first_scene_bias
        ),
        f"Reinforcement learning: {video_words(data.train)}. Held out: {video_words(data.eval)}.",
        "CPU seconds of reinforcement learning come on top of those of the cold start it continues.",
    ]
    return [*notes, *config.demo.notes]


def video_words(tasks: Sequence[Task]) -> str:
    """Return what the videos of tasks are like.

    Example:
        >>> video_words([Task("t", Path("v.mp4"), 64.0, "Which sign?", ("bars", "lines"), "A")])
        '1 question on videos of 64 s'
    """
    questions = f"{len(tasks)} question{'s' if len(tasks) > 1 else ''}"
    words = f"{questions} on videos of {_range([task.duration_s for task in tasks])} s"
    generated = [events_of(task) for task in tasks if "events" in task.metadata]
    if not generated:
        return words
    scenes = _range([sum(not event["is_decoy"] for event in events) for events in generated])
    share = sum(any(event["is_decoy"] for event in events) for events in generated) / len(generated)
    return f"{words} with {scenes} scenes, blank look-alikes in {100 * share:.0f} %"


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
