import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from video_makers import write_numbered_video

from videozoom.envs.task_files import load_tasks
from videozoom.experiments.cli import main
from videozoom.experiments.data_check import check_tasks
from videozoom.experiments.data_problems import Problem, ProblemKind, Report, Severity, print_report
from videozoom.experiments.progress import console

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "quiet", False)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of videos of 4 s with 100 frames, each with its own trouble."""
    folder = tmp_path_factory.mktemp("checked")
    steady = range(0, 4000, 40)
    front = {"movflags": "faststart"}
    write_numbered_video(folder / "good.mp4", steady, options={"g": "25"}, container_options=front)
    write_numbered_video(folder / "good.mkv", range(0, 4000, 33), container_format="matroska")
    write_numbered_video(folder / "vfr.mp4", [*range(0, 2000, 40), *range(2000, 4001, 400)])
    write_numbered_video(folder / "no_times.h264", steady, container_format="h264", options={"bf": "2"})
    write_numbered_video(folder / "no_times.avi", steady, container_format="avi", options={"bf": "2"})
    data = (folder / "good.mp4").read_bytes()
    start = data.index(b"mdat") + 4
    (folder / "cut.mp4").write_bytes(data[: start + (len(data) - start) * 6 // 10])
    (folder / "damaged.mp4").write_bytes(data[: start + 2000] + bytes(3000) + data[start + 5000 :])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "folder.mp4").mkdir()
    return folder


def row(number: int, video: str = "good.mp4", **fields: object) -> Row:
    return {
        "task_id": f"q{number}",
        "video": video,
        "duration_s": 4.0,
        "question": f"What happens in scene {number}?",
        "options": ["a dog runs", "a cat sleeps"],
        "answer": "B",
        "evidence": [[1, 2]],
    } | fields


def write(folder: Path, name: str, *rows: Row | str) -> Path:
    path = folder / name
    path.write_text("".join((it if isinstance(it, str) else json.dumps(it)) + "\n" for it in rows), encoding="utf-8")
    return path


def found(report: Report) -> list[tuple[str, int]]:
    return [(str(problem.kind), problem.row) for problem in report.problems]


def test_a_good_file_has_no_problems(
    videos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        videos,
        "good.jsonl",
        row(1, evidence=[], metadata={"num_frames": 100}),
        row(2, duration_s=4.9, evidence=[[4, 4.9]], metadata={"num_frames": 120}),
        row(3, "./good.mp4"),
        row(4, "good.mkv"),
    )
    assert main(["data", "check", str(path), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{path}: 4 tasks, 2 videos: no problems.\n"
    assert captured.err == ""


EVERY_KIND: list[tuple[Row | str, list[ProblemKind]]] = [
    (row(1), []),
    ("{not json", [ProblemKind.BAD_ROW]),
    (row(3, answr="B"), [ProblemKind.BAD_ROW]),
    (row(4, options=["one"], answer="A"), [ProblemKind.BAD_OPTIONS]),
    (row(5, answer="C", evidence=[[3, 9]]), [ProblemKind.BAD_ANSWER, ProblemKind.BAD_EVIDENCE]),
    (row(1, question="Another?"), [ProblemKind.DUPLICATE_ID]),
    (row(7, "./good.mp4", question="what  happens in scene 1?"), [ProblemKind.DUPLICATE_QUESTION]),
    (row(8, question="What happens in scene 1?", options=["x", "y"]), [ProblemKind.REPEATED_QUESTION]),
    (row(9, options=["A dog ", "a dog"]), [ProblemKind.SIMILAR_OPTIONS]),
    (row(10, options=["A. a dog", "(B) a cat"]), [ProblemKind.LETTERED_OPTIONS]),
    (row(11, question="Is it true that 'a cat sleeps'?"), [ProblemKind.ANSWER_IN_QUESTION]),
    (row(12, "none.mp4"), [ProblemKind.MISSING_VIDEO]),
    (row(13, "empty.mp4"), [ProblemKind.UNREADABLE_VIDEO]),
    (row(14, "no_times.h264"), [ProblemKind.NO_TIMESTAMPS]),
    (row(15, "cut.mp4"), [ProblemKind.CUT_SHORT, ProblemKind.WRONG_DURATION]),
    (row(16, "damaged.mp4"), [ProblemKind.DAMAGED_FRAMES]),
    (row(17, duration_s=5.5), [ProblemKind.WRONG_DURATION]),
    (row(18, duration_s=2.5, evidence=[]), [ProblemKind.WRONG_DURATION]),
    (row(19, metadata={"num_frames": 130}), [ProblemKind.WRONG_FRAME_COUNT]),
    (row(20, duration_s=9.0, evidence=[[1, 2], [5, 8]]), [ProblemKind.WRONG_DURATION, ProblemKind.EVIDENCE_OUTSIDE]),
    (row(21, "vfr.mp4"), [ProblemKind.VARIABLE_FRAME_RATE]),
    (row(22, "folder.mp4"), [ProblemKind.MISSING_VIDEO]),
    (row(23, "no_times.avi"), [ProblemKind.NO_TIMESTAMPS]),
    (row(24, options=[], kind="numerical", answer=3), []),
    (row(25, options=[], kind="numerical", answer="some"), [ProblemKind.BAD_ANSWER]),
    (row(26, kind="open", answer="a dog"), [ProblemKind.BAD_OPTIONS]),
    (row(27, options=[], kind="temporal_grounding", answer=[3, 9], evidence=[]), [ProblemKind.BAD_ANSWER]),
    (row(28, options=[], kind="temporal_grounding", answer=[3, 4]), [ProblemKind.BAD_EVIDENCE]),
    (row(29, options=[], kind="open", answer="cat sleeps", question="A cat sleeps?"), [ProblemKind.ANSWER_IN_QUESTION]),
]


def test_every_kind_of_problem_is_found_where_it_is_and_nowhere_else(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(videos, "every.jsonl", *(it for it, _ in EVERY_KIND))
    assert main(["data", "check", str(path), "--json", "--decode", "--workers", "2"]) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    expected = [(str(kind), number) for number, (_, kinds) in enumerate(EVERY_KIND, start=1) for kind in kinds]
    assert sorted((it["kind"], it["row"]) for it in report["problems"]) == sorted(expected)
    assert {kind for kind, _ in expected} == set(ProblemKind)
    assert [it["row"] for it in report["problems"]] == sorted(it["row"] for it in report["problems"])
    kinds = [kind for kind, _ in expected]
    assert report["counts"] == {kind: kinds.count(kind) for kind in kinds}
    assert (report["file"], report["ok"]) == (str(path), False)
    assert (report["num_rows"], report["num_tasks"], report["num_videos"]) == (29, 21, 9)
    assert "Checking videos: 7/7" in captured.err
    problems = {it["kind"]: it for it in report["problems"]}
    assert problems["missing_video"] | {"message": ""} == {
        "kind": "missing_video",
        "severity": "error",
        "row": 22,
        "task_id": "q22",
        "video": "folder.mp4",
        "message": "",
    }
    assert problems["bad_row"]["task_id"] == "q3"
    assert problems["repeated_question"]["severity"] == "warning"
    assert problems["variable_frame_rate"]["severity"] == "info"
    messages = {kind: it["message"] for kind, it in problems.items()}
    assert messages["duplicate_id"] == "task_id 'q1' is already used in row 1"
    assert messages["wrong_frame_count"] == "metadata.num_frames is 130, but the video has 100 frames"
    assert messages["variable_frame_rate"] == "the frame rate varies: frames are 0.04 to 0.4 s apart"
    assert messages["evidence_outside"] == "evidence span [5, 8] ends behind the video, which is 4.000 s long"
    assert "cut short" in messages["cut_short"]


def test_damage_inside_a_file_needs_decoding_to_be_found(videos: Path) -> None:
    path = write(videos, "damaged.jsonl", row(1, "damaged.mp4"))
    assert found(check_tasks(path)) == []
    assert found(check_tasks(path, decode=True)) == [("damaged_frames", 1)]


def test_a_video_at_fault_is_one_problem_however_many_rows_use_it(videos: Path) -> None:
    rows = [row(number, "cut.mp4", duration_s=2.3) for number in range(3)]
    report = check_tasks(write(videos, "cut.jsonl", *rows, row(4, "none.mp4"), row(5, "./none.mp4")))
    assert found(report) == [("cut_short", 1), ("missing_video", 4)]
    assert report.problems[0].message.endswith("(used by 3 rows)")
    assert report.num_videos == 2


def test_the_tolerance_decides_what_a_wrong_duration_is(videos: Path) -> None:
    path = write(videos, "tolerance.jsonl", row(1, duration_s=4.3, evidence=[[1, 4.2]], metadata={"num_frames": 106}))
    assert found(check_tasks(path)) == []
    kinds = [kind for kind, _ in found(check_tasks(path, tolerance_s=0.1))]
    assert kinds == ["wrong_duration", "wrong_frame_count", "evidence_outside"]


def test_a_video_that_takes_too_long_is_unreadable_and_the_others_are_checked(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(videos, "slow.jsonl", row(1), row(2, "vfr.mp4"))
    report = check_tasks(path, limit_s=1e-6)
    assert found(report) == [("unreadable_video", 1), ("unreadable_video", 2)]
    assert report.problems[0].message == "the process that read it did not finish within 1e-06 s and was stopped"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_ends_the_check_with_one_line_and_leaves_no_process(videos: Path, tmp_path: Path) -> None:
    for number in range(400):
        os.link(videos / "vfr.mp4", tmp_path / f"{number}.mp4")
    path = write(tmp_path, "many.jsonl", *(row(number, f"{number}.mp4") for number in range(400)))
    command = [sys.executable, "-m", "videozoom.experiments.cli", "data", "check", str(path), "--decode"]
    with subprocess.Popen(
        [*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "Checking videos: 40/400\n"
            workers = children_of(process.pid)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, output) == (130, "")
    lines = [line for line in errors.splitlines() if not line.startswith("Checking videos: ")]
    assert lines == ["Interrupted before every video was looked at; there is no report."]
    assert len(workers) == 2
    assert [worker for worker in workers if Path(f"/proc/{worker}").exists()] == []


def children_of(process: int) -> list[int]:
    """Return the processes that a process has started."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name of the program, in brackets, may hold blanks.
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    return [child for child, parent in parents.items() if parent == process]


