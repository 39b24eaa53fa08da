import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.actions import Action, Answer, Malformed, MalformedReason, ZoomIn
from videozoom.envs.messages import Role, TextPart
from videozoom.envs.observation import Observation, VideoClip
from videozoom.envs.protocols import love_r1
from videozoom.envs.protocols.boxed import BoxChoice, BoxRules, LetterRule
from videozoom.envs.protocols.love_r1 import ANSWER_PREFIX, ZOOM_PREFIX, LoveR1Protocol
from videozoom.envs.tasks import Span

ZOOM, ANSWER = ZOOM_PREFIX, ANSWER_PREFIX
PROTOCOL = LoveR1Protocol()
EVAL_PROTOCOL = LoveR1Protocol(parser="eval")


def clip(start_s: float, end_s: float, size_px: int = 28) -> VideoClip:
    frames = np.full((4, size_px, size_px, 3), 90, np.uint8)
    return VideoClip(frames, np.linspace(start_s, end_s, 4), Span(start_s, end_s), f"{start_s}-{end_s}-{size_px}")


def observe(**values: Any) -> Observation:
    observation = Observation(
        fast_view=clip(0.0, 64.9),
        clips=(),
        question="Which sign?",
        question_kind=0,
        options=("bars", "lines", "dots", "rings"),
        step=0,
        max_steps=3,
        episode_kind=0,
        turns=(),
    )
    return observation | values  # type: ignore[return-value]


FREE = observe(step=1)
LAST = observe(step=2)
ZOOM_STEP = observe(episode_kind=1, max_steps=1)


def texts_and_spans(observation: Observation, protocol: LoveR1Protocol = PROTOCOL) -> list[str | Span]:
    user = protocol.prompt(observation).messages[1]
    return [part.text if isinstance(part, TextPart) else part.clip.span_s for part in user.content]


def test_prompt_is_the_fast_view_then_clips_by_start_then_the_question() -> None:
    content = texts_and_spans(observe(clips=(clip(40.0, 44.0, 56), clip(12.0, 16.5, 56)), step=2))
    assert content[:-1] == [
        "Full video [0, 64]:",
        Span(0.0, 64.9),
        "Subset zoom-in video clip [12, 16.5]:",
        Span(12.0, 16.5),
        "Subset zoom-in video clip [40, 44]:",
        Span(40.0, 44.0),
    ]
    question = str(content[-1])
    assert question.index("Which sign?") < question.index("A. bars\nB. lines\nC. dots\nD. rings")
    assert question.index("D. rings") < question.index(r"\boxed{[start, end]}")


def test_prompt_has_one_system_and_one_user_message() -> None:
    messages = PROTOCOL.prompt(FREE).messages
    assert [message.role for message in messages] == [Role.SYSTEM, Role.USER]


def test_clips_are_shown_with_timestamps_drawn_unless_turned_off() -> None:
    observation = observe(clips=(clip(12.0, 16.0, 56),))
    drawn = list(PROTOCOL.prompt(observation).clips())
    plain = list(LoveR1Protocol(timestamps=False).prompt(observation).clips())
    sources = [observation["fast_view"], *observation["clips"]]
    assert plain == sources
    for drawn_clip, source in zip(drawn, sources, strict=True):
        assert drawn_clip.key != source.key
        assert not np.array_equal(drawn_clip.frames, source.frames)
        assert np.array_equal(drawn_clip.times_s, source.times_s)


def test_the_same_observation_makes_the_same_clip_objects_for_a_whole_group() -> None:
    observation = observe()
    first, second = (next(iter(PROTOCOL.prompt(observation).clips())) for _ in range(2))
    assert first is second


@pytest.mark.parametrize(
    ("observation", "prefix"),
    [
        (observe(step=0), ""),
        (observe(step=1), ""),
        (observe(step=2), "I get the answer.\n\n"),
        (observe(step=0, max_steps=1), "I get the answer.\n\n"),
        (observe(step=0, max_steps=1, episode_kind=1), "I need to zoom in on the video.\n\n"),
        (observe(step=0, max_steps=3, episode_kind=1), "I need to zoom in on the video.\n\n"),
    ],
)
def test_prefix_is_forced_at_the_last_step_and_for_zoom_steps(observation: Observation, prefix: str) -> None:
    assert PROTOCOL.prompt(observation).assistant_prefix == prefix


