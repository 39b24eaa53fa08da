from types import SimpleNamespace

import pytest

from videozoom.envs.tasks import EpisodeKind
from videozoom.rollout.advantages import advantages_of
from videozoom.rollout.group_metrics import group_metrics, is_hit
from videozoom.rollout.groups import GroupSpec, sample_groups
from videozoom.rollout.metrics import check_names
from videozoom.rollout.types import Group


def sample(world: SimpleNamespace, texts: list[str], kind: EpisodeKind, **task: object) -> Group:
    """One member per script; a script's steps are separated by spaces."""
    members = []
    for member, script in enumerate(texts):
        spec = GroupSpec(world.make_task(**task), kind, (0, member))
        options = {"group_size": 1, "max_steps": 3, "make_env": world.make_env, "protocol": world.protocol}
        (group,) = sample_groups([spec], policy=world.scripted(*script.split()), **options)
        members.append(group.trajectories[0])
    return Group(group.task, kind, tuple(members))


def metrics_of(*groups: Group) -> dict[str, float]:
    return group_metrics(groups, [advantages_of(group) for group in groups])


@pytest.fixture
def mixed(world: SimpleNamespace) -> dict[str, float]:
    """Evidence is [4, 8) of 64 s and the answer is B."""
    multi = sample(world, ["B", "4-8 B", "20-28 6-10 A", "hm hm hm"], EpisodeKind.MULTI_STEP)
    zoom = sample(world, ["4-8", "hm", "20-24", "5-7"], EpisodeKind.ZOOM_STEP)
    return metrics_of(multi, zoom)


def test_every_name_that_is_logged_is_registered(mixed: dict[str, float]) -> None:
    check_names(mixed)
    with pytest.raises(
        ValueError, match="metric 'zoom/hit/rat' is not in the registry; the nearest is 'zoom/hit/rate'"
    ):
        check_names([*mixed, "zoom/hit/rat"])


def test_zoom_habits_are_those_of_multi_step_episodes(mixed: dict[str, float]) -> None:
    assert mixed["zoom/calls/mean"] == pytest.approx(3 / 4)
    assert mixed["zoom/calls/max"] == 2
    assert mixed["zoom/used/rate"] == pytest.approx(2 / 4)
    assert mixed["zoom/hit/rate"] == pytest.approx(2 / 4)
    assert mixed["zoom/first_hit_step/mean"] == pytest.approx(0.5)
    assert mixed["zoom/answered_unseen/rate"] == pytest.approx(1 / 3)
    assert mixed["zoom/accuracy_with_zoom"] == pytest.approx(1 / 2)
    assert mixed["zoom/accuracy_without_zoom"] == 1.0


def test_zoom_properties_are_over_the_zooms_of_both_kinds(mixed: dict[str, float]) -> None:
    # Lengths 4, 8, 4 and 4, 4, 2; overlaps 1, 0, 2/6 and 1, 0, 2/4.
    assert mixed["zoom/span_s/mean"] == pytest.approx(26 / 6)
    assert mixed["zoom/span_fraction/mean"] == pytest.approx(26 / 6 / 64)
    assert mixed["zoom/iou/mean"] == pytest.approx((1 + 2 / 6 + 1 + 2 / 4) / 6)
    assert mixed["zoom/valid/rate"] == pytest.approx(6 / 10)
    assert mixed["zoom/malformed/rate"] == pytest.approx(4 / 13)
    assert mixed["zoom/malformed/no_box/rate"] == pytest.approx(4 / 13)
    assert mixed["zoom/malformed/too_long/rate"] == 0.0


def test_rewards_are_split_by_part_and_kind(mixed: dict[str, float]) -> None:
    assert mixed["reward/outcome/mean"] == pytest.approx(2 / 4)
    assert mixed["reward/overlap/mean"] == pytest.approx(3 / 4)
    assert mixed["reward/total/mean"] == pytest.approx(5 / 8)
    assert mixed["reward/multi_step/mean"] == pytest.approx(2 / 4)


def test_masked_members_count_as_masked_and_not_in_the_spread(mixed: dict[str, float]) -> None:
    assert mixed["loss/masked_episodes/rate"] == pytest.approx(1 / 8)
    assert mixed["group/valid_members/mean"] == pytest.approx((3 + 4) / 2)
    assert mixed["episode/status/no_answer/rate"] == pytest.approx(1 / 8)
    assert mixed["policy/advantage/mean"] == pytest.approx(0.0, abs=1e-12)


def test_groups_are_solved_by_none_some_or_all(world: SimpleNamespace) -> None:
    groups = [
        sample(world, texts, kind)
        for texts, kind in (
            (["A", "A"], EpisodeKind.MULTI_STEP),
            (["A", "B"], EpisodeKind.MULTI_STEP),
            (["B", "B"], EpisodeKind.MULTI_STEP),
            (["20-24", "4-8"], EpisodeKind.ZOOM_STEP),
        )
    ]
    metrics = metrics_of(*groups)
    assert metrics["group/solved_none/rate"] == pytest.approx(1 / 4)
    assert metrics["group/solved_some/rate"] == pytest.approx(2 / 4)
    assert metrics["group/solved_all/rate"] == pytest.approx(1 / 4)
    # The environment of these tests pays any zoom, so the zoom group has no spread either.
    assert metrics["group/zero_std/rate"] == pytest.approx(3 / 4)


def test_unreadable_videos_are_counted_and_left_out_of_rewards(world: SimpleNamespace) -> None:
    broken = sample(world, ["", ""], EpisodeKind.MULTI_STEP, video=world.broken)
    fine = sample(world, ["B", "B"], EpisodeKind.MULTI_STEP)
    metrics = metrics_of(broken, fine)
    assert metrics["video/decode_error/rate"] == 0.5
    assert metrics["reward/total/mean"] == 1.0
    assert metrics["group/zero_std/rate"] == 1.0


def test_what_cannot_be_measured_is_left_out(world: SimpleNamespace) -> None:
    metrics = metrics_of(sample(world, ["B", "A"], EpisodeKind.MULTI_STEP, evidence=False))
    assert "zoom/hit/rate" not in metrics
    assert "zoom/span_s/mean" not in metrics
    assert "reward/overlap/mean" not in metrics
    assert metrics["reward/outcome/mean"] == 0.5


def test_touching_the_evidence_is_no_hit(world: SimpleNamespace) -> None:
    group = sample(world, ["8-12 B", "7-12 B"], EpisodeKind.MULTI_STEP)
    assert [is_hit(group.task, trajectory) for trajectory in group.trajectories] == [False, True]
