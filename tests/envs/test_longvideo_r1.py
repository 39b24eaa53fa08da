from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, MalformedReason, ZoomIn
from videozoom.envs.captions.episode import CaptionObservation
from videozoom.envs.messages import Prompt, Role, SampledPart, TextPart
from videozoom.envs.observation import Turn
from videozoom.envs.protocols.longvideo_r1 import LongVideoR1Protocol
from videozoom.envs.protocols.tagged import TAG_PARSERS, BothRule, TagRules
from videozoom.envs.tasks import Span

PROTOCOL = LongVideoR1Protocol()
THINK = "<think>Hm.</think>"
LEAF = (2, 1, 3)


def observe(**changes: Any) -> CaptionObservation:
    observation: CaptionObservation = {
        "captions": ("A dog.", "A cat.", "Rain.", "{width} birds."),
        "width": 4,
        "duration_s": 130.0,
        "question": "Who barks?",
        "question_kind": 0,
        "options": ("bars", "lines", "dots", "rings"),
        "step": 0,
        "max_steps": 5,
        "episode_kind": 0,
        "turns": (),
    }
    return observation | changes  # type: ignore[return-value]


START = observe()
REASON = MalformedReason
TABLE: list[tuple[str, Action | MalformedReason]] = [
    # Captions.
    (f"{THINK}<tool>get_caption((2, 1))</tool>", GetCaption((2, 1))),
    (f"{THINK}<tool>get_caption((2,1,3))</tool>", GetCaption(LEAF)),
    (f"{THINK}\n\n<tool>\n get_caption( ( 2 , 1 ) ) \n</tool>", GetCaption((2, 1))),
    (f"{THINK} I will look. <tool>get_caption((2, 1))</tool> Done.", GetCaption((2, 1))),
    (f"{THINK}<tool>get_caption(2, 1)</tool>", GetCaption((2, 1))),
    (f"{THINK}<tool>get_caption([2, 1])</tool>", GetCaption((2, 1))),
    (f"{THINK}<tool>get_caption((2, 1,))</tool>", GetCaption((2, 1))),
    (f"{THINK}<tool>get_caption ((2, 1))</tool>", GetCaption((2, 1))),
    (f"{THINK}<tool>get_caption((02, 001))</tool>", GetCaption((2, 1))),
    # Whether there is such a part is for the environment to say.
    (f"{THINK}<tool>get_caption((2))</tool>", GetCaption((2,))),
    (f"{THINK}<tool>get_caption(2)</tool>", GetCaption((2,))),
    (f"{THINK}<tool>get_caption((0, 9))</tool>", GetCaption((0, 9))),
    (f"{THINK}<tool>get_caption((1, 2, 3, 4))</tool>", GetCaption((1, 2, 3, 4))),
    (f"{THINK}<tool>get_caption((9999, 1))</tool>", GetCaption((9999, 1))),
    (f"{THINK}<tool>get_caption((99999, 1))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption(({'9' * 5000}, 1))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((2,{' ' * 5000}1))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((-2, 1))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((2.0, 1))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((nan, 1))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((two, one))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((2 1))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((2, 1]))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption(((2, 1)))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((2, 1), (2, 2))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption()</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption(())</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((,))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((\u0662, 1))</tool>", REASON.BAD_ARGUMENTS),  # Digits of another script.
    # Questions.
    (f'{THINK}<tool>video_qa((2, 1, 3), "Who barks?")</tool>', AskVideo(LEAF, "Who barks?")),
    (f"{THINK}<tool>video_qa((2, 1, 3), 'Who barks?')</tool>", AskVideo(LEAF, "Who barks?")),
    (f"{THINK}<tool>video_qa((2, 1, 3), Who barks?)</tool>", AskVideo(LEAF, "Who barks?")),
    (f"{THINK}<tool>video_qa((2,1,3) ,Who, and (why)?)</tool>", AskVideo(LEAF, "Who, and (why)?")),
    (f'{THINK}<tool>video_qa((2, 1, 3), "Who\'s there?")</tool>', AskVideo(LEAF, "Who's there?")),
    (f'{THINK}<tool>video_qa((2, 1, 3), "a" or "b"?)</tool>', AskVideo(LEAF, '"a" or "b"?')),
    (
        f'{THINK}<tool>video_qa((2, 1, 3), "\u72d7\u5728\u54ea\u91cc?")</tool>',
        AskVideo(LEAF, "\u72d7\u5728\u54ea\u91cc?"),
    ),
    (f"{THINK}<tool>video_qa((2, 1), Who?)</tool>", AskVideo((2, 1), "Who?")),
    (f"{THINK}<tool>video_qa([2, 1, 3], Who?)</tool>", AskVideo(LEAF, "Who?")),
    (f"{THINK}<tool>video_qa((2, 1, 3))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>video_qa((2, 1, 3), )</tool>", REASON.BAD_ARGUMENTS),
    (f'{THINK}<tool>video_qa((2, 1, 3), "")</tool>', REASON.BAD_ARGUMENTS),
    (f'{THINK}<tool>video_qa((2, 1, 3), " ")</tool>', REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>video_qa(2, 1, 3, Who?)</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>video_qa(Who?, (2, 1, 3))</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>video_qa((2, 1, 3) Who?)</tool>", REASON.BAD_ARGUMENTS),
    # Calls that are none.
    (f"{THINK}<tool>zoom((2, 1))</tool>", REASON.UNKNOWN_TOOL),
    (f"{THINK}<tool>get_caption</tool>", REASON.UNKNOWN_TOOL),
    (f"{THINK}<tool>get_caption((2, 1)</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>get_caption((2, 1))</tool", REASON.NO_ACTION),
    (f"{THINK}<tool>get_caption((2, 1)); video_qa((2, 1, 3), x)</tool>", REASON.BAD_ARGUMENTS),
    (f"{THINK}<tool>(2, 1)</tool>", REASON.UNKNOWN_TOOL),
    (f"{THINK}<tool></tool>", REASON.UNKNOWN_TOOL),
    (f"{THINK}<tool>GET_CAPTION((2, 1))</tool>", REASON.UNKNOWN_TOOL),
    (f"{THINK}get_caption((2, 1))", REASON.NO_ACTION),
    # Answers.
    (f"{THINK}<answer>B</answer>", Answer("B")),
    (f"{THINK}<answer> b </answer>", Answer("B")),
    (f"{THINK}<answer>(C)</answer>", Answer("C")),
    (f"{THINK}<answer>B. lines</answer>", Answer("B")),
    (f"{THINK}<answer>Because</answer>", REASON.NOT_A_LETTER),
    (f"{THINK}<answer></answer>", REASON.NOT_A_LETTER),
    (f"{THINK}<answer>A, B</answer>", REASON.NOT_A_LETTER),
    (f"{THINK}<answer>E</answer>", REASON.UNKNOWN_OPTION),
    (f"{THINK}<answer>B", REASON.NO_ACTION),
    (f"{THINK}B", REASON.NO_ACTION),
    # Reasoning comes first.
    ("<answer>B</answer>", REASON.NO_THINKING),
    ("<tool>get_caption((2, 1))</tool>", REASON.NO_THINKING),
    (f"<answer>B</answer>{THINK}", REASON.NO_THINKING),
    ("<think>Hm. <answer>B</answer>", REASON.NO_THINKING),
    ("<think>Hm. <answer>B</answer></think>", REASON.NO_THINKING),
    ("<think></think><answer>B</answer>", Answer("B")),
    ("Well. <think>Hm.</think><answer>B</answer>", Answer("B")),
    ("<think>Is it <answer>A</answer>? No.</think><answer>B</answer>", Answer("B")),
    ("<think>Perhaps <tool>get_caption((1, 1))</tool></think><tool>get_caption((2, 1))</tool>", GetCaption((2, 1))),
    ("", REASON.NO_THINKING),
    ("B", REASON.NO_THINKING),
    ("</think><think>", REASON.NO_THINKING),
    # Of two actions, that which is finished first.
    (f"{THINK}<answer>A</answer><answer>B</answer>", Answer("A")),
    (f"{THINK}<tool>get_caption((2, 1))</tool><answer>B</answer>", GetCaption((2, 1))),
    (f"{THINK}<answer>B</answer><tool>get_caption((2, 1))</tool>", Answer("B")),
    (f"{THINK}<tool>get_caption((2, 1)) <answer>B</answer>", Answer("B")),
]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_parser(text: str, expected: Action | MalformedReason) -> None:
    assert PROTOCOL.parse(text, START) == (Malformed(expected) if isinstance(expected, MalformedReason) else expected)


def test_the_table_is_long_enough() -> None:
    assert len({text for text, _ in TABLE}) >= 60


BOTH = f"{THINK}<tool>get_caption((2, 1))</tool><answer>B</answer>"


@pytest.mark.parametrize(
    ("parser", "text", "expected"),
    [
        ("first", BOTH, GetCaption((2, 1))),
        ("eval", BOTH, Answer("B")),
        ("rl", f"{THINK}<answer>B</answer><tool>get_caption((2, 1))</tool>", GetCaption((2, 1))),
        ("rl", "<answer>B</answer>", Answer("B")),
        ("eval", "<answer>B</answer>", Malformed(REASON.NO_THINKING)),
        ("eval", f"{THINK}<answer> B </answer>", Answer("B")),
        ("eval", f"{THINK}<answer>(B)</answer>", Malformed(REASON.NOT_A_LETTER)),
        ("rl", "<answer>b</answer>", Malformed(REASON.NOT_A_LETTER)),
        ("rl", "<answer>E</answer>", Malformed(REASON.UNKNOWN_OPTION)),
        ("rl", "nothing", Malformed(REASON.NO_ACTION)),
        (TagRules(both=BothRule.ANSWER, think_first=False), "<answer>(b)</answer>", Answer("B")),
    ],
)
def test_parsers_that_differ(parser: str | TagRules, text: str, expected: Action) -> None:
    assert LongVideoR1Protocol(parser=parser).parse(text, START) == expected


NODES = st.lists(st.integers(1, 8), min_size=1, max_size=3).map(tuple)
QUESTIONS = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and "<" not in text)
ACTIONS = st.one_of(
    st.sampled_from("ABCD").map(Answer), NODES.map(GetCaption), st.builds(AskVideo, node=NODES, question=QUESTIONS)
)


