"""A run folder with everything in it, made without a model."""

import json
from pathlib import Path
from typing import Any

from drawn_rollouts import drawn_task, rollout_of

from videozoom.envs.tasks import Span
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config
from videozoom.experiments.run_folder import RunFolder
from videozoom.rollout.trace_rows import trace_row

POLICIES = ("never", "uniform", "random", "cold_start", "multi_step_grpo", "decoupled_grpo", "oracle")
HOSTILE = "</p><script>alert('x')</script><img src=https://example.org/x.png>"


def fabricate_run(folder: Path) -> Path:
    """Write a complete run folder: 12 tasks, of which the cold start solves 4 and decoupled GRPO 11."""
    run = RunFolder.create(folder, dump_config(Config(name="made-up")), seed=3)
    environment = {"seed": 3, "python": "3.11.9", "cpu": "Some CPU", "num_cpus": 2, "command": ["videozoom", "demo"]}
    run.environment_file.write_text(json.dumps(environment | {"packages": {"torch": "2.13.0"}}))
    run.write_results(results())
    run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in metric_rows()))
    run.traces_file.write_text("".join(json.dumps(row) + "\n" for row in trace_rows()))
    return folder


def results() -> dict[str, Any]:
    rows = [
        {
            "policy": policy,
            "accuracy": 0.1 * index,
            "accuracy_ci95": [max(0.0, 0.1 * index - 0.05), 0.1 * index + 0.05],
            "zoom_hit_rate": 0.1 * index,
            "num_steps_mean": 2.0,
            "num_tasks": 300,
            "span_s_mean": 4.5,
        }
        for index, policy in enumerate(POLICIES, start=2)
    ]
    rows[5]["cpu_seconds_training"] = 84.0
    note = f"Decoys were planted. {HOSTILE}"
    return {"rows": rows, "seconds": 412.0, "peak_memory_gib": 2.5, "seed": 3, "notes": [note]}


def metric_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for phase in ("grounding", "cot"):
        rows += [{"phase": phase, "progress/iteration": i, "loss/sft": 4.0 - 0.2 * i} for i in range(20)]
    for phase in ("multi_step_grpo", "decoupled_grpo"):
        for i in range(1, 13):
            row = {"phase": phase, "progress/iteration": i, "reward/outcome/mean": 0.05 * i, "zoom/hit/rate": 0.04 * i}
            rows.append(row | {"zoom/span_s/mean": 4.0, "time/step_s": 2.0, "policy/entropy/mean": 1.0 / i})
        rows[-1]["eval/heldout/accuracy"] = 0.66
    return rows


def trace_rows() -> list[dict[str, Any]]:
    rows = []
    for number in range(12):
        task = drawn_task(number)
        solved = {"cold_start": number < 4, "decoupled_grpo": number != 11}
        for policy, is_solved in solved.items():
            spans, answer = ([Span(24.0, 28.0)], "B") if is_solved else ([Span(0.0, 4.0)], "A")
            trajectory = rollout_of(task, spans, answer, text=f"{policy} says {HOSTILE}")
            rows.append(trace_row(task, trajectory, phase="eval", policy=policy, iteration=40))
    return rows
