import math
from pathlib import Path

import pytest

from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.rewards.facts import EpisodeFacts
from videozoom.rewards.format import format_reward
from videozoom.rewards.outcome import outcome_reward
from videozoom.rewards.overlap import overlap_reward
from videozoom.rewards.rubric import REWARDS, Rubric, WeightedReward

TASK = Task(
    task_id="t",
    video=Path("v.mp4"),
    duration_s=64.0,
    question="Which sign?",
    options=("bars", "lines", "dots"),
    answer="B",
    evidence=(Span(12.0, 16.0), Span(40.0, 44.0)),
)
MULTI, ZOOM = EpisodeKind.MULTI_STEP, EpisodeKind.ZOOM_STEP


def facts(
    kind: EpisodeKind,
    status: Status,
    answer: str | None = None,
    spans: tuple[tuple[float, float], ...] = (),
    num_malformed: int = 0,
) -> EpisodeFacts:
    return EpisodeFacts(kind, status, answer, tuple(Span(*span) for span in spans), max(1, len(spans)), num_malformed)


# Columns: episode; outcome, eq. (1); overlap, eq. (2); format.
TABLE = [
    (facts(MULTI, Status.ANSWERED, "B"), 1.0, None, 1.0),
    (facts(MULTI, Status.ANSWERED, "A"), 0.0, None, 1.0),
    (facts(MULTI, Status.ANSWERED, "B", ((12, 16),)), 1.0, None, 1.0),
    (facts(MULTI, Status.ANSWERED, "B", ((0, 4),)), 1.0, None, 1.0),  # A lucky answer counts in full.
    (facts(MULTI, Status.ANSWERED, "C", ((12, 16),)), 0.0, None, 1.0),  # A right zoom counts nothing here.
    (facts(MULTI, Status.ANSWERED, "B", (), 1), 1.0, None, 0.0),
    (facts(MULTI, Status.NO_ANSWER, None, ((12, 16), (40, 44))), 0.0, None, 1.0),
    (facts(MULTI, Status.NO_ANSWER, None, (), 3), 0.0, None, 0.0),
    (facts(ZOOM, Status.ZOOMED, None, ((12, 16),)), None, 1.0, 1.0),
    (facts(ZOOM, Status.ZOOMED, None, ((40, 41),)), None, 1.0, 1.0),  # Any evidence span counts.
    (facts(ZOOM, Status.ZOOMED, None, ((15, 30),)), None, 1.0, 1.0),
    (facts(ZOOM, Status.ZOOMED, None, ((15.9, 17),)), None, 1.0, 1.0),  # Binary: any overlap is worth 1.
    (facts(ZOOM, Status.ZOOMED, None, ((10, 50),)), None, 1.0, 1.0),
    (facts(ZOOM, Status.ZOOMED, None, ((16, 40),)), None, 0.0, 1.0),  # Touching both ends is no overlap.
    (facts(ZOOM, Status.ZOOMED, None, ((0, 12),)), None, 0.0, 1.0),
    (facts(ZOOM, Status.ZOOMED, None, ((50, 60),)), None, 0.0, 1.0),
    (facts(ZOOM, Status.MALFORMED, None, (), 1), None, 0.0, 0.0),
]


@pytest.mark.parametrize(("episode", "outcome", "overlap", "well_formed"), TABLE)
def test_rewards_of_hand_worked_episodes(
    episode: EpisodeFacts, outcome: float | None, overlap: float | None, well_formed: float
) -> None:
    assert outcome_reward(TASK, episode) == outcome
    assert overlap_reward(TASK, episode) == overlap
    assert format_reward(TASK, episode) == well_formed


@pytest.mark.parametrize(("episode", "outcome", "overlap", "well_formed"), TABLE)
def test_love_r1_rubric_is_the_reward_of_the_kind_plus_the_format_at_its_weight(
    episode: EpisodeFacts, outcome: float | None, overlap: float | None, well_formed: float
) -> None:
    accuracy = outcome if overlap is None else overlap
    breakdown = Rubric.love_r1().score(TASK, episode)
    assert breakdown.total == accuracy
    assert breakdown.parts["format"] == well_formed
    assert ("outcome" in breakdown.parts, "overlap" in breakdown.parts) == (outcome is not None, overlap is not None)
    assert Rubric.love_r1(format_weight=1.0).score(TASK, episode).total == accuracy + well_formed


def test_overlap_is_undefined_without_annotated_evidence() -> None:
    unannotated = Task("u", Path("v.mp4"), 64.0, "q", ("a", "b"), "A")
    zoomed = facts(ZOOM, Status.ZOOMED, None, ((0, 10),))
    assert overlap_reward(unannotated, zoomed) is None
    assert "overlap" not in Rubric.love_r1().score(unannotated, zoomed).parts


def test_an_unreadable_video_scores_nothing_at_all() -> None:
    breakdown = Rubric.love_r1(format_weight=1.0).score(TASK, facts(MULTI, Status.ERROR_DECODE))
    assert (breakdown.total, breakdown.parts) == (0.0, {})


def test_weights_scale_the_total_but_not_the_parts() -> None:
    breakdown = Rubric.from_weights({"outcome": 0.9, "format": 0.1}).score(TASK, facts(MULTI, Status.ANSWERED, "B"))
    assert breakdown.total == pytest.approx(1.0)
    assert breakdown.parts == {"outcome": 1.0, "format": 1.0}


def test_a_new_reward_is_used_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS, "few_steps", lambda task, episode: -float(episode.num_steps))
    rubric = Rubric.from_weights({"outcome": 1.0, "few_steps": 0.25})
    two_steps = EpisodeFacts(MULTI, Status.ANSWERED, "B", (Span(12.0, 16.0),), num_steps=2, num_malformed=0)
    assert rubric.score(TASK, two_steps).total == 0.5


def test_unknown_reward_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="Unknown reward 'outcom'; there are outcome, overlap, format"):
        Rubric.from_weights({"outcom": 1.0})


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_weights_must_be_finite(weight: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Rubric.from_weights({"outcome": weight})


@pytest.mark.parametrize("weights", [{}, {"outcome": 0.0, "format": 0.0}])
def test_some_weight_must_not_be_zero(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not 0"):
        Rubric.from_weights(weights)


def test_names_must_be_unique() -> None:
    reward = WeightedReward("outcome", outcome_reward, 1.0)
    with pytest.raises(ValueError, match="more than once: outcome"):
        Rubric((reward, reward))


def test_a_reward_that_is_not_finite_is_an_error_and_not_a_score() -> None:
    rubric = Rubric((WeightedReward("broken", lambda task, episode: math.nan, 1.0),))
    with pytest.raises(ValueError, match="'broken' returned nan for task 't'"):
        rubric.score(TASK, facts(MULTI, Status.ANSWERED, "B"))
