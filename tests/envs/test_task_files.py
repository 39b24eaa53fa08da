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
NUMBER = {key: value for key, value in ROW.items() if key != "options"} | {"kind": "numerical", "answer": 42}
GROUNDING = NUMBER | {"kind": "temporal_grounding", "answer": [12, 16.5]}
del GROUNDING["evidence"]
SPANS = GROUNDING | {"answer": [[12, 16.5], [30, 34]]}


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


@pytest.mark.parametrize(
    ("row", "answer", "evidence"),
    [
        (NUMBER, "42", (Span(4, 8),)),
        (NUMBER | {"answer": 0.5}, "0.5", (Span(4, 8),)),
        (NUMBER | {"answer": " 1,200 km", "options": []}, "1,200 km", (Span(4, 8),)),
        (NUMBER | {"kind": "transcription", "answer": "Stop  at the gate"}, "Stop  at the gate", (Span(4, 8),)),
        (NUMBER | {"kind": "open", "answer": "42"}, "42", (Span(4, 8),)),
        (GROUNDING, "[12, 16.5]", (Span(12, 16.5),)),
        (GROUNDING | {"answer": "12 to 16.5 s"}, "[12, 16.5]", (Span(12, 16.5),)),
        (GROUNDING | {"evidence": [[12.0, 16.5]]}, "[12, 16.5]", (Span(12, 16.5),)),
        (SPANS, "[12, 16.5]", (Span(12, 16.5), Span(30, 34))),
    ],
)
def test_answers_of_every_kind_come_back_as_they_were(
    tmp_path: Path, row: dict[str, object], answer: str, evidence: tuple[Span, ...]
) -> None:
    (task,) = load_tasks(write(tmp_path, row))
    assert (task.kind, task.options, task.answer, task.evidence) == (row["kind"], (), answer, evidence)
    save_tasks([task], tmp_path / "again.jsonl")
    assert load_tasks(tmp_path / "again.jsonl") == (task,)


def test_multiple_choice_is_written_as_it_always_was(tmp_path: Path) -> None:
    saved = tmp_path / "again.jsonl"
    save_tasks(load_tasks(write(tmp_path, ROW | {"kind": "multiple_choice"})), saved)
    assert list(json.loads(saved.read_text())) == list(ROW)


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
        (ROW | {"kind": "riddle"}, "kind must be one of multiple_choice, numerical, .*, not 'riddle'"),
        (ROW | {"kind": ["open"]}, "kind must be one of multiple_choice, numerical, .*, not \\['open'\\]"),
        (ROW | {"kind": "open"}, r"there are options, \['bars', 'lines'\], but only multiple choice has any"),
        (NUMBER | {"kind": "multiple_choice"}, "field 'options' is missing; a row needs task_id, .* options, answer"),
        (NUMBER | {"answer": "many"}, "answer 'many' must have one number, for kind is 'numerical'"),
        (NUMBER | {"answer": "3 or 4"}, "answer '3 or 4' must have one number"),
        (NUMBER | {"answer": True}, "answer must be a number or a text with one, not True"),
        (json.dumps(NUMBER).replace("42", "NaN"), "answer must be a number or a text with one, not nan"),
        (
            NUMBER | {"kind": "transcription", "answer": "..."},
            "answer '...' must have words, and at most 2000 characters",
        ),
        (NUMBER | {"kind": "open", "answer": "so " * 999}, r"answer 'so so .*\.\.\.' must have words, and at most"),
        (NUMBER | {"kind": "open", "answer": 7}, "answer must be a non-empty text, not 7"),
        (GROUNDING | {"answer": "early"}, r"answer must be \[start_s, end_s\], or several of these, .* not 'early'"),
        (GROUNDING | {"answer": []}, r"answer must be \[start_s, end_s\], or several of these"),
        (GROUNDING | {"answer": [12]}, r"answer must be a list of \[start_s, end_s\] pairs of numbers"),
        (GROUNDING | {"answer": [16, 12]}, r"answer span \[16, 12\] must start before it ends"),
        (GROUNDING | {"answer": [60, 70]}, r"answer span \[60, 70\] lies outside the video, \[0, 64\]"),
        (GROUNDING | {"evidence": [[4, 8]]}, "evidence must be what the answer says, or be left out"),
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
        "unknown field 'anser'; allowed are task_id, video, duration_s, question, options, answer, evidence, metadata, "
        "kind",
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
    (row,) = read_rows(write(tmp_path, NUMBER | {"kind": "riddle"}))
    assert [fault for fault, _ in row.faults] == [RowFault.BAD_ROW]
    (row,) = read_rows(write(tmp_path, GROUNDING | {"answer": [60, 70]}))
    assert [fault for fault, _ in row.faults] == [RowFault.BAD_ANSWER]
