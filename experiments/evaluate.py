"""Evaluation: policies on held-out tasks, with confidence intervals; resumable by task."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.tasks import EpisodeKind, Status, Task
from videozoom.envs.video_store import VideoStore
from videozoom.experiments.build import (
    build_env_maker,
    build_frames,
    build_policy,
    build_protocol,
    build_tasks,
    evidence_length_s,
)
from videozoom.experiments.config import Config
from videozoom.experiments.errors import UserError
from videozoom.experiments.progress import progress
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.statistics import wilson_interval
from videozoom.policies.base import Policy
from videozoom.policies.scripted import SCRIPTED_SPAN_RULES, ScriptedPolicy, ZoomRule
from videozoom.rewards.overlap import iou
from videozoom.rollout.group_metrics import is_hit
from videozoom.rollout.runner import EpisodeSpec, MakeEnv, run_episodes
from videozoom.rollout.trace_rows import trace_row, trajectory_from_row
from videozoom.rollout.traces import TraceWriter, read_traces
from videozoom.rollout.types import Trajectory

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

MODEL = "model"
_EVAL_SEED = 1_000_003
"""Keeps the random numbers of evaluation apart from those of training."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who is evaluated, and under which rules."""

    name: str
    policy: Policy
    make_env: MakeEnv
    num_steps: Callable[[Task], int]
    """Step limit of a task's episode."""


@dataclass(slots=True)
class Evaluator:
    """Evaluates contestants on one list of tasks; every finished episode is in the trace file at once.

    With `finished` rows of an earlier, interrupted evaluation, tasks already done are not run again.
    """

    tasks: Sequence[Task]
    protocol: LoveR1Protocol
    traces: TraceWriter
    batch_size: int
    seed: int = 0
    finished: Mapping[tuple[str, int, str], Trajectory] = field(default_factory=dict)
    """Trajectories by policy, iteration and task id."""

    def run(self, contestant: Contestant, *, iteration: int = 0, description: str | None = None) -> dict[str, Any]:
        """Return the results row of a contestant; see `results_row`."""
        name = contestant.name
        done = {
            task.task_id: self.finished[name, iteration, task.task_id]
            for task in self.tasks
            if (name, iteration, task.task_id) in self.finished
        }
        owed = [(index, task) for index, task in enumerate(self.tasks) if task.task_id not in done]
        with progress(description or f"Evaluating {name}", len(self.tasks)) as advance:
            advance(len(done))
            for start in range(0, len(owed), self.batch_size):
                batch = owed[start : start + self.batch_size]
                specs = [
                    EpisodeSpec(
                        task, EpisodeKind.MULTI_STEP, 0, (self.seed, _EVAL_SEED, index), contestant.num_steps(task)
                    )
                    for index, task in batch
                ]
                trajectories = run_episodes(
                    specs, make_env=contestant.make_env, protocol=self.protocol, policy=contestant.policy
                )
                self.traces.write(
                    [
                        trace_row(task, trajectory, phase="eval", policy=name, iteration=iteration)
                        for (_, task), trajectory in zip(batch, trajectories, strict=True)
                    ]
                )
                done |= {trajectory.task_id: trajectory for trajectory in trajectories}
                advance(len(batch))
        return results_row(name, [(task, done[task.task_id]) for task in self.tasks])


def results_row(policy: str, pairs: Sequence[tuple[Task, Trajectory]]) -> dict[str, Any]:
    """Return what is reported of a policy; videos that could not be read are counted and left out of the rates.

    Intervals are Wilson's, 95 %. A hit is any zoom of the episode that overlaps the evidence.
    """
    readable = [(task, t) for task, t in pairs if t.status is not Status.ERROR_DECODE]
    spans = [(task, span) for task, t in readable for span in t.spans_s]
    num_tasks = len(readable)
    row: dict[str, Any] = {"policy": policy, "num_tasks": num_tasks, "num_errors": len(pairs) - num_tasks}
    if not num_tasks:
        return row
    num_correct = sum(t.answer == task.answer for task, t in readable)
    num_hits = sum(is_hit(task, t) for task, t in readable)
    best_ious = [max((iou(span, evidence) for evidence in task.evidence), default=0.0) for task, span in spans]
    return row | {
        "accuracy": num_correct / num_tasks,
        "accuracy_ci95": list(wilson_interval(num_correct, num_tasks)),
        "zoom_hit_rate": num_hits / num_tasks,
        "zoom_hit_ci95": list(wilson_interval(num_hits, num_tasks)),
        "num_steps_mean": _mean([len(t.steps) for _, t in readable]),
        "span_s_mean": _mean([span.length_s for _, span in spans]),
        "iou_mean": _mean(best_ious),
        "unparsed_rate": sum(t.answer is None for _, t in readable) / num_tasks,
    }


