import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.actions import Action, Answer, GetCaption, Malformed, MalformedReason, ZoomIn
from videozoom.envs.messages import Prompt, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.observation import Observation, Turn, VideoClip
from videozoom.envs.overlay import TimestampOverlay
from videozoom.envs.protocols import videozoomer
from videozoom.envs.protocols.videozoomer import PRESETS, FrameLayout, VideoZoomerProtocol
from videozoom.envs.sampling import num_frames_at
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.tasks import Span

REASON = MalformedReason
PROTOCOL = VideoZoomerProtocol()
OPTIONS = ("bars", "lines", "dots", "rings")


def clip(start_s: float, end_s: float, num_frames: int = 4) -> VideoClip:
    times_s = np.linspace(start_s, end_s, num_frames, endpoint=False)
    frames = np.full((num_frames, 28, 28, 3), 90, np.uint8)
    return VideoClip(frames, times_s, Span(start_s, end_s), f"{start_s:g}-{end_s:g}")


def observe(*turns: Turn, **values: Any) -> Observation:
    observation = Observation(
        fast_view=clip(0.0, 64.4),
        clips=(),
        question="Which sign?",
        question_kind=0,
        options=OPTIONS,
        step=len(turns),
        max_steps=5,
        episode_kind=0,
        turns=turns,
    )
    return observation | values  # type: ignore[return-value]


FREE = observe()
LAST = observe(step=4)
ZOOM_STEP = observe(episode_kind=1, max_steps=1)
ZOOM = ZoomIn(Span(4.0, 6.0), 2.0)
LOOSE = ZoomIn(Span(4.0, 6.0), 2.0, is_well_formed=False)


def zoom(request: str) -> str:
    return f"<think>Too fast.</think><video_zoom>{request}</video_zoom>"


def answer(content: str) -> str:
    return f"<think>I see it.</think><answer>{content}</answer>"


def loosely(letter: str) -> Answer:
    return Answer(letter, is_well_formed=False)


