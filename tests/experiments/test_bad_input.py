"""What a user gets wrong, at the command line: exit code 2, one sentence that names the place, nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generated_world import TINY, GeneratedWorld

from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.task_files import save_tasks
from videozoom.envs.tasks import Span, Task
from videozoom.experiments.cli import main
from videozoom.experiments.progress import console
from videozoom.rollout.traces import read_traces

COMMANDS = ("demo", "train", "eval")
Row = dict[str, Any]


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "quiet", False)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = VideoRecipe(num_videos=1, length_s=16.0, num_events=2)
    return generate(recipe, tmp_path_factory.mktemp("one")).parent / "videos" / "00000.mp4"


class Shell:
    """Calls `videozoom` in one folder, quietly, and reads what it printed."""

    def __init__(self, folder: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.run_dir, self.videos, self.capsys = folder / "run", videos, capsys

    def mistake(self, command: str, *arguments: str) -> str:
        """Return the sentence that a mistake ends with, after looking that nothing else happened."""
        given = [argument.partition("=")[0] for argument in arguments]
        places = [f"data.videos={self.videos}", f"video.cache={self.videos / 'cache'}", f"run_dir={self.run_dir}"]
        defaults = [*TINY, *places]
        # A source that is a task file takes no settings of generated videos.
        files = [name.removesuffix(".tasks") for name in given if name.endswith(".tasks")]
        defaults = [it for it in defaults if not any(it.startswith(f"{name}.") for name in (*files, *given))]
        rules = ["eval.policies=[never,oracle]"] if command == "eval" and "eval.policies" not in given else []
        code = main([command, "smoke", "--quiet", *defaults, *rules, *arguments])
        captured = self.capsys.readouterr()
        assert (code, captured.out) == (2, "")
        [line] = captured.err.splitlines()
        assert line.startswith("videozoom: ")
        assert not self.run_dir.exists()
        return line.removeprefix("videozoom: ")


@pytest.fixture
def shell(tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, videos, capsys)


def task_file(path: Path, *rows: Row | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def row_of(video: Path, **changes: Any) -> Row:
    row = {
        "task_id": "t0",
        "video": str(video),
        "duration_s": 16.0,
        "question": "Which sign?",
        "options": ["bars", "lines"],
        "answer": "A",
        "evidence": [[4.0, 8.0]],
    }
    return row | changes


def eval_from(path: Path) -> list[str]:
    return ["data.eval.generated=null", f"data.eval.tasks={path}"]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_key(command: str, shell: Shell) -> None:
    sentence = shell.mistake(command, "rollout.groupsize=4")
    assert sentence == "Unknown key 'rollout.groupsize' in the overrides; did you mean 'rollout.group_size'?"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda row: row | {"video": "gone.mp4"}, "row 2: video file "),
        (
            lambda row: row | {"evidence": [[12.0, 20.0]]},
            "row 2: evidence span [12, 20] lies outside the video, [0, 16]",
        ),
        (lambda row: row | {"answer": "C"}, "row 2: answer 'C' is none of the option letters A, B"),
        (lambda row: {name: row[name] for name in row if name != "options"}, "row 2: field 'options' is missing"),
        (lambda row: "{", "row 2: not valid JSON"),
    ],
)
def test_a_wrong_row_of_a_task_file(
    command: str, break_it: Callable[[Row], Row | str], problem: str, video: Path, shell: Shell, tmp_path: Path
) -> None:
    path = task_file(tmp_path / "tasks.jsonl", row_of(video), break_it(row_of(video, task_id="t1")))
    assert shell.mistake(command, *eval_from(path)).startswith(f"{path}, {problem}")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_task_file_that_is_empty_or_missing(command: str, shell: Shell, tmp_path: Path) -> None:
    path = task_file(tmp_path / "tasks.jsonl")
    assert shell.mistake(command, *eval_from(path)) == f"{path}: the task file is empty; it needs at least one row."
    gone = tmp_path / "gone.jsonl"
    assert shell.mistake(command, *eval_from(gone)).startswith(f"{gone}: cannot read the task file")


@pytest.mark.parametrize("command", COMMANDS)
def test_not_one_readable_video(command: str, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 99)
    path = task_file(tmp_path / "tasks.jsonl", row_of(tmp_path / "noise.mp4"))
    sentence = shell.mistake(command, *eval_from(path))
    assert sentence.startswith(f"{path}: not one of its videos can be read; that of its first row: ")
    assert "noise.mp4" in sentence


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("protocol.prompts=no_such_folder", "protocol.prompts is 'no_such_folder', which cannot be used: Prompt file"),
        ("policy.checkpoint=no_such_model", "no checkpoint at no_such_model"),
        ("env.max_steps=1001", "env.max_steps must be less than or equal to 1000, got 1001"),
        ("reward.outcome=-1", "reward.outcome must be greater than or equal to 0, got -1"),
        ("data.eval.generated.num_events=[9, 9]", "data.eval.generated: num_events is (9, 9) but must be between"),
    ],
)
def test_settings_that_cannot_be_built(command: str, override: str, problem: str, shell: Shell) -> None:
    assert shell.mistake(command, override).startswith(problem)


@pytest.mark.parametrize("command", COMMANDS)
def test_folders_that_cannot_be_written(command: str, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert shell.mistake(command, f"run_dir={tmp_path / 'file'}").startswith(f"run_dir {tmp_path / 'file'} is a file")
    below = tmp_path / "file" / "run"
    assert shell.mistake(command, f"run_dir={below}") == (
        f"run_dir {below} cannot be written (Not a directory); choose another folder with run_dir=..."
    )
    assert shell.mistake(command, f"data.videos={tmp_path / 'file'}").startswith("Cannot write generated videos into")
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").touch()
    assert "is not empty and is no run folder" in shell.mistake(command, f"run_dir={full}", "--overwrite")
    assert [path.name for path in full.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("command", ["demo", "train"])
def test_tasks_that_cannot_be_trained_on(command: str, video: Path, shell: Shell, tmp_path: Path) -> None:
    path = task_file(tmp_path / "tasks.jsonl", row_of(video, evidence=[]))
    source = ["data.train.generated=null", f"data.train.tasks={path}"]
    assert "no task of data.train has evidence" in shell.mistake(command, *source)
    source = ["data.cold_start.mixed.generated=null", f"data.cold_start.mixed.tasks={path}"]
    assert shell.mistake(command, *source) == (
        "data.cold_start.mixed: task 't0' has no events in its metadata; the cold start learns from generated videos"
    )


def test_an_evaluation_of_a_model_that_is_not_named(shell: Shell) -> None:
    assert shell.mistake("eval", "eval.policies=[model]").startswith("policy.checkpoint is not set; name a checkpoint")


def test_seeds_of_the_demo(shell: Shell) -> None:
    assert shell.mistake("demo", "--seeds", "0,-1").startswith("--seeds must be different numbers of at least 0")
    assert shell.mistake("demo", "--seeds", "1,1").startswith("--seeds must be different numbers of at least 0")


def test_what_is_right_runs(generated: GeneratedWorld, shell: Shell, tmp_path: Path) -> None:
    """Control: the same calls with nothing wrong, and with one broken video among good ones, succeed."""
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 99)
    noise = Task("noise", tmp_path / "noise.mp4", 16.0, "Which sign?", ("bars", "lines"), "A")
    save_tasks([noise, *generated.tasks], tmp_path / "tasks.jsonl")
    arguments = ["eval.num_tasks=9", "eval.policies=[oracle]", "video.cache=null", f"run_dir={shell.run_dir}"]
    assert main(["eval", "smoke", "--quiet", "--json", *eval_from(tmp_path / "tasks.jsonl"), *arguments]) == 0
    [row] = json.loads(shell.capsys.readouterr().out)["rows"]
    assert (row["num_tasks"], row["num_errors"], row["accuracy"]) == (3, 1, 1.0)


def test_a_video_that_cannot_be_read_costs_its_own_group_and_is_counted(
    generated: GeneratedWorld, shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 99)
    noise = Task("noise", tmp_path / "noise.mp4", 16.0, "Which sign?", ("bars", "lines"), "A", (Span(4.0, 8.0),))
    save_tasks([noise, *generated.tasks], tmp_path / "tasks.jsonl")
    sources = ["data.train.generated=null", f"data.train.tasks={tmp_path / 'tasks.jsonl'}", "cold_start.stages=[]"]
    defaults = [override for override in TINY if not override.startswith("data.train")]
    # In two iterations with two groups of each kind, each of the four tasks has its turn twice.
    sizes = ["rollout.tasks_per_iteration=4", "grpo.num_iterations=2", "grpo.kl_coef=0.1", "grpo.eval_every=0"]
    places = [f"data.videos={shell.videos}", "video.cache=null", f"run_dir={shell.run_dir}"]
    assert main(["train", "smoke", "--quiet", *defaults, *sources, *sizes, *places]) == 0
    rows = [json.loads(line) for line in (shell.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [row["progress/iteration"] for row in rows] == [1, 2]
    assert sum(row["video/decode_error/rate"] for row in rows) == 2 * 0.25
    traces = [row for row in read_traces(shell.run_dir / "traces.jsonl") if row["phase"] == "train"]
    assert {row["status"] == "error_decode" for row in traces if row["task_id"] == "noise"} == {True}
    assert {row["status"] == "error_decode" for row in traces if row["task_id"] != "noise"} == {False}
