"""Cold-start samples: they teach what the protocol reads, and nothing is told that must be seen."""

import re
from collections import Counter

import numpy as np
import pytest
from generated_world import GeneratedWorld, text_of

from videozoom.envs.actions import Action, Answer, ZoomIn
from videozoom.envs.generated.narration import (
    NO_MARK,
    NO_SCENE,
    NOT_SEEN,
    describe,
    events_of,
    glimpse,
    locate,
    span_of,
)
from videozoom.envs.generated.signs import SIGNS
from videozoom.envs.observation import Observation
from videozoom.envs.protocols.love_r1 import ANSWER_PREFIX, LoveR1Protocol
from videozoom.envs.tasks import Span, Task
from videozoom.experiments.cold_start_data import ColdStartData
from videozoom.experiments.cold_start_stage import Objective
from videozoom.policies.supervised import SupervisedSample

NUM_SAMPLES = 60


def drawn(world: GeneratedWorld, task: Task, objective: str) -> list[SupervisedSample]:
    data = ColdStartData([task], world.frames, world.protocol)
    return [getattr(data, objective)(np.random.default_rng(index)) for index in range(NUM_SAMPLES)]


def zoomed(sample: SupervisedSample) -> tuple[Span, ...]:
    """Return the spans of the slow clips in view."""
    _, *clips = sample.prompt.clips()
    return tuple(clip.span_s for clip in clips)


def action_of(protocol: LoveR1Protocol, sample: SupervisedSample, task: Task) -> Action:
    observation: Observation = {  # type: ignore[typeddict-item]
        "question_kind": 0,
        "options": task.options,
        "step": 0,
        "max_steps": 3,
        "episode_kind": 0,
    }
    return protocol.parse(sample.completion, observation)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def sentences(text: str) -> list[str]:
    return sorted(re.findall(r"\w[^.]*\.", text))


def signs(text: str) -> Counter[str]:
    return Counter(word for word in re.findall(r"\w+", text) if word in SIGNS)


@pytest.mark.parametrize("index", range(3))
def test_reasoning_reads_back_as_the_right_action(generated: GeneratedWorld, index: int) -> None:
    task = generated.tasks[index]
    seen = Counter()
    for sample in drawn(generated, task, "cot"):
        action = action_of(generated.protocol, sample, task)
        assert sample.prompt.assistant_prefix == ""
        if zoomed(sample) == task.evidence:
            assert action == Answer(task.answer)
        else:
            assert action == ZoomIn(task.evidence[0])
            assert len(zoomed(sample)) <= 1
        seen["answer" if isinstance(action, Answer) else f"zoom with {len(zoomed(sample))} clips"] += 1
    assert set(seen) == {"answer", "zoom with 0 clips", "zoom with 1 clips"}


def test_the_reasoning_is_what_the_clips_show(generated: GeneratedWorld) -> None:
    [task, *_] = generated.tasks
    truth = next(event for event in events_of(task) if span_of(event) in task.evidence)
    for sample in drawn(generated, task, "cot"):
        sentence = describe(truth) if zoomed(sample) == task.evidence else locate(truth)
        assert sentence in sample.completion


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_a_planted_bias_moves_first_zooms_only(generated: GeneratedWorld, bias: float) -> None:
    task = next(it for it in generated.tasks if span_of(events_of(it)[0]) not in it.evidence)
    data = ColdStartData([task], generated.frames, generated.protocol)
    samples = [data.cot(np.random.default_rng(index), first_scene_bias=bias) for index in range(NUM_SAMPLES)]
    for sample in samples:
        action = action_of(generated.protocol, sample, task)
        if not zoomed(sample):
            assert action == ZoomIn(span_of(events_of(task)[0]) if bias else task.evidence[0])
        else:
            assert action in (ZoomIn(task.evidence[0]), Answer(task.answer))


def test_how_often_a_wrong_clip_is_zoomed_away_from(generated: GeneratedWorld) -> None:
    [task, *_] = generated.tasks
    data = ColdStartData([task], generated.frames, generated.protocol)
    held = {
        share: [zoomed(data.cot(np.random.default_rng(index), wrong_clip_share=share)) for index in range(NUM_SAMPLES)]
        for share in (0.0, 0.65)
    }
    assert set(held[0.0]) == {(), task.evidence}
    assert () not in held[0.65]


@pytest.mark.parametrize("glance_share", [0.0, 1.0])
def test_marks_answer_once_a_clip_is_in_view_or_at_once(generated: GeneratedWorld, glance_share: float) -> None:
    for task in generated.marked:
        [truth] = [event for event in events_of(task) if span_of(event) in task.evidence]
        data = ColdStartData([task], generated.frames, generated.protocol)
        first_steps = Counter()
        for index in range(NUM_SAMPLES):
            sample = data.cot(np.random.default_rng(index), glance_share=glance_share)
            action = action_of(generated.protocol, sample, task)
            if zoomed(sample):
                assert action == Answer(task.answer)
                assert (describe if zoomed(sample) == task.evidence else glimpse)(truth) in sample.completion
            else:
                assert action == (Answer(task.answer) if glance_share else ZoomIn(task.evidence[0]))
            first_steps[len(zoomed(sample))] += 1
        assert set(first_steps) == {0, 1}


