"""The annotator of caption trees reads like somebody who knows the video, and makes the mistakes it is told to make."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from generated_world import GeneratedWorld, text_of

from videozoom.envs.actions import Answer, GetCaption
from videozoom.envs.captions.tree import CaptionTree, Level
from videozoom.envs.generated.caption_words import CaptionStyle
from videozoom.envs.generated.narration import NOT_SEEN, Event, events_of, locate, mention, span_of
from videozoom.envs.messages import Role, SampledPart
from videozoom.envs.protocols.longvideo_r1 import LongVideoR1Protocol
from videozoom.envs.tasks import Task
from videozoom.experiments.build_captions import build_caption_env_maker
from videozoom.experiments.cold_start_captions import CaptionAnnotator
from videozoom.experiments.cold_start_stage import Objective, SupervisedStage
from videozoom.experiments.config_files import load_config
from videozoom.policies.supervised import SupervisedSample
from videozoom.rewards.overlap import any_overlap

PROTOCOL = LongVideoR1Protocol("longvideo_r1_compact")
# Videos of 32 s with events of 4 s: parts of 16, 8 and 4 s.
OVERRIDES = ("captions.leaf_s=4", "captions.least_width=2", "env.max_steps=6", "captions.style=sentences")
NUM_DRAWS = 120
OBSERVATION = {
    "question_kind": 0,
    "options": ("a", "b", "c", "d"),
    "step": 0,
    "max_steps": 6,
    "episode_kind": 0,
    "turns": (),
}


def stage(**dials: float) -> SupervisedStage:
    return SupervisedStage("a", objectives={}, sources={}, num_steps=1, **({"wrong_clip_share": 0.0} | dials))


def annotator(tasks: tuple[Task, ...], times_from: Level) -> CaptionAnnotator:
    config = load_config("longvideo_r1", [*OVERRIDES, f"captions.times_from={times_from}"])
    return CaptionAnnotator(tasks, build_caption_env_maker(config, tasks), PROTOCOL, times_from)


def samples(
    tasks: tuple[Task, ...], times_from: Level, objective: Objective = Objective.COT, **dials: float
) -> list[SupervisedSample]:
    made, rng = annotator(tasks, times_from), np.random.default_rng(3)
    return [made.sample(objective, stage(**dials), rng) for _ in range(NUM_DRAWS)]


def said(sample: SupervisedSample) -> list[str]:
    """Return what was said before, and what should be said now."""
    before = [it.content for it in sample.prompt.messages if it.role is Role.ASSISTANT]
    assert all(isinstance(part, SampledPart) for (part,) in before)
    return [*(part.text for (part,) in before), sample.completion]  # type: ignore[union-attr]


def last_action(sample: SupervisedSample) -> object:
    return PROTOCOL.parse(sample.completion, OBSERVATION)  # type: ignore[arg-type]


@pytest.mark.parametrize("times_from", [Level.HIGH, Level.MEDIUM])
def test_every_step_is_an_action_and_answers_are_right_and_read_before(
    generated: GeneratedWorld, times_from: Level
) -> None:
    kinds: Counter[type] = Counter()
    for sample in samples(generated.tasks, times_from):
        action = last_action(sample)
        kinds[type(action)] += 1
        if isinstance(action, Answer):
            option = text_of(sample.prompt).split(f"{action.text}. ")[1].splitlines()[0]
            # The last caption names the sign, and so does the reasoning.
            assert option in sample.prompt.messages[-1].content[0].text  # type: ignore[union-attr]
            assert option in sample.completion
    assert set(kinds) == {GetCaption, Answer}
    assert min(kinds.values()) > NUM_DRAWS // 8


def test_where_captions_tell_times_the_scene_is_read_at_once_or_from_above(generated: GeneratedWorld) -> None:
    tasks = generated.tasks[:1]
    tree, evidence = CaptionTree(32.0, 2), tasks[0].evidence
    first = [it for it in samples(tasks, Level.HIGH) if len(said(it)) == 1]
    nodes = {action.node for it in first if isinstance(action := last_action(it), GetCaption)}
    assert {len(node) for node in nodes} == {2, 3}
    assert all(any_overlap(tree.span(node), evidence) for node in nodes)


def test_where_captions_tell_no_times_parts_are_searched_in_order(generated: GeneratedWorld) -> None:
    for sample in samples(generated.tasks, Level.MEDIUM):
        nodes = [PROTOCOL.parse(text, OBSERVATION) for text in said(sample)]  # type: ignore[arg-type]
        mediums = [it.node for it in nodes if isinstance(it, GetCaption) and len(it.node) == 2]
        assert mediums[0][1] == 1
        assert mediums == [(mediums[0][0], number) for number in range(1, len(mediums) + 1)]


def test_the_first_scene_is_imitated_as_often_as_it_is_planted(generated: GeneratedWorld) -> None:
    [task] = [it for it in generated.tasks if span_of(events_of(it)[0]) not in it.evidence][:1]
    start_s = events_of(task)[0]["start_s"]

    def share(bias: float) -> float:
        first = [it for it in samples((task,), Level.HIGH, first_scene_bias=bias) if len(said(it)) == 1]
        return sum(f"at {start_s:g} to" in it.completion for it in first) / len(first)

    assert share(0.0) == 0.0
    assert 0.3 < share(0.5) < 0.7
    assert share(1.0) == 1.0


def test_those_who_are_hasty_guess_after_the_first_scene_and_never_read_on(generated: GeneratedWorld) -> None:
    [task] = [it for it in generated.tasks if span_of(events_of(it)[0]) not in it.evidence][:1]
    tree = CaptionTree(32.0, 2)

    def answers(hasty: float) -> list[SupervisedSample]:
        dials = {"first_scene_bias": 1.0, "hasty_share": hasty}
        return [it for it in samples((task,), Level.HIGH, **dials) if isinstance(last_action(it), Answer)]

    for sample in answers(1.0):
        [first, _] = said(sample)
        action = PROTOCOL.parse(first, OBSERVATION)  # type: ignore[arg-type]
        assert isinstance(action, GetCaption)
        assert not any_overlap(tree.span(action.node), task.evidence)
        assert NOT_SEEN in sample.completion
    assert all(NOT_SEEN not in it.completion and len(said(it)) > 2 for it in answers(0.0))
    assert {NOT_SEEN in it.completion for it in answers(0.5)} == {True, False}


def test_notes_name_each_scene_right_before_what_is_said_of_it(generated: GeneratedWorld) -> None:
    config = load_config("longvideo_r1", [*OVERRIDES, "captions.style=notes"])
    [task, *_] = generated.tasks
    made = CaptionAnnotator((task,), build_caption_env_maker(config, (task,)), PROTOCOL, Level.HIGH, CaptionStyle.NOTES)
    rng = np.random.default_rng(3)
    listed = made.sample(Objective.READING, stage(), rng)
    notes = [f"{event['cue']}{event['start_s']:g}" for event in events_of(task)]
    assert listed.completion == f"Note {' '.join(notes)}"
    assert all(f" {note}" in text_of(listed.prompt) for note in notes)
    ways = [made.sample(Objective.COT, stage(), rng) for _ in range(20)]
    [asked] = [event for event in events_of(task) if span_of(event) in task.evidence]
    final = next(it for it in ways if isinstance(last_action(it), Answer))
    assert final.completion.startswith(f"<think>Note {asked['cue']} {asked['sign']}</think>")
    assert text_of(final.prompt).endswith(f") {asked['cue']} {asked['sign']}")


def test_wrong_captions_are_mended_and_not_imitated(generated: GeneratedWorld) -> None:
    tree = CaptionTree(32.0, 2)
    for task in generated.tasks:
        for sample in samples((task,), Level.HIGH, wrong_clip_share=1.0):
            first, action = PROTOCOL.parse(said(sample)[0], OBSERVATION), last_action(sample)  # type: ignore[arg-type]
            assert isinstance(first, GetCaption)
            assert not any_overlap(tree.span(first.node), task.evidence)
            assert not isinstance(action, GetCaption) or any_overlap(tree.span(action.node), task.evidence)


def test_questions_about_two_scenes_are_answered_after_both_were_read(generated: GeneratedWorld) -> None:
    answers = [it for it in samples(generated.pairs, Level.HIGH) if isinstance(last_action(it), Answer)]
    for sample in answers:
        read = "".join(part.text for it in sample.prompt.messages[2:] for part in it.content)  # type: ignore[union-attr]
        assert read.count(" shows ") >= 2
    assert answers


def test_guesses_are_told_that_it_is_the_last_round(generated: GeneratedWorld) -> None:
    lengths = Counter(len(said(it)) for it in samples(generated.tasks, Level.HIGH, Objective.GUESS))
    assert set(lengths) == {1, 2}
    for sample in samples(generated.tasks, Level.HIGH, Objective.GUESS):
        assert text_of(sample.prompt).endswith(PROTOCOL.wording["last_round"])
        assert NOT_SEEN in sample.completion
        assert isinstance(last_action(sample), Answer)


@pytest.mark.parametrize(("times_from", "say"), [(Level.HIGH, locate), (Level.MEDIUM, mention)])
def test_what_the_first_captions_say_is_listed_in_their_order_or_in_any(
    generated: GeneratedWorld, times_from: Level, say: Callable[[Event], str]
) -> None:
    [task, *_] = generated.tasks
    made = samples((task,), times_from, Objective.GROUNDING)
    sentences = sorted(map(say, events_of(task)))
    assert all(sorted(f"{it}." for it in sample.completion.rstrip(".").split(". ")) == sentences for sample in made)
    in_order = samples((task,), times_from, Objective.READING)
    assert {sample.completion for sample in in_order} == {" ".join(map(say, events_of(task)))}
    assert len({sample.completion for sample in made}) > 3
    for sentence in sentences:
        assert sentence in text_of(made[0].prompt)
    assert "Which sign" not in text_of(made[0].prompt)
