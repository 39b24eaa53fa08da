"""Rollouts as HTML."""

from dataclasses import replace

import pytest
from drawn_rollouts import DrawnFrames, Page, drawn_task, rollout_of

from videozoom.envs.actions import GetCaption
from videozoom.envs.messages import Prompt
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.policies.base import Completion
from videozoom.rollout.types import Step, Trajectory
from videozoom.rollout.viewer import LabelledRollout, rollout_card, viewer_page


def card_of(*trajectories: Trajectory, task: Task | None = None, source: DrawnFrames | None = None) -> Page:
    rollouts = [LabelledRollout(f"member {index}", trajectory) for index, trajectory in enumerate(trajectories)]
    return Page(rollout_card(task or drawn_task(), rollouts, source, tags=["best"]))


def test_a_card_shows_question_options_steps_and_rewards() -> None:
    page = card_of(rollout_of(drawn_task()), source=DrawnFrames())
    for text in (
        "Which sign is shown?",
        "B lines right answer chosen",
        "Step 1 zooms to 24 to 28 s, sees the evidence (IoU 1.00)",
        "I need to look closer. Look there.",
        "Step 2 answers B",
        "I saw it.",
        "answers B: right",
        "reward 1.00 outcome 1.00 status answered",
        "1,234 prompt tokens, 24 of them visual; 7 sampled",
        "what it saw: 4 frames, at 24.0, 25.0, 26.0, 27.0 s",
    ):
        assert text in page.text


def test_captions_that_were_read_are_shown_with_what_they_said() -> None:
    rollout = rollout_of(drawn_task(), [])
    read = Step(Prompt((), ""), Completion("get_caption((2, 3))"), GetCaption((2, 3)), brought="A red scene at 24.")
    page = card_of(replace(rollout, steps=(read, *rollout.steps), spans_s=(Span(24.0, 28.0),)))
    assert "captions read by member 0" in page.text
    assert "Step 1 reads the caption of part 2.3 get_caption((2, 3)) A red scene at 24." in page.text
    assert len(page.of("blockquote", "brought")) == 1
    assert [band["title"] for band in page.of("span", "band")][-1] == "member 0, step 1: 24 to 28 s"


def test_bands_lie_at_their_share_of_their_segment() -> None:
    page = card_of(rollout_of(drawn_task(), [Span(30.0, 36.0)]), source=DrawnFrames())
    assert len(page.of("div", "segment")) == 2
    bands = [(band["style"], band["title"]) for band in page.of("span", "band")]
    assert bands == [
        ("left:75.0%;width:12.5%", "evidence: 24 to 28 s"),
        ("left:93.75%;width:6.25%", "member 0, step 1: 30 to 36 s"),
        ("left:0.0%;width:12.5%", "member 0, step 1: 30 to 36 s"),
    ]


def test_the_timeline_is_told_in_words() -> None:
    page = card_of(rollout_of(drawn_task(), [Span(0.0, 4.0), Span(24.0, 28.0)]), source=DrawnFrames())
    (timeline,) = page.of("div", "timeline")
    expected = "Timeline of 64 seconds. Evidence: 24 to 28 s. Zooms by member 0: 0 to 4 s, then 24 to 28 s."
    assert (timeline["role"], timeline["aria-label"]) == ("img", expected)
    assert all("alt" in image for image in page.of("img"))


def test_a_group_shares_one_timeline() -> None:
    task = drawn_task()
    page = card_of(rollout_of(task), rollout_of(task, [Span(0.0, 4.0)], "A"), source=DrawnFrames())
    assert len(page.of("img", "strip")) == 2
    assert len(page.of("img", "clip")) == 2
    assert len(page.of("section", "rollout")) == 2
    assert "A bars chosen by member 1" in page.text
    assert "misses the evidence" in page.text
    assert "answers A: wrong" in page.text


@pytest.mark.parametrize(
    ("trajectory", "verdict"),
    [
        (rollout_of(drawn_task(), answer=None), "gives no answer"),
        (rollout_of(drawn_task(), answer=None, kind=EpisodeKind.ZOOM_STEP, status=Status.ZOOMED), "sees the evidence"),
        (rollout_of(drawn_task(), (), None, status=Status.ERROR_DECODE), "could not read the video"),
        (rollout_of(drawn_task(), (), None, malformed=True), "gives no valid action: no box"),
    ],
)
def test_other_endings_have_words(trajectory: Trajectory, verdict: str) -> None:
    assert verdict in card_of(trajectory).text


@pytest.mark.parametrize(("source", "video"), [(None, "v.mp4"), (DrawnFrames(), "missing.mp4")])
def test_without_the_video_axis_and_bands_remain(source: DrawnFrames | None, video: str) -> None:
    task = drawn_task(video=video)
    page = card_of(rollout_of(task), task=task, source=source)
    assert page.of("img") == []
    assert len(page.of("span", "band")) == 2
    assert "frames not available" in page.text
    assert "The frames of 24 to 28 s are not available." in page.text


def test_hostile_text_stays_text() -> None:
    hostile = "</blockquote><script>alert(1)</script>"
    task = drawn_task(question=f"{hostile} really?")
    page = card_of(rollout_of(task, text=hostile), task=task, source=DrawnFrames())
    assert page.of("script") == []
    assert page.text.count(hostile) == 2


def test_large_frames_become_photographs_of_bounded_size() -> None:
    source = DrawnFrames(num_fast=700, fast_px=168, slow_px=448)
    page = card_of(rollout_of(drawn_task()), source=source)
    images = [*page.of("img", "strip"), *page.of("img", "clip")]
    assert len(images) == 5
    assert all((image["src"] or "").startswith("data:image/webp") for image in images)
    assert {image["height"] for image in page.of("img", "strip")} == {"64"}
    assert {image["height"] for image in page.of("img", "clip")} == {"224"}
    assert not any("sharp" in (image["class"] or "") for image in images)


def test_a_page_needs_no_other_file() -> None:
    task = drawn_task()
    card = rollout_card(task, [LabelledRollout("agent", rollout_of(task))], DrawnFrames())
    markup = viewer_page("Two <b> rollouts", [card, card])
    page = Page(markup)
    assert markup.startswith("<!doctype html>")
    assert "Two <b> rollouts" in page.text
    assert all(reference.startswith("data:") for reference in page.references)
    assert "url(" not in markup
    assert "@import" not in markup