def test_marks_are_read_and_guesses_are_read_from_them(generated: GeneratedWorld) -> None:
    for task in generated.marked:
        events = events_of(task)
        [truth] = [event for event in events if span_of(event) in task.evidence]
        for sample in drawn(generated, task, "guess"):
            assert sample.completion == f"{glimpse(truth)} \\boxed{{{task.answer}}}"
            assert set(zoomed(sample)).isdisjoint(task.evidence)
        for sample in drawn(generated, task, "marks"):
            assert set(sentences(sample.completion)) <= {NO_MARK, *map(glimpse, events)}
    read = {sample.completion for sample in drawn(generated, generated.tasks[0], "marks")}
    assert read == {NO_MARK}


def test_marks_are_an_objective_where_there_are_some(generated: GeneratedWorld) -> None:
    for tasks, expected in ((generated.marked, True), (generated.tasks, False)):
        data = ColdStartData(tasks, generated.frames, generated.protocol)
        assert (Objective.MARKS in data.objectives) is expected
        assert Objective.COT in data.objectives


def test_a_guess_is_forced_and_has_not_seen_what_is_asked(generated: GeneratedWorld) -> None:
    [task, *_] = generated.tasks
    tell = {span_of(event): f"{describe(event)} " for event in events_of(task)}
    seen = set()
    for sample in drawn(generated, task, "guess"):
        assert sample.prompt.assistant_prefix == ANSWER_PREFIX
        told = "".join(tell[span_s] for span_s in zoomed(sample))
        assert sample.completion == f"{told}{NOT_SEEN} \\boxed{{{task.answer}}}"
        assert set(zoomed(sample)).isdisjoint(task.evidence)
        seen.add(len(zoomed(sample)))
    assert seen == {0, 1}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_how_often_an_answer_is_told_that_it_is_the_last_step(generated: GeneratedWorld, share: float) -> None:
    [task, *_] = generated.tasks
    data = ColdStartData([task], generated.frames, generated.protocol)
    for index in range(NUM_SAMPLES):
        sample = data.cot(np.random.default_rng(index), forced_share=share)
        is_forced = sample.prompt.assistant_prefix == ANSWER_PREFIX
        assert is_forced == (share == 1.0 and zoomed(sample) == task.evidence)


def test_a_guess_from_an_overview_reads_what_its_frames_show_and_no_more(generated: GeneratedWorld) -> None:
    data = ColdStartData(generated.tasks, generated.frames, generated.protocol)
    reasons = set()
    for index in range(NUM_SAMPLES):
        sample = data.guess(np.random.default_rng(index), overview_share=1.0)
        [span_s] = zoomed(sample)
        assert (span_s.start_s, span_s.end_s) == (0, 32)
        assert sample.prompt.assistant_prefix == ANSWER_PREFIX
        reasons.add(sample.completion.split(" \\boxed")[0] == NOT_SEEN)
    assert reasons == {True, False}


def test_a_large_fast_view_is_read_where_it_shows_what_is_asked(generated: GeneratedWorld) -> None:
    for task in generated.tasks:
        [truth] = [event for event in events_of(task) if span_of(event) in task.evidence]
        data = ColdStartData([task], generated.frames, generated.protocol)
        sample = data.guess(np.random.default_rng(0), reads_fast_view=True)
        # A frame every two seconds shows every scene.
        assert sample.completion == f"{describe(truth)} \\boxed{{{task.answer}}}"
        assert not zoomed(sample)


def test_two_events_are_zoomed_into_one_after_the_other(generated: GeneratedWorld) -> None:
    for task in generated.pairs:
        first, second = task.evidence
        others = {span_of(event) for event in events_of(task)} - {first, second}
        seen = set()
        for sample in drawn(generated, task, "cot"):
            held = tuple(span for span in zoomed(sample) if span not in others)
            expected = {(): ZoomIn(first), (first,): ZoomIn(second), (first, second): Answer(task.answer)}
            assert action_of(generated.protocol, sample, task) == expected[held]
            seen.add(held)
        assert len(seen) == 3


def test_a_prompt_names_signs_only_as_options(generated: GeneratedWorld) -> None:
    for task in generated.tasks:
        for sample in drawn(generated, task, "cot"):
            assert signs(text_of(sample.prompt)) == Counter(task.options)
        for objective in ("grounding", "reading"):
            for sample in drawn(generated, task, objective):
                assert not signs(text_of(sample.prompt))


