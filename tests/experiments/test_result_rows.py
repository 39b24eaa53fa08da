"""Results rows by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from videozoom.envs.actions import Answer, AskVideo, GetCaption, Malformed, ZoomIn
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.experiments.progress import console
from videozoom.experiments.report_kinds import kinds_section
from videozoom.experiments.result_rows import eval_metrics, print_results, results_row
from videozoom.policies.base import Completion
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.metrics import check_names
from videozoom.rollout.types import Step, Trajectory


def pair(
    answer: str | None,
    *spans: Span,
    evidence: tuple[Span, ...] = (Span(4.0, 8.0),),
    num_steps: int = 2,
    status: Status = Status.ANSWERED,
) -> tuple[Task, Trajectory]:
    task = Task("t", Path("v.mp4"), 64.0, "Which?", ("a", "b"), "A", evidence)
    last = Malformed("no_box") if answer is None else Answer(answer)
    actions = [*(ZoomIn(span) for span in spans), *[last] * num_steps][:num_steps]
    steps = tuple(Step(Prompt(()), Completion(""), action) for action in actions)
    reward = RewardBreakdown(float(len(spans)), {})
    return task, Trajectory("t", EpisodeKind.MULTI_STEP, 0, (0,), steps, status, answer, spans, reward)


def test_a_row_by_hand() -> None:
    row = results_row(
        "mine",
        [
            pair("A", Span(4.0, 8.0)),
            pair("A", Span(20.0, 22.0), Span(6.0, 10.0), num_steps=3),
            pair("B", num_steps=1),
            pair(None, Span(8.0, 10.0), status=Status.NO_ANSWER, num_steps=3),
            pair(None, status=Status.ERROR_DECODE, num_steps=0),
        ],
    )
    assert (row["policy"], row["num_tasks"], row["num_errors"]) == ("mine", 4, 1)
    assert row["accuracy"] == 0.5
    # A span that only touches the evidence is no hit.
    assert row["zoom_hit_rate"] == 0.5
    # Here a reward is the number of zooms.
    assert row["reward_mean"] == (1 + 2 + 0 + 1) / 4
    assert row["num_steps_mean"] == (2 + 3 + 1 + 3) / 4
    assert row["span_s_mean"] == (4 + 2 + 4 + 2) / 4
    # 1 for the exact span, 2 of 6 seconds for [6, 10), 0 for the others.
    assert row["iou_mean"] == pytest.approx((1 + 0 + 1 / 3 + 0) / 4)
    assert row["unparsed_rate"] == 0.25
    assert 0.0 < row["reward_ci95"][0] < row["reward_mean"] < row["reward_ci95"][1] < 2.0
    assert "evidence_f1_mean" not in row
    # Wilson, 2 of 4.
    assert row["accuracy_ci95"] == pytest.approx([0.1500, 0.8500], abs=1e-4)
    assert row["zoom_hit_ci95"] == row["accuracy_ci95"]


def test_reading_the_caption_of_a_span_hits_what_it_overlaps() -> None:
    task, zoomed = pair("A", Span(4.0, 8.0))
    steps = (replace(zoomed.steps[0], action=GetCaption((1, 2, 1))), *zoomed.steps[1:])
    assert results_row("mine", [(task, replace(zoomed, steps=steps))])["zoom_hit_rate"] == 1.0
    asked = (replace(zoomed.steps[0], action=AskVideo((1, 2, 1), "Who?")), *zoomed.steps[1:])
    assert results_row("mine", [(task, replace(zoomed, steps=asked, spans_s=()))])["zoom_hit_rate"] == 0.0


def test_iou_is_that_with_the_nearest_evidence() -> None:
    row = results_row("mine", [pair("A", Span(20.0, 24.0), evidence=(Span(4.0, 8.0), Span(22.0, 24.0)))])
    assert row["iou_mean"] == 0.5


def test_tasks_without_evidence_do_not_count_as_missed() -> None:
    row = results_row("mine", [pair("A", Span(4.0, 8.0)), pair("B", Span(4.0, 8.0), evidence=())])
    assert (row["accuracy"], row["zoom_hit_rate"], row["iou_mean"]) == (0.5, 1.0, 1.0)
    row = results_row("mine", [pair("B", Span(4.0, 8.0), evidence=())])
    assert (row["accuracy"], row["zoom_hit_rate"], row["zoom_hit_ci95"], row["iou_mean"]) == (0.0, None, None, None)


def test_how_well_the_evidence_was_found_is_reported_where_it_is_measured() -> None:
    [(task, trajectory)] = [pair("A")]
    scored = [(task, replace(trajectory, reward=RewardBreakdown(1.5, {"evidence_f1": 0.5})))] * 3
    row = results_row("mine", [*scored, pair("A")])
    assert (row["evidence_f1_mean"], row["evidence_f1_ci95"]) == (0.5, [0.5, 0.5])


def test_without_a_readable_video_rates_are_unknown_not_zero() -> None:
    row = results_row("mine", [pair(None, status=Status.ERROR_DECODE)] * 3)
    assert (row["num_tasks"], row["num_errors"]) == (0, 3)
    assert {name for name, value in row.items() if value is None} == {
        "accuracy",
        "accuracy_ci95",
        "zoom_hit_rate",
        "zoom_hit_ci95",
        "reward_mean",
        "reward_ci95",
        "num_steps_mean",
        "span_s_mean",
        "iou_mean",
        "unparsed_rate",
    }


def test_metrics_of_a_row_are_registered() -> None:
    metrics = eval_metrics(results_row("mine", [pair("A", Span(4.0, 8.0)), pair("B")]))
    check_names(metrics)
    assert metrics["eval/held_out/accuracy"] == 0.5
    assert metrics["eval/held_out/zoom_hit_rate"] == 0.5
    assert metrics["eval/held_out/num_tasks"] == 2.0
    assert metrics["eval/held_out/accuracy_ci95_low"] < 0.5 < metrics["eval/held_out/accuracy_ci95_high"]
    nothing = eval_metrics(results_row("mine", [pair(None, status=Status.ERROR_DECODE)]))
    assert nothing == {"eval/held_out/num_tasks": 0.0}


def test_a_full_row_is_one_line_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", 80)
    row = results_row("decoupled_grpo", [pair("A", Span(4.0, 8.0)), *[pair("B", Span(4.0, 8.0))] * 319])
    with console.capture() as capture:
        print_results([row | {"cpu_seconds_training": 12345.6}])
    [line] = [line for line in capture.get().splitlines() if "decoupled_grpo" in line]
    assert line.split() == [
        "decoupled_grpo",
        "0.312",
        "(0-2)",
        "100",
        "(99-100)",
        "2.00",
        "4.0",
        "1.00",
        "0.000",
        "320",
        "12346",
    ]


def test_the_table_shows_what_is_missing_as_a_dash() -> None:
    rows = [results_row("mine", [pair("A", Span(4.0, 8.0))]), results_row("none", [pair("B", evidence=())])]
    with console.capture() as capture:
        print_results(rows)
    first, second = (line for line in capture.get().splitlines() if "mine" in line or "none" in line)
    assert "100 (21-100)" in first
    assert "-" in second.split()


def test_runs_without_several_kinds_have_no_table_of_them() -> None:
    values = {"num_tasks": 2, "accuracy": 0.5, "accuracy_ci95": [0.1, 0.9], "iou": 0.25}
    rows = {"oracle": {"kinds": {"temporal_grounding": values}}, "never": {}}
    section = str(kinds_section(rows, "mine"))
    assert "mIoU 0.25" in section
    assert "50.0 %" in section
    assert "10.0 to 90.0" in section
    assert kinds_section({"never": {}}) is None