# What a model writes, and what is read: an action, or why there is none.
OUTPUTS = [
    # Zooms in form.
    (zoom(' {"segment": [4.0, 6.0], "fps": 2} '), ZOOM),
    (zoom('{"segment":[4,6],"fps":2}'), ZOOM),
    (zoom('{"fps": 2, "segment": [4, 6]}'), ZOOM),
    (zoom('\n{\n  "segment": [\n4,\n6],\n"fps": 2\n}\n'), ZOOM),  # line breaks
    (zoom('{"segment": ["4", " 6.0 "], "fps": "2"}'), ZOOM),  # numbers in quotes
    (zoom('{"segment": [4, 6], "fps": 2, "why": "too fast"}'), ZOOM),
    (zoom('```json\n{"segment": [4, 6], "fps": 2}\n```'), ZOOM),
    (zoom('{"segment": [0.4e1, 60e-1], "fps": 2.0}'), ZOOM),
    ('<think>a</think>\nI look.\n<video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom>', ZOOM),
    ('\n<think></think><video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom>\n', ZOOM),
    ('<think>a</think><video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom> Thanks.', ZOOM),
    (zoom('{"segment": [6, 4], "fps": 2}'), ZoomIn(Span(6.0, 4.0), 2.0)),  # the environment's to refuse
    (zoom('{"segment": [-5, 1e6], "fps": 0.5}'), ZoomIn(Span(-5.0, 1e6), 0.5)),
    (zoom('{"segment": [4, 4], "fps": 0}'), ZoomIn(Span(4.0, 4.0), 0.0)),
    (zoom('{"segment": [4, 6], "fps": -3}'), ZoomIn(Span(4.0, 6.0), -3.0)),
    # Zooms that can be read, but are not in form.
    ('<video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom>', LOOSE),
    ('Hm. <think>a</think><video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom>', LOOSE),
    ('<think>a<video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom>', LOOSE),  # thinking never ended
    ('<think>or <video_zoom>?</think><video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom>', LOOSE),
    ('<think>no <answer> yet</think><video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom>', LOOSE),
    ('<think>a</think><video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom><answer>', LOOSE),
    ('<think>a</think><video_zoom><video_zoom>{"segment": [4, 6], "fps": 2}</video_zoom>', LOOSE),
    # Zooms that cannot be read.
    (zoom(""), REASON.BAD_ARGUMENTS),
    (zoom("4 to 6"), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, 6]}'), REASON.BAD_ARGUMENTS),
    (zoom('{"fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, 6, 8], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": 4, "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": "46", "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [[4, 6]], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, null], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [true, 6], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": ["0:04", "0:06"], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [NaN, 6], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, Infinity], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, 6], "fps": 1e999}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, 6], "fps": "nan"}'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, ' + "9" * 400 + '], "fps": 2}'), REASON.BAD_ARGUMENTS),  # no float is as large
    (zoom('{"segment": [4, 6], "fps": 2'), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, 6], "fps": 2}} '), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, 6], "fps": 2} {"segment": [4, 6], "fps": 2}'), REASON.BAD_ARGUMENTS),
    (zoom("{'segment': [4, 6], 'fps': 2}"), REASON.BAD_ARGUMENTS),
    (zoom("[4, 6, 2]"), REASON.BAD_ARGUMENTS),
    (zoom('{"a": ' * 100 + "}" * 100), REASON.BAD_ARGUMENTS),
    (zoom('{"segment": [4, 6], "fps": 2' + " " * 2000 + "}"), REASON.BAD_ARGUMENTS),
    # Answers in form.
    (answer("B"), Answer("B")),
    (answer(" B\n"), Answer("B")),
    (answer("(B)"), Answer("B")),
    (answer("B)"), Answer("B")),
    (answer("b"), Answer("B")),
    (answer("B."), Answer("B")),
    (answer("B. lines"), Answer("B")),
    (answer("B: lines"), Answer("B")),
    (answer("(b) lines"), Answer("B")),
    (answer("Answer: B"), Answer("B")),
    (answer("answer b"), Answer("B")),
    (answer("The answer is (B)."), Answer("B")),
    (answer("The correct option is B"), Answer("B")),
    (answer("Option B"), Answer("B")),
    (answer("**B**"), Answer("B")),
    (answer("**Answer:** B"), Answer("B")),
    (answer("\\boxed{B}"), Answer("B")),
    (answer("The answer is \\boxed{(b)}."), Answer("B")),
    (answer("A. the U.S."), Answer("A")),  # not S
    ("<think>a</think>\n\n<answer>B</answer>\n", Answer("B")),
    # Answers that can be read, but are not in form.
    ("<answer>B</answer>", loosely("B")),
    ("So: <think>a</think><answer>B</answer>", loosely("B")),
    ("<think>a</think><answer>B</answer> I am sure.", loosely("B")),
    ("<think>a</think><answer>A</answer><answer>B</answer>", loosely("B")),  # the last one
    ("<think>a</think><answer>B</answer><answer>", loosely("B")),
    ("<think>a</think><answer><answer>B</answer></answer>", loosely("B")),
    ("<think>a</think><video_zoom><answer>B</answer>", loosely("B")),  # a zoom that was never finished
    ("<think>is it <answer>A</answer>?</think><answer>B</answer>", loosely("B")),
    ("<think>a</think><answer>B</answer></think>", loosely("B")),
    # Answers that cannot be read.
    (answer(""), REASON.NOT_A_LETTER),
    (answer("because"), REASON.NOT_A_LETTER),
    (answer("The U.S."), REASON.NOT_A_LETTER),  # stray capitals
    (answer("lines. Dots. B."), REASON.NOT_A_LETTER),
    (answer("A or B"), REASON.NOT_A_LETTER),
    (answer("A, B"), REASON.NOT_A_LETTER),
    (answer("AB"), REASON.NOT_A_LETTER),
    (answer("A dog"), REASON.NOT_A_LETTER),
    (answer("1"), REASON.NOT_A_LETTER),
    (answer("\u0410"), REASON.NOT_A_LETTER),  # Cyrillic
    (answer("Answer:"), REASON.NOT_A_LETTER),
    (answer("\\boxed{}"), REASON.NOT_A_LETTER),
    (answer("E"), REASON.UNKNOWN_OPTION),
    (answer("Z. none"), REASON.UNKNOWN_OPTION),
    # Neither, or too much.
    ("", REASON.NO_ACTION),
    ("B", REASON.NO_ACTION),
    ("The answer is B.", REASON.NO_ACTION),
    ("<think>It is B.</think>", REASON.NO_ACTION),
    ("<think>It is B.</think> B.", REASON.NO_ACTION),
    ("<think>a</think><answer>B", REASON.NO_ACTION),
    ("<think>a</think>B</answer>", REASON.NO_ACTION),
    ("<think>a</think></answer>B<answer>", REASON.NO_ACTION),
    ("<think>a</think><ANSWER>B</ANSWER>", REASON.NO_ACTION),
    ("<think>a</think>< answer >B</ answer >", REASON.NO_ACTION),
    ("<think><answer>B</answer></think>", REASON.NO_ACTION),
    ('<think>a</think><video_zoom>{"segment": [4, 6], "fps": 2}', REASON.NO_ACTION),
    ('<think>a</think>{"segment": [4, 6], "fps": 2}', REASON.NO_ACTION),
    (zoom('{"segment": [4, 6], "fps": 2}') + "<answer>B</answer>", REASON.TWO_ACTIONS),
    (answer("B") + zoom('{"segment": [4, 6], "fps": 2}'), REASON.TWO_ACTIONS),
    (zoom('{"segment": [4, 6], "fps": 2}') * 2, REASON.TWO_ACTIONS),
]