def test_a_prompt_names_no_time_but_those_of_its_clips(generated: GeneratedWorld) -> None:
    for task in generated.tasks:
        for objective in ("cot", "grounding"):
            for sample in drawn(generated, task, objective):
                expected = [0.0, task.duration_s, *(time_s for span in zoomed(sample) for time_s in span)]
                assert numbers(text_of(sample.prompt)) == expected


def test_the_search_for_times_finds_them(generated: GeneratedWorld) -> None:
    """Control: the evidence is told in completions, and with its clip in the prompt too."""
    [task, *_] = generated.tasks
    samples = drawn(generated, task, "cot")
    [answer, *_] = [sample for sample in samples if zoomed(sample) == task.evidence]
    [zoom, *_] = [sample for sample in samples if not zoomed(sample)]
    assert numbers(text_of(answer.prompt))[2:] == list(task.evidence[0])
    assert set(task.evidence[0]) <= set(numbers(zoom.completion))
    assert signs(answer.completion) == Counter([task.options[task.answer_index]])
    assert not signs(zoom.completion)


def test_grounding_lists_every_scene_or_describes_the_clip(generated: GeneratedWorld) -> None:
    for task in generated.tasks:
        orders, events = set(), events_of(task)
        for sample in drawn(generated, task, "grounding"):
            if spans := zoomed(sample):
                assert sample.completion == describe(next(event for event in events if (span_of(event),) == spans))
            else:
                orders.add(sample.completion)
                assert sentences(sample.completion) == sorted(locate(event) for event in events)
        # In random order: the listing must be read off the video, not learned as a sequence.
        assert len(orders) > 5


def test_stage_one_has_no_instruction(generated: GeneratedWorld) -> None:
    instruction = generated.protocol.prompts.instruction
    [task, *_] = generated.tasks
    for objective in ("reading", "grounding"):
        assert not any(instruction in text_of(sample.prompt) for sample in drawn(generated, task, objective))
    assert all(instruction in text_of(sample.prompt) for sample in drawn(generated, task, "cot"))


def test_excerpts_show_what_is_said_of_them_and_no_other_scene(generated: GeneratedWorld) -> None:
    for task in generated.tasks:
        events, view, num_shown = events_of(task), generated.frames.fast_view(task.video), Counter()
        for sample in drawn(generated, task, "reading"):
            [clip] = sample.prompt.clips()
            assert set(clip.times_s) <= set(view.times_s)
            assert all(clip.span_s.start_s <= time_s < clip.span_s.end_s for time_s in clip.times_s)
            shown = [e for e in events if any(e["start_s"] <= time_s < e["end_s"] for time_s in clip.times_s)]
            assert sentences(sample.completion) == (sorted(locate(event) for event in shown) or [NO_SCENE])
            for event in shown:
                # A scene is never cut: its end could not be read off the excerpt.
                whole = [time_s for time_s in view.times_s if event["start_s"] <= time_s < event["end_s"]]
                assert set(whole) <= set(clip.times_s)
            num_shown[len(shown)] += 1
        assert set(num_shown) == set(range(min(4, len(events)) + 1))


def test_excerpts_of_other_lengths(generated: GeneratedWorld) -> None:
    data = ColdStartData(generated.tasks, generated.frames, generated.protocol)
    for num_pairs, most_frames in ((1, 2), (3, 6), (99, 16)):
        samples = [data.reading(np.random.default_rng(index), num_pairs=[num_pairs]) for index in range(20)]
        assert max(len(clip.frames) for sample in samples for clip in sample.prompt.clips()) == most_frames


@pytest.mark.parametrize("objective", ["reading", "grounding", "cot"])
def test_the_same_chance_gives_the_same_sample(generated: GeneratedWorld, objective: str) -> None:
    [task, *_] = generated.tasks
    first, again = (drawn(generated, task, objective) for _ in range(2))
    assert first == again
    assert len({sample.completion for sample in first}) > 1


@pytest.mark.parametrize(("limits", "expected"), [((), {1: 4, 2: 4}), ((4, 2), {1: 4, 2: 2}), ((2,), {1: 2, 2: 2})])
def test_clips_have_fewer_frames_where_several_are_held(
    limits: tuple[int, ...], expected: dict[int, int], generated: GeneratedWorld
) -> None:
    data = ColdStartData(generated.pairs, generated.frames, generated.protocol, clip_frames=limits)
    seen: dict[int, int] = {}
    for index in range(NUM_SAMPLES):
        _, *clips = data.cot(np.random.default_rng(index)).prompt.clips()
        assert len({len(clip.frames) for clip in clips}) <= 1
        seen |= {len(clips): len(clip.frames) for clip in clips}
    assert seen == expected
