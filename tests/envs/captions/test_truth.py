from pathlib import Path

import pytest

from videozoom.envs.captions.gold import gold_visits
from videozoom.envs.captions.sources import CaptionError, Segment
from videozoom.envs.captions.tree import LEVELS, CaptionTree, Level
from videozoom.envs.generated.caption_words import CaptionStyle
from videozoom.envs.generated.captions import NOT_RELATED, TruthCaptioner, TruthVideoQA, events_by_video
from videozoom.envs.generated.narration import NO_SCENE, Event
from videozoom.envs.generated.plan import plan_video, tasks_of
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.generated.signs import SIGNS
from videozoom.envs.tasks import Span, Task

VIDEO = Path("v.mp4")


def event(start_s: float, cue: str, sign: str | None) -> Event:
    return {"start_s": start_s, "end_s": start_s + 4.0, "cue": cue, "sign": sign, "is_decoy": sign is None}


EVENTS = {VIDEO: (event(12.0, "red", "bars"), event(20.0, "blue", None), event(40.0, "green", "rings"))}


@pytest.mark.parametrize(
    ("span", "level", "caption"),
    [
        ((0, 32), Level.HIGH, "There is a red scene. There is a blue scene."),
        ((32, 64), Level.HIGH, "There is a green scene."),
        ((48, 64), Level.HIGH, NO_SCENE),
        ((0, 16), Level.MEDIUM, "The red scene is at 12 to 16."),
        ((0, 32), Level.MEDIUM, "The red scene is at 12 to 16. The blue scene is at 20 to 24."),
        ((0, 13), Level.MEDIUM, "The red scene is at 12 to 16."),  # A part of it is enough to be seen.
        ((12, 16), Level.LOW, "The red scene shows bars."),
        ((14, 22), Level.LOW, "The red scene shows bars. The blue scene shows nothing."),
        ((16, 20), Level.LOW, NO_SCENE),  # Spans that only touch share nothing.
    ],
)
def test_captions_say_what_their_level_can_see(span: tuple[float, float], level: Level, caption: str) -> None:
    assert TruthCaptioner(EVENTS).captions(VIDEO, [Segment(Span(*span), level)]) == [caption]


def test_high_level_captions_can_tell_times_as_well() -> None:
    captioner = TruthCaptioner(EVENTS, times_from=Level.HIGH)
    assert captioner.captions(VIDEO, [Segment(Span(32.0, 64.0), Level.HIGH)]) == ["The green scene is at 40 to 44."]
    with pytest.raises(ValueError, match="high or medium"):
        TruthCaptioner(EVENTS, times_from=Level.LOW)


@pytest.mark.parametrize(
    ("span", "level", "caption"),
    [
        ((0, 32), Level.HIGH, "red12 blue20"),
        ((0, 32), Level.MEDIUM, "red12 blue20"),
        ((14, 22), Level.LOW, "red bars blue blank"),
        ((48, 64), Level.HIGH, "none"),
    ],
)
def test_notes_say_the_same_in_few_words(span: tuple[float, float], level: Level, caption: str) -> None:
    captioner = TruthCaptioner(EVENTS, Level.HIGH, CaptionStyle.NOTES)
    assert captioner.captions(VIDEO, [Segment(Span(*span), level)]) == [caption]
    late = TruthCaptioner(EVENTS, style=CaptionStyle.NOTES).captions(VIDEO, [Segment(Span(0.0, 32.0), Level.HIGH)])
    assert late == ["red blue"]


@pytest.mark.parametrize(
    ("span", "question", "answer"),
    [
        ((12, 16), "Which sign appears in the red scene?", "The red scene shows bars."),
        ((12, 16), "Which sign appears in the green scene?", NOT_RELATED),
        ((0, 64), "RED, or green?", "The red scene shows bars. The green scene shows rings."),
        ((20, 24), "What is in the blue scene?", "The blue scene shows nothing."),
        ((12, 16), "What do you see?", NOT_RELATED),
        ((12, 16), "Is it bored?", NOT_RELATED),  # Not a word of its own.
        ((12, 16), "", NOT_RELATED),
    ],
)
def test_answers_name_what_is_asked_and_seen(span: tuple[float, float], question: str, answer: str) -> None:
    assert TruthVideoQA(EVENTS).answer(VIDEO, Span(*span), question) == answer


def test_nothing_is_said_about_unknown_videos() -> None:
    with pytest.raises(CaptionError, match=r"other\.mp4"):
        TruthCaptioner(EVENTS).captions(Path("other.mp4"), [])
    with pytest.raises(CaptionError, match=r"other\.mp4"):
        TruthVideoQA(EVENTS).answer(Path("other.mp4"), Span(0.0, 1.0), "red?")


def tasks(count: int) -> list[Task]:
    recipe = VideoRecipe(num_videos=count, length_s=256.0, num_events=6, decoy_probability=0.5)
    return [task for i in range(count) for task in tasks_of(plan_video(recipe, i), Path(f"{i}.mp4"), recipe)]


def test_only_low_level_captions_name_signs_and_those_of_the_gold_visits_name_the_answer() -> None:
    for task in tasks(20):
        tree = CaptionTree(task.duration_s, width=4)
        captioner = TruthCaptioner(events_by_video([task]))
        for level in LEVELS:
            segments = [Segment(tree.span(node), level) for node in tree.nodes(level)]
            text = " ".join(captioner.captions(task.video, segments))
            assert any(sign in text for sign in SIGNS) == (level is Level.LOW)
        gold = [Segment(tree.span(node), Level.LOW) for node in gold_visits(tree, task.evidence, 14)]
        assert task.options[task.answer_index] in " ".join(captioner.captions(task.video, gold))
