"""The arithmetic of studies, by hand."""

from collections.abc import Sequence

import pytest

from videozoom.experiments.statistics import t_interval
from videozoom.experiments.study_results import RunNumbers, Seeds, Verdict, compare, late_mean, summary
from videozoom.experiments.study_table import claim_sentence


def numbers(right: Sequence[float], cpu_s: float = 1.0) -> RunNumbers:
    rows = [{"task_id": f"t{index}", "accuracy": value} for index, value in enumerate(right)]
    return RunNumbers(rows, {"training_cpu_s": cpu_s, "eval_cpu_s": 0.0, "eval_peak_mib": 0.0})


def test_student_interval_by_hand() -> None:
    # Mean 2, standard deviation 1, two degrees of freedom: 4.3027 / sqrt(3) on both sides.
    low, high = t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    with pytest.raises(ValueError, match="needs two values, got 1"):
        t_interval([1.0])


def test_means_are_over_seeds_whatever_their_number_of_tasks() -> None:
    seeds = {0: numbers([1, 1]), 1: numbers([0, 0, 0, 1])}
    row = summary(seeds, "accuracy")
    assert row is not None
    assert row["mean"] == pytest.approx((1.0 + 0.25) / 2)
    assert row["by_seed"] == {"0": 1.0, "1": 0.25}
    assert (row["ci95"], row["ci95_over"]) == ([0.0, 1.0], "seeds")  # Two seeds know little, and a rate has ends.


def test_with_one_seed_the_interval_is_over_tasks() -> None:
    row = summary({3: numbers([1, 0] * 50)}, "accuracy")
    assert row is not None
    assert row["ci95_over"] == "tasks"
    assert 0.35 < row["ci95"][0] < 0.5 < row["ci95"][1] < 0.65


def test_differences_are_paired_by_seed_and_task_by_hand() -> None:
    a: Seeds = {0: numbers([0, 0, 1, 1]), 1: numbers([1, 0, 0, 0]), 2: numbers([1, 1])}
    b: Seeds = {0: numbers([1, 0, 1, 1]), 1: numbers([1, 1, 1, 0])}
    found = compare(a, b, "accuracy")
    assert found is not None
    assert found.by_seed == {0: 0.25, 1: 0.5}  # Seed 2 has no partner.
    assert found.mean == pytest.approx(0.375)
    # One degree of freedom: 12.706 times the standard error 0.125.
    assert found.over_seeds == pytest.approx((0.375 - 12.7062 * 0.125, 0.375 + 12.7062 * 0.125), abs=1e-3)
    # Differences of single tasks are 1, 0, 0, 0, 0, 1, 1, 0: no resample of them has a mean below 0.
    assert found.over_tasks is not None
    assert 0.0 < found.over_tasks.low < 0.375 < found.over_tasks.high < 1.0
    assert found.verdict is Verdict.SHOWN_HERE


def test_tasks_that_only_one_cell_could_read_are_left_out() -> None:
    a = {0: RunNumbers([{"task_id": "x", "iou": 0.2}, {"task_id": "y", "error": "torn"}], {})}
    b = {0: RunNumbers([{"task_id": "x", "iou": 0.6}, {"task_id": "y", "iou": 1.0}], {})}
    found = compare(a, b, "iou")
    assert found is not None
    assert found.mean == pytest.approx(0.4)


def test_a_measure_that_only_some_episodes_have_is_compared_by_its_means() -> None:
    def steps(*values: float | None) -> RunNumbers:
        rows = [{"task_id": f"t{i}"} | ({} if it is None else {"span_s": it}) for i, it in enumerate(values)]
        return RunNumbers(rows, {})

    found = compare({0: steps(2.0, 4.0, None)}, {0: steps(None, 6.0, 8.0)}, "span_s")
    assert found is not None
    # Means of 3 and 7; the one task that both have would say 2.
    assert (found.mean, found.over_tasks) == (4.0, None)
    assert compare({0: steps(None)}, {0: steps(1.0)}, "span_s") is None


def test_wholes_have_no_tasks() -> None:
    found = compare(
        {0: numbers([1], 10.0), 1: numbers([1], 20.0)}, {0: numbers([1], 15.0), 1: numbers([1], 26.0)}, "training_cpu_s"
    )
    assert found is not None
    assert (found.mean, found.over_tasks) == (5.5, None)


def test_late_iterations_count_once_and_those_without_a_value_not_at_all() -> None:
    def logged(*values: float | None) -> list[dict[str, float | None]]:
        return [{"progress/iteration": float(i), "hits": value} for i, value in enumerate(values, start=1)]

    rows = logged(*[0.0] * 5, *[1.0] * 10)
    assert late_mean(rows, "hits", until=None) == 1.0
    assert late_mean(rows, "hits", until=10) == 0.5
    # Iterations 9 and 10, done again after a crash; iteration 11 had no zooms.
    assert late_mean([*rows[:10], *rows[8:10], *logged(*[None] * 11)[10:]], "hits", until=11) == pytest.approx(5 / 9)
    assert late_mean(rows, "rewards", until=None) is None


@pytest.mark.parametrize(
    ("right_b", "verdict"),
    [
        ([[1] * 20, [1] * 20, [1] * 19 + [0]], Verdict.SHOWN),
        ([[0] * 20] * 3, Verdict.OPEN),
        # One training is much better, the others are not: true of these models, open for others.
        ([[1] * 20, [0] * 20, [0] * 20], Verdict.SHOWN_HERE),
    ],
)
def test_verdicts(right_b: list[list[float]], verdict: Verdict) -> None:
    a = {seed: numbers([0] * 20) for seed in range(3)}
    b = {seed: numbers(right) for seed, right in enumerate(right_b)}
    there, back = compare(a, b, "accuracy"), compare(b, a, "accuracy")
    assert there is not None
    assert back is not None
    assert there.verdict is verdict
    opposite = {Verdict.SHOWN: Verdict.REVERSED, Verdict.SHOWN_HERE: Verdict.REVERSED_HERE}
    assert back.verdict is opposite.get(verdict, verdict)


def test_without_a_common_seed_nothing_is_compared() -> None:
    assert compare({0: numbers([1])}, {1: numbers([1])}, "accuracy") is None
    assert summary({0: numbers([])}, "accuracy") is None


def test_claims_read_as_sentences() -> None:
    found = compare({0: numbers([0, 0]), 1: numbers([0, 0])}, {0: numbers([1, 1]), 1: numbers([1, 1])}, "accuracy")
    assert found is not None
    claim = {"says": "Learning helps", "measure": "accuracy", "point": {"dial": "0.5"}, "verdict": found.verdict.value}
    assert claim_sentence(claim | found.as_dict()) == (
        "Learning helps, dial 0.5: shows: the interval over seeds lies above zero. Right answers: +100.0 percentage "
        "points (over seeds +100.0 to +100.0, over tasks +100.0 to +100.0)."
    )
    assert claim_sentence(claim | {"verdict": "missing"}) == "Learning helps, dial 0.5: not measured."
