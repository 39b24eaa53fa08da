"""The policy behind a chat server, against a real one on this machine."""

import base64
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import Answer, Asked, ChatServer, chat_server, fails, says
from PIL import Image

from videozoom.envs.messages import Message, Prompt, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.protocols.love_r1 import ANSWER_PREFIX
from videozoom.envs.tasks import Span, Task
from videozoom.policies.base import Completion, FinishReason, Request
from videozoom.policies.chat_client import ChatClient, EndpointError
from videozoom.policies.endpoint import EndpointPolicy, PrefixMode
from videozoom.policies.sampling import Sampling

TASK = Task("t", Path("v.mp4"), 64.0, "Which sign?", ("bars", "lines"), "B")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def policy(server: ChatServer, sampling: Sampling | None = None, **options: Any) -> EndpointPolicy:
    client = ChatClient(server.base_url, timeout_s=10.0, backoff_s=0.001, max_parallel=options.pop("max_parallel", 4))
    return EndpointPolicy(client, "some-model", sampling, **options)


def request(*parts: str | VideoClip | SampledPart, prefix: str = "", seed: int = 0) -> Request:
    def part(it: Any) -> Any:
        return TextPart(it) if isinstance(it, str) else VideoPart(it) if isinstance(it, VideoClip) else it

    messages = (
        Message(Role.SYSTEM, (TextPart("Be brief."),)),
        Message(Role.USER, tuple(part(it) for it in parts or ("Which sign?",))),
    )
    return Request(Prompt(messages, prefix), {}, TASK, (seed,))  # type: ignore[typeddict-item]


def clip(*levels: int) -> VideoClip:
    frames = np.stack([np.full((16, 16, 3), level, np.uint8) for level in levels])
    return VideoClip(frames, np.arange(len(levels), dtype=np.float64), Span(0.0, 8.0), f"clip{levels}")


def levels_of(asked: Asked) -> list[int]:
    """Return the grey levels of all frames of a request, in order."""
    parts = [part for message in asked.body["messages"] for part in message["content"] if isinstance(part, dict)]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [int(np.asarray(Image.open(BytesIO(base64.b64decode(url.split(",")[1]))))[0, 0, 0]) for url in urls]


def act(acting: EndpointPolicy, *requests: Request) -> Completion:
    [completion] = acting.act(requests or [request()])
    return completion


def test_the_right_frames_go_out_in_the_right_order_and_each_reply_to_its_request() -> None:
    with chat_server(lambda asked: says(str(levels_of(asked)))) as server:
        requests = [request("Whole:", clip(i, i + 50, i + 100), "Part:", clip(i + 7), "Which?") for i in range(9)]
        completions = policy(server).act(requests)
    assert [it.text for it in completions] == [str([i, i + 50, i + 100, i + 7]) for i in range(9)]
    first = next(it for it in server.asked if levels_of(it)[0] == 0)
    texts = [part["text"] for part in first.body["messages"][1]["content"] if part["type"] == "text"]
    assert texts == ["Whole:\n[0.0 s]", "\n[1.0 s]", "\n[2.0 s]", "Part:\n[0.0 s]", "Which?"]


def test_tokens_are_counted_as_the_server_says() -> None:
    with chat_server(lambda _: says("B")) as server:
        completion = act(policy(server))
    assert (completion.text, completion.finish_reason, completion.error) == ("B", FinishReason.STOP, "")
    assert (completion.num_prompt_tokens, completion.num_visual_tokens, completion.num_tokens) == (70, 32, 7)
    # Nobody may take it for something to train on.
    assert (len(completion.token_ids), len(completion.logprobs)) == (0, 0)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(0.0, max_new_tokens=9), {"temperature": 0.0, "max_tokens": 9}),
        (Sampling(1.0), {"temperature": 1.0, "max_tokens": 48, "seed": 1}),
        (
            Sampling(0.7, top_k=5, top_p=0.9, stop=("</a>",)),
            {"temperature": 0.7, "max_tokens": 48, "top_k": 5, "top_p": 0.9, "stop": ["</a>"], "seed": 1},
        ),
    ],
)
def test_sampling_is_sent(sampling: Sampling, expected: dict[str, Any]) -> None:
    with chat_server(lambda _: says("B")) as server:
        assert act(policy(server, sampling)).sampling == sampling
    [asked] = server.asked
    body = {name: value for name, value in asked.body.items() if name != "messages"}
    assert body == {"model": "some-model"} | expected | ({"seed": body["seed"]} if "seed" in expected else {})


