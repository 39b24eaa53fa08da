"""Questions without options in protocols and environments: what is asked, what is read, what is refused."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from fuzzed_protocols import DURATION_S, observe
from memory_world import MemoryFrames
from output_fuzzer import check_action, check_zoom, fuzzed

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, MalformedReason, ZoomIn
from videozoom.envs.answer_texts import read_answer
from videozoom.envs.check import ZoomEnvError, check_zoom_env
from videozoom.envs.messages import TextPart
from videozoom.envs.observation import QUESTION_KINDS, VideoClip, VideoDecodeError
from videozoom.envs.protocols.longvideo_r1 import LongVideoR1Protocol
from videozoom.envs.protocols.love_r1 import ANSWER_PREFIX, ZOOM_PREFIX, LoveR1Protocol
from videozoom.envs.protocols.videozoomer import VideoZoomerProtocol
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import QuestionKind, Span, Status, Task
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.envs.wrappers import (
    BoxActions,
    DictActions,
    DiscreteActions,
    FixedShape,
    MultiDiscreteActions,
    TextActions,
)
from videozoom.rewards.answers import AnswerRules, gold_answer
from videozoom.rewards.judges import RougeL
from videozoom.rewards.rubric import RewardRules, Rubric

NUMBER, SIGN, OPEN, WHEN = (kind for kind in QuestionKind if kind is not QuestionKind.MULTIPLE_CHOICE)
FREE_KINDS = (NUMBER, SIGN, OPEN, WHEN)
ANSWERS = {NUMBER: "1,250.5 km", SIGN: "STOP at the gate", OPEN: "a red flag", WHEN: "[12, 16.5]"}
EVIDENCE = (Span(12.0, 16.0),)
TASKS = tuple(
    Task(str(kind), Path("0.mp4"), 64.0, f"What about {kind}?", (), ANSWERS[kind], EVIDENCE, kind=kind)
    for kind in FREE_KINDS
)
NOT_SPAN, NOT_NUMBER, NOT_TEXT = (
    MalformedReason.NOT_A_SPAN,
    MalformedReason.NOT_A_NUMBER,
    MalformedReason.NOT_A_TEXT,
)
RL, EVAL = LoveR1Protocol(), LoveR1Protocol(parser="eval")


def asking(kind: QuestionKind, **values: Any) -> Any:
    return observe(question_kind=QUESTION_KINDS.index(kind), options=(), **values)


def boxed(content: str, prefix: str = ANSWER_PREFIX) -> str:
    return f"{prefix}I saw it. \\boxed{{{content}}}"


OUTPUTS: list[tuple[QuestionKind, str, str | tuple[float, float], str | tuple[float, float]]] = [
    # Kind, text, and what the parsers for training and evaluation read: an answer, a zoom, or why neither.
    (NUMBER, boxed("42"), "42", "42"),
    (NUMBER, boxed(" 42 "), "42", "42"),
    (NUMBER, boxed("-3.5 m"), "-3.5 m", "-3.5 m"),
    (NUMBER, boxed("1,250"), "1,250", "1,250"),
    (NUMBER, boxed("50%"), "50%", "50%"),
    (NUMBER, boxed(r"50\%"), "50%", "50%"),
    (NUMBER, boxed("3/4"), "3/4", "3/4"),
    (NUMBER, boxed(r"\frac{3}{4}"), "3/4", "3/4"),
    (NUMBER, boxed(r"\text{7 dogs}"), "7 dogs", "7 dogs"),
    (NUMBER, boxed("three"), "three", "three"),
    (NUMBER, boxed("B"), NOT_NUMBER, NOT_NUMBER),
    (NUMBER, boxed("3 or 4"), NOT_NUMBER, NOT_NUMBER),
    (NUMBER, boxed("nan"), NOT_NUMBER, NOT_NUMBER),
    (NUMBER, boxed("1e999"), NOT_NUMBER, NOT_NUMBER),
    (NUMBER, boxed(""), NOT_NUMBER, NOT_NUMBER),
    (NUMBER, boxed("[3, 4]"), NOT_NUMBER, (3, 4)),
    (NUMBER, boxed("[3]"), "[3]", NOT_SPAN),
    (NUMBER, boxed("7") + r" or \boxed{8}", "7", "8"),
    (NUMBER, ANSWER_PREFIX + "42", MalformedReason.NO_BOX, MalformedReason.NO_BOX),
    (NUMBER, r"\boxed{42}", MalformedReason.NO_PREFIX, "42"),
    (NUMBER, boxed("[3, 9]", ZOOM_PREFIX), (3, 9), (3, 9)),
    (NUMBER, boxed("42", ZOOM_PREFIX), NOT_SPAN, "42"),
    (SIGN, boxed("STOP at the gate"), "STOP at the gate", "STOP at the gate"),
    (SIGN, boxed(r"\text{STOP}"), "STOP", "STOP"),
    (SIGN, boxed("{a} b"), "{a} b", "{a} b"),
    (SIGN, boxed("B"), "B", "B"),
    (SIGN, boxed("1984"), "1984", "1984"),
    (SIGN, boxed("\u65e5\u672c"), "\u65e5\u672c", "\u65e5\u672c"),
    (SIGN, boxed("..."), NOT_TEXT, NOT_TEXT),
    (SIGN, boxed("so " * 700), NOT_TEXT, NOT_TEXT),
    (SIGN, boxed("[sic] stop"), "[sic] stop", NOT_SPAN),
    (OPEN, boxed("a red flag"), "a red flag", "a red flag"),
    (OPEN, boxed("A flag.\nIt is red."), "A flag.\nIt is red.", "A flag.\nIt is red."),
    (OPEN, boxed(" "), NOT_TEXT, NOT_TEXT),
    (OPEN, boxed("[3, 9]"), "[3, 9]", (3, 9)),
    (WHEN, boxed("[12, 16]"), "[12, 16]", "[12, 16]"),
    (WHEN, boxed("[12.5, 16.25]"), "[12.5, 16.25]", "[12.5, 16.25]"),
    (WHEN, boxed("[16, 12]"), "[16, 12]", "[16, 12]"),
    (WHEN, boxed("12 to 16 s"), "12 to 16 s", "12 to 16 s"),
    (WHEN, boxed("00:12-00:16"), "00:12-00:16", "00:12-00:16"),
    (WHEN, boxed("[12]"), NOT_SPAN, NOT_SPAN),
    (WHEN, boxed("[1, 2, 3]"), NOT_SPAN, NOT_SPAN),
    (WHEN, boxed("[nan, 2]"), NOT_SPAN, NOT_SPAN),
    (WHEN, boxed("early"), NOT_SPAN, NOT_SPAN),
    (WHEN, boxed("[12, 16]", ZOOM_PREFIX), (12, 16), (12, 16)),
    (WHEN, boxed("[12.5, 16]", ZOOM_PREFIX), NOT_SPAN, NOT_SPAN),
    (WHEN, r"\boxed{[12, 16]}", MalformedReason.NO_PREFIX, (12, 16)),
    (WHEN, r"\boxed{12 to 16}", MalformedReason.NO_PREFIX, "12 to 16"),
]


def meant(protocol: LoveR1Protocol, kind: QuestionKind, text: str) -> str | tuple[float, float]:
    action = protocol.parse(text, asking(kind))
    if isinstance(action, ZoomIn):
        return tuple(action.span_s)
    assert isinstance(action, Answer | Malformed)
    return action.text if isinstance(action, Answer) else action.reason


@pytest.mark.parametrize(("kind", "text", "training", "evaluation"), OUTPUTS)
def test_outputs_as_love_r1_reads_them(
    kind: QuestionKind, text: str, training: str | tuple[float, float], evaluation: str | tuple[float, float]
) -> None:
    assert meant(RL, kind, text) == training
    assert meant(EVAL, kind, text) == evaluation


def test_where_an_answer_is_forced_a_span_is_one() -> None:
    for parser in ("rl", "eval", "released_eval"):
        action = LoveR1Protocol(parser=parser).parse(r"\boxed{[12, 16]}", asking(WHEN, step=4))
        assert action == Answer("[12, 16]")


@pytest.mark.parametrize("protocol", [RL, EVAL, VideoZoomerProtocol(), LongVideoR1Protocol()])
@pytest.mark.parametrize("kind", FREE_KINDS)
def test_what_is_written_is_read(kind: QuestionKind, protocol: Any) -> None:
    for observation in (asking(kind), asking(kind, step=4)):
        for reasoning in ("", "The red scene shows it."):
            text = protocol.write(Answer(ANSWERS[kind]), reasoning, observation)
            assert protocol.parse(text, observation) == Answer(ANSWERS[kind])


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        ("42 m", NUMBER, "42 m"),
        ("Answer: 42", NUMBER, "42"),
        (r"\boxed{42}", NUMBER, "42"),
        ("**42**", NUMBER, "42"),
        ("many", NUMBER, NOT_NUMBER),
        ("The answer is [12, 16]", WHEN, "[12, 16]"),
        ("12", WHEN, NOT_SPAN),
        ("Answer: is written there", SIGN, "Answer: is written there"),
        ("?", OPEN, NOT_TEXT),
    ],
)
def test_answers_as_videozoomer_reads_them(content: str, kind: QuestionKind, expected: str) -> None:
    action = VideoZoomerProtocol().parse(f"<think>I see.</think><answer>{content}</answer>", asking(kind))
    assert (action.text if isinstance(action, Answer) else getattr(action, "reason", None)) == expected


@pytest.mark.parametrize(
    "protocol",
    [RL, LoveR1Protocol("love_r1_compact"), VideoZoomerProtocol(), VideoZoomerProtocol("videozoomer_compact")],
)
def test_prompts_ask_for_what_the_kind_wants_and_nothing_of_options(protocol: Any) -> None:
    asked = {}
    for kind in QuestionKind:
        observation = observe() if kind is QuestionKind.MULTIPLE_CHOICE else asking(kind)
        last = protocol.prompt(observation).messages[1].content[-1]
        assert isinstance(last, TextPart)
        assert "Which sign?" in last.text
        assert "{" not in last.text.replace(r"\boxed{", "")
        asked[kind] = last.text
    assert len(set(asked.values())) == len(QuestionKind)
    assert "A. bars" in asked[QuestionKind.MULTIPLE_CHOICE]
    assert not any("option" in asked[kind] or "letter" in asked[kind] for kind in FREE_KINDS)


def test_longvideo_r1_asks_for_the_answer_where_there_are_no_letters() -> None:
    protocol = LongVideoR1Protocol()
    letter, number = (protocol.prompt(it).messages for it in (observe(), asking(NUMBER)))
    parts = [message.content[0] for message in (*letter, *number)]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    assert ["letter" in text for text in texts] == [True, False, False, False]
    assert "one number" in texts[3]
    assert "The video lasts 64.4 seconds." in texts[3]


@pytest.mark.parametrize("parser", ["eval", "rl"])
def test_parsers_that_read_letters_only_ask_for_nothing_else(parser: str) -> None:
    protocol = LongVideoR1Protocol(parser=parser)
    assert protocol.question_kinds == {QuestionKind.MULTIPLE_CHOICE}
    with pytest.raises(ValueError, match=r"no words for questions of kind open: add question_free\.txt"):
        protocol.prompt(asking(OPEN))


@pytest.mark.parametrize("text", ["a } b", "} {", "{"])
def test_love_r1_cannot_write_answers_whose_braces_do_not_match(text: str) -> None:
    with pytest.raises(ValueError, match="its braces do not match"):
        RL.write(Answer(text), "", asking(SIGN))
    with pytest.raises(ValueError, match="An answer must not contain"):
        VideoZoomerProtocol().write(Answer("</answer>"), "", asking(SIGN))


def parsers() -> dict[str, tuple[Callable[[str], Action], list[str], QuestionKind]]:
    found = {}
    zoom, looks = ZoomIn(Span(4.0, 6.0), 2.0), (GetCaption((1, 2)), AskVideo((1, 1, 2), "Who waves?"))
    for name, protocol, asked in (
        ("love_r1", RL, (zoom,)),
        ("love_r1 eval", EVAL, (zoom,)),
        ("videozoomer", VideoZoomerProtocol(), (zoom,)),
        ("longvideo_r1", LongVideoR1Protocol(), looks),
    ):
        for kind in FREE_KINDS:
            observation = asking(kind)
            actions = (Answer(ANSWERS[kind]), Answer(f"{ANSWERS[kind]} "), *asked)
            valid = [protocol.write(action, why, observation) for action in actions for why in ("", "I see {it}.")]
            found[f"{name} {kind}"] = (partial(protocol.parse, observation=observation), valid, kind)
    return found


PARSERS = parsers()


def check_fuzzed(name: str, num: int) -> None:
    parse, valid, kind = PARSERS[name]
    counts: Counter[type[Action] | str] = Counter()
    for text in fuzzed(valid, num):
        action = parse(text)
        if isinstance(action, Answer):
            assert not isinstance(read_answer(kind, action.text), MalformedReason)
            assert len(action.text) <= 2000
        else:
            check_action(action, ())
        if isinstance(action, ZoomIn):
            check_zoom(action, SpanRules(), DURATION_S)
        counts[type(action) if isinstance(action, Answer | Malformed) else "look"] += 1
    assert len(counts) == 3
    assert min(counts.values()) > 0.03 * num


@pytest.mark.parametrize("name", PARSERS)
def test_fuzzed_outputs_are_answers_of_their_kind_or_malformed(name: str) -> None:
    check_fuzzed(name, 600)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_a_hundred_thousand_fuzzed_outputs_are_answers_of_their_kind_or_malformed(name: str) -> None:
    check_fuzzed(name, 100_000)


class Frames(MemoryFrames):
    """Knows which videos there are."""

    def fast_view(self, video: Path) -> VideoClip:
        if not video.stem.isdigit():
            raise VideoDecodeError(f"{video}: no such file")
        return super().fast_view(video)


def make(*tasks: Task, **settings: Any) -> VideoZoomEnv:
    return VideoZoomEnv(tasks, Frames(), **settings)


def test_environments_with_questions_of_every_kind_keep_their_promises() -> None:
    choice = Task("choice", Path("0.mp4"), 64.0, "Which?", ("bars", "lines"), "B", EVIDENCE)
    # Each kind by itself, too: the first task is looked at more closely than the others.
    for tasks in ((choice, *TASKS), *((task,) for task in TASKS)):
        check_zoom_env(make(*tasks), num_tasks=5)
    check_zoom_env(TextActions(make(choice, *TASKS), RL), num_tasks=5)
    with pytest.raises(ZoomEnvError, match=r"the right answer 1,250\.5 km .* is worth 0, not 1"):
        # Nobody could be right.
        check_zoom_env(make(TASKS[0], rubric=Rubric.from_weights({"overlap": 1.0})))


@pytest.mark.parametrize(
    ("task", "text", "reward"),
    [
        (TASKS[0], "1250 m", 1.0),
        (TASKS[0], "1000", 0.0),
        (TASKS[1], "stop at the gate", 1.0),
        (TASKS[3], "[12, 18]", 1.0),
        (TASKS[3], "[16, 20]", 0.0),
    ],
)
def test_an_episode_ends_with_an_answer_of_its_kind(task: Task, text: str, reward: float) -> None:
    env = make(task)
    observation, _ = env.reset()
    assert (QUESTION_KINDS[observation["question_kind"]], observation["options"]) == (task.kind, ())
    assert env.action_space["choice"].n == 1
    _, worth, terminated, _, info = env.step({"kind": 1, "span_s": (0.0, 1.0), "choice": 0, "text": text})
    assert (worth, terminated, info["status"], info["facts"].answer) == (reward, True, Status.ANSWERED, text)
    assert info["reward_breakdown"].is_right is bool(reward)


@pytest.mark.parametrize(("task", "reason"), list(zip(TASKS, (NOT_NUMBER, NOT_TEXT, NOT_TEXT, NOT_SPAN), strict=True)))
def test_what_is_no_answer_of_the_kind_costs_a_step(task: Task, reason: MalformedReason) -> None:
    env = make(task)
    env.reset()
    *_, info = env.step(Answer("?!"))
    assert (info["action"], info["status"]) == (Malformed(reason), Status.RUNNING)
    with pytest.raises(ValueError, match="text, where there are no options"):
        env.step({"kind": 1, "span_s": (0.0, 1.0), "choice": 0})


def test_rules_of_answers_hold_in_the_environment() -> None:
    rules = RewardRules(answers=AnswerRules(is_graded=True, judge=RougeL()))
    env = make(*TASKS, rubric=Rubric.from_weights({"outcome": 1.0}, rules))
    for task, text, worth in ((TASKS[2], "a flag", 0.8), (TASKS[3], "[14, 18]", 1 / 3)):
        env.reset(options={"task": task})
        assert env.step(Answer(text))[1] == pytest.approx(worth)


@pytest.mark.parametrize("wrapper", [DiscreteActions, MultiDiscreteActions, BoxActions, DictActions, FixedShape])
def test_wrappers_for_array_learners_are_for_multiple_choice(wrapper: Callable[..., gymnasium.Env[Any, Any]]) -> None:
    with pytest.raises(ValueError, match=rf"{wrapper.__name__} is for multiple choice, .* kind numerical: leave such"):
        wrapper(make(*TASKS))


def test_another_task_of_the_wrong_kind_is_refused_when_it_comes() -> None:
    choice = Task("choice", Path("0.mp4"), 64.0, "Which?", ("bars", "lines"), "B", EVIDENCE)
    env = FixedShape(make(choice))
    with pytest.raises(ValueError, match="FixedShape is for multiple choice"):
        env.reset(options={"task": TASKS[0]})


def test_text_is_taken_for_an_answer_of_the_kind() -> None:
    env = TextActions(make(*TASKS), RL)
    for task in TASKS:
        env.reset(options={"task": task})
        *_, info = env.step(boxed(ANSWERS[task.kind]))
        assert info["reward_breakdown"].is_right is True


def test_a_picture_of_an_episode_shows_answers_without_letters() -> None:
    for task in TASKS:
        env = make(task, render_mode="rgb_array")
        env.reset()
        before = env.render()
        env.step(Answer(gold_answer(task)))
        after = env.render()
        assert before is not None and after is not None  # noqa: PT018
        assert before.shape == after.shape
        assert (before != after).any()


def test_the_kind_of_a_task_is_part_of_it() -> None:
    assert replace(TASKS[0], kind=OPEN) != TASKS[0]
    with pytest.raises(ValueError, match="not in tuple"):
        _ = TASKS[0].answer_index