@pytest.mark.parametrize(("text", "expected"), OUTPUTS)
def test_outputs_are_read_as_the_table_says(text: str, expected: Action | MalformedReason) -> None:
    action = PROTOCOL.parse(text, FREE)
    assert action == (Malformed(expected) if isinstance(expected, MalformedReason) else expected)


def test_a_zoom_in_the_last_round_is_not_allowed_unless_it_is_all_that_is_wanted() -> None:
    text = zoom('{"segment": [4, 6], "fps": 2}')
    refused = PROTOCOL.parse(text, LAST)
    assert refused == Malformed(REASON.NOT_ALLOWED)
    assert refused.asked == ZOOM  # type: ignore[union-attr]
    assert PROTOCOL.parse(answer("B"), LAST) == Answer("B")
    assert PROTOCOL.parse(text, ZOOM_STEP) == ZOOM


@given(
    st.floats(0.0, 60.0), st.floats(0.01, 4.0), st.floats(1e-3, 100.0), st.text(alphabet="ab {}\n\"'\\", max_size=20)
)
def test_what_is_written_is_read_again(start_s: float, length_s: float, fps: float, reasoning: str) -> None:
    action = ZoomIn(Span(start_s, start_s + length_s), fps)
    assert PROTOCOL.parse(PROTOCOL.write(action, reasoning, FREE), FREE) == action
    for letter in "ABCD":
        assert PROTOCOL.parse(PROTOCOL.write(Answer(letter), reasoning, LAST), LAST) == Answer(letter)


@given(st.floats(1e-3, 1e5))
def test_a_zoom_without_a_rate_gets_one_that_the_rules_accept(length_s: float) -> None:
    action = PROTOCOL.parse(PROTOCOL.write(ZoomIn(Span(1.0, 1.0 + length_s)), "", FREE), FREE)
    assert isinstance(action, ZoomIn)
    assert action.fps is not None
    assert 1 <= num_frames_at(action.span_s.length_s, action.fps) <= 16
    assert isinstance(SpanRules.videozoomer().check(action.span_s, 2e5, (), action.fps), Span)


@pytest.mark.parametrize(
    ("span", "fps"),
    [
        (Span(4.0, 6.0), 2.0),  # the protocol's own
        (Span(0.0, 8.0), 2.0),
        (Span(0.0, 20.0), 0.8),  # 16 frames
        (Span(0.0, 64.4), 0.248),
        (Span(4.0, 4.25), 4.0),  # one frame
    ],
)
def test_rates_are_the_protocols_own_as_long_as_they_give_frames_and_not_too_many(span: Span, fps: float) -> None:
    action = PROTOCOL.parse(PROTOCOL.write(ZoomIn(span), "", FREE), FREE)
    assert action == ZoomIn(span, fps)


