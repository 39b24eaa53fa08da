"""Which training groups a report shows: of the last iteration and the first one, those that say most."""

from collections.abc import Mapping, Sequence

import numpy as np

from videozoom.envs.observation import FrameSource
from videozoom.envs.tasks import EpisodeKind
from videozoom.experiments.report_traces import Rows, TraceDigest, is_right_row
from videozoom.experiments.report_words import policy_words
from videozoom.rollout.markup import Html
from videozoom.rollout.trace_rows import TraceRow, task_from_row, trajectory_from_row
from videozoom.rollout.viewer import LabelledRollout
from videozoom.rollout.viewer_group import group_card

NUM_LAST = {EpisodeKind.MULTI_STEP: 3, EpisodeKind.ZOOM_STEP: 2}
NUM_FIRST = {EpisodeKind.MULTI_STEP: 1, EpisodeKind.ZOOM_STEP: 1}
_KIND_WORDS = {EpisodeKind.MULTI_STEP: "whole episodes", EpisodeKind.ZOOM_STEP: "single zooms"}


def group_cards(traces: TraceDigest, frame_source: FrameSource | None, *, is_short: bool = False) -> list[Html]:
    """Return the cards of chosen groups of each training, those of the last iteration first.

    Args:
        traces: Of a run.
        frame_source: Where frames are read again.
        is_short: One group of each kind only, where a page has many runs.
    """
    policies = traces.first_groups.keys() | traces.last_groups.keys()
    cards = []
    for policy in [name for name in traces.first_groups if name in policies]:
        last = chosen_groups(traces.last_groups.get(policy, ()), dict.fromkeys(NUM_LAST, 1) if is_short else NUM_LAST)
        first = [] if is_short and last else chosen_groups(traces.first_groups[policy], NUM_FIRST)
        cards += [_card(group, "last", frame_source) for group in last]
        cards += [_card(group, "first", frame_source) for group in first]
    return cards


def chosen_groups(groups: Sequence[Rows], counts: Mapping[EpisodeKind, int]) -> list[Rows]:
    """Return the groups of each kind whose rewards differ most, then by task: there is something to learn from them."""
    chosen: list[Rows] = []
    for kind, count in counts.items():
        fitting = [group for group in groups if group[0]["kind"] == kind]
        chosen += sorted(fitting, key=lambda group: (-_spread(group), group[0]["task_id"]))[:count]
    return chosen


def _spread(group: Rows) -> float:
    return float(np.std([row["reward"]["total"] for row in group]))


def _card(group: Rows, when: str, frame_source: FrameSource | None) -> Html:
    row, kind = group[0], EpisodeKind(group[0]["kind"])
    members = [_member(it, index) for index, it in enumerate(group, start=1)]
    num_right = sum(is_right_row(it) for it in group)
    right = f", {num_right} of {len(group)} right" if kind is EpisodeKind.MULTI_STEP else ""
    note = f"{policy_words(row['policy']).name}, iteration {row['iteration'] + 1}: {_KIND_WORDS[kind]}{right}"
    tags = [when, "zooms" if kind is EpisodeKind.ZOOM_STEP else "episodes"]
    return group_card(task_from_row(row), members, frame_source, note=note, tags=tags)


def _member(row: TraceRow, number: int) -> LabelledRollout:
    return LabelledRollout(str(number), trajectory_from_row(row), "agent", row.get("advantage"))
