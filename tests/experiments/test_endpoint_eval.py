"""`videozoom eval` with a model behind a chat server on this machine."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, Asked, ChatServer, chat_server, fails, says
from generated_world import GeneratedWorld

from videozoom.envs.protocols.love_r1 import ANSWER_PREFIX, ZOOM_PREFIX
from videozoom.envs.task_files import save_tasks
from videozoom.envs.tasks import Task
from videozoom.experiments.cli import main
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.evaluate import run_eval
from videozoom.experiments.progress import console
from videozoom.policies.chat_content import ChatContent
from videozoom.rollout.traces import read_traces

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(console, "quiet", False)
    monkeypatch.setattr("videozoom.policies.chat_client.MAX_WAIT_S", 0.001)


class Setup:
    """The overrides that make `demo` an evaluation of three questions through a server."""

    def __init__(self, world: GeneratedWorld, folder: Path) -> None:
        self.world, self.run_dir, self.overlay = world, folder / "run", world.protocol.overlay
        assert self.overlay is not None
        save_tasks(world.tasks, folder / "tasks.jsonl")
        self.source = ["data.eval.generated=null", f"data.eval.tasks={folder / 'tasks.jsonl'}"]
        self.source += [f"video.cache={folder / 'cache'}", f"run_dir={self.run_dir}"]

    def overrides(self, server: ChatServer, *more: str) -> list[str]:
        endpoint = ["policy.kind=endpoint", f"policy.endpoint={{base_url: '{server.base_url}', model: some-model}}"]
        return [*self.source, *endpoint, "policy.endpoint.retries=1", *more]

    def run(self, server: ChatServer, *more: str, **options: Any) -> dict[str, Any]:
        [row] = run_eval(load_config("demo", self.overrides(server, *more)), **options)["rows"]
        return row

    def traces(self) -> list[dict[str, Any]]:
        return list(read_traces(self.run_dir / "traces.jsonl"))

    def urls(self, task: Task) -> tuple[str, ...]:
        """Return the frames of a task's fast view as they are sent."""
        return ChatContent().data_urls(self.overlay(self.world.frames.fast_view(task.video)))

    def oracle(self, unreadable: Task | None = None) -> Callable[[Asked], Answer]:
        """Return a behaviour that recognises each video by its frames, zooms into the evidence and answers right."""
        content, overlay = ChatContent(), self.overlay
        by_frames = {self.urls(task): task for task in self.world.tasks}
        num_fast = len(next(iter(by_frames)))

        def behave(asked: Asked) -> Answer:
            if asked.is_trial:
                return says("ok")
            parts = [part for part in asked.body["messages"][1]["content"] if part["type"] == "image_url"]
            urls = tuple(part["image_url"]["url"] for part in parts)
            task = by_frames[urls[:num_fast]]
            if task is unreadable:
                return Answer("<html>")
            [evidence] = task.evidence
            if len(urls) == num_fast:
                return says(f"{ZOOM_PREFIX}\\boxed{{[{evidence.start_s:g}, {evidence.end_s:g}]}}")
            clip = overlay(self.world.frames.slow_clip(task.video, evidence))
            assert urls[num_fast:] == content.data_urls(clip)
            return says(f"{ANSWER_PREFIX}\\boxed{{{task.answer}}}")

        return behave


@pytest.fixture
def setup(generated: GeneratedWorld, tmp_path: Path) -> Setup:
    return Setup(generated, tmp_path)


def test_a_model_behind_a_server_is_evaluated(setup: Setup) -> None:
    with chat_server(setup.oracle()) as server:
        row = setup.run(server)
    assert (row["policy"], row["num_tasks"], row["accuracy"], row["zoom_hit_rate"]) == ("model", 3, 1.0, 1.0)
    assert (row["num_steps_mean"], row["num_failed_replies"]) == (2.0, 0)
    for trace in setup.traces():
        assert [step["num_completion_tokens"] for step in trace["steps"]] == [7, 7]
        assert [step["num_visual_tokens"] for step in trace["steps"]] == [32, 32]
        assert trace["sampling"]["temperature"] == 0.0
    assert {asked.body["temperature"] for asked in server.all_asked} == {0.0}
    assert "some-model" in (setup.run_dir / "config.yaml").read_text()
    assert (setup.run_dir / "report.html").is_file()


