"""A chat server on this machine for tests: answers as it is told, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass
class Answer:
    """What is sent back."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: threading.Event | None = None
    """Nothing is sent before this is set."""


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: Json

    @property
    def is_trial(self) -> bool:
        return "What does the picture show?" in json.dumps(self.body["messages"])


Behaviour = Callable[[Asked], Answer]


def says(text: str | None, **choice: Any) -> Answer:
    """Return a usual reply."""
    usage = {"prompt_tokens": 70, "completion_tokens": 7, "prompt_tokens_details": {"image_tokens": 32}}
    message = {"role": "assistant", "content": text}
    return Answer(json.dumps({"choices": [{"message": message, "finish_reason": "stop"} | choice], "usage": usage}))


def fails(status: int, message: str = "", **headers: str) -> Answer:
    return Answer(
        json.dumps({"error": {"message": message}}), status, {k.replace("_", "-"): v for k, v in headers.items()}
    )


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing about clients that left."""


class ChatServer:
    """Listens on a free port; `behaviour` decides, `asked` holds the requests without the trial of the beginning."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.all_asked: list[Asked] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._http = _Quiet(("127.0.0.1", 0), self._handler())
        self.base_url = f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def asked(self) -> list[Asked]:
        return [asked for asked in self.all_asked if not asked.is_trial]

    def start(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = server._answer(Asked(self.path, dict(self.headers), body))
                payload = answer.body.encode() if isinstance(answer.body, str) else answer.body
                self.send_response(answer.status)
                for name, value in ({"Content-Length": str(len(payload))} | answer.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.all_asked.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer = self.behaviour(asked)
            if answer.hang is not None:
                answer.hang.wait(20)
            return answer
        finally:
            with self._lock:
                self._at_once -= 1


@contextmanager
def chat_server(behaviour: Behaviour) -> Iterator[ChatServer]:
    server = ChatServer(behaviour)
    server.start()
    try:
        yield server
    finally:
        server.stop()
