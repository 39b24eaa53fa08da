"""Sections of the report: credit, costs, spans, groups, probes, alarms, caption paths, and runs side by side."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_rollouts import DrawnFrames, Page, drawn_task, rollout_of
from fabricated_run import HOSTILE, fabricate_run, metric_rows

from videozoom.envs.actions import Answer, GetCaption
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.experiments.errors import UserError
from videozoom.experiments.report import report_page, write_report
from videozoom.experiments.report_alarms import alarms_box
from videozoom.experiments.report_command import run_report
from videozoom.experiments.report_credit import credit_section
from videozoom.experiments.report_groups import chosen_groups, group_cards
from videozoom.experiments.report_ledger import ledger_section, step_costs
from videozoom.experiments.report_plots import Sample, histogram
from videozoom.experiments.report_probes import findings, probes_section
from videozoom.experiments.report_reading import reading_section
from videozoom.experiments.report_run import read_run
from videozoom.experiments.report_spans import spans_section
from videozoom.experiments.report_traces import CreditKey, StepKind, TraceDigest
from videozoom.policies.base import Completion
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.trace_rows import TraceRow, trace_row
from videozoom.rollout.types import Step, Trajectory

TASK = drawn_task()
SEES, MISSES = Span(24.0, 28.0), Span(0.0, 4.0)


def member(
    number: int,
    spans: Sequence[Span],
    answer: str | None,
    advantage: float,
    *,
    iteration: int = 0,
    task: Task = TASK,
    kind: EpisodeKind = EpisodeKind.MULTI_STEP,
    **options: Any,
) -> TraceRow:
    trajectory = replace(rollout_of(task, spans, answer, kind=kind, **options), member=number, seed=(3, 0, number))
    return trace_row(task, trajectory, phase="train", policy="grpo", iteration=iteration, advantage=advantage)


def group(iteration: int = 0, task: Task = TASK) -> list[TraceRow]:
    return [
        member(0, [SEES], "B", 1.5, iteration=iteration, task=task),
        member(1, [MISSES, SEES], "B", 1.5, iteration=iteration, task=task),
        member(2, [MISSES], "A", -1.0, iteration=iteration, task=task, malformed=True),
        member(3, [], "A", -2.0, iteration=iteration, task=task),
    ]


def test_credit_falls_on_steps_by_what_they_were() -> None:
    masked = member(4, [SEES], None, -9.0, status=Status.NO_ANSWER)
    single = member(5, [SEES], None, 0.5, kind=EpisodeKind.ZOOM_STEP, status=Status.ZOOMED)
    credit = TraceDigest.of([*group(), masked, single]).credit

    def of(kind: StepKind) -> tuple[int, float, float]:
        found = credit[CreditKey("grpo", 0, kind)]
        return found.num_steps, found.mean, found.positive_rate

    # Four zooms: of the first member one, of the second two, of the third one.
    assert of(StepKind.ZOOM) == (4, (1.5 + 1.5 + 1.5 - 1.0) / 4, 0.75)
    assert of(StepKind.ZOOM_SEES) == (2, 1.5, 1.0)
    assert of(StepKind.ZOOM_MISSES) == (2, 0.25, 0.5)
    assert of(StepKind.ANSWER) == (4, 0.0, 0.5)
    assert of(StepKind.INVALID) == (1, -1.0, 0.0)
    assert of(StepKind.SINGLE_ZOOM) == (1, 0.5, 1.0)


def test_a_step_with_an_advantage_of_its_own_keeps_it() -> None:
    row = dict(group()[0])
    row["steps"] = [{**row["steps"][0], "advantage": -0.5}, *row["steps"][1:]]
    credit = TraceDigest.of([row]).credit
    assert credit[CreditKey("grpo", 0, StepKind.ZOOM)].mean == -0.5
    assert credit[CreditKey("grpo", 0, StepKind.ANSWER)].mean == 1.5


def test_credit_is_drawn_for_zooms_and_answers_apart() -> None:
    section = credit_section(TraceDigest.of([*group(0), *group(1)]).credit)
    assert section is not None
    page = Page(section)
    labels = [svg["aria-label"] or "" for svg in page.of("svg", "chart")]
    assert "Mean advantage: zooms from 0.88 to 0.88; answers from 0 to 0" in labels[0]
    assert "zooms that miss it from 50.0 % to 50.0 %" in labels[3]
    assert "zooms that see the evidence 4 +1.500 100.0 %" in page.text
    assert credit_section({}) is None


def test_groups_of_first_and_last_iteration_are_kept_and_those_that_differ_chosen() -> None:
    other = drawn_task(1)
    alike = [member(number, [SEES], "B", 0.0, iteration=4, task=other) for number in range(4)]
    digest = TraceDigest.of([*group(0), *group(2), *alike, *group(4)])
    assert [[row["iteration"] for row in it] for it in digest.first_groups["grpo"]] == [[0] * 4]
    assert {it[0]["task_id"] for it in digest.last_groups["grpo"]} == {"task-0", "task-1"}
    (chosen,) = chosen_groups(digest.last_groups["grpo"], {EpisodeKind.MULTI_STEP: 1})
    assert chosen[0]["task_id"] == "task-0"
    assert [row["member"] for row in chosen] == [0, 1, 2, 3]
    cards = group_cards(digest, DrawnFrames())
    assert [Page(card).of("article")[0]["data-tags"] for card in cards] == ["last episodes"] * 2 + ["first episodes"]
    assert "iteration 5: whole episodes, 2 of 4 right" in cards[0]
    assert len(group_cards(digest, None, is_short=True)) == 1


def evaluated(spans: Sequence[Span], answer: str, tokens: Sequence[tuple[int, int]], number: int = 0) -> TraceRow:
    """Return an evaluated episode whose steps have these numbers of prompt and visual tokens."""
    task = drawn_task(number)
    trajectory = rollout_of(task, spans, answer)
    steps = tuple(
        replace(step, completion=replace(step.completion, num_prompt_tokens=prompt, num_visual_tokens=visual))
        for step, (prompt, visual) in zip(trajectory.steps, tokens, strict=True)
    )
    return trace_row(task, replace(trajectory, steps=steps), phase="eval", policy="grpo", iteration=1)


def test_the_ledger_tells_tokens_frames_and_seconds_of_each_step() -> None:
    rows = (
        evaluated([SEES, Span(0.0, 8.0)], "B", [(100, 40), (110, 48), (130, 64)]),
        evaluated([], "A", [(100, 40)], number=1),
    )
    video = {"fast_fps": 0.5, "fast_max_frames": 16, "slow_fps": 1.0, "slow_max_frames": 6}
    first, second, third = step_costs(rows, video)
    assert (first.share, first.prompt_tokens, first.fast_tokens, first.clip_tokens) == (1.0, 100.0, 40.0, 0.0)
    # 64 s at 0.5 frames per second are 32 frames, of which 16 are allowed.
    assert (first.new_frames, first.new_seconds, first.sampled_tokens) == (16.0, 64.0, 7.0)
    assert (second.share, second.clip_tokens, second.new_frames, second.new_seconds) == (0.5, 8.0, 4.0, 4.0)
    assert (third.clip_tokens, third.new_frames, third.new_seconds) == (24.0, 6.0, 8.0)
    assert step_costs(rows, {})[0].new_frames is None
    # A zoom with a rate of its own: 4 s at 0.5 frames per second, of which any number may be shown.
    rows[0]["steps"][0]["action"]["fps"] = 0.5
    assert step_costs(rows[:1], video | {"spacing": "stride"})[1].new_frames == 2.0


def test_agents_that_see_no_frames_have_no_columns_of_frames() -> None:
    section = ledger_section({"grpo": (evaluated([SEES], "B", [(100, 0), (120, 0)]),)}, [], {}, None)
    assert section is not None
    page = Page(section)
    assert "Step Episodes Prompt Sampled first 100 % 100 7.0 second 100 % 120 7.0" in page.text
    assert page.of("svg") == []


def test_accuracy_is_drawn_against_visual_tokens_beside_uniform_frames() -> None:
    rows = (evaluated([SEES], "B", [(100, 40), (110, 48)]), evaluated([], "A", [(100, 40)], number=1))
    budget = {"num_frames": 8, "visual_tokens_mean": 56.0, "accuracy": 0.3, "accuracy_ci95": [0.2, 0.4]}
    section = ledger_section({"grpo": rows}, [budget], {}, 0.25)
    assert section is not None
    (svg,) = Page(section).of("svg", "chart")
    assert svg["aria-label"] == (
        "Right answers against visual tokens: grpo 50.0 % at 44; uniform, 8 frames 30.0 % at 56"
    )
    # Rules without a model have no tokens: nothing to tell.
    assert ledger_section({"oracle": (evaluated([], "A", [(0, 0)]),)}, [], {}, None) is None


def test_histograms_count_shares_and_the_last_bin_takes_what_is_beyond() -> None:
    svg = histogram("t", [Sample("a", "agent", (1.0, 1.0, 31.9, 99.0)), Sample("none", "x", ())], high=32.0)
    (area,) = Page(svg).of("path", "area")
    assert "outline" not in svg
    # Bins of 2 s: half of the values in the first, half in the last.
    heights = (area["d"] or "").split("L")[1:]
    first, second, last = (float(heights[index].split("H")[0].split()[1]) for index in (0, 1, -1))
    assert first == last < second
    assert "a: 4, median 16.4" in svg


def test_spans_stand_beside_the_evidence() -> None:
    rows = TraceDigest.of([evaluated([SEES], "B", [(1, 1), (1, 1)]), evaluated([MISSES], "A", [(1, 1), (1, 1)], 1)])
    section = spans_section(rows.evaluations)
    assert section is not None
    labels = [svg["aria-label"] or "" for svg in Page(section).of("svg", "chart")]
    assert labels[0] == "Start of a zoom: evidence: 2, median 24.0; grpo: 2, median 12.0"
    assert labels[1] == "Where in the video: evidence: 2, median 40.6 %; grpo: 2, median 21.9 %"
    assert spans_section({"grpo": (evaluated([], "A", [(1, 1)]),)}) is None


def probe_rows() -> dict[str, Any]:
    base = {"num_tasks": 40, "accuracy": 0.8, "accuracy_ci95": [0.65, 0.9]}
    changed = {"difference": -0.5, "difference_ci95": [-0.6, -0.4], "num_right_to_wrong": 21, "num_wrong_to_right": 1}
    seen = {"num_seen": 30, "accuracy_seen": 0.9, "num_missed": 10, "accuracy_missed": 0.25}
    return {
        "probes": [{"probe": "model", **base}, {"probe": "blind", **base, "accuracy": 0.3, **changed}],
        "audit": [{"zooms": "own", **base, **seen}, {"zooms": "none", **base, "accuracy": 0.3, **changed, **seen}],
    }


def test_probes_and_audit_are_tables_with_differences_and_flips() -> None:
    section = probes_section(probe_rows(), 0.25)
    assert section is not None
    page = Page(section)
    assert "blind Every frame is grey; only the times can be read. 30.0 % 65.0 to 90.0" in page.text
    assert page.text.count("-50.0 -60.0 to -40.0 21 1 40") == 2
    assert "90.0 % of 30" in page.text
    assert "25.0 % of 10" in page.text
    assert probes_section({}, None) is None


def test_tables_of_probes_are_put_into_words_where_there_is_no_doubt() -> None:
    def row(key: str, name: str, low: float, high: float) -> dict[str, Any]:
        return {key: name, "difference": (low + high) / 2, "difference_ci95": [low, high]}

    probes = [
        {"probe": "model"},
        row("probe", "blind", -0.6, -0.4),
        row("probe", "wrong_video", -0.02, 0.04),
        row("probe", "shuffled", -0.3, 0.2),
        row("probe", "permuted_options", -0.8, -0.7),
    ]
    audit = [{"zooms": "own"}, row("zooms", "gold", 0.1, 0.2), row("zooms", "none", -0.01, 0.01)]
    assert findings(probes, audit) == [
        "With grey frames it loses 50.0 points: its answers come from what it sees.",
        "With another video it is as good as ever: it does not need the video.",
        "Under other letters it loses 75.0 points: it knows options by their letters, not by what they say.",
        "Without its zooms it is as good as ever: looking does not matter.",
    ]


def test_alarms_say_what_when_and_what_to_do() -> None:
    event = {"phase": "decoupled_grpo", "alarm": "tool_use_collapse", "metric": "zoom/used/rate", "value": 0.04}
    words = {"what": f"Only 4 % look closer. {HOSTILE}", "meaning": "It stopped looking.", "advice": "Stop."}
    rows = [{"progress/iteration": at, "state": state, **event, **words} for at, state in ((12, "on"), (15, "over"))]
    box = alarms_box(rows)
    assert box is not None
    page = Page(box)
    assert page.text.startswith("1 alarm tool use collapse (decoupled GRPO, iteration 12, over at iteration 15). Only")
    assert page.text.endswith("It stopped looking. Stop.")
    assert page.of("script") == []
    assert "not over" in (alarms_box(rows[:1]) or "")
    assert alarms_box([]) is None


def caption_row(nodes: Sequence[tuple[int, ...]], spans: Sequence[Span]) -> TraceRow:
    actions = [*(GetCaption(node) for node in nodes), Answer("B")]
    steps = tuple(Step(Prompt((), ""), Completion("text"), action) for action in actions)
    reward = RewardBreakdown(1.0, {"outcome": 1.0})
    trajectory = Trajectory(
        "task-0", EpisodeKind.MULTI_STEP, 0, (0,), steps, Status.ANSWERED, "B", tuple(spans), reward
    )
    return trace_row(TASK, trajectory, phase="eval", policy="grpo", iteration=1)


def test_caption_trees_show_which_parts_were_read() -> None:
    spans = [Span(16.0, 32.0), Span(24.0, 28.0), Span(24.0, 25.0), Span(24.0, 25.0)]
    row = caption_row([(2,), (2, 3), (2, 3, 1), (2, 3, 1)], spans)
    section = reading_section({"grpo": (row,)})
    assert section is not None
    page = Page(section)
    assert "2 \N{RIGHTWARDS ARROW} 2.3 \N{RIGHTWARDS ARROW} 2.3.1" in page.text
    assert "low: the shortest parts 2.00 100 % 50 % 100 %" in page.text
    assert reading_section({"grpo": (evaluated([SEES], "B", [(1, 1), (1, 1)]),)}) is None


def test_a_run_with_all_of_it_has_every_section(tmp_path: Path) -> None:
    folder = fabricate_run(tmp_path / "run")
    with (folder / "traces.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in [*group(0), *group(1)])
    (folder / "alarms.jsonl").write_text(json.dumps({"alarm": "no_variance", "progress/iteration": 3}) + "\n")
    (folder / "probes").mkdir()
    (folder / "probes" / "results.json").write_text(json.dumps(probe_rows()))
    page = Page(write_report(folder, DrawnFrames()).read_text(encoding="utf-8"))
    names = [section["id"] for section in page.of("section") if "id" in section]
    assert names == ["results", "curves", "credit", "cost", "spans", "probes", "groups", "rollouts"]
    assert [link["href"] for link in page.of("a")] == [f"#{name}" for name in names]
    assert "1 alarm no variance (iteration 3, not over)." in page.text
    assert "What this report lacks" not in page.text


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two runs; the second one has a higher learning rate, no videos, and is not finished."""
    folder = tmp_path_factory.mktemp("runs")
    first, second = (fabricate_run(folder / name) for name in ("calm", "bold"))
    config = (second / "config.yaml").read_text()
    (second / "config.yaml").write_text(config.replace("lr: 0.0002", "lr: 0.02", 1))
    (second / "results.json").unlink()
    (second / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metric_rows()[:-4]) + '{"torn')
    return first, second