@pytest.mark.parametrize(
    ("action", "reasoning"),
    [
        (Malformed("no_action"), ""),
        (GetCaption((1,)), ""),
        (loosely("B"), ""),
        (Answer("B"), "first <answer>A</answer>"),
        (ZOOM, "then </think>"),
        (ZOOM, "or <video_zoom>"),
    ],
)
def test_what_cannot_be_written_is_refused(action: Action, reasoning: str) -> None:
    with pytest.raises(ValueError, match=r"has no text|must not contain"):
        PROTOCOL.write(action, reasoning, FREE)


def shown(prompt: Prompt) -> list[list[str]]:
    """Return the parts of each message; a clip is its key in brackets."""
    return [
        [f"[{part.clip.key}]" if isinstance(part, VideoPart) else part.text for part in message.content]
        for message in prompt.messages
    ]


def test_the_first_message_shows_the_overview_with_times_before_its_frames_and_then_the_question() -> None:
    [system, user] = shown(PROTOCOL.prompt(FREE))
    assert "at most 16 frames" in system[0]
    assert user[:-1] == [
        "<frame0_time0.00s>",
        "[0-64.4[0:1]]",
        "<frame1_time16.10s>",
        "[0-64.4[1:2]]",
        "<frame2_time32.20s>",
        "[0-64.4[2:3]]",
        "<frame3_time48.30s>",
        "[0-64.4[3:4]]",
    ]
    assert user[-1].startswith("\nWhich sign?\nA. bars\nB. lines\nC. dots\nD. rings\n")
    assert "last round" not in user[-1]


def test_frames_are_images_pairs_or_a_video() -> None:
    def frames(layout: str) -> list[np.ndarray]:
        return [clip.frames for clip in VideoZoomerProtocol(frames=layout).prompt(FREE).clips()]

    assert [len(it) for it in frames("images")] == [1, 1, 1, 1]
    assert [len(it) for it in frames("pairs")] == [2, 2]
    assert [len(it) for it in frames("video")] == [4]
    [_, user] = shown(VideoZoomerProtocol(frames=FrameLayout.PAIRS).prompt(FREE))
    assert user[:2] == ["<frame0_time0.00s><frame1_time16.10s>", "[0-64.4[0:2]]"]
    [_, user] = shown(VideoZoomerProtocol(frames=FrameLayout.VIDEO).prompt(FREE))
    assert user[0] == "[0-64.4]"
    odd = observe(fast_view=clip(0.0, 3.0, 3))
    assert [len(it.frames) for it in VideoZoomerProtocol(frames="pairs").prompt(odd).clips()] == [2, 1]


def test_times_are_drawn_on_frames_too_if_wanted() -> None:
    observation = observe(Turn(ZoomIn(Span(4.0, 6.0), 2.0), clip(4.0, 6.0)))
    plain = list(VideoZoomerProtocol().prompt(observation).clips())
    drawn = list(VideoZoomerProtocol(overlay=TimestampOverlay(plate=True)).prompt(observation).clips())
    assert len(drawn) == len(plain) > 4
    for one, other in zip(drawn, plain, strict=True):
        assert one.key != other.key
        assert not np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.times_s, other.times_s)


def test_frames_of_a_clip_are_numbered_from_zero_and_timed_by_the_video() -> None:
    [*_, reply] = shown(PROTOCOL.prompt(observe(Turn(ZOOM, clip(4.0, 6.0, 2)))))
    assert reply[1:5] == ["<frame0_time4.00s>", "[4-6[0:1]]", "<frame1_time5.00s>", "[4-6[1:2]]"]
    assert reply[0].startswith("<tool_response>\n")
    assert "</tool_response>" in reply[5]