def eval_metrics(row: Mapping[str, Any], dataset: str = "held_out") -> dict[str, float]:
    """Return a results row as registered metrics, to be logged beside training."""
    if "accuracy" not in row:
        return {}
    low, high = row["accuracy_ci95"]
    values = {
        "accuracy": row["accuracy"],
        "accuracy_ci95_low": low,
        "accuracy_ci95_high": high,
        "num_tasks": float(row["num_tasks"]),
        "num_steps/mean": row["num_steps_mean"],
        "zoom_hit_rate": row["zoom_hit_rate"],
    }
    return {f"eval/{dataset}/{name}": value for name, value in values.items() if value is not None}


def model_contestant(config: Config, name: str, policy: "QwenVLPolicy", make_env: MakeEnv) -> Contestant:
    """Return a model that acts greedily on its own."""
    greedy = policy.with_sampling(temperature=0.0, max_new_tokens=config.eval.max_new_tokens)
    return Contestant(name, greedy, make_env, lambda _: config.env.max_steps)


def scripted_contestant(
    config: Config, rule: ZoomRule, tasks: tuple[Task, ...], frames: VideoStore, answerer: Policy | None
) -> Contestant:
    """Return a zoom rule, answered by `answerer`; a random clip is as long as the evidence is on average."""
    scripted = ScriptedPolicy(rule, build_protocol(config), answerer=answerer, random_length_s=evidence_length_s(tasks))
    make_env = build_env_maker(config, tasks, frames, span_rules=SCRIPTED_SPAN_RULES)
    return Contestant(rule.value, scripted, make_env, rule.num_steps)


def run_eval(config: Config, *, resume: bool = False, overwrite: bool = False) -> dict[str, Any]:
    """Evaluate `eval.policies` on `data.eval`, write a run folder with a report, and return the results.

    With `resume`, tasks whose traces the folder holds are not run again.

    Raises:
        UserError: a model is to be evaluated and `policy.checkpoint` names none.
    """
    from videozoom.experiments.config_files import dump_config
    from videozoom.experiments.report import write_report

    if MODEL in config.eval.policies and config.policy.checkpoint is None:
        raise UserError(
            "policy.checkpoint is not set; name a checkpoint folder, or evaluate rules alone with "
            "eval.policies=[never,oracle]"
        )
    tasks = build_tasks(config.data.eval, config.data.videos, name="held-out videos")[: config.eval.num_tasks]
    text = dump_config(config)
    run = (
        RunFolder.open(config.run_dir)
        if resume
        else RunFolder.create(config.run_dir, text, seed=config.seed, overwrite=overwrite)
    )
    frames = build_frames(config)
    model = build_policy(config, run.checkpoints, list) if MODEL in config.eval.policies else None
    contestants = [_contestant(config, name, tasks, frames, model) for name in config.eval.policies]
    with TraceWriter(run.traces_file) as traces:
        evaluator = Evaluator(
            tasks, build_protocol(config), traces, config.eval.batch_size, config.seed, finished_episodes(run)
        )
        rows = [evaluator.run(contestant) for contestant in contestants]
    results = {"rows": rows, "seed": config.seed}
    run.write_results(results)
    print_results(rows)
    write_report(run.path)
    return results


def finished_episodes(run: RunFolder) -> dict[tuple[str, int, str], Trajectory]:
    """Return the evaluated trajectories a run folder holds, by policy, iteration and task id."""
    if not run.traces_file.is_file():
        return {}
    return {
        (row["policy"], row["iteration"], row["task_id"]): trajectory_from_row(row)
        for row in read_traces(run.traces_file)
        if row["phase"] == "eval"
    }


def print_results(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print results rows as a table for people."""
    from rich.table import Table

    from videozoom.experiments.progress import console

    table = Table(title="Held-out tasks, 95 % intervals")
    for column in ("policy", "accuracy", "zoom hit", "steps", "span s", "IoU", "no answer", "tasks", "CPU s"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for row in rows:
        table.add_row(
            row["policy"],
            _with_interval(row.get("accuracy"), row.get("accuracy_ci95")),
            _with_interval(row.get("zoom_hit_rate"), row.get("zoom_hit_ci95")),
            *(_number(row.get(name), digits) for name, digits in _PLAIN_COLUMNS.items()),
        )
    console.print(table)


_PLAIN_COLUMNS = {
    "num_steps_mean": 2,
    "span_s_mean": 1,
    "iou_mean": 2,
    "unparsed_rate": 3,
    "num_tasks": 0,
    "cpu_seconds_training": 0,
}


def _contestant(
    config: Config, name: str, tasks: tuple[Task, ...], frames: VideoStore, model: "QwenVLPolicy | None"
) -> Contestant:
    if name == MODEL:
        assert model is not None  # checked before anything was loaded
        return model_contestant(config, name, model, build_env_maker(config, tasks, frames))
    answerer = model.with_sampling(temperature=0.0, max_new_tokens=config.eval.max_new_tokens) if model else None
    return scripted_contestant(config, ZoomRule(name), tasks, frames, answerer)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return "-"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
