"""`videozoom parity`: whether what is trained is what was sampled, token by token."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.experiments.build import (
    build_env_maker,
    build_frames,
    build_policy,
    build_protocol,
    build_tasks,
    check_config,
)
from videozoom.experiments.build_training import build_annotate
from videozoom.experiments.config import Config
from videozoom.experiments.errors import UserError
from videozoom.experiments.parity_comparison import Comparison, compare
from videozoom.experiments.parity_recorder import TokenRecorder
from videozoom.experiments.parity_rows import parity_rows, print_parity, verdict, worst
from videozoom.experiments.parity_zooms import MadeUpZooms
from videozoom.experiments.progress import console, progress
from videozoom.experiments.tiny_corpus import BlankFrames, tiny_corpus
from videozoom.rollout.groups import plan_groups, sample_groups
from videozoom.rollout.types import Group

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

EXIT_DIFFERENT = 1
TOLERANCES = {"float32": 1e-5, "bfloat16": 0.1}
"""Largest difference of a log-probability that rounding explains."""


@dataclass(frozen=True, slots=True)
class _Sampled:
    groups: list[Group]
    comparisons: list[Comparison]
    num_made_up: int


def run_parity(config: Config, *, num_groups: int = 4, tolerance: float | None = None, as_json: bool = False) -> int:
    """Sample groups, compute them again as the learner does, print both side by side, and return the exit code.

    The exit code is 1 if any token, position or number of visual tokens differs, or a log-probability by more than the
    tolerance. Completions that are no action are taken as zooms, so that clips are compared with any model.

    Args:
        config: What is checked: its videos, prompts, model and sampling.
        num_groups: Groups of `rollout.group_size` episodes.
        tolerance: Largest difference of log-probabilities; by default that of the model's precision.
        as_json: Whether to print what programs read.

    Raises:
        UserError: No video can be read, or the config names what is not there.
        CheckpointError: The checkpoint cannot be used.
        TokenBudgetError: A prompt is longer than `grpo.max_tokens_per_batch`.
    """
    check_config(config)
    limit = TOLERANCES[config.policy.dtype] if tolerance is None else tolerance
    tasks = _tasks(config, num_groups)
    with tempfile.TemporaryDirectory() as folder:
        policy = build_policy(
            config,
            Path(folder),
            lambda: tiny_corpus(tasks, build_annotate(config, BlankFrames()), seed=config.seed),
        )
    sampled = _sampled(config, policy, tasks, num_groups)
    rows = parity_rows(sampled.comparisons)
    is_equal, sentence = verdict(rows, limit)
    report: dict[str, Any] = {
        "rows": rows,
        "worst": worst(sampled.comparisons, policy.renderer),
        "tolerance": limit,
        "is_equal": is_equal,
        "verdict": sentence,
        "dtype": config.policy.dtype,
        "attention": policy.attention_backend.name,
        "num_groups": len(sampled.groups),
        "group_size": config.rollout.group_size,
        "num_made_up_zooms": sampled.num_made_up,
    }
    if as_json:
        print(json.dumps(report, indent=2, allow_nan=False))
    else:
        print_parity(report, Console(highlight=False))
    return 0 if is_equal else EXIT_DIFFERENT


def _tasks(config: Config, num_groups: int) -> tuple[Task, ...]:
    """Return training tasks; of generated ones no more are rendered than are needed."""
    source = config.data.train
    if source.generated is not None and source.tasks is None:
        num_videos = min(source.generated.num_videos, num_groups)
        generated = source.generated.model_copy(update={"num_videos": num_videos})
        source = source.model_copy(update={"generated": generated})
    return build_tasks(source, config.data.videos, name="videos to compare on")


def _sampled(config: Config, policy: "QwenVLPolicy", tasks: Sequence[Task], num_groups: int) -> _Sampled:
    """Sample as a training does, and compute every completion again."""
    # Weights stay as they are, and with them the features, whatever is trained later.
    policy.freeze_vision(True)
    rules = config.env.span_rules
    protocol = MadeUpZooms(
        build_protocol(config),
        min_length_s=rules.min_length_s,
        max_length_s=rules.max_length_s,
        max_fraction=rules.max_fraction,
    )
    has_evidence = any(task.evidence for task in tasks)
    specs = plan_groups(
        tasks,
        seed=config.seed,
        iteration=0,
        num_groups=num_groups,
        zoom_step_fraction=config.rollout.zoom_step_fraction if has_evidence else 0.0,
    )
    group_size = config.rollout.group_size
    num_zoom = sum(spec.kind is EpisodeKind.ZOOM_STEP for spec in specs)
    console.print(
        f"Sampling {len(specs)} groups of {group_size} ({num_zoom} of single zooms) at temperature "
        f"{config.rollout.temperature:g}",
        markup=False,
    )
    recorder = TokenRecorder(policy.model.model.language_model)
    with recorder.recording() as sampled_tokens:
        groups = sample_groups(
            specs,
            group_size=group_size,
            max_steps=config.env.max_steps,
            make_env=build_env_maker(config, tuple(tasks), build_frames(config)),
            protocol=protocol,
            policy=policy,
        )
    num_completions = sum(len(trajectory.steps) for group in groups for trajectory in group.trajectories)
    if not num_completions:
        error = next((trajectory.error for group in groups for trajectory in group.trajectories), None)
        raise UserError(f"nothing could be sampled: {error or 'no episode had a step'}; see: videozoom data check")
    with progress("Comparing", num_completions) as advance:
        comparisons = compare(
            policy, groups, frozenset(sampled_tokens), max_tokens=config.grpo.max_tokens_per_batch, advance=advance
        )
    return _Sampled(groups, comparisons, protocol.num_made_up)