@pytest.mark.parametrize("parser", sorted(TAG_PARSERS))
@given(ACTIONS, st.text(max_size=60).filter(lambda text: "<" not in text))
def test_what_is_written_is_read(parser: str, action: Action, reasoning: str) -> None:
    protocol = LongVideoR1Protocol(parser=parser)
    assert protocol.parse(protocol.write(action, reasoning, START), START) == action


@pytest.mark.parametrize(
    ("action", "reasoning"),
    [
        (Answer("A"), "No. </think>"),
        (Answer("A"), "<answer>B"),
        (GetCaption((1, 1)), "<tool>"),
        (AskVideo(LEAF, "</tool>"), ""),
        (Malformed("no_action"), ""),
        (ZoomIn(Span(0.0, 1.0)), ""),
    ],
)
def test_what_would_be_read_as_something_else_is_not_written(action: Action, reasoning: str) -> None:
    with pytest.raises(ValueError, match=r"must not contain|has no text"):
        PROTOCOL.write(action, reasoning, START)


def texts(prompt: Prompt) -> list[tuple[Role, str]]:
    for message in prompt.messages:
        assert all(isinstance(part, TextPart | SampledPart) for part in message.content)
    return [(it.role, "".join(part.text for part in it.content)) for it in prompt.messages]  # type: ignore[union-attr]


