"""Judges of free text: how well an answer says what the reference says. Those here need no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from videozoom.envs.answer_texts import words_of


class JudgeError(Exception):
    """A judge came to no grade. The message says in one sentence why."""


class Judge(Protocol):
    """Grades answers to open questions. It may ask a model, and then remembers what that said."""

    def grade(self, question: str, reference: str, answer: str) -> float:
        """Return how good an answer is, from 0 to 1.

        Raises:
            JudgeError: there is no grade.
        """
        ...


@dataclass(frozen=True, slots=True)
class SameWords:
    """1 if the answer has the words of the reference and no others, in the same order, else 0.

    Example:
        >>> SameWords().grade("What waves?", "a red flag", "A red flag."), SameWords().grade("", "a flag", "the flag")
        (1.0, 0.0)
    """

    def grade(self, question: str, reference: str, answer: str) -> float:
        """Return the grade."""
        return float(words_of(reference) == words_of(answer))


@dataclass(frozen=True, slots=True)
class RougeL:
    """ROUGE-L: the F1 score of the longest common subsequence of words.

    Source: Lin 2004, with equal weight for precision and recall; LOVE-R1's released code has a ROUGE reward for open
    questions, which is never called.

    Example:
        "a red flag waves" against "a flag": two words in common, in order; 2 * 2 / (4 + 2) = 2/3.
    """

    def grade(self, question: str, reference: str, answer: str) -> float:
        """Return the grade."""
        wanted, given = words_of(reference), words_of(answer)
        if not wanted or not given:
            return 0.0
        return 2.0 * _num_common(wanted, given) / (len(wanted) + len(given))


def _num_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = diagonal + 1 if word == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]
