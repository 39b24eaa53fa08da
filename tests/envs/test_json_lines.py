from pathlib import Path

import pytest

from videozoom.envs.json_lines import JsonLinesWriter, keep_json_lines, read_json_lines


def test_rows_are_appended_over_several_openings(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    for number in range(2):
        with JsonLinesWriter(path) as writer:
            writer.append([{"n": number}])
    assert path.read_text(encoding="utf-8") == '{"n": 0}\n{"n": 1}\n'


@pytest.mark.parametrize(
    ("left", "repaired"),
    [
        (b'{"n": 0}\n{"n": 1', b'{"n": 0}\n'),
        (b'{"n": 0}\n{"n": 1}', b'{"n": 0}\n{"n": 1}\n'),
        (b'{"n": 0}\n', b'{"n": 0}\n'),
        (b'{"n', b""),
        (b"", b""),
    ],
)
def test_a_torn_last_line_is_cut_when_the_file_is_opened_again(left: bytes, repaired: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(left)
    JsonLinesWriter(path).close()
    assert path.read_bytes() == repaired


def test_a_reader_leaves_out_a_torn_last_line_but_not_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 0}\n{"n')
    assert list(read_json_lines(path)) == [{"n": 0}]
    path.write_bytes(b'{"n": 0}\n{"n\n{"n": 2}\n')
    with pytest.raises(ValueError, match=r"line 2: no JSON object"):
        list(read_json_lines(path))


def test_a_row_that_is_no_json_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with JsonLinesWriter(path) as writer, pytest.raises(ValueError, match="not JSON compliant"):
        writer.append([{"n": 0}, {"n": float("nan")}])
    assert path.read_bytes() == b""


def test_only_the_kept_rows_stay(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with JsonLinesWriter(path) as writer:
        writer.append({"n": n} for n in range(5))
    keep_json_lines(path, lambda row: row["n"] < 3)
    assert [row["n"] for row in read_json_lines(path)] == [0, 1, 2]
    keep_json_lines(tmp_path / "none.jsonl", lambda row: True)
    assert not (tmp_path / "none.jsonl").exists()
