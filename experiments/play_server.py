"""The web server of `videozoom play`: one page, on this machine only, without a file or address from elsewhere."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from videozoom.envs.actions import MalformedReason
from videozoom.envs.answer_texts import read_answer
from videozoom.envs.tasks import QuestionKind, Span, Task
from videozoom.experiments.play_episode import PlayedEpisode
from videozoom.rollout.viewer import style_sheet

HOST = "127.0.0.1"
_MAX_BODY_BYTES = 2**16
_MAX_EPISODES = 8
"""Episodes that can go on; older ones are forgotten, for instance those of pages that were closed."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = {
    "/": ("play.html", "text/html"),
    "/play.css": ("play.css", "text/css"),
    "/play.js": ("play.js", "text/javascript"),
}


class BadRequest(Exception):
    """A page asked for something that makes no sense; the message says what."""


class Game:
    """The questions, the episodes under way and how many were right. Calls take turns.

    Args:
        tasks: What is played, in this order.
        start: Makes an episode of a task.
    """

    def __init__(self, tasks: Sequence[Task], start: Callable[[Task], PlayedEpisode]) -> None:
        self._tasks, self._start = tasks, start
        self._episodes: OrderedDict[str, tuple[int, PlayedEpisode]] = OrderedDict()
        self._num_started = 0
        self._lock = threading.Lock()
        self.results: dict[int, bool] = {}
        """Whether the question at each position was answered right, the first time it was played to its end."""

    def call(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a page gets for a call.

        Raises:
            BadRequest: there is no such call, or its values make no sense.
        """
        calls = {"start": self._begin, "check": self._check, "zoom": self._zoom, "answer": self._answer}
        if name not in calls:
            raise BadRequest(f"there is no {name}")
        with self._lock:
            return calls[name](values)

    def score(self) -> str:
        """Return in words how it went."""
        num_right = sum(self.results.values())
        questions = "1 question" if len(self.results) == 1 else f"{len(self.results)} questions"
        return f"{questions} played, {num_right} right"

    def _begin(self, values: Mapping[str, Any]) -> dict[str, Any]:
        position = values.get("position")
        if not isinstance(position, int) or not 0 <= position < len(self._tasks):
            raise BadRequest(f"position must be from 0 to {len(self._tasks) - 1}")
        played = self._start(self._tasks[position])
        self._num_started += 1
        name = str(self._num_started)
        self._episodes[name] = (position, played)
        while len(self._episodes) > _MAX_EPISODES:
            self._episodes.popitem(last=False)
        return self._state(name) | {"fast_view": played.fast_view()}

    def _check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"problem": self._running(values).problem(_span(values))}

    def _zoom(self, values: Mapping[str, Any]) -> dict[str, Any]:
        self._running(values).zoom(_span(values))
        return self._state(values["episode"])

    def _answer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        played = self._running(values)
        played.answer(_answer(values, played.episode.task))
        return self._state(values["episode"])

    def _running(self, values: Mapping[str, Any]) -> PlayedEpisode:
        name = values.get("episode")
        if not isinstance(name, str) or name not in self._episodes or self._episodes[name][1].is_over:
            raise BadRequest("this episode is over; start another one")
        return self._episodes[name][1]

    def _state(self, name: str) -> dict[str, Any]:
        position, played = self._episodes[name]
        if played.is_over and played.episode.error is None:
            self.results.setdefault(position, played.is_right)
        place = {"episode": name, "position": position, "num_tasks": len(self._tasks)}
        score = {"num_played": len(self.results), "num_right": sum(self.results.values())}
        return place | score | played.state()


class PlayServer(ThreadingHTTPServer):
    """Serves the page and the calls of a game.

    Raises:
        OSError: the port is taken.

    Example:
        >>> with PlayServer(game, port=0) as server:
        ...     print(server.url)
        ...     server.serve_forever()
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, game: Game, port: int) -> None:
        self.game = game
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: PlayServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        if not self._is_addressed_here():
            self._send(403, "text/plain", b"This server answers on its own address only.\n")
            return
        name, kind = _ASSETS.get(self.path.partition("?")[0], ("", ""))
        if not name:
            self._send(404, "text/plain", b"There is only one page here.\n")
            return
        content = files("videozoom.experiments").joinpath(name).read_text(encoding="utf-8")
        if name == "play.css":
            content = style_sheet() + content
        self._send(200, kind, content.encode())

    def do_POST(self) -> None:
        # A page from elsewhere cannot send this type without asking first, and nobody here would answer.
        if not self._is_addressed_here() or self.headers.get("Content-Type") != "application/json":
            self.close_connection = True
            self._send_json(403, {"problem": "only the page of this server may ask"})
            return
        try:
            self._send_json(200, self.server.game.call(self.path.lstrip("/"), self._values()))
        except BadRequest as error:
            self._send_json(400, {"problem": str(error)})

    def _values(self) -> Mapping[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            raise BadRequest("the request is too long")
        try:
            values = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise BadRequest("the request is no JSON") from None
        if not isinstance(values, Mapping):
            raise BadRequest("the request is no JSON object")
        return values

    def _is_addressed_here(self) -> bool:
        """Return whether the browser took this server for what it is: names of other sites may lead here, too."""
        return self.headers.get("Host") in (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")

    def _send_json(self, status: int, values: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(values).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", _POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing: the terminal shows the address and how it went."""


def _answer(values: Mapping[str, Any], task: Task) -> str:
    """Return the option's letter, or what else answers the task's kind of question."""
    if task.kind is QuestionKind.MULTIPLE_CHOICE:
        letter = values.get("letter")
        if letter not in task.letters:
            raise BadRequest("there is no such option")
        return str(letter)
    answer = read_answer(task.kind, str(values.get("text", "")))
    if isinstance(answer, MalformedReason):
        raise BadRequest(f"an answer is {_WANTED[task.kind]}")
    return answer


_WANTED = {
    QuestionKind.NUMERICAL: "one number",
    QuestionKind.TRANSCRIPTION: "a text",
    QuestionKind.OPEN: "a text",
    QuestionKind.TEMPORAL_GROUNDING: "a start and an end in seconds, such as [12, 16]",
}


def _span(values: Mapping[str, Any]) -> Span:
    try:
        span_s = Span(float(values["start_s"]), float(values["end_s"]))
    except (KeyError, TypeError, ValueError):
        raise BadRequest("start_s and end_s must be numbers of seconds") from None
    return span_s
