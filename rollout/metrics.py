"""The registry of metric names: unit, direction and reading of everything a run logs.

Grammar of a name: `<section>/<noun>[/<stat>]`, lower snake case, units as suffix. The stat, when there is one, is how
the values of one iteration were reduced.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from videozoom.envs.actions import MalformedReason
from videozoom.envs.tasks import EpisodeKind, Status

STATS = ("mean", "std", "min", "max", "p10", "p90", "sum", "rate")


class Direction(StrEnum):
    """Which way a metric moves when a run goes well."""

    UP = "up"
    DOWN = "down"
    NONE = "none"
    """Neither: it describes, or has a healthy range."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """What a metric is and how to read it.

    Example:
        >>> METRICS["zoom/span_s/p90"].reducer, METRICS["zoom/span_s/p90"].unit
        ('p90', 's')
    """

    name: str
    unit: str
    direction: Direction
    reading: str
    """One line: what it tells the person who watches."""

    @property
    def reducer(self) -> str:
        """How the values of an iteration become one number: one of `STATS`, or `value` if there is only one."""
        last = self.name.rsplit("/", 1)[-1]
        return last if last in STATS else "value"


class _Row(NamedTuple):
    names: str
    """Section and noun, then the stats it comes with."""
    unit: str
    direction: Direction
    reading: str


_UP, _DOWN, _NONE = Direction.UP, Direction.DOWN, Direction.NONE
_ROWS = (
    _Row("progress/iteration", "1", _NONE, "Finished iterations; the step axis of every other metric."),
    _Row("progress/episodes", "1", _NONE, "Episodes sampled since the start."),
    _Row("progress/generated_tokens", "tokens", _NONE, "Tokens sampled since the start."),
    _Row("progress/visual_tokens", "tokens", _NONE, "Visual tokens in the prompts since the start."),
    _Row("progress/cpu_s", "s", _NONE, "CPU seconds of sampling and learning since the start, all processes."),
    _Row("reward/total mean std min max", "reward", _UP, "Weighted reward; `std` near 0 leaves nothing to learn from."),
    _Row("reward/outcome mean", "reward", _UP, "Share of right final answers among multi-step episodes."),
    _Row("reward/overlap mean", "reward", _UP, "Share of single zooms that overlap the evidence."),
    _Row("reward/format mean", "reward", _UP, "Well-formed output; rising alone, without the others, is hacking."),
    _Row("reward/efficiency mean", "reward", _UP, "Reward for few steps or tokens."),
    _Row("reward/evidence_f1 mean", "reward", _UP, "Overlap of all that an episode looked at with the evidence."),
    _Row("reward/repeat mean", "reward", _UP, "Minus the looks at what was seen before, per different look."),
    _Row("reward/cost mean", "reward", _UP, "Minus the steps before the last."),
    _Row("reward/zoom_used mean", "reward", _UP, "Minus the share of episodes that did not answer at once."),
    _Row("reward/many_frames mean", "reward", _UP, "Minus the share of episodes that were shown many frames."),
    *(_Row(f"reward/{kind} mean", "reward", _UP, f"Weighted reward of `{kind}` episodes.") for kind in EpisodeKind),
    _Row("group/reward_std mean", "reward", _UP, "Spread of rewards within a group: the size of the signal."),
    _Row("group/zero_std rate", "1", _DOWN, "Groups without any signal; above 0.6 most sampling is wasted."),
    _Row("group/solved_none rate", "1", _DOWN, "Groups in which nobody solved the task: too hard."),
    _Row("group/solved_some rate", "1", _UP, "Groups in which some solved the task: what training feeds on."),
    _Row("group/solved_all rate", "1", _NONE, "Groups in which everybody solved the task: too easy by now."),
    _Row("group/valid_members mean", "1", _UP, "Members per group that are not masked."),
    _Row("episode/num_steps mean max", "1", _NONE, "Steps until an episode ended."),
    _Row("episode/response_tokens mean p90 max", "tokens", _NONE, "Sampled tokens per episode."),
    _Row("episode/prompt_tokens mean max", "tokens", _NONE, "Prompt tokens per step, visual ones included."),
    _Row("episode/visual_tokens mean p90", "tokens", _NONE, "Visual tokens in the prompts of an episode."),
    _Row("episode/truncated rate", "1", _DOWN, "Completions cut by the token limit; above 0.1 raise the limit."),
    *(
        _Row(f"episode/status/{status} rate", "1", _NONE, f"Episodes that ended as `{status}`.")
        for status in Status
        if status != Status.RUNNING
    ),
    _Row("zoom/calls mean max", "1", _NONE, "Accepted zooms per multi-step episode."),
    _Row("zoom/used rate", "1", _NONE, "Multi-step episodes with a zoom; towards 0 the agent stopped looking."),
    _Row("zoom/valid rate", "1", _UP, "Accepted zooms among steps that were no answer."),
    _Row("zoom/malformed rate", "1", _DOWN, "Steps whose output was no valid action."),
    *(
        _Row(f"zoom/malformed/{reason} rate", "1", _DOWN, f"Steps that were malformed for the reason `{reason}`.")
        for reason in MalformedReason
    ),
    _Row("zoom/span_s mean p10 p90", "s", _NONE, "Length of accepted zooms; growing towards the video is hacking."),
    _Row("zoom/span_fraction mean", "1", _NONE, "Length of accepted zooms as a share of the video."),
    _Row("zoom/hit rate", "1", _UP, "Multi-step episodes with a zoom that overlaps the evidence."),
    _Row("zoom/iou mean p90", "1", _UP, "Best overlap of a zoom with an evidence span, intersection over union."),
    _Row(
        "zoom/first_hit_step mean", "1", _DOWN, "Step of the first zoom on the evidence, from 0, where there was one."
    ),
    _Row("zoom/answered_unseen rate", "1", _DOWN, "Answered episodes that never zoomed on the evidence."),
    _Row("zoom/accuracy_with_zoom", "1", _UP, "Accuracy of answered episodes that zoomed."),
    _Row("zoom/accuracy_without_zoom", "1", _NONE, "Accuracy of answered episodes that did not zoom."),
    _Row("policy/entropy mean", "nats", _NONE, "Entropy per trained token; below a third of its start is collapse."),
    _Row("policy/approx_kl mean", "nats", _NONE, "Distance of the updated from the sampling policy (k3 estimate)."),
    _Row("policy/kl_ref mean", "nats", _NONE, "Distance from the reference policy (k3 estimate)."),
    _Row("policy/ratio mean max", "1", _NONE, "Importance ratio; exactly 1 when every batch is used once."),
    _Row("policy/clip_low rate", "1", _DOWN, "Trained tokens whose ratio the lower bound clipped."),
    _Row("policy/clip_high rate", "1", _DOWN, "Trained tokens whose ratio the upper bound clipped."),
    _Row("policy/advantage mean std min max", "1", _NONE, "Advantage of the trajectories that are not masked."),
    _Row(
        "policy/sampler_logprob_gap mean max", "nats", _DOWN, "Learner against sampler; above 1e-5 in float32 is a bug."
    ),
    _Row("loss/total", "1", _NONE, "Loss of the update."),
    _Row("loss/surrogate", "1", _NONE, "Clipped surrogate, without the KL term."),
    _Row("loss/kl", "1", _NONE, "Weighted KL term."),
    *(
        _Row(f"loss/surrogate_{kind}", "1", _NONE, f"Share of the surrogate that `{kind}` tokens bring.")
        for kind in EpisodeKind
    ),
    _Row("loss/trained_tokens sum", "tokens", _NONE, "Tokens with an advantage other than 0."),
    _Row("loss/masked_episodes rate", "1", _DOWN, "Episodes left out of statistics and loss."),
    _Row("loss/sft", "nats", _DOWN, "Supervised loss per trained token."),
    _Row("optim/lr", "1", _NONE, "Learning rate of the update."),
    _Row("optim/grad_norm", "1", _NONE, "Gradient norm before clipping."),
    _Row("optim/grad_norm_clipped rate", "1", _NONE, "Whether the gradient was clipped."),
    _Row("optim/nonfinite sum", "1", _DOWN, "Updates left out because the gradient was not finite."),
    _Row("video/decode_error rate", "1", _DOWN, "Episodes, or supervised samples, whose video could not be read."),
    _Row("video/cache_hit rate", "1", _UP, "Clips that did not have to be decoded, among all that were read."),
    _Row("video/memory_hit rate", "1", _NONE, "Clips that the process still had in memory, or mapped from the disk."),
    _Row("video/disk_hit rate", "1", _NONE, "Clips taken from the cache on the disk."),
    _Row("video/cold_hit rate", "1", _NONE, "Clips taken from its compressed part."),
    _Row("video/cache_bytes", "bytes", _NONE, "Size of the cache on the disk; the least recently used makes room."),
    _Row("video/decodes sum", "1", _DOWN, "Clips decoded, by all workers."),
    _Row("video/decode_s sum", "s", _DOWN, "Wall time of decoding and resizing, added up over the workers."),
    _Row("video/decoded_frames sum", "frames", _NONE, "Frames decoded for clips."),
    _Row("video/decoded_bytes sum", "bytes", _NONE, "Bytes of those frames, as they are shown."),
    _Row("video/scans sum", "1", _DOWN, "Videos whose packets were listed; each needs it once, ever, with a cache."),
    _Row(
        "video/filled_frames sum",
        "frames",
        _DOWN,
        "Frames of clips that could not be decoded and show a neighbour; 0 unless `video.max_filled` allows some.",
    ),
    _Row("video/read_errors sum", "1", _DOWN, "Requests for a clip that failed."),
    _Row("video/feature_hit rate", "1", _UP, "Clips whose features were known, among all the model looked at."),
    _Row("video/feature_disk_hit rate", "1", _NONE, "Clips whose features were taken from the cache on the disk."),
    _Row("video/features_computed sum", "1", _DOWN, "Clips the vision tower was run on, by all processes."),
    _Row("video/feature_bytes", "bytes", _NONE, "Size of the cache of features on the disk."),
    _Row("perf/episodes_per_s", "1/s", _UP, "Episodes sampled per second of wall time in the rollout."),
    _Row("perf/generated_tokens_per_s", "1/s", _UP, "Tokens sampled per second of wall time in the rollout."),
    _Row("perf/trained_tokens_per_s", "1/s", _UP, "Tokens trained per second of wall time in the update."),
    *(
        _Row(f"time/{phase}_s", "s", _DOWN, f"Wall time: {what}.")
        for phase, what in (
            ("step", "the whole iteration"),
            ("rollout", "sampling the groups"),
            ("update", "the learner's update"),
            ("sync", "new weights to the rollout workers"),
            ("eval", "evaluation"),
        )
    ),
    _Row("ray/lost_requests sum", "1", _DOWN, "Sampling requests of workers that died; each was sampled again."),
)


def _expand(row: _Row) -> Iterable[MetricSpec]:
    noun, *stats = row.names.split()
    for name in [f"{noun}/{stat}" for stat in stats] or [noun]:
        yield MetricSpec(name, row.unit, row.direction, row.reading)


METRICS: dict[str, MetricSpec] = {spec.name: spec for row in _ROWS for spec in _expand(row)}
"""Every metric by name."""

_EVAL_NOUNS = ("accuracy", "accuracy_ci95_low", "accuracy_ci95_high", "num_tasks", "num_steps/mean", "zoom_hit_rate")


def spec_of(name: str) -> MetricSpec:
    """Return the spec of a metric, for `eval/<dataset>/<metric>` that of the metric.

    Raises:
        ValueError: The name is not registered; says the nearest that is.
    """
    bare = name
    if name.startswith("eval/") and name.count("/") >= 2:
        bare = name.split("/", 2)[2]
        if bare in _EVAL_NOUNS:
            return MetricSpec(name, "1", Direction.UP, "Measured on held-out tasks with the weights of this iteration.")
    if bare in METRICS:
        return METRICS[bare]
    near = difflib.get_close_matches(bare, METRICS, n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    raise ValueError(f"metric {name!r} is not in the registry{hint}: register it in rollout/metrics.py")


def check_names(names: Iterable[str]) -> None:
    """Raise `ValueError` for the first name that is not registered."""
    for name in names:
        spec_of(name)
