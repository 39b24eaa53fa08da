"""Questions of every kind from generation to reports: evaluation by rules, and a training too short to learn."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, chromium_page
from chat_server import Answer as Reply
from chat_server import Asked, chat_server, says

from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.task_files import load_tasks, save_tasks
from videozoom.envs.tasks import QuestionKind, Task
from videozoom.experiments.build import build_tasks
from videozoom.experiments.cli import main
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.evaluate import run_eval
from videozoom.experiments.play import game
from videozoom.experiments.play_server import BadRequest, PlayServer
from videozoom.experiments.progress import console
from videozoom.experiments.result_rows import eval_metrics, print_results
from videozoom.experiments.train import run_train
from videozoom.rewards.answers import gold_answer
from videozoom.rollout.metrics import check_names
from videozoom.rollout.trace_rows import task_from_row, trajectory_from_row
from videozoom.rollout.traces import read_traces

KINDS = f"[{','.join(QuestionKind)}]"
EVERY_KIND = (
    *(f"data.{part}.generated.question_kinds={KINDS}" for part in ("train", "eval", "cold_start.mixed")),
    *(f"data.{part}.generated.num_videos=5" for part in ("train", "eval", "cold_start.mixed")),
    *("policy.tiny.hidden_size=32", "policy.tiny.num_layers=1", "rollout.max_new_tokens=6", "eval.max_new_tokens=6"),
    *("eval.num_tasks=5", "grpo.num_iterations=1", "grpo.checkpoint_every=1"),
)


def config(videos: Path, run_dir: Path, *more: str, name: str = "smoke") -> Config:
    places = [f"data.videos={videos}", f"video.cache={videos / 'cache'}", f"run_dir={run_dir}"]
    return load_config(name, [*EVERY_KIND, *places, *more])


@pytest.mark.parametrize("name", ["smoke", "videozoomer", "longvideo_r1"])
def test_rules_answer_questions_of_every_kind(name: str, videos: Path, tmp_path: Path) -> None:
    kinds = [f"data.eval.generated.question_kinds={KINDS}", "data.eval.generated.num_videos=5", "eval.num_tasks=5"]
    places = [f"data.videos={videos}", f"video.cache={videos / 'cache'}", f"run_dir={tmp_path / 'run'}"]
    settings = load_config(name, [*kinds, *places, "eval.policies=[never,oracle]"])
    never, oracle = run_eval(settings)["rows"]
    assert (oracle["accuracy"], oracle["unparsed_rate"], never["unparsed_rate"]) == (1.0, 0.0, 0.0)
    assert never["accuracy"] < 0.5
    assert list(oracle["kinds"]) == list(QuestionKind)
    assert oracle["kinds"]["numerical"] | {"accuracy_ci95": None, "reward_mean": None} == {
        "num_tasks": 1,
        "accuracy": 1.0,
        "accuracy_ci95": None,
        "reward_mean": None,
        "number_error": 0.0,
    }
    grounding = {name: oracle["kinds"]["temporal_grounding"][name] for name in ("iou", "recall_05", "recall_07")}
    assert grounding == {"iou": 1.0, "recall_05": 1.0, "recall_07": 1.0}
    assert (never["kinds"]["transcription"]["word_error_rate"], never["kinds"]["open"]["accuracy"]) == (1.0, 0.0)
    metrics = eval_metrics(oracle)
    check_names(metrics)
    assert metrics["eval/held_out/answer/right/open/rate"] == 1.0
    for row in read_traces(tmp_path / "run" / "traces.jsonl"):
        task, trajectory = task_from_row(row), trajectory_from_row(row)
        assert trajectory.reward.is_right == trajectory.is_right(task)
        assert (row["policy"] == "oracle") <= (trajectory.answer == gold_answer(task))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Kinds of questions" in page
    assert "mIoU 1.00, R@0.3 1.00" in page


def test_a_tiny_model_trains_on_every_kind(videos: Path, tmp_path: Path) -> None:
    run_train(config(videos, tmp_path / "run"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [list(row["kinds"]) for row in results["rows"]] == [list(QuestionKind)] * len(results["rows"])
    kinds = {task_from_row(row).kind for row in read_traces(tmp_path / "run" / "traces.jsonl")}
    assert kinds == set(QuestionKind)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("answer/right/numerical/rate" in row or "eval/held_out/answer/number_error/mean" in row for row in rows)


def test_people_get_a_table_by_kind(videos: Path, tmp_path: Path) -> None:
    rows = run_eval(config(videos, tmp_path / "run", "eval.policies=[oracle]"))["rows"]
    with console.capture() as capture:
        print_results(rows)
    assert "By kind of question" in capture.get()
    assert "mIoU 1.00" in capture.get()
    with console.capture() as capture:
        print_results([{**rows[0], "kinds": {}}])
    assert "By kind" not in capture.get()


def test_generated_questions_are_the_same_tasks_from_their_file(videos: Path, tmp_path: Path) -> None:
    tasks = build_tasks(config(videos, tmp_path).data.eval, videos)
    assert [task.kind for task in tasks] == list(QuestionKind)
    save_tasks(tasks, tmp_path / "tasks.jsonl")
    again = load_tasks(tmp_path / "tasks.jsonl")
    assert [(t.kind, t.options, t.answer, t.evidence) for t in again] == [
        (t.kind, t.options, t.answer, t.evidence) for t in tasks
    ]
    assert main(["data", "check", str(tmp_path / "tasks.jsonl"), "--quiet"]) == 0


def test_a_judge_behind_a_chat_server_grades_open_answers(videos: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def grades(request: Asked) -> Reply:
        if not request.is_trial:
            asked.append(request.body["messages"][-1]["content"])
        return says("It says that it does not know. Score: 1")

    judge = "reward_rules.answers.judge"
    with chat_server(grades) as server:
        settings = config(
            videos,
            tmp_path / "run",
            "data.eval.generated.question_kinds=[open]",
            "eval.policies=[never,random,oracle]",
            *(f"{judge}.kind=endpoint", f"{judge}.file={tmp_path / 'grades.jsonl'}"),
            *(f"{judge}.endpoint.base_url={server.base_url}", f"{judge}.endpoint.model=grader"),
        )
        rows = run_eval(settings)["rows"]
    # Rules that do not know answer all five with the same words; what the oracle says is the reference.
    assert [row["accuracy"] for row in rows] == [1.0, 1.0, 1.0]
    assert len(asked) == len(set(map(str, asked))) == 5
    # What was said counts from now on, without a server.
    row = next(row for row in read_traces(tmp_path / "run" / "traces.jsonl") if row["policy"] == "never")
    assert (row["answer"], trajectory_from_row(row).is_right(task_from_row(row))) == ("unknown", True)


def test_a_judge_that_is_not_there_ends_the_run_with_the_reason(videos: Path, tmp_path: Path) -> None:
    judge = "reward_rules.answers.judge"
    settings = config(
        videos,
        tmp_path / "run",
        *("data.eval.generated.question_kinds=[open]", "eval.policies=[never]", f"{judge}.kind=endpoint"),
        *(f"{judge}.endpoint.base_url=http://127.0.0.1:9/v1", f"{judge}.endpoint.model=grader", f"{judge}.file=null"),
    )
    with pytest.raises(UserError, match=r"No chat server answers at http://127.0.0.1:9/v1 .*eval --resume"):
        run_eval(settings)
    with pytest.raises(UserError, match=r"answers\.judge\.endpoint\.api_key_env names NO_SUCH_KEY"):
        run_eval(config(videos, tmp_path / "r", *_keyed()))
    assert main(["eval", "smoke", f"{judge}.kind=endpoint", "--dry-run"]) == 2


def _keyed() -> list[str]:
    endpoint = "reward_rules.answers.judge.endpoint"
    values = [
        f"{endpoint}.base_url=http://127.0.0.1:9/v1",
        f"{endpoint}.model=m",
        f"{endpoint}.api_key_env=NO_SUCH_KEY",
    ]
    return ["eval.policies=[never]", "reward_rules.answers.judge.kind=endpoint", *values]


LONGVIDEO_R1 = ("protocol.name=longvideo_r1", "protocol.prompts=longvideo_r1", "protocol.parser=rl")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["env.kind=caption_tree", *LONGVIDEO_R1], "longvideo_r1 asks only: mul"),
        (
            ["protocol.prompts={prompts}"],
            "love_r1 asks only: multiple_choice, open; choose others",
        ),
    ],
)
def test_a_protocol_without_words_for_a_kind_says_so(
    overrides: list[str], sentence: str, videos: Path, tmp_path: Path
) -> None:
    files = {"system": "s", "question": "{question}{options}", "instruction": "i"}
    files |= {"question_free": "{question} {form}", "forms": "open: Words."}
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    overrides = [it.format(prompts=tmp_path) for it in overrides]
    with pytest.raises(UserError, match=sentence) as caught:
        run_eval(config(videos, tmp_path / "run", "eval.policies=[never]", *overrides))
    assert "is of kind numerical, but" in str(caught.value)


@pytest.mark.parametrize("text", ["x: y", "numerical"])
def test_forms_of_kinds_that_there_are_not_are_refused(text: str, tmp_path: Path) -> None:
    for name, words in (("system", "s"), ("question", "{question}{options}"), ("instruction", "i"), ("forms", text)):
        (tmp_path / f"{name}.txt").write_text(words)
    with pytest.raises(ValueError, match=r"question_free.txt does not exist"):
        LoveR1Protocol(tmp_path)
    (tmp_path / "question_free.txt").write_text("{question} {form}")
    if text == "x: y":
        with pytest.raises(ValueError, match="'x' is none of numerical, transcription, open, temporal_grounding"):
            LoveR1Protocol(tmp_path)


WRONG = {
    QuestionKind.NUMERICAL: ("soon", "an answer is one number", "1"),
    QuestionKind.TRANSCRIPTION: ("", "an answer is a text", "nothing"),
    QuestionKind.OPEN: ("?", "an answer is a text", "nothing"),
    QuestionKind.TEMPORAL_GROUNDING: ("12", "an answer is a start and an end in seconds", "[0, 0]"),
}


def test_people_play_every_kind(videos: Path, tmp_path: Path) -> None:

    settings = config(videos, tmp_path)
    tasks = build_tasks(settings.data.eval, videos)
    played = game(settings, tasks, {})

    def begin(task: Task) -> dict[str, Any]:
        return played.call("start", {"position": tasks.index(task)})

    for task in tasks[1:]:
        unreadable, problem, wrong = WRONG[task.kind]
        begun = begin(task)
        assert (begun["kind"], begun["options"]) == (task.kind, [])
        with pytest.raises(BadRequest, match=problem):
            played.call("answer", {"episode": begun["episode"], "text": unreadable})
        assert not played.call("answer", {"episode": begun["episode"], "text": wrong})["truth"]["is_right"]
        state = played.call("answer", {"episode": begin(task)["episode"], "text": f" {gold_answer(task)} "})
        assert (state["truth"]["is_right"], state["truth"]["answer"]) == (True, task.answer)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_people_answer_in_words_in_the_page(videos: Path, tmp_path: Path) -> None:
    settings = config(videos, tmp_path)
    tasks = build_tasks(settings.data.eval, videos)
    by_kind = {task.kind: index for index, task in enumerate(tasks)}
    number, when = by_kind[QuestionKind.NUMERICAL], by_kind[QuestionKind.TEMPORAL_GROUNDING]
    field = "document.querySelector('#options input')"
    with PlayServer(game(settings, tasks, {}), port=0) as server, chromium_page(tmp_path / "profile") as page:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

        def answer(position: int, text: str) -> None:
            page.open("about:blank")
            page.open(f"{server.url}#{position + 1}")
            page.until(f"{field} && !document.body.hasAttribute('aria-busy')")
            assert page.run("document.querySelector('#answer').disabled")
            page.run(
                f"{field}.value = {json.dumps(text)}; {field}.dispatchEvent(new Event('input', {{bubbles: true}}))"
            )
            page.click("#answer")

        answer(number, tasks[number].answer)
        page.until("!document.querySelector('#truth').hidden")
        assert page.text("#verdict") == "Right."
        answer(when, "[0, 1]")
        page.until("!document.querySelector('#truth').hidden")
        assert page.text("#verdict") == f"Wrong. The answer is {tasks[when].answer}."
        assert page.errors == []
        answer(when, "early")
        page.until("!document.querySelector('#problem').hidden")
        assert "a start and an end in seconds" in page.text("#problem")
        server.shutdown()