def test_warnings_and_notes_are_no_errors(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(videos, "notes.jsonl", row(1, "vfr.mp4", options=["Yes", "yes"]))
    load_tasks(path)
    assert main(["data", "check", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["counts"] == {"similar_options": 1, "variable_frame_rate": 1}


def leaks(question: str, *options: str) -> bool:
    from videozoom.envs.task_files import TaskRow
    from videozoom.envs.tasks import Task
    from videozoom.experiments.data_check_rows import row_problems

    task = Task("a", Path("v.mp4"), 1.0, question, options, "A")
    problems = row_problems([TaskRow(1, {}, task, ())])
    return ProblemKind.ANSWER_IN_QUESTION in [problem.kind for problem in problems]


@pytest.mark.parametrize(
    ("question", "options", "is_leak"),
    [
        ("Who holds the Red Ball?", ("red ball", "blue ball"), True),
        ("Who holds the red ball or the blue ball?", ("red ball", "blue ball"), False),
        ("Who is hundred?", ("hund", "cats"), False),
        ("Is there no way?", ("no", "yes"), False),
        ("Who holds the blue ball?", ("red ball", "blue ball"), False),
    ],
)
def test_an_answer_leaks_if_the_question_names_it_alone(question: str, options: tuple[str, ...], is_leak: bool) -> None:
    assert leaks(question, *options) is is_leak


def test_people_see_the_first_examples_of_each_kind_and_a_summary() -> None:
    kind, other = ProblemKind.WRONG_DURATION, ProblemKind.SIMILAR_OPTIONS
    problems = [Problem(kind, f"is [bad] {number}", number, "q", f"{number}.mp4") for number in range(1, 6)]
    report = Report(Path("t.jsonl"), 7, 6, 1, (*problems, Problem(other, "alike", 9, None, None)))
    out = StringIO()
    print_report(report, Console(file=out, width=100))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == [
        "error wrong_duration: 5",
        "     row 1 1.mp4: is [bad] 1",
        "     row 2 2.mp4: is [bad] 2",
        "     row 3 3.mp4: is [bad] 3",
        "           ... and 2 more; --json lists all",
        "warning similar_options: 1",
        "     row 9 alike",
        "t.jsonl: 6 tasks (and 1 row that is none), 1 video: 5 errors, 1 warning.",
    ]
    assert report.num_of(Severity.INFO) == 0


@pytest.mark.parametrize(
    "make", [lambda path: None, Path.mkdir, Path.touch, lambda path: path.write_bytes(b"\xff\xfe")]
)
def test_a_file_that_cannot_be_read_is_the_users_mistake(
    make: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.jsonl"
    make(path)
    assert main(["data", "check", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"videozoom: {path}: ")
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check"], "the following arguments are required: FILE"),
        ([], "the following arguments are required: check"),
        (["chek"], "invalid choice: 'chek'"),
        (["check", "a", "b"], "one file at a time, but there is b as well"),
        (["check", "a", "--workers", "0"], "'0' is no number of processes; give 1 or more"),
        (["check", "a", "--tolerance-s", "-1"], "'-1' is no number of seconds"),
        (["check", "a", "--limit-s", "x"], "'x' is no number of seconds"),
        (["check", "a", "--nothing"], "unknown option --nothing; see: videozoom data check --help"),
    ],
)
def test_a_wrong_command_line_exits_with_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["data", *arguments])
    assert exit_info.value.code == 2
    assert sentence in capsys.readouterr().err