def test_a_seed_belongs_to_its_request() -> None:
    with chat_server(lambda asked: says(str(asked.body.get("seed")))) as server:
        sampling = policy(server)
        one, other, again = (it.text for it in sampling.act([request(seed=1), request(seed=2), request(seed=1)]))
        assert one == again != other
        assert 0 <= int(one) < 2**31
        assert act(sampling.greedy(5)).text == "None"


def test_fields_can_be_added_and_left_out() -> None:
    with chat_server(lambda _: says("B")) as server:
        act(policy(server, extra={"max_tokens": None, "max_completion_tokens": 64, "temperature": None}))
    for asked in server.all_asked:
        assert asked.body["max_completion_tokens"] == 64
        assert asked.body.keys().isdisjoint({"max_tokens", "temperature"})


def test_a_forced_prefix_is_continued_where_the_server_allows_it() -> None:
    with chat_server(lambda _: says("It is \\boxed{B}")) as server:
        completion = act(policy(server), request(prefix=ANSWER_PREFIX))
        act(policy(server), request())
    assert completion.text == "It is \\boxed{B}"
    forced, free = server.asked
    assert forced.body["messages"][-1] == {"role": "assistant", "content": ANSWER_PREFIX}
    assert (forced.body["add_generation_prompt"], forced.body["continue_final_message"]) == (False, True)
    assert free.body["messages"][-1]["role"] == "user"
    assert "continue_final_message" not in free.body


def strict(asked: Asked) -> Answer:
    """Refuse what the public interface does not know."""
    if "continue_final_message" in asked.body:
        return fails(400, "Unrecognized request argument supplied: continue_final_message")
    return says("I get the answer. \\boxed{B}")


def test_elsewhere_it_is_asked_for_in_words() -> None:
    with chat_server(strict) as server:
        acting = policy(server)
        completions = [act(acting, request(prefix=ANSWER_PREFIX)), act(acting.greedy(8), request(clip(1)))]
    assert [it.text for it in completions] == ["\\boxed{B}", "I get the answer. \\boxed{B}"]
    forced, _ = server.asked
    assert forced.body["messages"][-1] == {
        "role": "user",
        "content": "Which sign?\n\nBegin your reply with exactly these words: I get the answer.",
    }
    # What the server allows is found out once.
    assert len(server.all_asked) == 2 + 2


@pytest.mark.parametrize("mode", [PrefixMode.CONTINUE, PrefixMode.ASK])
@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("\\boxed{B}", "\\boxed{B}"),
        ("I get the answer.\n\n\\boxed{B}", "\\boxed{B}"),
        ("\n I get the answer. \\boxed{B}", "\\boxed{B}"),
        ("I get it. \\boxed{B}", "I get it. \\boxed{B}"),
    ],
)
def test_a_reply_may_begin_with_the_prefix_or_not(mode: PrefixMode, reply: str, text: str) -> None:
    with chat_server(lambda _: says(reply)) as server:
        assert act(policy(server, prefix=mode), request(prefix=ANSWER_PREFIX)).text == text
    assert (server.asked[0].body["messages"][-1]["role"] == "assistant") == (mode is PrefixMode.CONTINUE)


def test_a_transcript_is_sent_as_it_was_spoken() -> None:
    spoken = Message(Role.ASSISTANT, (SampledPart("I look.", (5, 6)),))
    messages = (Message(Role.USER, (TextPart("Q"),)), spoken, Message(Role.USER, (TextPart("Here."),)))
    with chat_server(lambda _: says("B")) as server:
        act(policy(server, prefix=PrefixMode.ASK), Request(Prompt(messages, "So"), {}, TASK))  # type: ignore[typeddict-item]
    assert server.asked[0].body["messages"] == [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "I look."},
        {"role": "user", "content": "Here.\n\nBegin your reply with exactly these words: So"},
    ]


