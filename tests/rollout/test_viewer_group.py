"""Groups as HTML: members below each other on one axis."""

from dataclasses import replace

from drawn_rollouts import DrawnFrames, Page, drawn_task, rollout_of

from videozoom.envs.tasks import EpisodeKind, Span, Status
from videozoom.rollout.types import Trajectory
from videozoom.rollout.viewer import LabelledRollout
from videozoom.rollout.viewer_group import group_card

TASK = drawn_task()


def page_of(*trajectories: Trajectory, advantages: tuple[float | None, ...] = (), frames: bool = True) -> Page:
    known = [*advantages, *[None] * len(trajectories)]
    members = [
        LabelledRollout(str(number), trajectory, advantage=known[number])
        for number, trajectory in enumerate(trajectories)
    ]
    return Page(group_card(TASK, members, DrawnFrames() if frames else None, note="iteration 7", tags=["zooms"]))


def test_every_member_has_a_row_with_answer_reward_and_advantage() -> None:
    page = page_of(
        rollout_of(TASK, answer="B"),
        rollout_of(TASK, [Span(0.0, 4.0)], "A", malformed=True),
        rollout_of(TASK, [], None),
        advantages=(0.5, -1.5, None),
    )
    assert len(page.of("div", "member")) == 3 + 3
    assert "\N{CHECK MARK} B" in page.text
    assert "\N{MULTIPLICATION X} A, 1 refused" in page.text
    assert "\N{MULTIPLICATION X} no answer" in page.text
    assert "+0.50" in page.text
    assert "-1.50" in page.text
    assert "iteration 7" in page.text
    # 3 is the end of the bar, which has its zero in the middle.
    bars = [bar["style"] for bar in page.of("i", "praised") + page.of("i", "blamed")]
    assert bars == ["left:50.0%;width:8.3%", "left:25.0%;width:25.0%"]


def test_all_members_share_one_axis_and_zooms_that_miss_look_different() -> None:
    page = page_of(rollout_of(TASK, [Span(24.0, 28.0)]), rollout_of(TASK, [Span(0.0, 4.0)], "A"))
    bands = [(it["class"], it["style"]) for it in page.of("span", "band")]
    assert bands == [
        ("band style-evidence", "left:37.5%;width:6.25%"),
        ("band style-agent", "left:37.5%;width:6.25%"),
        ("band style-miss", "left:0.0%;width:6.25%"),
    ]
    assert len(page.of("div", "axis")) == 1
    assert len(page.of("img", "strip")) == 1
    assert page.of("img", "clip") == []


def test_a_single_zoom_is_right_where_it_sees_the_evidence() -> None:
    zoomed = {"kind": EpisodeKind.ZOOM_STEP, "status": Status.ZOOMED}
    page = page_of(
        rollout_of(TASK, [Span(26.0, 30.0)], None, **zoomed), rollout_of(TASK, [Span(0.0, 4.0)], None, **zoomed)
    )
    assert page.text.count("\N{CHECK MARK} zooms") == 1
    assert page.text.count("\N{MULTIPLICATION X} zooms") == 1


def test_without_the_video_axis_and_bands_remain() -> None:
    page = page_of(rollout_of(TASK), frames=False)
    assert "frames not available" in page.text
    assert len(page.of("span", "band")) == 2


def test_questions_without_options_show_the_right_answer() -> None:
    task = replace(TASK, options=(), answer="17")
    page = Page(group_card(task, [LabelledRollout("0", rollout_of(task, answer="17"))], None))
    assert "17 right answer" in page.text
