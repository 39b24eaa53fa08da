"""A judge of open answers made of any policy that writes text: a model behind a chat server, or one in this process."""

import re
from pathlib import Path
from typing import cast

from videozoom.envs.json_lines import append_json_line, read_json_lines, repair_json_lines
from videozoom.envs.messages import Message, Prompt, Role, TextPart
from videozoom.envs.observation import Observation
from videozoom.envs.protocols.wording import fill, load_wording
from videozoom.envs.tasks import QuestionKind, Task
from videozoom.envs.videos.file_ids import digest_of
from videozoom.policies.base import Policy, Request
from videozoom.rewards.judges import JudgeError, SameWords

NUM_TRIES = 3
"""How often a judge is asked that writes no grade. Source: VideoZoomer, released code."""
_FILES: dict[str, tuple[str, ...]] = {"system": (), "question": ("question", "reference", "answer")}
_SCORE = re.compile(r"score\W{0,10}([01](?:\.[0-9]{1,4})?)(?![.0-9]*[0-9])", re.IGNORECASE)
_MAX_QUOTE = 100


class PolicyJudge:
    """Asks a policy whether an answer says what the reference says, and reads `Score: 1` or `Score: 0`.

    The same answer is graded once: grades are kept in memory and, with a file, for later runs and other processes. An
    answer in the words of the reference is right without being asked about.

    Args:
        policy: Who grades; give it a greedy one, so that grades can be made again.
        name: Names the policy: grades are kept under it and the wording.
        prompts: Folder of the wording, or the name of a shipped one.
        file: Where grades are kept, as JSON lines; `None` keeps them in memory only.

    Raises:
        ValueError: if the wording cannot be loaded, or the file is none of JSON lines.

    Source: VideoZoomer, released code. Departs from it: a grade that cannot be had ends the run with the reason, where
    there the whole group is left out.
    """

    def __init__(
        self, policy: Policy, name: str, prompts: str | Path = "judge", *, file: str | Path | None = None
    ) -> None:
        self._policy, self._wording = policy, load_wording(prompts, _FILES)
        self._fingerprint = digest_of(name, sorted(self._wording.items()))
        self._file = None if file is None else Path(file).absolute()
        self._grades: dict[str, float] = {}
        self._num_bytes = 0
        if self._file is not None:
            repair_json_lines(self._file)
        self._read_file()

    def grade(self, question: str, reference: str, answer: str) -> float:
        """Return what the policy says, from 0 to 1.

        Raises:
            JudgeError: if it writes no grade, however often it is asked.
            EndpointError: if a chat server goes on failing.
        """
        if SameWords().grade(question, reference, answer):
            return 1.0
        key = digest_of(self._fingerprint, question, reference, answer)
        if key not in self._grades:
            self._read_file()
        if key not in self._grades:
            self._grades[key] = self._asked(question, reference, answer)
            if self._file is not None:
                append_json_line(self._file, {"key": key, "grade": self._grades[key], "answer": answer})
        return self._grades[key]

    def _read_file(self) -> None:
        """Learn what this and other judges have written since."""
        num_bytes = self._file.stat().st_size if self._file is not None and self._file.exists() else 0
        if self._file is not None and num_bytes != self._num_bytes:
            self._grades |= {row["key"]: float(row["grade"]) for row in read_json_lines(self._file)}
            self._num_bytes = num_bytes

    def _asked(self, question: str, reference: str, answer: str) -> float:
        words = fill(self._wording["question"], question=question, reference=reference, answer=answer)
        prompt = Prompt(
            (
                Message(Role.SYSTEM, (TextPart(self._wording["system"]),)),
                Message(Role.USER, (TextPart(words),)),
            )
        )
        # There is no episode: policies that look at one cannot grade.
        nothing = cast("Observation", {})
        task = Task("judge", Path(), 0.0, question, (), reference, kind=QuestionKind.OPEN)
        said = ""
        for number in range(NUM_TRIES):
            [completion] = self._policy.act([Request(prompt, nothing, task, seed=(number,))])
            grade = read_grade(completion.text)
            if grade is not None:
                return grade
            said = completion.error or completion.text.strip()[:_MAX_QUOTE] or "the model wrote nothing"
        raise JudgeError(
            f"The judge of open answers wrote no 'Score: 1' or 'Score: 0', asked {NUM_TRIES} times ({said!r}); choose "
            "another model, or more tokens for its reply"
        )


def read_grade(text: str) -> float | None:
    """Return the last grade of a reply, `None` without one from 0 to 1.

    Example:
        >>> read_grade("Both say red. Score: 1"), read_grade("**Score**: 0.5"), read_grade("Score: 7")
        (1.0, 0.5, None)
    """
    scores = _SCORE.findall(text)
    return float(scores[-1]) if scores and float(scores[-1]) <= 1.0 else None
