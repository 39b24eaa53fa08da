"""The wording of a protocol: text files with placeholders in braces, in a folder of one's own or a shipped one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from videozoom.envs.tasks import QuestionKind

_FOLDERS = Path(__file__).parent / "prompts"
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def load_wording(folder: str | Path, files: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the texts of a folder by their names; line breaks at the end of a file do not count.

    Args:
        folder: a path, or the name of a shipped folder.
        files: names without `.txt`, each with the placeholders its text has to contain.

    Raises:
        ValueError: if a file is missing or lacks a placeholder.
    """
    shipped = _shipped()
    path = shipped.get(str(folder), Path(folder))
    texts = {}
    for name, placeholders in files.items():
        file = path / f"{name}.txt"
        if not file.is_file():
            needed = [f"{it}.txt" for it in files]
            fitting = [it for it in sorted(shipped) if all((shipped[it] / need).is_file() for need in needed)]
            raise ValueError(
                f"Prompt file {file} does not exist: this protocol needs {', '.join(needed)}; shipped folders are "
                f"{', '.join(fitting)}."
            )
        texts[name] = file.read_text(encoding="utf-8").rstrip("\n")
        missing = next((it for it in placeholders if f"{{{it}}}" not in texts[name]), None)
        if missing is not None:
            raise ValueError(f"{file} must contain {{{missing}}}.")
    return texts


@dataclass(frozen=True, slots=True)
class FreeQuestions:
    """The wording of questions without options."""

    question: str
    """Contains `{question}` and `{form}`."""
    forms: Mapping[QuestionKind, str]
    """What an answer looks like; a kind that is not there cannot be asked."""

    def fill(self, kind: QuestionKind, question: str, **values: object) -> str:
        """Return the text of a question; raises `ValueError` if questions of its kind cannot be asked.

        Example:
            >>> FreeQuestions("{question} {form}", {QuestionKind.NUMERICAL: "A number."}).fill("numerical", "How many?")
            'How many? A number.'
        """
        if kind not in self.forms:
            raise ValueError(
                f"The prompt texts have no words for questions of kind {kind}: add question_free.txt with {{question}} "
                f"and {{form}}, and a line '{kind}: ...' to forms.txt, as the shipped folders have them."
            )
        return fill(self.question, question=question, form=self.forms[kind], **values)


NO_FREE_QUESTIONS = FreeQuestions("", {})
"""Of prompt texts that know multiple choice only."""


def load_free_questions(folder: str | Path, placeholders: tuple[str, ...] = ()) -> FreeQuestions:
    """Return the wording of questions without options, of `question_free.txt` and `forms.txt`; both may be missing.

    Args:
        folder: a path, or the name of a shipped folder.
        placeholders: what `question_free.txt` has to contain besides `{question}` and `{form}`.

    Raises:
        ValueError: if one of two files is missing, lacks a placeholder, or names a kind that there is not.
    """
    path = _shipped().get(str(folder), Path(folder))
    if not any((path / name).is_file() for name in ("question_free.txt", "forms.txt")):
        return NO_FREE_QUESTIONS
    texts = load_wording(folder, {"question_free": ("question", "form", *placeholders), "forms": ()})
    kinds = [str(kind) for kind in QuestionKind if kind is not QuestionKind.MULTIPLE_CHOICE]
    forms = {}
    for line in texts["forms"].splitlines():
        name, _, form = line.partition(":")
        if name.strip() not in kinds:
            raise ValueError(f"{path / 'forms.txt'}: {name.strip()!r} is none of {', '.join(kinds)}.")
        forms[QuestionKind(name.strip())] = form.strip()
    return FreeQuestions(texts["question_free"], forms)


def _shipped() -> dict[str, Path]:
    return {path.name: path for path in _FOLDERS.iterdir() if path.is_dir()}


def fill(text: str, **values: object) -> str:
    """Return a text with its placeholders replaced; other braces, also those in the values, stay as they are.

    Example:
        >>> fill("{question} {x}", question="What is in the {box}?", box="no")
        'What is in the {box}? {x}'
    """
    return _PLACEHOLDER.sub(lambda match: str(values.get(match.group(1), match.group())), text)