@pytest.mark.parametrize(
    ("reply", "choice", "text"),
    [
        ("<a>1", {}, "<a>1</a>"),
        ("<a>1", {"stop_reason": "</a>"}, "<a>1</a>"),
        ("<a>1", {"matched_stop": "</a>"}, "<a>1</a>"),
        # The server says that the model ended by itself, or was cut off.
        ("<a>1", {"stop_reason": None}, "<a>1"),
        ("<a>1", {"finish_reason": "length"}, "<a>1"),
        ("1", {}, "1"),
        # Servers that do not know `stop`.
        ("<a>1</a> and more</a>", {}, "<a>1</a>"),
        ("x|y", {}, "x|"),
        ("x", {"stop_reason": "|"}, "x|"),
    ],
)
def test_the_stop_text_stays_in_the_text(reply: str, choice: dict[str, Any], text: str) -> None:
    with chat_server(lambda _: says(reply, **choice)) as server:
        assert act(policy(server, Sampling(stop=("</a>", "|")))).text == text


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer("<html>"), "the reply is no JSON"),
        (Answer(""), "the reply is no JSON"),
        (Answer('{"choices": []}'), "the reply has no choices"),
        (says(None, finish_reason="length"), "the token limit was reached before any text"),
        (fails(400, "longer than 32768 tokens"), "the server refused the request: 400: longer than 32768 tokens"),
        (fails(413), "the server refused the request: 413: Request Entity Too Large"),
    ],
)
def test_a_reply_that_cannot_be_used_is_an_empty_completion_with_a_reason(answer: Answer, error: str) -> None:
    with chat_server(lambda asked: says("ok") if asked.is_trial else answer) as server:
        completion = act(policy(server))
    assert (completion.text, completion.error) == ("", error)


def test_a_server_that_fails_in_between_is_asked_again() -> None:
    failures = [fails(429), fails(502)]
    behaviour = lambda asked: failures.pop() if failures and not asked.is_trial else says("B")  # noqa: E731
    with chat_server(behaviour) as server:
        assert [it.text for it in policy(server, max_parallel=1).act([request()] * 3)] == ["B"] * 3
    assert len(server.asked) == 5


def test_a_dead_server_raises() -> None:
    behaviour = lambda asked: says("ok") if asked.is_trial else fails(500, "out of memory")  # noqa: E731
    with chat_server(behaviour) as server, pytest.raises(EndpointError, match="failed 6 times: 500: out of memory"):
        policy(server).act([request()] * 9)


def test_requests_of_a_batch_go_out_together_within_the_bound() -> None:
    meet = threading.Barrier(3)

    def behaviour(asked: Asked) -> Answer:
        if not asked.is_trial:
            meet.wait(10)
        return says("B")

    with chat_server(behaviour) as server:
        assert len(policy(server, max_parallel=3).act([request()] * 9)) == 9
    assert server.most_at_once == 3


@pytest.mark.parametrize(
    ("answer", "with_images", "sentence"),
    [
        (
            fails(400, "no images, please"),
            True,
            "refuses a short question about a picture for the model 'some-model' \\(400: no images, please\\)",
        ),
        (fails(400, "?"), False, "refuses a short question for the model 'some-model'"),
        (fails(401, "who are you"), True, "wants a key \\(401: who are you\\)"),
        (fails(404, "no such model"), True, "does not know the address or the model \\(404: no such model\\)"),
    ],
)
def test_the_check_finds_what_is_wrong(answer: Answer, with_images: bool, sentence: str) -> None:
    with chat_server(lambda _: answer) as server, pytest.raises(EndpointError, match=sentence):
        policy(server).check(with_images=with_images)


def test_the_check_is_short_and_has_a_picture_only_where_there_are_some() -> None:
    with chat_server(lambda _: says("ok")) as server:
        policy(server, Sampling(max_new_tokens=4000)).check()
        act(policy(server))
        act(policy(server), request(clip(3)))
    checks = [asked for asked in server.all_asked if asked.is_trial]
    assert [len(levels_of(asked)) for asked in checks] == [1, 0, 1]
    assert [asked.body["max_tokens"] for asked in checks] == [16, 16, 16]


def test_nothing_is_asked_for_nobody() -> None:
    with chat_server(lambda _: says("ok")) as server:
        assert policy(server).act([]) == []
    assert server.all_asked == []