def test_the_first_prompt_holds_question_options_duration_and_the_captions_of_the_high_level() -> None:
    (system_role, system), (role, user) = texts(PROTOCOL.prompt(START))
    assert (system_role, role) == (Role.SYSTEM, Role.USER)
    assert "into 4 high-level parts" in system
    assert user.splitlines() == [
        "Who barks?",
        "A. bars",
        "B. lines",
        "C. dots",
        "D. rings",
        "The video lasts 130 seconds.",
        "Caption of high-level part (1), 0 s to 32.5 s: A dog.",
        "Caption of high-level part (2), 32.5 s to 65 s: A cat.",
        "Caption of high-level part (3), 65 s to 97.5 s: Rain.",
        "Caption of high-level part (4), 97.5 s to 130 s: {width} birds.",
    ]


TURNS = (
    Turn(GetCaption((2, 1)), text="A cat sits."),
    Turn(GetCaption(LEAF), text="A cat jumps."),
    Turn(AskVideo(LEAF, "Is it black?"), text="Yes."),
    Turn(Malformed(MalformedReason.NO_THINKING)),
)
SPOKEN = [SampledPart(f"said {number}", (number,)) for number in range(4)]


def test_the_transcript_is_kept_and_every_tool_answers_as_a_user() -> None:
    prompt = PROTOCOL.prompt(observe(turns=TURNS[:3], step=3), SPOKEN[:3])
    assert texts(prompt)[2:] == [
        (Role.ASSISTANT, "said 0"),
        (Role.USER, "Caption of medium-level part (2, 1), 32.5 s to 40.6 s: A cat sits."),
        (Role.ASSISTANT, "said 1"),
        (Role.USER, "Caption of low-level part (2, 1, 3), 36.6 s to 38.6 s: A cat jumps."),
        (Role.ASSISTANT, "said 2"),
        (Role.USER, "<information>Yes.</information>"),
    ]
    assert [message.content for message in prompt.messages if message.role is Role.ASSISTANT] == [
        (part,) for part in SPOKEN[:3]
    ]


