"""The connection to a chat server, against a real one on this machine."""

import json
import logging
import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, Asked, Behaviour, chat_server, fails, says

from videozoom.policies.chat_client import ChatClient, EndpointError, RequestRejected
from videozoom.policies.chat_reply import read_reply

KEY = "sk-very-secret-0123456789"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def client(base_url: str, **options: Any) -> ChatClient:
    return ChatClient(base_url, **{"backoff_s": 0.001, "timeout_s": 10.0} | options)


def in_turn(*answers: Answer) -> Behaviour:
    """Return a behaviour that gives the answers one after another, and the last one from then on."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_request_goes_to_the_address_with_the_key() -> None:
    with chat_server(lambda _: says("B")) as server:
        payload = client(server.base_url + "/", key=KEY).post(BODY)
    assert read_reply(payload).text == "B"
    [asked] = server.all_asked
    assert (asked.path, asked.body) == ("/v1/chat/completions", BODY)
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Content-Type"] == "application/json"


def test_without_a_key_no_credentials_of_the_machine_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with chat_server(lambda _: says("B")) as server:
        client(server.base_url).post(BODY)
        client(server.base_url, key=KEY).post(BODY)
    assert "Authorization" not in server.all_asked[0].headers
    assert server.all_asked[1].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("failure", [fails(429, "slow down"), fails(500), fails(503, "loading"), fails(529)])
def test_what_may_pass_is_tried_again(failure: Answer) -> None:
    with chat_server(in_turn(failure, failure, says("B"))) as server:
        assert read_reply(client(server.base_url).post(BODY)).text == "B"
    assert [asked.body for asked in server.all_asked] == [BODY] * 3


def test_a_connection_that_breaks_is_tried_again() -> None:
    broken = Answer("only this", headers={"Content-Length": "1000"})
    with chat_server(in_turn(broken, says("B"))) as server:
        # The server closes after each reply: HTTP/1.0.
        assert read_reply(client(server.base_url).post(BODY)).text == "B"
    assert len(server.all_asked) == 2


def test_retries_end() -> None:
    with chat_server(lambda _: fails(503, "the model is loading")) as server:
        with pytest.raises(EndpointError) as raised:
            client(server.base_url, retries=2).post(BODY)
        with pytest.raises(EndpointError, match=f"{server.base_url} failed once: 503: the model is loading"):
            client(server.base_url, retries=0).post(BODY)
    assert str(raised.value) == f"The chat server at {server.base_url} failed 3 times: 503: the model is loading"
    assert len(server.all_asked) == 4


def test_a_server_that_hangs_is_left_after_the_time_limit_and_tried_again() -> None:
    end = threading.Event()
    with chat_server(in_turn(Answer(hang=end), says("B"))) as server:
        assert read_reply(client(server.base_url, timeout_s=0.2).post(BODY)).text == "B"
        server.behaviour = lambda _: Answer(hang=end)
        with pytest.raises(EndpointError, match=r"failed 2 times: no reply within 0\.2 s"):
            client(server.base_url, timeout_s=0.2, retries=1).post(BODY)
        end.set()


def test_a_reply_that_trickles_in_is_left_too() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def trickle() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not is_over.wait(0.02):
            try:
                connection.sendall(b"1\r\n \r\n")
            except OSError:
                return

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    with pytest.raises(EndpointError, match=r"within 0\.3 s"):
        client(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", timeout_s=0.3, retries=0).post(BODY)
    is_over.set()
    thread.join(10)
    listener.close()


def test_the_wait_doubles_with_chance_and_the_server_is_heard() -> None:
    patient = ChatClient("http://127.0.0.1:1", backoff_s=1.0)
    for attempt, middle_s in [(0, 1.0), (1, 2.0), (3, 8.0), (6, 60.0), (1000, 60.0)]:
        waits = [patient.wait_s(attempt) for _ in range(200)]
        assert 0.5 * middle_s <= min(waits) < 0.8 * middle_s < 1.2 * middle_s < max(waits) <= 1.5 * middle_s
    assert patient.wait_s(0, asked_s=7.0) == 7.0
    assert patient.wait_s(0, asked_s=1e9) == 60.0


@pytest.mark.parametrize(
    ("header", "low_s", "high_s"),
    [
        ("3", 3.0, 3.0),
        ("0.5", 0.5, 0.5),
        ("in 30 s, as a date", 20.0, 31.0),
        ("soon", None, None),
        ("nan", None, None),
    ],
)
def test_the_wait_a_server_asks_for(
    header: str, low_s: float | None, high_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if header == "in 30 s, as a date":
        header = formatdate(time.time() + 30, usegmt=True)
    asked: list[float | None] = []
    monkeypatch.setattr(ChatClient, "wait_s", lambda _, attempt, asked_s=None: asked.append(asked_s) or 0.0)
    with chat_server(in_turn(fails(429, Retry_After=header), says("B"))) as server:
        client(server.base_url).post(BODY)
    [wait_s] = asked
    assert not wait_s if low_s is None else low_s <= wait_s <= high_s


def test_no_more_requests_than_the_bound_are_under_way() -> None:
    end, lock = threading.Event(), threading.Lock()
    num_begun = 0

    def hang(_: Asked) -> Answer:
        nonlocal num_begun
        with lock:
            num_begun += 1
            if num_begun == 3:
                # Time for a fourth one to show up, if it is not held back.
                threading.Timer(0.2, end.set).start()
        return Answer(says("B").body, hang=end)

    with chat_server(hang) as server, ThreadPoolExecutor(12) as pool:
        shared = client(server.base_url, max_parallel=3)
        assert len(list(pool.map(lambda _: shared.post(BODY), range(12)))) == 12
        assert (len(server.all_asked), server.most_at_once) == (12, 3)


@pytest.mark.parametrize(
    ("status", "key", "sentence"),
    [
        (401, KEY, "The chat server at {url} refuses the key in MY_KEY (401: what is wrong)"),
        (403, KEY, "The chat server at {url} refuses the key in MY_KEY (403: what is wrong)"),
        (401, None, "The chat server at {url} wants a key (401: what is wrong); name the environment variable of one"),
        (
            404,
            KEY,
            "The chat server at {url} does not know the address or the model (404: what is wrong); base_url usually "
            "ends in /v1",
        ),
        (402, KEY, "The chat server at {url} refuses to work (402: what is wrong)"),
    ],
)
def test_what_will_not_pass_is_one_sentence_at_once(status: int, key: str | None, sentence: str) -> None:
    with chat_server(lambda _: fails(status, "what is\n wrong")) as server, pytest.raises(EndpointError) as raised:
        client(server.base_url, key=key, key_name="MY_KEY").post(BODY)
    assert str(raised.value) == sentence.format(url=server.base_url)
    assert len(server.all_asked) == 1


def test_a_redirection_is_named_and_not_followed() -> None:
    words = r"leads elsewhere \(307: .*http://else.where/v1\); give that address"
    with (
        chat_server(lambda _: fails(307, Location="http://else.where/v1")) as server,
        pytest.raises(EndpointError, match=words),
    ):
        client(server.base_url, key=KEY).post(BODY)
    assert len(server.all_asked) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_is_not_tried_again(status: int) -> None:
    with (
        chat_server(lambda _: fails(status, "longer than 32768 tokens")) as server,
        pytest.raises(RequestRejected, match=f"^{status}: longer than 32768 tokens$"),
    ):
        client(server.base_url).post(BODY)
    assert len(server.all_asked) == 1


def test_where_nobody_listens_the_first_request_fails_at_once() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(EndpointError) as raised:
        client(url, backoff_s=100.0).post(BODY, is_first=True)
    assert str(raised.value) == (
        f"No chat server answers at {url} (the connection failed: connection refused); start it, or correct base_url"
    )


def test_a_server_that_went_away_is_waited_for() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(EndpointError) as raised:
        client(url, retries=2).post(BODY)
    assert str(raised.value) == f"The chat server at {url} failed 3 times: the connection failed: connection refused"


@pytest.mark.parametrize("base_url", ["http://", "http://[", "localhost/v1", "localhost:8000/v1", "ftp://host/v1"])
def test_what_is_no_address_is_said(base_url: str) -> None:
    with pytest.raises(EndpointError, match="is no address of a server"):
        client(base_url).post(BODY)


def test_a_reply_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videozoom.policies.chat_client.MAX_REPLY_BYTES", 2**20)
    large = Answer(b" " * (2**20 + 1))
    with chat_server(lambda _: large) as server, pytest.raises(RequestRejected, match="larger than 1 MiB"):
        client(server.base_url).post(BODY)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 302, 503])
def test_a_key_that_is_echoed_is_taken_out(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(asked: Asked) -> Answer:
        said = f"{'x' * 290} you sent {asked.headers['Authorization']}"
        answer = fails(status, said, Location=f"http://else.where/?{KEY}")
        return says(said) if status == 200 else answer

    with chat_server(echo) as server:
        speaking = client(server.base_url, key=KEY, retries=1)
        try:
            found = speaking.post(BODY).decode()
            assert "you sent Bearer ***" in found
        except (EndpointError, RequestRejected) as error:
            found = f"{error} {error.__cause__} {error.args}"
    assert server.all_asked[0].headers["Authorization"] == f"Bearer {KEY}"
    for text in (found, caplog.text, repr(speaking), repr(vars(speaking))):
        assert "secret" not in text


def test_a_placeholder_is_no_secret() -> None:
    with chat_server(lambda _: says("none of them")) as server:
        assert read_reply(client(server.base_url, key="none").post(BODY)).text == "none of them"


def test_the_key_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="MY_KEY is not written anywhere"):
        pickle.dumps(client("http://127.0.0.1:1", key=KEY, key_name="MY_KEY")._auth)


@pytest.mark.parametrize("key", ["sk-secret\nX-Injected: 1", "sk-secret\u2603"])
def test_a_key_that_cannot_be_sent_is_named_without_showing_it(key: str) -> None:
    with pytest.raises(EndpointError, match="The key in MY_KEY has characters that no key has") as raised:
        client("http://127.0.0.1:1", key=key, key_name="MY_KEY")
    assert "secret" not in str(raised.value)


def test_a_line_break_around_the_key_does_not_matter() -> None:
    with chat_server(lambda _: says("B")) as server:
        client(server.base_url, key=f" {KEY}\n").post(BODY)
    assert server.all_asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_texts_of_all_scripts_arrive() -> None:
    body = {"messages": [{"role": "user", "content": "Zeit \u65f6\u95f4 \U0001f600"}]}
    with chat_server(lambda asked: says(json.dumps(asked.body["messages"]))) as server:
        assert json.loads(read_reply(client(server.base_url).post(body)).text) == body["messages"]
