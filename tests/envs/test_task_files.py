import json
from pathlib import Path

import pytest

from videozoom.envs.task_files import RowFault, TaskFileError, load_tasks, read_rows, save_tasks
from videozoom.envs.tasks import Span, Task

ROW = {
    "task_id": "a",
    "video": "v.mp4",
    "duration_s": 64.0,
    "question": "Which?",
    "options": ["bars", "lines"],
    "answer": "B",
    "evidence": [[4, 8]],
    "metadata": {"cue": "red"},
}


def write(folder: Path, *rows: object) -> Path:
    (folder / "v.mp4").touch()
    path = folder / "tasks.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_task_file_is_read_as_written(tmp_path: Path) -> None:
    (task,) = load_tasks(write(tmp_path, ROW))
    assert task == Task("a", tmp_path / "v.mp4", 64.0, "Which?", ("bars", "lines"), "B", (Span(4, 8),), {"cue": "red"})


def test_saving_and_loading_gives_the_same_tasks_and_the_same_bytes(tmp_path: Path) -> None:
    tasks = load_tasks(write(tmp_path, ROW, ROW | {"task_id": "b", "question": "Où?", "evidence": []}))
    saved = tmp_path / "sub" / "again.jsonl"
    save_tasks(tasks, saved)
    assert [task.video.resolve() for task in load_tasks(saved)] == [tmp_path / "v.mp4"] * 2
    assert [task.question for task in load_tasks(saved)] == ["Which?", "Où?"]
    first = saved.read_bytes()
    save_tasks(load_tasks(saved), saved)
    assert saved.read_bytes() == first
    assert b'"video": "../v.mp4"' in first
    assert [path.name for path in saved.parent.iterdir()] == ["again.jsonl"]


def test_evidence_and_metadata_may_be_left_out(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key not in ("evidence", "metadata")}
    (task,) = load_tasks(write(tmp_path, row))
    assert (task.evidence, dict(task.metadata)) == ((), {})


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = write(tmp_path, ROW)
    before = path.read_bytes()
    bad = Task("x", tmp_path / "v.mp4", float("nan"), "q", ("a", "b"), "A")
    with pytest.raises(ValueError, match="JSON"):
        save_tasks([bad], path)
    assert path.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["tasks.jsonl", "v.mp4"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "not valid JSON"),
        ("[1, 2]", "must be a JSON object, not list"),
        ({key: value for key, value in ROW.items() if key != "answer"}, "field 'answer' is missing"),
        (ROW | {"anser": "B"}, "unknown field 'anser'"),
        (ROW | {"answer": "C"}, "answer 'C' is none of the option letters A, B"),
        (ROW | {"answer": "AB"}, "answer 'AB' is none of the option letters A, B"),
        (ROW | {"answer": 1}, "answer must be a non-empty text, not 1"),
        (ROW | {"evidence": [[60, 65]]}, r"evidence span \[60, 65\] lies outside the video, \[0, 64\]"),
        (ROW | {"evidence": [[-1, 2]]}, r"evidence span \[-1, 2\] lies outside the video"),
        (ROW | {"evidence": [[8, 4]]}, r"evidence span \[8, 4\] must start before it ends"),
        (ROW | {"evidence": [[4, 4]]}, r"evidence span \[4, 4\] must start before it ends"),
        (ROW | {"evidence": [4, 8]}, r"evidence must be a list of \[start_s, end_s\] pairs"),
        (ROW | {"evidence": [[4, "8"]]}, r"evidence must be a list of \[start_s, end_s\] pairs of numbers"),
        (ROW | {"duration_s": 0}, "duration_s must be a positive number of seconds, not 0"),
        (ROW | {"duration_s": True}, "duration_s must be a positive number of seconds, not True"),
        (json.dumps(ROW).replace("64.0", "NaN"), "duration_s must be a positive number of seconds, not nan"),
        (ROW | {"options": ["bars"]}, "there must be 2 to 26 options, not 1"),
        (ROW | {"options": ["bars", "bars"]}, "options must differ"),
        (ROW | {"options": ["bars", " "]}, "options must be a list of non-empty texts"),
        (ROW | {"options": "bars"}, "options must be a list of non-empty texts"),
        (ROW | {"task_id": "b", "video": "missing.mp4"}, r"video file '.*missing.mp4' does not exist"),
        (ROW | {"metadata": [1]}, "metadata must be an object"),
        (ROW, "task_id 'a' is already used in row 1"),
    ],
)
def test_a_wrong_row_is_one_sentence_with_file_row_and_reason(tmp_path: Path, row: object, reason: str) -> None:
    path = write(tmp_path, ROW, row)
    with pytest.raises(TaskFileError, match=reason) as caught:
        load_tasks(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, row 2: ")
    assert message.endswith(".")
    assert "\n" not in message


def test_a_missing_an_empty_and_a_binary_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match=r"none.jsonl: cannot read the task file"):
        load_tasks(tmp_path / "none.jsonl")
    for text in (b"", b"\n \n"):
        (tmp_path / "t.jsonl").write_bytes(text)
        with pytest.raises(TaskFileError, match=r"t.jsonl: the task file is empty"):
            load_tasks(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TaskFileError, match=r"t.jsonl: the task file is not UTF-8 text"):
        load_tasks(tmp_path / "t.jsonl")


def test_reading_the_rows_goes_on_behind_wrong_ones_and_lists_all_that_is_wrong(tmp_path: Path) -> None:
    many = ROW | {"task_id": "", "answer": "C", "evidence": [[4, 80]], "metadata": 1}
    names = {key: value for key, value in ROW.items() if key != "video"} | {"anser": "B"}
    rows = read_rows(write(tmp_path, "{not json", ROW, "", many, names))
    assert [row.row for row in rows] == [1, 2, 4, 5]
    assert [fault for row in rows for fault, _ in row.faults] == [
        RowFault.BAD_ROW,
        *(RowFault.BAD_ROW, RowFault.BAD_ANSWER, RowFault.BAD_EVIDENCE, RowFault.BAD_ROW),
        *(RowFault.BAD_ROW, RowFault.BAD_ROW),
    ]
    assert [message for _, message in rows[3].faults] == [
        "field 'video' is missing; a row needs task_id, video, duration_s, question, options, answer",
        "unknown field 'anser'; allowed are task_id, video, duration_s, question, options, answer, evidence, metadata",
    ]
    assert rows[0].fields == {}
    assert rows[2].fields == many
    assert [row.task for row in rows] == [None, *load_tasks(write(tmp_path, ROW)), None, None]
    assert rows[1].faults == ()


def test_one_wrong_field_is_one_fault_though_others_are_read_against_it(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, ROW | {"duration_s": "long"}))
    assert [message for _, message in row.faults] == ["duration_s must be a positive number of seconds, not 'long'"]
    (row,) = read_rows(write(tmp_path, ROW | {"options": None}))
    assert [fault for fault, _ in row.faults] == [RowFault.BAD_OPTIONS]