def test_the_whole_transcript_is_kept_as_it_was_sampled() -> None:
    turns = (Turn(ZOOM, clip(4.0, 6.0, 2)), Turn(Malformed(REASON.NO_ACTION)))
    spoken = (SampledPart("<think>one", (1, 2)), SampledPart("two", (3,)))
    first, second, third = (PROTOCOL.prompt(observe(*turns[:step]), spoken[:step]) for step in range(3))
    assert first.messages == second.messages[:2]
    assert second.messages == third.messages[:4]
    assert [message.content for message in third.messages if message.role is Role.ASSISTANT] == [(it,) for it in spoken]
    assert all(prompt.assistant_prefix == "" for prompt in (first, second, third))


def test_turns_that_nobody_spoke_are_written_from_their_actions() -> None:
    loose = ZoomIn(Span(4.0, 6.0), 2.0, is_well_formed=False)
    prompt = PROTOCOL.prompt(observe(Turn(loose, clip(4.0, 6.0, 2)), Turn(Malformed(REASON.NO_ACTION))))
    texts = [message.content[0] for message in prompt.messages if message.role is Role.ASSISTANT]
    assert texts == [SampledPart(PROTOCOL.write(ZOOM, "", FREE)), SampledPart("")]


REFUSALS = [
    (Malformed(REASON.NO_ACTION), "neither a finished <video_zoom></video_zoom> nor a finished <answer></answer>"),
    (Malformed(REASON.TWO_ACTIONS), "one request or one answer"),
    (Malformed(REASON.BAD_ARGUMENTS), '{"segment": [start, end], "fps": n}'),
    (Malformed(REASON.NOT_A_LETTER), "the letter of one option"),
    (Malformed(REASON.UNKNOWN_OPTION, Answer("E")), "there is no option E"),
    (Malformed(REASON.REVERSED, ZoomIn(Span(6.0, 4.0), 2.0)), "ends (4 s) before it starts (6 s)"),
    (Malformed(REASON.OUT_OF_BOUNDS, ZoomIn(Span(80.0, 90.5), 1.0)), "from 80 s to 90.5 s is not inside the video"),
    (Malformed(REASON.OUT_OF_BOUNDS, ZoomIn(Span(80.0, 90.5), 1.0)), "from 0 s to 64.4 s"),
    (
        Malformed(REASON.TOO_MANY_FRAMES, ZoomIn(Span(4.0, 16.0), 2.0)),
        "would be 24 frames, and at most 16 are possible",
    ),
    (Malformed(REASON.TOO_FEW_FRAMES, ZoomIn(Span(4.0, 4.2), 2.0)), "at 2 frames per second holds no frame"),
    (Malformed(REASON.TOO_SHORT, ZoomIn(Span(4.0, 4.0), 2.0)), "from 4 s to 4 s is too short"),
    (Malformed("made_up"), "made up"),
]


@pytest.mark.parametrize(("action", "words"), REFUSALS)
def test_what_is_no_valid_action_is_explained(action: Malformed, words: str) -> None:
    [*_, reply] = shown(PROTOCOL.prompt(observe(Turn(action))))
    assert words in reply[0]
    assert "{" not in reply[0].replace('{"segment": [start, end], "fps": n}', "")
    assert reply[0].index("<tool_response>") < reply[0].index("</tool_response>")


def test_every_reason_that_a_round_can_have_has_words() -> None:
    reasons = {line.partition(":")[0] for line in PROTOCOL.wording["reasons"].splitlines()}
    outputs = {expected.value for _, expected in OUTPUTS if isinstance(expected, MalformedReason)}
    rules = {"not_a_span", "reversed", "out_of_bounds", "too_short", "too_long", "too_many_frames", "too_few_frames"}
    kinds = {"not_a_number", "not_a_text"}
    assert outputs | rules | kinds | {"repeated", "not_allowed"} == reasons


