"""The report of a run: complete, partial and hostile folders."""

import json
from pathlib import Path

import pytest
from drawn_rollouts import DrawnFrames, Page, drawn_task, rollout_of
from fabricated_run import HOSTILE, POLICIES, fabricate_run, results, trace_rows

from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.observation import VideoClip
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import Span, Status
from videozoom.experiments.report import report_page, write_report
from videozoom.experiments.report_curves import CHARTS
from videozoom.experiments.report_rollouts import chosen_rollouts
from videozoom.experiments.report_run import NearbyVideos, read_run
from videozoom.experiments.report_traces import TraceDigest
from videozoom.experiments.report_words import POLICIES as WORDS
from videozoom.experiments.report_words import accuracy_gain, chance_of, evidence_length_s, summary
from videozoom.rollout.metrics import METRICS
from videozoom.rollout.trace_rows import TraceRow, trace_row


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate_run(tmp_path_factory.mktemp("runs") / "made-up")


@pytest.fixture(scope="module")
def markup(run_dir: Path) -> str:
    return write_report(run_dir, DrawnFrames()).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(markup: str) -> Page:
    return Page(markup)


def test_the_first_sentence_says_what_was_learned(page: Page) -> None:
    expected = (
        "After decoupled GRPO, the agent looks at the right moment in 70 % of the held-out videos (50 % after the cold "
        "start) and answers 70 % of the questions right (50 % before)."
    )
    assert expected in page.text
    assert "On the same 12 tasks, accuracy changed by +58.3 points" in page.text
    assert "What this report lacks" not in page.text


def test_every_policy_has_a_row_with_its_numbers(page: Page) -> None:
    for policy in POLICIES:
        assert WORDS[policy].name in page.text
        assert WORDS[policy].meaning in page.text
    assert len(page.of("svg", "interval")) == 2 * len(POLICIES)
    assert "70.0 % 65.0 to 75.0" in page.text
    assert "Span (evidence 4.0 s)" in page.text
    assert "84.0 s" in page.text
    assert "guessing, 33.3 %" in page.text
    assert "Decoys were planted." in page.text


def test_columns_that_no_policy_fills_are_left_out(page: Page) -> None:
    assert "Training CPU" in page.text
    assert "IoU Unparsed" not in page.text


def test_curves_are_grouped_and_tell_their_course(page: Page) -> None:
    labels = [chart["aria-label"] or "" for chart in page.of("svg", "chart")]
    assert "Supervised loss: cold start: say what happens when from 3.9 nats to 0.30 nats" in labels[0]
    assert any(label.startswith("Right answers: multi-step GRPO from 7.5 % to 57.5 %") for label in labels)
    for title in ("Is it learning?", "Is it looking?", "Is it stable?", "Is it fast?"):
        assert title in page.text
    assert "held-out, iteration 12: 66.0 %" in page.text
    assert "held-out, iteration 0: 50.0 % (45.0 % to 55.0 %)" in page.text


def test_rollouts_stand_beside_the_cold_start(page: Page) -> None:
    cards = page.of("article", "card")
    assert [card["data-tags"] for card in cards] == [
        "best right",
        "best right",
        "worst wrong",
        "worst right",
        *["random right"] * 4,
    ]
    assert len(page.of("section", "rollout")) == 2 * len(cards)
    assert len(page.of("img", "strip")) == 2 * len(cards)
    assert [it["data-show"] for it in page.of("button") if "data-show" in it] == [
        "all",
        "best",
        "worst",
        "random",
        "right",
        "wrong",
    ]


def test_it_refers_to_nothing_outside_itself(markup: str, page: Page) -> None:
    assert page.references
    assert all(reference.startswith(("data:image/", "#")) for reference in page.references)
    assert page.of("link") == []
    assert "@import" not in markup
    assert "url(" not in markup
    assert len(markup) < 1_000_000


def test_hostile_text_stays_text(page: Page) -> None:
    assert len(page.of("script")) == 1
    assert page.text.count(HOSTILE) == 1 + 2 * len(page.of("article", "card"))


