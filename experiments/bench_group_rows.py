"""Measures contests between ways to sample and learn, side by side in one process, and makes rows of them."""

import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from videozoom.experiments.bench_clock import Cost, timed
from videozoom.experiments.bench_contests import BATCHED, NAIVE, OURS, Contest, Part, contest_of
from videozoom.experiments.bench_group import Scenario, make_group
from videozoom.experiments.bench_sizes import SIZES, BenchSize, build_policy

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GroupBench:
    """What to measure."""

    part: Part
    size: str
    scenarios: tuple[Scenario, ...]
    repeats: int
    """Runs of ours; the other sides take longer and run half as often."""
    seed: int = 0

    def num_runs(self, side: str) -> int:
        """Return how often a side runs."""
        return self.repeats if side == OURS else (self.repeats + 1) // 2

    @property
    def num_steps(self) -> int:
        """Items that `measured` yields that are no rows."""
        sides = (NAIVE, OURS, BATCHED) if self.part is Part.ROLLOUT else (NAIVE, OURS)
        return 1 + len(self.scenarios) * sum(map(self.num_runs, sides))


def measured_alone(bench: GroupBench) -> Iterator[str | Row]:
    """Do the same as `measured`, on one core; for a process of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    yield from measured(bench)


def measured(bench: GroupBench) -> Iterator[str | Row]:
    """Yield a row per scenario, and before each piece of work what it is."""
    size = SIZES[bench.size]
    yield "warming up"
    policy = build_policy(size, seed=bench.seed)
    _warm_up(bench.part, policy, size, bench.seed)
    # What libraries hold would be looked through before every run, and during some.
    gc.freeze()
    try:
        yield from _rows(bench, policy)
    finally:
        gc.unfreeze()


def _rows(bench: GroupBench, policy: "QwenVLPolicy") -> Iterator[str | Row]:
    size, features = SIZES[bench.size], policy.features
    for scenario in bench.scenarios:
        policy.features = features
        features.clear()
        group = make_group(size, scenario, policy.renderer, seed=bench.seed)
        contest = contest_of(bench.part, policy, size, group, seed=bench.seed)
        results: dict[str, Any] = {}
        costs: dict[str, list[Cost]] = {side: [] for side in contest.sides}
        for number in range(bench.repeats):
            # In turn, so that a disturbance hits all alike.
            for side, run in contest.sides.items():
                if number < bench.num_runs(side):
                    yield f"{scenario} {side}"
                    result, cost = timed(run, policy.device)
                    costs[side].append(cost)
                    results.setdefault(side, result)
                    del result
        yield {"scenario": str(scenario), "size": size.name} | _row(contest, costs, results, policy)


def _warm_up(part: Part, policy: "QwenVLPolicy", size: BenchSize, seed: int) -> None:
    """Run every side on a small group: libraries prepare much at their first call."""
    fast = replace(size.fast, num_pairs=2)
    prefix = size.prefix_tokens - size.fast.num_tokens + fast.num_tokens
    small = replace(size, fast=fast, prefix_tokens=prefix, num_members=2)
    group = make_group(small, Scenario.TWO_STEPS, policy.renderer, seed=seed)
    features = policy.features
    for run in contest_of(part, policy, small, group, seed=seed).sides.values():
        run()
    policy.features = features


def _row(contest: Contest, costs: dict[str, list[Cost]], results: dict[str, Any], policy: "QwenVLPolicy") -> Row:
    work = contest.work(results)
    row: Row = {}
    for side, runs in costs.items():
        seconds = [run.seconds for run in runs]
        row |= {f"{side}_s": median(seconds), f"{side}_s_min": min(seconds), f"{side}_s_max": max(seconds)}
        row |= {f"{side}_runs": len(runs), f"{side}_peak_mib": median(run.peak_mib for run in runs)}
    ratio = row["naive_s"] / row["ours_s"]
    row |= {"ratio": ratio, "floor_ratio": work.ratio, "ratio_over_floor": ratio / work.ratio}
    if BATCHED in costs:
        row["ratio_batched"] = row[f"{BATCHED}_s"] / row["ours_s"]
    row |= contest.facts(results) | contest.medians()
    # What a naive side would gain by keeping features; the towers are most of what sharing them saves.
    row["peak_mib"] = row.pop("ours_peak_mib")
    row |= {"num_naive_tokens": work.num_naive_tokens, "num_tree_tokens": work.num_tree_tokens}
    return row | {"attention": policy.attention_backend.name, "device": policy.device.type}
