"""`videozoom play`: the server, and the page in a headless browser."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Page, chromium_page
from generated_world import GeneratedWorld

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.messages import Prompt
from videozoom.envs.task_files import save_tasks
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.experiments.cli import main
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config, load_config
from videozoom.experiments.play import game
from videozoom.experiments.play_server import PlayServer
from videozoom.experiments.run_folder import RunFolder
from videozoom.policies.base import Completion
from videozoom.rewards.facts import RewardBreakdown
from videozoom.rollout.trace_rows import trace_row
from videozoom.rollout.types import Step, Trajectory

HOSTILE = '<img src="https://example.org/x.png" onerror="alert(1)">'
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


class World:
    """Three questions; a trained policy got the first one right."""

    def __init__(self, generated: GeneratedWorld, folder: Path) -> None:
        self.folder, self.run_dir = folder, folder / "run"
        first, *rest = generated.tasks
        # A question that would do harm if it were not escaped.
        shown = Task(first.task_id, first.video, first.duration_s, HOSTILE, first.options, first.answer, first.evidence)
        self.tasks = (shown, *rest)
        save_tasks(self.tasks, folder / "tasks.jsonl")
        self.overrides = ["data.eval.generated=null", f"data.eval.tasks={folder / 'tasks.jsonl'}"]
        self.overrides += [f"video.cache={folder / 'cache'}"]
        run = RunFolder.create(self.run_dir, dump_config(self.config()), seed=0)
        row = trace_row(shown, self.trained(), phase="eval", policy="decoupled_grpo", iteration=5)
        run.traces_file.write_text(json.dumps(row) + "\n")

    def config(self) -> Config:
        return load_config("demo", self.overrides)

    def trained(self) -> Trajectory:
        task = self.tasks[0]
        steps = (ZoomIn(task.evidence[0]), Answer(task.answer))
        return Trajectory(
            task.task_id,
            EpisodeKind.MULTI_STEP,
            0,
            (0,),
            tuple(Step(Prompt(()), Completion(f"the model says {HOSTILE}"), action) for action in steps),
            Status.ANSWERED,
            task.answer,
            task.evidence,
            RewardBreakdown(1.0, {"outcome": 1.0}),
        )


@pytest.fixture(scope="module")
def world(generated: GeneratedWorld, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(generated, tmp_path_factory.mktemp("play"))


@pytest.fixture
def server(world: World) -> Iterator[PlayServer]:
    row = json.loads((world.run_dir / "traces.jsonl").read_text())
    with PlayServer(game(world.config(), world.tasks, {row["task_id"]: row}), port=0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def ask(
    server: PlayServer, method: str, path: str, body: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


def post(server: PlayServer, path: str, values: Any, **headers: str) -> tuple[int, Any]:
    status, _, body = ask(server, "POST", path, json.dumps(values), Content_Type="application/json", **headers)
    return status, json.loads(body)


def test_there_is_one_page_which_needs_nothing_from_elsewhere(server: PlayServer) -> None:
    for path, kind in (("/", "text/html"), ("/play.css", "text/css"), ("/play.js", "text/javascript")):
        status, headers, body = ask(server, "GET", path)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert re.findall(rb"https?://[^\s\"')]+", body) == []
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path in ("/play.py", "/../cli.py", "/runs", "/start"):
        assert ask(server, "GET", path)[0] == 404


def test_only_this_machine_is_listened_to(server: PlayServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_pages_from_elsewhere_get_nothing(server: PlayServer) -> None:
    start = json.dumps({"position": 0})
    assert post(server, "/start", {"position": 0})[0] == 200
    # What a form or a script of another site can send without asking.
    assert ask(server, "POST", "/start", start, Content_Type="text/plain")[0] == 403
    assert ask(server, "POST", "/start", start)[0] == 403
    # Another name that leads here.
    assert post(server, "/start", {"position": 0}, Host=f"evil.example:{server.server_port}")[0] == 403
    assert ask(server, "GET", "/", Host="evil.example")[0] == 403


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/start", "{", "the request is no JSON"),
        ("/start", "[" * 9999, "the request is no JSON"),
        ("/start", "[]", "the request is no JSON object"),
        ("/start", " " * 70_000, "the request is too long"),
        ("/nothing", "{}", "there is no nothing"),
    ],
)
def test_what_is_no_request_is_said(path: str, body: str, problem: str, server: PlayServer) -> None:
    status, _, answer = ask(server, "POST", path, body, Content_Type="application/json")
    assert (status, json.loads(answer)) == (400, {"problem": problem})
    assert post(server, "/start", {"position": 0})[0] == 200


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["play", *arguments, "--no-browser", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    return line


def test_mistakes_are_one_sentence(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["demo", *world.overrides]
    assert "is no run folder" in mistake(capsys, *here, "--run", str(tmp_path / "nothing"))
    empty = RunFolder.create(tmp_path / "empty", dump_config(world.config()), seed=0)
    assert "holds no evaluated episodes" in mistake(capsys, *here, "--run", str(empty.path))
    other = tmp_path / "other.jsonl"
    save_tasks([world.tasks[1]], other)
    found = mistake(capsys, *here, f"data.eval.tasks={other}", "--run", str(world.run_dir))
    config = world.run_dir / "config.yaml"
    assert f"evaluated none of these tasks; play those it has with: videozoom play {config} --run" in found
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"Port {port} cannot be used (Address already in use)" in mistake(capsys, *here, "--port", port)


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_what_is_no_port_is_said(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["play", "demo", f"--port={port}"])
    assert exit_info.value.code == 2
    assert f"'{port}' is no port; give 0 to 65535" in capsys.readouterr().err


def test_ctrl_c_ends_it_with_one_line(world: World) -> None:
    command = [sys.executable, "-m", "videozoom.experiments.cli", "play", "demo", "--no-browser", *world.overrides]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "DISPLAY": ""}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # Shells start background programs deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().splitlines()
        assert process.wait(20) == 0
    assert said[-1] == "Stopped: 0 questions played, 0 right."
    assert "Traceback" not in "".join(said)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with chromium_page(tmp_path / "profile") as page:
        yield page


IS_READY = "document.querySelectorAll('.row').length && !document.body.hasAttribute('aria-busy')"


def point_at(page: Page, time_s: float) -> tuple[float, float]:
    """Return where a time stands on the strip."""
    page.run("document.querySelector('#timeline').scrollIntoView({block: 'center'})")
    windows = page.run(
        "rows.map(row => { const b = row.film.getBoundingClientRect(); "
        "return [row.start, row.end, b.left, b.top, b.width, b.height] })"
    )
    start, end, left, top, width, height = next(it for it in windows if it[0] <= time_s < it[1])
    return left + width * (time_s - start) / (end - start), top + height / 2


def assert_all_came_from(page: Page, server: PlayServer) -> None:
    assert page.errors == []
    assert page.requested
    assert [url for url in page.requested if not url.startswith((server.url, "data:", "about:"))] == []


@needs_chromium
@pytest.mark.parametrize("is_phone", [False, True])
def test_an_episode_is_played_to_the_truth(is_phone: bool, world: World, server: PlayServer, page: Page) -> None:
    task = world.tasks[0]
    [evidence] = task.evidence
    page.open(server.url, width=360 if is_phone else 1100, height=740, is_phone=is_phone)
    page.until(IS_READY)
    # The question is text, whatever it looks like.
    assert page.text("#question") == HOSTILE
    assert page.run("document.querySelector('#zoom').disabled && document.querySelector('#answer').disabled")

    points = [point_at(page, time_s) for time_s in (evidence.start_s, evidence.start_s + 1, evidence.end_s - 0.01)]
    page.swipe(points) if is_phone else page.drag(points)
    page.until("document.querySelector('#advice').textContent === '4 s'")
    chosen = page.run("['start', 'end'].map(id => document.getElementById(id).valueAsNumber)")
    assert chosen == list(evidence)
    page.click("#zoom")
    page.until("document.querySelectorAll('#clips img').length === 4 && !document.body.hasAttribute('aria-busy')")
    assert page.text("#clips figcaption") == f"Step 1: zoom into {evidence.start_s:g} to {evidence.end_s:g} s"
    assert page.text("#steps").startswith("Step 2 of 3")
    assert page.run("document.body.innerText.includes('right answer')") is False

    page.click(f"#options input[value={task.answer}]")
    page.click("#answer")
    page.until("!document.querySelector('#truth').hidden")
    assert page.text("#verdict") == "Right."
    assert page.text("#score") == "1 of 1 right"
    card = page.text("#card")
    assert "sees the evidence (IoU 1.00)" in card
    assert "decoupled GRPO" in card
    assert f"the model says {HOSTILE}" in card
    assert "outcome 1.00" in card
    assert page.run("document.querySelectorAll('#evidence img').length") == 4
    # Nothing stands out on the side of a narrow screen.
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert_all_came_from(page, server)


@needs_chromium
def test_it_is_played_with_the_keyboard_alone(world: World, server: PlayServer, page: Page) -> None:
    page.open(f"{server.url}#2")
    page.until(IS_READY)
    assert page.text("#place") == "Question 2 of 3"
    task = world.tasks[1]
    wrong = next(letter for letter in task.letters if letter != task.answer)
    page.run("document.querySelector('#timeline').focus()")
    page.press("ArrowRight")
    assert page.run("span") == [0, 4]
    page.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft")
    page.press("ArrowRight", shift=True)
    assert page.run("span") == [1, 5.5]
    page.press("Enter")
    page.until("document.querySelectorAll('#clips img').length && !document.body.hasAttribute('aria-busy')")
    assert page.text("#clips figcaption") == "Step 1: zoom into 1 to 5.5 s"
    assert page.run("document.activeElement.id") == "timeline"
    page.press(wrong.lower())
    page.press("Enter")
    page.until("!document.querySelector('#truth').hidden")
    right = dict(zip(task.letters, task.options, strict=True))[task.answer]
    assert page.text("#verdict") == f"Wrong. The answer is {task.answer}, {right}."
    # The model did not play this one.
    assert "decoupled GRPO" not in page.text("#card")
    page.press("Enter")
    page.until("document.querySelector('#place').textContent === 'Question 3 of 3'")
    page.until(IS_READY)
    assert page.run("location.hash") == "#3"
    assert page.run("document.activeElement.id") == "question"
    assert_all_came_from(page, server)


@needs_chromium
def test_a_span_that_would_be_refused_is_told_and_costs_a_step(world: World, server: PlayServer, page: Page) -> None:
    page.open(server.url)
    page.until(IS_READY)
    for name, value in (("start", "0"), ("end", "30")):
        field = f"document.getElementById('{name}')"
        page.run(f"{field}.value = {value}; {field}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    sentence = "30 s: this would cost a step and be refused, it is too long."
    page.until(f"document.querySelector('#advice').textContent === {json.dumps(sentence)}")
    page.click("#zoom")
    page.until("document.querySelector('#clips figcaption') && !document.body.hasAttribute('aria-busy')")
    assert page.text("#clips figcaption") == "Step 1: zoom into 0 to 30 s, refused: it is too long."
    page.run("choose(4, 8)")
    page.click("#zoom")
    page.until("document.querySelectorAll('#clips img').length && !document.body.hasAttribute('aria-busy')")
    # The last step: nothing but an answer.
    assert page.text("#steps") == "Step 3 of 3: you must answer now."
    assert page.run("document.querySelector('#zooming').hidden")


@needs_chromium
def test_a_server_that_is_gone_is_told(server: PlayServer, page: Page) -> None:
    page.open(server.url)
    page.until(IS_READY)
    page.run("choose(4, 8); window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    page.click("#zoom")
    page.until("!document.querySelector('#problem').hidden")
    assert page.text("#problem").startswith("The server does not answer any more.")
    assert page.run("document.body.hasAttribute('aria-busy')") is False


@needs_chromium
def test_a_video_that_cannot_be_read_is_told(world: World, tmp_path: Path, page: Page) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    tasks = (Task("t", broken, 16.0, "Which?", ("a", "b"), "A", (Span(0.0, 4.0),)), world.tasks[1])
    with PlayServer(game(world.config(), tasks, {}), port=0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        page.open(server.url)
        page.until("!document.querySelector('#truth').hidden")
        assert page.text("#verdict").startswith("This video cannot be read:")
        page.click("#next")
        page.until(IS_READY)
        assert page.text("#question") == world.tasks[1].question
        assert_all_came_from(page, server)
        server.shutdown()