def test_it_answers_from_the_clips_of_rules(setup: Setup) -> None:
    with chat_server(setup.oracle()) as server:
        config = load_config("demo", setup.overrides(server, "eval.policies=[oracle]"))
        [row] = run_eval(config)["rows"]
    assert (row["policy"], row["accuracy"], len(server.asked)) == ("oracle", 1.0, 3)


def test_episodes_run_side_by_side_within_the_bound(setup: Setup) -> None:
    with chat_server(setup.oracle()) as server:
        setup.run(server, "policy.endpoint.max_parallel=2")
    assert server.most_at_once <= 2
    assert len(server.asked) == 6


def test_replies_that_cannot_be_used_are_counted(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    first = setup.world.tasks[0]
    with chat_server(setup.oracle(unreadable=first)) as server:
        row = setup.run(server)
    bad = next(trace for trace in setup.traces() if trace["task_id"] == first.task_id)
    assert [step["error"] for step in bad["steps"]] == ["the reply is no JSON"] * 3
    assert [step["action"]["reason"] for step in bad["steps"]] == ["no_prefix", "no_prefix", "no_box"]
    assert (row["num_tasks"], row["accuracy"], row["num_failed_replies"]) == (3, pytest.approx(2 / 3), 3)
    assert "3 replies could not be used and count as no action" in capsys.readouterr().err
    assert "error" not in next(t for t in setup.traces() if t["task_id"] != first.task_id)["steps"][0]
    # They are known from the traces, too.
    with chat_server(setup.oracle()) as server:
        assert setup.run(server, resume=True) == row
    assert server.asked == []


def test_a_server_that_dies_ends_the_run_with_one_sentence_and_the_run_goes_on_at_another(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = setup.oracle()

    def dying(asked: Asked) -> Answer:
        return fails(500, "out of memory") if len(server.asked) > 3 else oracle(asked)

    with chat_server(dying) as server:
        one = "policy.endpoint.max_parallel=1"
        assert main(["eval", "demo", "--quiet", *setup.overrides(server, one)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"videozoom: The chat server at {server.base_url} failed 2 times: 500: out of memory; finished episodes are "
        f"kept, go on with: videozoom eval --resume {setup.run_dir}"
    ]
    assert [trace["task_id"] for trace in setup.traces()] == [setup.world.tasks[0].task_id]
    with chat_server(oracle) as healthy:
        there = f"policy.endpoint.base_url={healthy.base_url}"
        arguments = ["--resume", str(setup.run_dir), there, "policy.endpoint.timeout_s=60", "--json", "--quiet"]
        assert main(["eval", *arguments]) == 0
    [row] = json.loads(capsys.readouterr().out)["rows"]
    assert (row["num_tasks"], row["accuracy"]) == (3, 1.0)
    assert len(healthy.asked) == 4


def test_ctrl_c_ends_it_at_once_and_keeps_what_was_finished(setup: Setup) -> None:
    oracle, end, is_hanging = setup.oracle(), threading.Event(), threading.Event()

    def behave(asked: Asked) -> Answer:
        if len(server.asked) <= 2:
            return oracle(asked)
        is_hanging.set()
        return Answer(hang=end)

    with chat_server(behave) as server:
        overrides = setup.overrides(server, "policy.endpoint.max_parallel=2")
        command = [sys.executable, "-m", "videozoom.experiments.cli", "eval", "demo", *overrides]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            # Shells start background programs deaf to Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert is_hanging.wait(60)
        while not (setup.run_dir / "traces.jsonl").is_file():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        # The request under way would take 20 seconds.
        _, said = process.communicate(timeout=15)
        end.set()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Interrupted; what was finished is kept."
    assert "Traceback" not in said


def test_another_model_does_not_go_on_with_the_episodes_of_the_first(setup: Setup) -> None:
    with chat_server(setup.oracle()) as server:
        setup.run(server)
        with pytest.raises(UserError, match=r"policy\.endpoint\.model=some-model, not other"):
            setup.run(server, "policy.endpoint.model=other", resume=True)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_key_is_nowhere_but_on_the_wire(
    status: int, setup: Setup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)

    def echo(asked: Asked) -> Answer:
        said = f"you sent {asked.headers['Authorization']} \\boxed{{A}}"
        return says(said) if asked.is_trial or status == 200 else fails(status, said)

    with chat_server(echo) as server:
        key = "policy.endpoint.api_key_env=SOME_KEY"
        code = main(["eval", "demo", *setup.overrides(server, key)])
    assert code == (0 if status in (200, 400) else 2)
    assert {asked.headers["Authorization"] for asked in server.all_asked} == {f"Bearer {KEY}"}
    files = [file for file in setup.run_dir.rglob("*") if file.is_file()]
    assert {"config.yaml", "run.json", "traces.jsonl"} <= {file.name for file in files}
    captured = capsys.readouterr()
    written = {file.name: file.read_bytes() for file in files} | {"out": captured.out.encode()}
    written["err"] = captured.err.encode()
    assert [name for name, content in written.items() if b"secret" in content] == []
    # Control: what the server said is there, and the name of the variable.
    assert b"SOME_KEY" in written["config.yaml"]
    assert any(b"you sent Bearer ***" in content for content in written.values())


def mistake(setup: Setup, server: ChatServer, capsys: pytest.CaptureFixture[str], command: str, *more: str) -> str:
    """Return the sentence a command ends with, after looking that nothing was written."""
    assert main([command, "demo", *setup.overrides(server, *more), "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert not setup.run_dir.exists()
    return line


@pytest.mark.parametrize("command", ["train", "demo", "parity"])
def test_it_cannot_be_trained(command: str, setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda _: says("ok")) as server:
        sentence = mistake(setup, server, capsys, command)
    assert "policy.kind is endpoint: a model behind a chat server can be evaluated (videozoom eval)" in sentence
    assert server.all_asked == []


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("policy.endpoint.api_key_env=NO_SUCH_KEY", "api_key_env names NO_SUCH_KEY, which is not set; export it"),
        ("policy.endpoint.api_key_env=sk-secret-123", "give the name of the environment variable that holds the key"),
        ("policy.endpoint.api_key=sk-secret-123", "did you mean 'policy.endpoint.api_key_env'?"),
        ("policy.endpoint.extra={headers: {api-key: sk-secret-123}}", "must not hold 'api-key'; use api_key_env"),
        ("policy.endpoint.base_url='http://me:secret@h/v1'", "an address has no user, password or question mark here"),
        ("policy.endpoint.base_url='http://h/v1?key=secret'", "an address has no user, password or question mark here"),
        ("policy.endpoint.base_url=localhost:8000", "that is no address; give one like http://127.0.0.1:8000/v1"),
        ("policy.endpoint.base_url='http://h:port/v1'", "that is no address"),
        ("policy.endpoint.extra={messages: []}", "extra cannot replace 'messages'"),
        ("policy.endpoint=null", "kind is endpoint, but there are no settings of one"),
        ("policy.endpoint.max_paralel=3", "did you mean 'policy.endpoint.max_parallel'?"),
    ],
)
def test_what_is_wrong_with_the_settings(
    override: str, sentence: str, setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda _: says("ok")) as server:
        found = mistake(setup, server, capsys, "eval", override)
    assert sentence in found
    assert "secret" not in found
    assert server.all_asked == []


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (fails(401, "who are you"), "wants a key (401: who are you)"),
        (fails(404, "no such model"), "does not know the address or the model (404: no such model)"),
        (
            fails(400, "text only"),
            "refuses a short question about a picture for the model 'some-model' (400: text only)",
        ),
        (fails(503, "loading"), "failed 2 times: 503: loading"),
    ],
)
def test_a_server_that_cannot_be_used_is_found_before_anything_is_written(
    answer: Answer, sentence: str, setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda _: answer) as server:
        assert sentence in mistake(setup, server, capsys, "eval")
    with chat_server(lambda _: answer) as gone:
        pass
    assert re.search("No chat server answers at .*connection refused", mistake(setup, gone, capsys, "eval"))