def test_the_last_round_is_told_so_and_no_other() -> None:
    turns = [Turn(ZOOM, clip(4.0, 6.0, 2)), Turn(Malformed(REASON.NO_ACTION))] * 2
    messages = shown(PROTOCOL.prompt(observe(*turns)))
    assert ["last round" in "".join(message) for message in messages[1::2]] == [False, False, False, False, True]
    only = shown(PROTOCOL.prompt(observe(max_steps=1)))
    assert "last round" in only[1][-1]
    assert "last round" not in shown(PROTOCOL.prompt(ZOOM_STEP))[1][-1]
    assert "must be a request" in shown(PROTOCOL.prompt(ZOOM_STEP))[1][-1]


def test_presets_are_the_published_variants() -> None:
    def first_and_reply(preset: str) -> tuple[str, str]:
        messages = shown(VideoZoomerProtocol(preset=preset).prompt(observe(Turn(ZOOM, clip(4.0, 6.0, 2)))))
        return messages[0][0], "".join(messages[-1])

    system, reply = first_and_reply("rl")
    boxed, boxed_reply = first_and_reply("eval")
    assert "\\boxed{}" in boxed and "\\boxed{}" not in system and boxed_reply == reply  # noqa: PT018
    same, plain_reply = first_and_reply("sft")
    assert same == system
    assert plain_reply == reply.replace("<tool_response>\n", "").replace("</tool_response>\n", "")
    plain = VideoZoomerProtocol(preset="no_tool").prompt(observe(max_steps=1))
    assert [len(it.frames) for it in plain.clips()] == [4]
    assert "zoom" not in " ".join(text for message in shown(plain) for text in message)
    evaluated = VideoZoomerProtocol(preset="eval")
    assert evaluated.write(Answer("B"), "", FREE) == answer("\\boxed{B}").replace("I see it.", "")
    assert evaluated.parse(evaluated.write(Answer("B"), "", FREE), FREE) == Answer("B")


def test_reading_is_learned_without_a_word_about_zooming() -> None:
    plain = PROTOCOL.without_instruction()
    texts = " ".join(text for message in shown(plain.prompt(observe(max_steps=1))) for text in message)
    assert "zoom" not in texts
    excerpt = shown(plain.prompt_on_clip(clip(0.0, 4.0, 1), "Excerpt:", "List the scenes."))
    assert excerpt[1] == ["Excerpt:\n", "<frame0_time0.00s>", "[0-4[0:1]]", "\nList the scenes."]
    assert "zoom" in shown(PROTOCOL.prompt(FREE))[0][0]


@pytest.mark.parametrize("name", ["videozoomer", "videozoomer_compact"])
@pytest.mark.parametrize("preset", PRESETS)
def test_no_wording_reads_as_an_action(name: str, preset: str) -> None:
    protocol = VideoZoomerProtocol(name, preset=preset)
    turns = (Turn(ZOOM, clip(4.0, 6.0, 2)), Turn(Malformed(REASON.NO_ACTION)))
    for message in protocol.prompt(observe(*turns, max_steps=3)).messages:
        for part in message.content:
            if isinstance(part, TextPart) and message.role is Role.USER:
                assert isinstance(protocol.parse(part.text, FREE), Malformed)


def test_a_folder_of_ones_own_replaces_the_wording(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(Path(videozoomer.__file__).parent / "prompts" / "videozoomer", folder)
    (folder / "frame.txt").write_text("at {second} s:")
    (folder / "system.txt").write_text("Look.")
    [system, user] = shown(VideoZoomerProtocol(folder).prompt(FREE))
    assert (system, user[2]) == (["Look."], "at 16 s:")
    (folder / "reply.txt").write_text("Here.")
    with pytest.raises(ValueError, match=r"reply\.txt must contain \{frames\}"):
        VideoZoomerProtocol(folder)
    (folder / "reply.txt").unlink()
    with pytest.raises(ValueError, match=r"reply\.txt does not exist.*videozoomer, videozoomer_compact"):
        VideoZoomerProtocol(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "paper"}, "Unknown preset 'paper': use one of rl, eval, sft, no_tool"),
        ({"max_frames": 0}, "max_frames 0"),
        ({"fps": 0.0}, "fps 0.0"),
        ({"fps": float("nan")}, "fps nan"),
        ({"frames": "film"}, "film"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoZoomerProtocol(**settings)
