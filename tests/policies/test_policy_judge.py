import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest

from videozoom.envs.messages import TextPart
from videozoom.policies.base import Completion, Request
from videozoom.policies.policy_judge import NUM_TRIES, PolicyJudge, read_grade
from videozoom.rewards.judges import JudgeError


class Writer:
    """Writes what it is told to, then the last of it for ever, and keeps what it was asked."""

    def __init__(self, *texts: str, error: str = "") -> None:
        self.texts, self.error = list(texts), error
        self.asked: list[Request] = []

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        self.asked += requests
        return [Completion(self.texts.pop(0) if len(self.texts) > 1 else self.texts[0], error=self.error)]

    @property
    def shown(self) -> list[str]:
        messages = [message for request in self.asked for message in request.prompt.messages[1:]]
        return [part.text for message in messages for part in message.content if isinstance(part, TextPart)]


def test_it_is_shown_question_reference_and_answer_and_its_score_is_read() -> None:
    writer = Writer("Both name a flag.\nScore: 1", "One is blue. Score: 0")
    judge = PolicyJudge(writer, "writer")
    assert judge.grade("What waves?", "a red flag", "something red") == 1.0
    assert judge.grade("What waves?", "a red flag", "a {blue} flag") == 0.0
    assert "What waves?" in writer.shown[0]
    assert "a red flag" in writer.shown[0]
    assert "a {blue} flag" in writer.shown[1]


def test_the_same_answer_is_asked_about_once_and_the_reference_itself_never(tmp_path: Path) -> None:
    file, writer = tmp_path / "sub" / "grades.jsonl", Writer("Score: 0.5")
    judge = PolicyJudge(writer, "writer", file=file)
    assert [judge.grade("?", "a flag", "a pole") for _ in range(3)] == [0.5] * 3
    assert judge.grade("?", "a flag", "A flag.") == 1.0
    assert len(writer.asked) == 1
    later = Writer("Score: 1")
    assert PolicyJudge(later, "writer", file=file).grade("?", "a flag", "a pole") == 0.5
    assert later.asked == []
    # Another model, another wording, another question: another grade.
    assert PolicyJudge(later, "other", file=file).grade("?", "a flag", "a pole") == 1.0
    assert [json.loads(line)["answer"] for line in file.read_text().splitlines()] == ["a pole", "a pole"]


def test_a_torn_line_of_the_file_is_asked_about_again(tmp_path: Path) -> None:
    file = tmp_path / "grades.jsonl"
    PolicyJudge(Writer("Score: 1"), "writer", file=file).grade("?", "a", "b")
    file.write_text(file.read_text()[:-9])
    again = Writer("Score: 0")
    assert PolicyJudge(again, "writer", file=file).grade("?", "a", "b") == 0.0
    assert len(again.asked) == 1
    (tmp_path / "no.jsonl").write_text("what\nis this\n")
    with pytest.raises(ValueError, match="line 1"):
        PolicyJudge(again, "writer", file=tmp_path / "no.jsonl")


def test_a_reply_without_a_score_is_asked_for_again_and_then_ends_the_run_with_the_reason() -> None:
    writer = Writer("Hm.", "Hm.", "Score: 1")
    assert PolicyJudge(writer, "writer").grade("?", "a", "b") == 1.0
    assert [request.seed for request in writer.asked] == [(0,), (1,), (2,)]
    stubborn = Writer("I will not say. " * 50)
    with pytest.raises(JudgeError, match=rf"wrote no 'Score: 1' or 'Score: 0', asked {NUM_TRIES} times \('I will"):
        PolicyJudge(stubborn, "writer").grade("?", "a", "b")
    with pytest.raises(JudgeError, match="the server refused the request"):
        PolicyJudge(Writer("", error="the server refused the request"), "writer").grade("?", "a", "b")


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Score: 1", 1.0),
        ("score 0", 0.0),
        ("**Score:** 1.", 1.0),
        ("Score: 0.75", 0.75),
        ("Score: 0 at first. Score: 1", 1.0),
        ("Score: 10", None),
        ("Score: 1.5", None),
        ("Score: 2", None),
        ("1", None),
        ("", None),
        ("Score: -1", 1.0),  # A dash before a number is a list's.
    ],
)
def test_scores(text: str, grade: float | None) -> None:
    assert read_grade(text) == grade


def test_wording_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("Grade.")
    with pytest.raises(ValueError, match=r"question.txt does not exist"):
        PolicyJudge(Writer(""), "writer", tmp_path)
    (tmp_path / "question.txt").write_text("{question}|{reference}|{answer}")
    writer = Writer("Score: 1")
    PolicyJudge(writer, "writer", tmp_path).grade("q", "r", "a")
    assert writer.shown == ["q|r|a"]


def test_it_travels_to_other_processes_with_its_grades() -> None:
    judge = PolicyJudge(Writer("Score: 1"), "writer")
    judge.grade("?", "a", "b")
    assert pickle.loads(pickle.dumps(judge)).grade("?", "a", "b") == 1.0
