"""What is read in answers without options: numbers, spans and words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoom.envs.actions import MalformedReason
from videozoom.envs.answer_texts import (
    MAX_ANSWER_LENGTH,
    Quantity,
    read_answer,
    read_number,
    read_times,
    words_of,
    write_times,
)
from videozoom.envs.tasks import QuestionKind, Span

NUMBERS: list[tuple[str, float | None]] = [
    ("42", 42),
    (" 42 ", 42),
    ("-5", -5),
    ("- 5", -5),
    ("\u22125", -5),
    ("+3.5", 3.5),
    (".5", 0.5),
    ("5.", 5),
    ("007", 7),
    ("1,234,567", 1234567),
    ("1,250.5 km", 1250.5),
    ("1,23", None),
    ("1,000,00", None),
    ("1 000", None),
    ("12 km/h", 12),
    ("5 m^2", 5),
    ("5 m2", 5),
    ("12km", 12),
    ("$5", 5),
    (r"\$5", 5),
    ("$5$", 5),
    ("3rd", 3),
    ("about 7 seconds", 7),
    ("x = 12", 12),
    ("The answer is 12.", 12),
    ("(12)", 12),
    ("12 (twelve)", 12),
    ("3/4", 0.75),
    ("3 / 4 of a cup", 0.75),
    (r"\frac{3}{4}", 0.75),
    (r"-\frac{1}{2}", -0.5),
    ("3/0", None),
    ("1/2/3", None),
    ("1e5", 1e5),
    ("1.5e-3 s", 0.0015),
    ("3 x 10^5", 3e5),
    (r"3 \times 10^{5}", 3e5),
    ("1e999", None),
    ("9" * 400, None),
    ("nan", None),
    ("inf", None),
    ("3 or 4", None),
    ("3-4", None),
    ("between 3 and 4", None),
    ("10:30", None),
    ("2024-11-20", None),
    ("192.168.1.1", None),
    ("v2.5", None),
    ("H264", None),
    ("0x10", None),
    ("1_000", None),
    ("\uff11\uff12", None),
    ("three", 3),
    ("Twenty.", 20),
    ("zero", 0),
    ("one of three", None),
    ("the one that barks first", None),
    ("many", None),
    ("", None),
    (r"\text{7 dogs}", 7),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers(text: str, value: float | None) -> None:
    number = read_number(text)
    assert (number and number.value) == value
    assert number is None or not number.is_percent


@pytest.mark.parametrize("text", ["50%", "50 %", r"50\%", "50 percent", "50 per cent"])
def test_percentages(text: str) -> None:
    assert read_number(text) == Quantity(50.0, is_percent=True)


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [
        (Quantity(50.0, True), Quantity(50.0, True), 50.0),
        (Quantity(50.0, True), Quantity(50.0), 50.0),
        (Quantity(50.0, True), Quantity(0.5), 0.5),
        (Quantity(0.5), Quantity(50.0, True), 50.0),
        (Quantity(0.5), Quantity(50.0), 0.5),
    ],
)
def test_a_percentage_stands_for_its_number_or_its_share(one: Quantity, other: Quantity, value: float) -> None:
    assert one.matching(other) == value


SPANS: list[tuple[str, tuple[float, float] | None]] = [
    ("[12, 16]", (12, 16)),
    (" [ 12 , 16.5 ] ", (12, 16.5)),
    ("[16, 12]", (12, 16)),
    ("(12; 16)", (12, 16)),
    ("12-16", (12, 16)),
    ("12 \u2013 16 s", (12, 16)),
    ("12s to 16s", (12, 16)),
    ("from 12 to 16 seconds.", (12, 16)),
    ("Between 12 and 16", (12, 16)),
    ("00:12-00:16", (12, 16)),
    ("1:00:02.5, 1:00:04", (3602.5, 3604)),
    ("[12, 12]", (12, 12)),
    ("[12]", None),
    ("12", None),
    ("[1, 2, 3]", None),
    ("[1, 2], [3, 4]", None),
    ("[-1, 3]", None),
    ("[nan, 3]", None),
    ("[1e3, 4]", None),
    ("[start, end]", None),
    (f"[1, {'9' * 400}]", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "span"), SPANS)
def test_spans(text: str, span: tuple[float, float] | None) -> None:
    assert read_times(text) == (None if span is None else Span(*span))


@given(st.floats(0.0, 1e5), st.floats(0.0, 1e5))
def test_written_spans_are_read_back(one: float, other: float) -> None:
    # Ten microseconds: nobody writes times as powers of ten.
    span_s = Span(*sorted((round(one, 5), round(other, 5))))
    if "e" not in write_times(span_s):
        assert read_times(write_times(span_s)) == span_s


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('It says: "No. 7,  Baker Street"!', ("it", "says", "no", "7", "baker", "street")),
        (r"\text{Stop}", ("stop",)),
        ("3.5 B-12 don't", ("3.5", "b-12", "don't")),
        ("STRA\u00dfE \ufb01n", ("strasse", "fin")),
        ("...", ()),
        ("\u65e5\u672c", ("\u65e5\u672c",)),
    ],
)
def test_words(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (QuestionKind.NUMERICAL, " 12 km ", "12 km"),
        (QuestionKind.NUMERICAL, "far", MalformedReason.NOT_A_NUMBER),
        (QuestionKind.TEMPORAL_GROUNDING, "[1, 2] ", "[1, 2]"),
        (QuestionKind.TEMPORAL_GROUNDING, "1", MalformedReason.NOT_A_SPAN),
        (QuestionKind.TRANSCRIPTION, r"\text{STOP}", "STOP"),
        (QuestionKind.TRANSCRIPTION, " .. ", MalformedReason.NOT_A_TEXT),
        (QuestionKind.OPEN, "a " * (MAX_ANSWER_LENGTH // 2), ("a " * (MAX_ANSWER_LENGTH // 2)).strip()),
        (QuestionKind.OPEN, "a " * (MAX_ANSWER_LENGTH // 2 + 1), MalformedReason.NOT_A_TEXT),
    ],
)
def test_an_answer_is_of_the_kind_that_is_asked_for(kind: QuestionKind, text: str, expected: str) -> None:
    assert read_answer(kind, text) == expected


@given(st.text(max_size=300), st.sampled_from([kind for kind in QuestionKind if kind != "multiple_choice"]))
def test_nothing_raises_and_what_is_kept_is_read_as_the_same(text: str, kind: QuestionKind) -> None:
    answer = read_answer(kind, text)
    if isinstance(answer, MalformedReason):
        return
    # Environments read again what protocols have read.
    assert not isinstance(read_answer(kind, answer), MalformedReason)
    number = read_number(answer)
    assert number is None or math.isfinite(number.value)
