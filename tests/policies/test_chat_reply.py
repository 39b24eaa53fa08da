import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.policies.chat_reply import ChatReply, error_message, read_reply


def reply(message: Any, **choice: Any) -> ChatReply:
    return read_reply(json.dumps({"choices": [{"message": message} | choice]}))


def test_a_usual_reply() -> None:
    payload = {
        "choices": [{"message": {"role": "assistant", "content": "B"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 12, "prompt_tokens_details": {"image_tokens": 800}},
    }
    expected = ChatReply("B", "length", num_prompt_tokens=900, num_visual_tokens=800, num_tokens=12)
    assert read_reply(json.dumps(payload)) == expected
    # Without counts, nothing is made up.
    del payload["usage"]
    assert read_reply(json.dumps(payload)) == ChatReply("B", "length")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ("", "the reply is no JSON"),
        ("<html>Bad gateway</html>", "the reply is no JSON"),
        (b"\xff\xfe{", "the reply is no JSON"),
        ("[" * 100_000, "the reply is no JSON"),
        ('{"choices": [', "the reply is no JSON"),
        ("[]", "the reply is no JSON object"),
        ("null", "the reply is no JSON object"),
        ("{}", "the reply has no choices"),
        ('{"choices": []}', "the reply has no choices"),
        ('{"choices": "B"}', "the reply has no choices"),
        ('{"error": {"message": "too many\\n images"}}', "the server reports: too many images"),
        ('{"choices": [7]}', "the reply has no text"),
        ('{"choices": [{"message": "B"}]}', "the reply has no text"),
    ],
)
def test_what_is_no_reply_says_why(payload: str | bytes, error: str) -> None:
    assert read_reply(payload) == ChatReply(error=error)


@pytest.mark.parametrize(
    ("message", "reason", "error"),
    [
        ({"content": None}, "stop", "the reply has no text (finish_reason stop)"),
        ({"content": ""}, "content_filter", "the reply has no text (finish_reason content_filter)"),
        ({"content": None, "refusal": "I cannot"}, "stop", "the model refuses: I cannot"),
        ({"content": None, "tool_calls": [{"id": 1}]}, "tool_calls", "the reply calls a tool and has no text"),
        ({"content": "", "reasoning_content": "hm"}, "length", "the token limit was reached before any text"),
        ({"content": 7}, 7, "the reply has no text"),
    ],
)
def test_a_message_without_text_says_why(message: Any, reason: Any, error: str) -> None:
    found = reply(message, finish_reason=reason)
    assert (found.text, found.error) == ("", error)


def test_text_may_come_in_parts() -> None:
    assert (
        reply({"content": [{"type": "text", "text": "I get "}, {"type": "image"}, {"text": "it."}]}).text == "I get it."
    )


def test_half_characters_are_replaced_so_that_every_reply_can_be_written() -> None:
    assert read_reply('{"choices": [{"message": {"content": "B \\ud83d"}}]}').text == "B ?"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({}, None), ({"stop_reason": None}, ""), ({"stop_reason": 151645}, ""), ({"stop_reason": "</a>"}, "</a>")],
)
def test_the_stop_text_is_known_where_the_server_says_it(choice: dict[str, Any], expected: str | None) -> None:
    assert reply({"content": "x"}, **choice).stop_text == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": -1, "completion_tokens": "7"}, (0, None)),
        ({"prompt_tokens": True}, (0, None)),
        (7, (0, None)),
    ],
)
def test_counts_that_are_none_are_not_taken(usage: Any, expected: tuple[int, int | None]) -> None:
    found = read_reply(json.dumps({"choices": [{"message": {"content": "B"}}], "usage": usage}))
    assert (found.num_prompt_tokens, found.num_tokens) == expected


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ('{"error": {"message": "no\\nsuch model"}}', "no such model"),
        ('{"error": "no such model"}', "no such model"),
        ('{"message": "no such model"}', "no such model"),
        ('{"detail": "Not Found"}', "Not Found"),
        ('{"detail": [{"loc": 1}]}', ""),
        ("<html>", ""),
        ("[1]", ""),
    ],
)
def test_the_words_of_a_refusal(payload: str, message: str) -> None:
    assert error_message(payload) == message


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(["choices", "message", "content", "usage", "error", "text", "finish_reason", "stop_reason"])
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner), max_leaves=20)


@given(TREES | st.dictionaries(NAMES, TREES).map(lambda it: {"choices": [{"message": it}]}))
def test_no_reply_raises_and_each_has_text_or_an_error(tree: Any) -> None:
    found = read_reply(json.dumps(tree))
    assert bool(found.text) != bool(found.error)
    (found.text + found.error + found.finish_reason + (found.stop_text or "")).encode()
