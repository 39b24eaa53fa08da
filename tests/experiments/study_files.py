"""A study that runs in seconds, and plans of it."""

from pathlib import Path
from typing import Any

import yaml
from generated_world import TINY

from videozoom.experiments.study import load_study
from videozoom.experiments.study_plan import Plan, plan_study

STUDY: dict[str, Any] = {
    "name": "tiny",
    "title": "A study in seconds",
    "base": "smoke",
    "seeds": [0, 1],
    "cells": {
        "none": {"label": "no reinforcement learning", "model": "cold_start", "paper": {"overall": 64.9}},
        "multi": {"label": "multi-step", "set": {"rollout.zoom_step_fraction": 0}, "paper": {"overall": 65.7}},
        "one_step": {
            "label": "multi-step, one step",
            "set": {"rollout.zoom_step_fraction": 0},
            "eval": {"env.max_steps": 1},
        },
        "random": {"label": "random clips", "policy": "random", "set": {"rollout.zoom_step_fraction": 0}},
    },
    "baseline": "none",
    "measures": ["accuracy", "num_steps", "sampled_hit_rate", "training_cpu_s"],
    "claims": [{"measure": "accuracy", "higher": "multi", "lower": "none", "says": "Learning helps"}],
    "paper": {"source": "LOVE-R1, Table 2b", "columns": {"overall": "Video-MME"}},
    "plots": [{"measure": "accuracy", "title": "Right answers"}],
}


def write_study(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes, sort_keys=False), encoding="utf-8")
    return path


def make_plan(folder: Path, *overrides: str, videos: Path | None = None, **changes: Any) -> Plan:
    study, path = load_study(write_study(folder, **changes))
    places = [f"data.videos={videos}", f"video.cache={videos / 'cache'}"] if videos is not None else []
    return plan_study(study, path, overrides=[*TINY, "grpo.eval_every=0", *places, *overrides])