REASON = MalformedReason
RL_TABLE: list[tuple[Observation, str, Action | MalformedReason]] = [
    (FREE, ZOOM + r"There. \boxed{[12, 16]}", ZoomIn(Span(12, 16))),
    (FREE, ZOOM + r"\boxed{[16, 12]}", ZoomIn(Span(12, 16))),
    (FREE, ZOOM + r"\boxed{ [ 12 ,16 ] }", ZoomIn(Span(12, 16))),
    (FREE, ZOOM + r"\boxed{[-3, 900]}", ZoomIn(Span(-3, 900))),  # Bounds are the environment's.
    (FREE, ZOOM + r"\boxed{[12, 16]} no, \boxed{[20, 24]}", ZoomIn(Span(12, 16))),
    (FREE, ZOOM + r"\boxed{[12.5, 16]}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + r"\boxed{[0:12, 0:16]}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + r"\boxed{[1, 2, 3]}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + r"\boxed{[1, 2], [3, 4]}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + r"\boxed{12, 16}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + r"\boxed{[nan, inf]}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + rf"\boxed{{[0, {'9' * 5000}]}}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + "\\boxed{[\u0661, \u0662]}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + r"\boxed{B}", REASON.NOT_A_SPAN),
    (FREE, ZOOM + "[12, 16]", REASON.NO_BOX),
    (FREE, ZOOM + r"\boxed{[12, 16]", REASON.NO_BOX),
    (FREE, ZOOM + r"\boxed{{[12, 16]}", REASON.NO_BOX),
    (FREE, ANSWER + r"Bars it is. \boxed{A}", Answer("A")),
    (FREE, ANSWER + r"\boxed{ d }", Answer("D")),
    (FREE, ANSWER + r"\boxed{(B) lines}", Answer("B")),
    (FREE, ANSWER + r"\boxed{C. dots}", Answer("C")),
    (FREE, ANSWER + r"\boxed{Because}", REASON.NOT_A_LETTER),
    (FREE, ANSWER + r"\boxed{A, B}", REASON.NOT_A_LETTER),
    (FREE, ANSWER + r"\boxed{}", REASON.NOT_A_LETTER),
    (FREE, ANSWER + "\\boxed{\u00df}", REASON.NOT_A_LETTER),
    (FREE, ANSWER + r"\boxed{E}", REASON.UNKNOWN_OPTION),
    (FREE, ANSWER + r"\boxed{[12, 16]}", REASON.NOT_A_LETTER),
    (FREE, ANSWER + "A", REASON.NO_BOX),
    (FREE, r"\boxed{A}", REASON.NO_PREFIX),
    (FREE, "", REASON.NO_PREFIX),
    (FREE, " " + ANSWER + r"\boxed{A}", REASON.NO_PREFIX),
    (FREE, r"I get the answer. \boxed{A}", Answer("A")),  # The line breaks are not insisted on.
    (ZOOM_STEP, r"There. \boxed{[12, 16]}", ZoomIn(Span(12, 16))),
    (ZOOM_STEP, r"\boxed{A}", REASON.NOT_A_SPAN),
    (ZOOM_STEP, ANSWER + r"\boxed{A}", REASON.NOT_A_SPAN),  # The forced prefix decides.
    (LAST, r"Bars. \boxed{A}", Answer("A")),
    (LAST, r"\boxed{[12, 16]}", REASON.NOT_A_LETTER),
    (LAST, ZOOM + r"\boxed{[12, 16]}", REASON.NOT_A_LETTER),
    (LAST, "Bars.", REASON.NO_BOX),
]


@pytest.mark.parametrize(("observation", "text", "expected"), RL_TABLE)
def test_training_parser(observation: Observation, text: str, expected: Action | MalformedReason) -> None:
    action = PROTOCOL.parse(text, observation)
    assert action == (Malformed(expected) if isinstance(expected, MalformedReason) else expected)