def test_runs_are_drawn_over_each_other(two_runs: tuple[Path, Path]) -> None:
    page = Page(report_page([read_run(run, DrawnFrames()) for run in two_runs]))
    assert "2 runs compared" in page.text
    # The second one has no results yet: 11 of 12 are what its last evaluation says.
    assert "Of 2 runs, bold answers most questions right: 91.7 %." in page.text
    assert "bold against calm: +0.0 points on the 12 tasks they share" in page.text
    assert "1 setting differs Setting calm bold grpo.lr 0.0002 0.02" in page.text
    styles = {button["data-style"] for button in page.of("button") if "data-style" in button}
    assert styles == {"run-1", "run-2"}
    answers = next(it["aria-label"] or "" for it in page.of("svg") if "Right answers:" in (it.get("aria-label") or ""))
    assert "calm: multi-step GRPO" in answers
    assert "bold: decoupled GRPO" in answers
    assert "bold: There is no results.json yet; the results are those of the last evaluations" in page.text
    # Of each run the best and the worst rollout.
    assert [card["data-tags"] for card in page.of("article", "card")] == ["best right", "worst wrong"] * 2


def test_runs_of_one_name_are_told_apart(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = fabricate_run(tmp_path / "calm")
    page = Page(report_page([read_run(run, DrawnFrames()) for run in (two_runs[0], other)]))
    assert "calm (1), calm (2)" in page.text
    assert "The settings are the same, but for where things are." in page.text


def test_the_command_writes_one_page_and_says_where(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "pages" / "both.html"
    assert run_report(two_runs, out) == out
    assert "2 runs compared" in out.read_text(encoding="utf-8")
    assert run_report(two_runs[:1]) == two_runs[0] / "report.html"
    assert run_report(two_runs) == two_runs[0].parent / "comparison.html"


def test_what_is_no_run_is_told(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no run folder.*it holds runs: bold, calm"):
        run_report([two_runs[0].parent])
    with pytest.raises(UserError, match="is no folder"):
        run_report([tmp_path / "nowhere"])
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run_report(two_runs, blocked / "page.html")


def test_a_run_of_200_iterations_stays_small(tmp_path: Path) -> None:
    folder = fabricate_run(tmp_path / "long")
    row = metric_rows()[-1]
    wide = {f"zoom/malformed/{name}/rate": 0.123456789 for name in ("no_prefix", "no_box")} | row
    rows = [{**wide, "progress/iteration": index, "reward/total/mean": index / 200} for index in range(1, 201)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(it) + "\n" for it in rows))
    with (folder / "traces.jsonl").open("a") as file:
        for iteration in range(200):
            tasks = [drawn_task(number) for number in range(4)]
            groups = [it for task in tasks for it in group(iteration, task)]
            file.writelines(json.dumps(it) + "\n" for it in groups)
    page = write_report(folder, DrawnFrames(fast_px=64, slow_px=200))
    assert page.stat().st_size < 20e6
