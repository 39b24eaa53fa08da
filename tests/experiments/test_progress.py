from io import StringIO

import pytest
from rich.console import Console

from videozoom.experiments import progress as module
from videozoom.experiments.progress import progress


def lines_of(monkeypatch: pytest.MonkeyPatch, total: int, *, terminal: bool = False) -> list[str]:
    out = StringIO()
    monkeypatch.setattr(module, "console", Console(file=out, force_terminal=terminal, width=100))
    with progress("Working", total) as advance:
        for number in range(total):
            advance(note=f"loss {number}")
    return out.getvalue().splitlines()


def test_a_log_file_gets_ten_lines_however_long_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, 200)
    assert lines[0] == "Working: 20/200, loss 19"
    assert lines[-1] == "Working: 200/200, loss 199"
    assert len(lines) == 10


def test_short_work_gets_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines_of(monkeypatch, 2) == ["Working: 1/2, loss 0", "Working: 2/2, loss 1"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "3/3" in "".join(lines_of(monkeypatch, 3, terminal=True))


def test_no_work_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "console", Console(file=StringIO()))
    with progress("Working", 0) as advance:
        advance(0)