@pytest.mark.parametrize(
    ("observation", "text", "expected"),
    [
        (FREE, r"\boxed{[12, 16]}", ZoomIn(Span(12, 16))),
        (FREE, ANSWER + r"\boxed{[12, 16]}", ZoomIn(Span(12, 16))),  # The box decides, not the prefix.
        (FREE, ZOOM + r"\boxed{A}", Answer("A")),
        (FREE, r"First \boxed{[12, 16]}, then \boxed{[20, 24]}", ZoomIn(Span(20, 24))),
        (FREE, r"\boxed{[20, 24]} but \boxed{[12", REASON.NO_BOX),
        (FREE, "", REASON.NO_BOX),
        (LAST, r"\boxed{A} or \boxed{B}", Answer("B")),
        (LAST, r"\boxed{[12, 16]}", REASON.NOT_A_LETTER),
    ],
)
def test_evaluation_parser(observation: Observation, text: str, expected: Action | MalformedReason) -> None:
    action = EVAL_PROTOCOL.parse(text, observation)
    assert action == (Malformed(expected) if isinstance(expected, MalformedReason) else expected)


def test_parser_rules_can_be_set_one_by_one() -> None:
    rules = BoxRules(box=BoxChoice.LAST, integers_only=False, letter=LetterRule.FIRST_CHARACTER)
    protocol = LoveR1Protocol(parser=rules)
    assert protocol.parse(ZOOM + r"\boxed{[1, 2]} \boxed{[1.5, 2e1]}", FREE) == ZoomIn(Span(1.5, 20.0))
    assert protocol.parse(ANSWER + r"\boxed{because}", FREE) == Answer("B")
    assert protocol.parse(ANSWER + "\\boxed{\u00df}", FREE) == Malformed(REASON.NOT_A_LETTER)
    assert protocol.parse(ZOOM + r"\boxed{[1e999, 2]}", FREE) == Malformed(REASON.NOT_A_SPAN)


FRAGMENTS = st.sampled_from(
    [ZOOM, ANSWER, "\\boxed{", "}", "{", "[", "]", ",", " ", "\n", "A", "z", "12", "-1", "1.5", "nan", "inf", "1e400"]
)


@given(
    st.lists(FRAGMENTS | st.text(max_size=5), max_size=12).map("".join),
    st.sampled_from([FREE, LAST, ZOOM_STEP]),
    st.sampled_from([PROTOCOL, EVAL_PROTOCOL, LoveR1Protocol(parser=BoxRules(integers_only=False))]),
)
def test_parse_never_raises_and_says_why(text: str, observation: Observation, protocol: LoveR1Protocol) -> None:
    action = protocol.parse(text, observation)
    if isinstance(action, Malformed):
        assert action.reason in tuple(MalformedReason)
    elif isinstance(action, ZoomIn):
        assert action.span_s.start_s <= action.span_s.end_s
    else:
        assert action.text in "ABCD"


@pytest.mark.parametrize("unit", ["\\boxed{", "}", "{", "9", " ", "[1,", "\U0001f600", "\x00", "\\boxed{[1"])
@pytest.mark.parametrize("protocol", [PROTOCOL, LoveR1Protocol(parser=BoxRules(integers_only=False))])
def test_a_megabyte_of_junk_is_malformed(unit: str, protocol: LoveR1Protocol) -> None:
    junk = unit * (2**20 // len(unit))
    for text in (ZOOM + junk, ZOOM + "\\boxed{[" + junk + "]}", ANSWER + "\\boxed{" + junk + "}"):
        assert isinstance(protocol.parse(text, FREE), Malformed)


WHOLE = st.integers(0, 10**6).map(float)
REASONING = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: "\\boxed{" not in text)


@given(st.tuples(WHOLE, WHOLE), REASONING, st.sampled_from([FREE, ZOOM_STEP]))
def test_a_written_zoom_is_read_back(times: tuple[float, float], reasoning: str, observation: Observation) -> None:
    action = ZoomIn(Span(*sorted(times)))
    for protocol in (PROTOCOL, EVAL_PROTOCOL):
        assert protocol.parse(protocol.write(action, reasoning, observation), observation) == action


