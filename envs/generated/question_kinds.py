"""Questions about generated videos that have no options: when a sign appears, what it is called, in words of one's own.

All are about the event whose panel shows a sign, so that a blank decoy in the same colour is never meant.
"""

from collections.abc import Sequence
from typing import NamedTuple

from videozoom.envs.answer_texts import write_times
from videozoom.envs.tasks import QuestionKind, Span


class Shown(NamedTuple):
    """A sign that is asked for: the colour of its scene, its name, and when it is seen."""

    cue: str
    sign: str
    span_s: Span


class FreeQuestion(NamedTuple):
    """A question without options, its answer, and when what it asks for is seen."""

    question: str
    answer: str
    evidence: tuple[Span, ...]


def free_question(kind: QuestionKind, asked: Sequence[Shown]) -> FreeQuestion:
    """Return a question of a kind about signs, in the order they are asked for.

    Questions about more than one are about how far apart they begin, or about all their names; `temporal_grounding` is
    about the first.

    Example:
        >>> free_question(QuestionKind.NUMERICAL, [Shown("red", "bars", Span(12.0, 16.0))])
        FreeQuestion(question='At which second does the sign of the red scene appear?', answer='12', \
evidence=(Span(start_s=12.0, end_s=16.0),))
    """
    first = asked[0]
    scenes = _listed([it.cue for it in asked]) + (" scene" if len(asked) == 1 else " scenes")
    evidence = tuple(sorted(it.span_s for it in asked))
    match kind:
        case QuestionKind.TEMPORAL_GROUNDING:
            question = f"When is the sign of the {first.cue} scene seen?"
            return FreeQuestion(question, write_times(first.span_s), (first.span_s,))
        case QuestionKind.NUMERICAL if len(asked) == 1:
            question = f"At which second does the sign of the {scenes} appear?"
            return FreeQuestion(question, _number(first.span_s.start_s), evidence)
        case QuestionKind.NUMERICAL:
            apart_s = evidence[-1].start_s - evidence[0].start_s
            question = f"How many seconds lie between the beginnings of the first and the last of the {scenes}?"
            return FreeQuestion(question, _number(apart_s), evidence)
        case QuestionKind.TRANSCRIPTION:
            question = f"Transcribe the sign of the {scenes}."
            if len(asked) > 1:
                question = f"Transcribe the signs of the {scenes}, in this order."
            return FreeQuestion(question, " ".join(it.sign for it in asked), evidence)
        case QuestionKind.OPEN:
            verb = "does" if len(asked) == 1 else "do"
            return FreeQuestion(f"What {verb} the {scenes} show?", _listed([it.sign for it in asked]), evidence)
    raise ValueError(f"Questions of kind {kind} have options.")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _listed(words: Sequence[str]) -> str:
    return " and ".join(words) if len(words) < 3 else ", ".join(words[:-1]) + " and " + words[-1]