def test_each_prompt_begins_with_the_one_before() -> None:
    prompts = [PROTOCOL.prompt(observe(turns=TURNS[:n], step=n, max_steps=9), SPOKEN[:n]) for n in range(5)]
    for number in range(4):
        assert prompts[number + 1].messages[: 2 + 2 * number] == prompts[number].messages


def test_the_last_round_is_announced_and_only_then() -> None:
    words = "This is the last round: give your final answer now."
    last = texts(PROTOCOL.prompt(observe(turns=TURNS, step=4, max_steps=5), SPOKEN))
    assert last[-1][1].endswith("\n" + words)
    assert sum(words in text for _, text in last) == 1
    assert not any(words in text for _, text in texts(PROTOCOL.prompt(observe(turns=TURNS[:3], step=3), SPOKEN[:3])))
    assert texts(PROTOCOL.prompt(observe(max_steps=1)))[-1][1].endswith(words)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (REASON.NO_THINKING, "Reason first"),
        (REASON.NO_ACTION, "neither a finished <tool></tool> nor a finished <answer></answer>"),
        (REASON.UNKNOWN_TOOL, "the tools are get_caption and video_qa"),
        (REASON.BAD_ARGUMENTS, "get_caption takes the numbers of a part"),
        (REASON.UNKNOWN_NODE, "numbers go from 1 to 4"),
        (REASON.CAPTION_FIRST, "read the low-level caption of a part"),
        (REASON.NOT_A_LETTER, "the letter of one option"),
        (REASON.UNKNOWN_OPTION, "no option has this letter"),
        (REASON.NOT_ALLOWED, "cannot be done in this round"),
        ("a reason of one's own", "a reason of one's own"),
    ],
)
def test_an_action_that_is_not_taken_is_answered_with_the_reason(reason: str, words: str) -> None:
    prompt = PROTOCOL.prompt(observe(turns=(Turn(Malformed(reason)),), step=1), SPOKEN[:1])
    assert texts(prompt)[2] == (Role.ASSISTANT, "said 0")
    assert words in texts(prompt)[3][1]


def test_turns_whose_words_are_not_known_are_written_from_their_actions() -> None:
    said = [text for role, text in texts(PROTOCOL.prompt(observe(turns=TURNS, step=4))) if role is Role.ASSISTANT]
    assert said[0] == "<think></think><tool>get_caption((2, 1))</tool>"
    assert [PROTOCOL.parse(text, START) for text in said[:3]] == [turn.action for turn in TURNS[:3]]
    assert said[3] == ""


def test_the_wording_comes_from_files(tmp_path: Path) -> None:
    for name in ("system", "high", "medium", "low", "question", "answer", "no_thinking", "refused", "last_round"):
        placeholders = {"question": "{question}{options}{captions}", "answer": "{answer}", "refused": "{reason}"}
        level = "{node}{start}{end}{caption}" if name in ("high", "medium", "low") else ""
        (tmp_path / f"{name}.txt").write_text(f"{name} {placeholders.get(name, level)}\n")
    with pytest.raises(ValueError, match=r"reasons\.txt does not exist.*longvideo_r1, longvideo_r1_compact"):
        LongVideoR1Protocol(tmp_path)
    (tmp_path / "reasons.txt").write_text("")
    assert texts(LongVideoR1Protocol(tmp_path).prompt(START))[0] == (Role.SYSTEM, "system ")
    (tmp_path / "low.txt").write_text("{node}{start}{end}")
    with pytest.raises(ValueError, match=r"low\.txt must contain \{caption\}"):
        LongVideoR1Protocol(tmp_path)


@pytest.mark.parametrize("prompts", ["longvideo_r1", "longvideo_r1_compact"])
def test_shipped_wordings_know_every_reason_of_theirs(prompts: str) -> None:
    protocol = LongVideoR1Protocol(prompts)
    reasons = {expected for _, expected in TABLE if isinstance(expected, MalformedReason)}
    for reason in reasons | {REASON.UNKNOWN_NODE, REASON.CAPTION_FIRST, REASON.NOT_ALLOWED}:
        reply = texts(protocol.prompt(observe(turns=(Turn(Malformed(reason)),), step=1)))[-1][1]
        assert str(reason) not in reply


def test_unknown_parsers_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown parser 'strict': use one of first, eval, rl"):
        LongVideoR1Protocol(parser="strict")