@given(st.sampled_from("ABCD"), REASONING, st.sampled_from([FREE, LAST]))
def test_a_written_answer_is_read_back(letter: str, reasoning: str, observation: Observation) -> None:
    for protocol in (PROTOCOL, EVAL_PROTOCOL):
        assert protocol.parse(protocol.write(Answer(letter), reasoning, observation), observation) == Answer(letter)


@given(st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_decimal_spans_are_written_exactly(first_s: float, second_s: float) -> None:
    protocol = LoveR1Protocol(parser=BoxRules(integers_only=False))
    action = ZoomIn(Span(*sorted((first_s, second_s))))
    assert protocol.parse(protocol.write(action, "", FREE), FREE) == action


def test_written_text_leaves_a_forced_prefix_out() -> None:
    zoom = ZoomIn(Span(12.0, 16.0))
    assert PROTOCOL.write(zoom, "Red.", FREE) == "I need to zoom in on the video.\n\nRed. \\boxed{[12, 16]}"
    assert PROTOCOL.write(zoom, "Red.", ZOOM_STEP) == "Red. \\boxed{[12, 16]}"
    assert PROTOCOL.write(Answer("B"), "", FREE) == "I get the answer.\n\n\\boxed{B}"
    assert PROTOCOL.write(Answer("B"), "", LAST) == "\\boxed{B}"


def test_whole_second_spans_are_widened_never_narrowed() -> None:
    assert PROTOCOL.write(ZoomIn(Span(12.2, 15.1)), "", ZOOM_STEP) == "\\boxed{[12, 16]}"


@pytest.mark.parametrize(
    ("action", "reasoning", "observation"),
    [
        (Malformed("no_box"), "", FREE),
        (Answer("A"), "I think \\boxed{B}.", FREE),
        (Answer("A"), "", ZOOM_STEP),
        (ZoomIn(Span(1.0, 2.0)), "", LAST),
    ],
)
def test_what_cannot_be_written_is_refused(action: Action, reasoning: str, observation: Observation) -> None:
    with pytest.raises(ValueError, match=r"no text|must not contain|forces"):
        PROTOCOL.write(action, reasoning, observation)


@pytest.mark.parametrize("name", ["love_r1", "love_r1_compact"])
def test_shipped_wordings_never_hold_a_readable_action(name: str) -> None:
    protocol = LoveR1Protocol(name)
    question = str(texts_and_spans(FREE, protocol)[-1])
    for prefix in (ZOOM, ANSWER):
        assert isinstance(protocol.parse(prefix + question, FREE), Malformed)


def test_compact_wording_is_a_handful_of_words() -> None:
    prompts = LoveR1Protocol("love_r1_compact").prompts
    assert len(f"{prompts.system} {prompts.instruction}".split()) <= 10


def test_braces_in_a_question_are_left_alone() -> None:
    question = str(texts_and_spans(observe(question="Is it {options} or {0}?", options=("{question}",)))[-1])
    assert "Is it {options} or {0}?" in question
    assert "A. {question}" in question


def test_prompts_load_from_a_folder_of_the_user(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(Path(love_r1.__file__).parent / "prompts" / "love_r1", folder)
    (folder / "system.txt").write_text("Ich schaue Videos f\u00fcr dich\n\n", encoding="utf-8")
    system = LoveR1Protocol(folder).prompt(FREE).messages[0]
    assert system.content == (TextPart("Ich schaue Videos f\u00fcr dich"),)


def test_broken_prompt_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"system\.txt does not exist.*love_r1, love_r1_compact"):
        LoveR1Protocol(tmp_path)
    (tmp_path / "system.txt").write_text("s")
    (tmp_path / "instruction.txt").write_text("i")
    (tmp_path / "question.txt").write_text("{question}")
    with pytest.raises(ValueError, match=r"must contain \{options\}"):
        LoveR1Protocol(tmp_path)


def test_unknown_parser_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="Unknown parser 'sft': use one of rl, eval"):
        LoveR1Protocol(parser="sft")


def test_protocols_travel_to_workers() -> None:
    copy = pickle.loads(pickle.dumps(PROTOCOL))
    assert copy.prompt(FREE) == PROTOCOL.prompt(FREE)