def test_every_picture_is_described(page: Page) -> None:
    assert all("alt" in image for image in page.of("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.of("svg"))
    assert page.of("html")[0]["lang"] == "en"


def test_setup_is_shown(page: Page) -> None:
    for text in ("videozoom demo", "Some CPU", "torch 2.13.0", "name: made-up", "Seed 3"):
        assert text in page.text


def test_the_same_folder_gives_the_same_bytes(run_dir: Path, markup: str) -> None:
    assert report_page([read_run(run_dir, DrawnFrames())]) == markup


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("config.yaml", "There is no config.yaml, so the settings are not shown."),
        ("run.json", "There is no run.json, so the report has no versions and machine."),
        ("metrics.jsonl", "There is no metrics.jsonl, so learning curves are not shown."),
        ("results.json", "There is no results.json yet; the results are those of the last evaluations in the traces."),
        ("traces.jsonl", "There is no traces.jsonl, so no rollouts are shown."),
    ],
)
def test_a_missing_file_is_named_and_the_rest_is_shown(tmp_path: Path, name: str, sentence: str) -> None:
    folder = fabricate_run(tmp_path / "run")
    (folder / name).unlink()
    page = Page(write_report(folder, DrawnFrames()).read_text(encoding="utf-8"))
    assert sentence in page.text
    assert "What the agent learned" in page.text
    assert len(page.of("section")) >= 4


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("results.json", "The report has no results table: results.json is no JSON"),
        ("metrics.jsonl", "Learning curves are left out:"),
        ("traces.jsonl", "Rollouts are left out:"),
        ("config.yaml", "Frames are not shown, because the settings cannot be read:"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_shown(tmp_path: Path, name: str, sentence: str) -> None:
    folder = fabricate_run(tmp_path / "run")
    (folder / name).write_text("[broken\n{}\n")
    assert sentence in Page(write_report(folder).read_text(encoding="utf-8")).text


def test_an_empty_folder_gives_a_page_of_gaps(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "The run has no results yet." in page.text
    assert len(page.of("ul", "notes")) == 1


def test_videos_that_are_gone_leave_axis_and_bands(run_dir: Path) -> None:
    page = Page(report_page([read_run(run_dir)]))
    assert page.of("img") == []
    assert "frames not available" in page.text
    assert len(page.of("span", "band")) >= 2 * len(page.of("article", "card"))


def test_real_videos_are_read_with_the_runs_own_settings(tmp_path: Path) -> None:
    recipe = VideoRecipe(num_videos=1, length_s=32.0, num_events=2, seed=1)
    (task,) = load_tasks(generate(recipe, tmp_path / "videos"))
    folder = fabricate_run(tmp_path / "run")
    (folder / "config.yaml").write_text(
        "name: real\nvideo: {fast_fps: 0.5, fast_frame_tokens: 1, slow_frame_tokens: 4}\n"
    )
    row = trace_row(task, rollout_of(task, task.evidence, task.answer), phase="eval", policy="cold_start", iteration=0)
    (folder / "traces.jsonl").write_text(json.dumps(row) + "\n")
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    (strip,), (clip,) = page.of("img", "strip"), page.of("img", "clip")
    assert (strip["width"], strip["height"]) == (str(16 * 28), "28")
    assert clip["height"] == "56"


def test_relative_videos_are_found_from_the_folders_above_a_run(tmp_path: Path) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "videos").mkdir()
    (tmp_path / "runs" / "videos" / "there.mp4").touch()
    seen: list[Path] = []

    class Frames(DrawnFrames):
        def fast_view(self, video: Path) -> VideoClip:
            seen.append(video)
            return super().fast_view(video)

    near = NearbyVideos(Frames(), tmp_path / "runs" / "mine")
    for video in ("runs/videos/there.mp4", "runs/videos/not-there.mp4"):
        near.fast_view(Path(video))
    assert seen == [tmp_path / "runs" / "videos" / "there.mp4", Path("runs/videos/not-there.mp4")]


def test_only_each_policys_last_evaluation_counts() -> None:
    early = [row | {"iteration": 0} for row in trace_rows()]
    train = [row | {"phase": "train", "iteration": 99} for row in trace_rows()]
    found = TraceDigest.of([*early, *trace_rows(), *train]).evaluations
    assert {policy: len(rows) for policy, rows in found.items()} == {"cold_start": 12, "decoupled_grpo": 12}
    assert {row["iteration"] for rows in found.values() for row in rows} == {40}


def graded(number: int, reward: float, span: Span, status: Status | None = None) -> TraceRow:
    task = drawn_task(number)
    answer = None if status else "B" if reward else "A"
    row = trace_row(
        task, rollout_of(task, [span], answer, status=status), phase="eval", policy="decoupled_grpo", iteration=1
    )
    return row


def test_best_and_worst_are_what_they_say_and_nothing_is_shown_twice() -> None:
    rows = [
        graded(0, 1.0, Span(20.0, 40.0)),
        graded(1, 1.0, Span(24.0, 28.0)),
        graded(2, 0.0, Span(0.0, 4.0)),
        graded(3, 0.0, Span(26.0, 30.0)),
        graded(4, 0.0, Span(0.0, 4.0), Status.ERROR_DECODE),
        graded(5, 1.0, Span(24.0, 30.0)),
    ]
    chosen = [(tag, row["task_id"]) for tag, row in chosen_rollouts(rows, {}, seed=0)]
    assert chosen == [
        ("best", "task-1"),
        ("best", "task-5"),
        ("worst", "task-2"),
        ("worst", "task-3"),
        ("random", "task-0"),
    ]


def test_among_equals_the_best_is_what_the_cold_start_failed() -> None:
    rows = [graded(number, 1.0, Span(24.0, 28.0)) for number in range(6)]
    before = {f"task-{number}": graded(number, float(number != 3), Span(0.0, 4.0)) for number in range(6)}
    assert chosen_rollouts(rows, before, seed=0)[0][1]["task_id"] == "task-3"


def test_random_rollouts_follow_the_seed() -> None:
    rows = [graded(number, 1.0, Span(24.0, 28.0)) for number in range(40)]
    picks = [
        [row["task_id"] for tag, row in chosen_rollouts(rows, {}, seed=seed) if tag == "random"] for seed in (0, 0, 1)
    ]
    assert picks[0] == picks[1] != picks[2]
    assert len(picks[0]) == 4


def test_one_rollout_is_the_best_and_none_is_nothing() -> None:
    assert [tag for tag, _ in chosen_rollouts([graded(0, 0.0, Span(0.0, 4.0))], {}, seed=0)] == ["best"]
    assert chosen_rollouts([], {}, seed=0) == []


def test_a_gain_within_chance_and_a_loss_are_called_by_name() -> None:
    rows = {row["policy"]: row for row in results()["rows"]}
    by_policy = TraceDigest.of(trace_rows()).evaluations
    before, after = by_policy["cold_start"], by_policy["decoupled_grpo"]
    assert summary(rows, accuracy_gain(before, after))[1].endswith(": more than chance.")
    assert summary(rows, accuracy_gain(after, before))[1].endswith(": reinforcement learning did harm.")
    assert summary(rows, accuracy_gain(before, before))[1].endswith(": that may be chance.")
    # A video that could not be read says nothing about either.
    unread = [row | {"status": "error_decode", "answer": None} for row in before]
    assert accuracy_gain(before, unread) is None
    close = rows | {"decoupled_grpo": rows["cold_start"]}
    assert summary(close, None)[1] == "The 95 % intervals of both accuracies overlap: the difference may be chance."
    assert len(summary(rows, None)) == 1


def test_without_a_cold_start_only_the_policys_own_numbers_are_claimed() -> None:
    rows = {"multi_step_grpo": {"accuracy": 0.5}}
    assert summary(rows, None) == ["Multi-step GRPO answers 50 % of the held-out questions right."]


def test_chance_and_evidence_length_come_from_the_tasks() -> None:
    assert chance_of(trace_rows()) == pytest.approx(1 / 3)
    assert evidence_length_s(trace_rows()) == 4.0
    assert chance_of([]) is None
    assert evidence_length_s([]) is None


def test_every_charted_metric_is_registered() -> None:
    assert {chart.metric for charts in CHARTS.values() for chart in charts} <= METRICS.keys()


def test_a_policy_with_a_name_of_its_own_is_what_the_report_is_about() -> None:
    rows = {"oracle": {"accuracy": 1.0}, "my_model": {"accuracy": 0.5, "zoom_hit_rate": 0.25}}
    assert summary(rows, None) == [
        "My model answers 50 % of the held-out questions right.",
        "It looks at the right moment in 25 % of them.",
    ]
