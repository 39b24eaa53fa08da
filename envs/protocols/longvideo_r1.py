"""Protocol of LongVideo-R1: captions to read, tools to read more, the whole transcript kept; reasoning, then an action.

Source: LongVideo-R1, released code. The wording of the prompts is ours; `prompts` loads another.
"""

from collections.abc import Sequence
from pathlib import Path

from videozoom.envs.actions import Action, Answer, AskVideo, GetCaption, Malformed, MalformedReason
from videozoom.envs.answer_texts import read_answer
from videozoom.envs.captions.episode import CaptionObservation
from videozoom.envs.captions.tree import LEVELS, CaptionTree, Node, level_of
from videozoom.envs.messages import Message, Prompt, Role, SampledPart, TextPart
from videozoom.envs.observation import QUESTION_KINDS, Turn
from videozoom.envs.protocols.boxed import LetterRule, read_letter
from videozoom.envs.protocols.tagged import TAG_PARSERS, TagRules, find_action, read_call
from videozoom.envs.protocols.wording import NO_FREE_QUESTIONS, fill, load_free_questions, load_wording
from videozoom.envs.tasks import OPTION_LETTERS, QuestionKind

_CAPTION = ("node", "caption")
"""What the wording of a caption must hold; `start` and `end` are there to be used, too."""
_FILES: dict[str, tuple[str, ...]] = {
    "system": (),
    "question": ("question", "options", "captions"),
    **{str(level): _CAPTION for level in LEVELS},
    "answer": ("answer",),
    "no_thinking": (),
    "refused": ("reason",),
    "last_round": (),
    "reasons": (),
}
_TAGS = ("think", "tool", "answer")


class LongVideoR1Protocol:
    """The transcript of a conversation about captions; one tool call or the answer per turn, after reasoning.

    The first message holds the question and the captions of the high level. A tool's reply is a user turn, and so is
    the reason why an action was not taken: the agent may try again. Before the last step it is told to answer.

    Args:
        prompts: Folder of the wording, or the name of a shipped one (`longvideo_r1`, `longvideo_r1_compact`).
        parser: Name of a preset in `TAG_PARSERS`, or rules of your own.

    Raises:
        ValueError: if the wording cannot be loaded or the parser is unknown.

    Example:
        >>> protocol = LongVideoR1Protocol()
        >>> protocol.write(GetCaption((2, 1)), "The dog is in part 2.", observation)
        '<think>The dog is in part 2.</think><tool>get_caption((2, 1))</tool>'
    """

    name = "longvideo_r1"

    def __init__(self, prompts: str | Path | None = None, *, parser: str | TagRules = "first") -> None:
        if isinstance(parser, str) and parser not in TAG_PARSERS:
            raise ValueError(f"Unknown parser {parser!r}: use one of {', '.join(TAG_PARSERS)}, or TagRules.")
        self.wording = load_wording("longvideo_r1" if prompts is None else prompts, _FILES)
        self.rules = TAG_PARSERS[parser] if isinstance(parser, str) else parser
        self._free = load_free_questions("longvideo_r1" if prompts is None else prompts, ("captions",))
        if self.rules.exact_letter:
            # Published parsers read letters and nothing else.
            self._free = NO_FREE_QUESTIONS
        lines = (line.partition(":") for line in self.wording["reasons"].splitlines())
        self._reasons = {name.strip(): words.strip() for name, _, words in lines}

    @property
    def question_kinds(self) -> frozenset[QuestionKind]:
        """Kinds of questions that there are words for, and that the parser reads."""
        return frozenset({QuestionKind.MULTIPLE_CHOICE, *self._free.forms})

    def prompt(self, observation: CaptionObservation, spoken: Sequence[SampledPart] = ()) -> Prompt:
        """Return the transcript so far; a turn whose text is not in `spoken` is written from its action."""
        has_options = _kind(observation) is QuestionKind.MULTIPLE_CHOICE
        answer = "the letter of the right option" if has_options else "the answer"
        system = fill(self.wording["system"], width=observation["width"], answer=answer)
        messages = [_message(Role.SYSTEM, system), _message(Role.USER, self._first(observation))]
        for number, turn in enumerate(observation["turns"]):
            said = spoken[number] if number < len(spoken) else SampledPart(self._unspoken(turn, observation))
            messages += [Message(Role.ASSISTANT, (said,)), _message(Role.USER, self._reply(turn, observation))]
        if observation["step"] == observation["max_steps"] - 1:
            last = messages.pop()
            messages.append(Message(last.role, (*last.content, TextPart("\n" + self.wording["last_round"]))))
        return Prompt(tuple(messages))

    def parse(self, text: str, observation: CaptionObservation) -> Action:
        """Return the action in `text`; unreadable text is `Malformed`. Nodes are checked by the environment."""
        found = find_action(text, self.rules)
        if isinstance(found, MalformedReason):
            return Malformed(found)
        tag, content = found
        if tag == "tool":
            return read_call(content)
        kind, num_options = _kind(observation), len(observation["options"])
        if kind is not QuestionKind.MULTIPLE_CHOICE:
            answer = read_answer(kind, content)
            return Malformed(answer) if isinstance(answer, MalformedReason) else Answer(answer)
        if self.rules.exact_letter and content.strip() not in tuple(OPTION_LETTERS):
            return Malformed(MalformedReason.NOT_A_LETTER)
        letter = read_letter(content, num_options, LetterRule.ALONE)
        return Malformed(letter) if isinstance(letter, MalformedReason) else Answer(letter)

    def write(self, action: Action, reasoning: str, observation: CaptionObservation) -> str:
        """Return the completion that `parse` reads as `action`.

        Raises:
            ValueError: if `action` is none of this protocol's, or a tag in the reasoning or in a question would be read
                as the protocol's own.
        """
        if isinstance(action, Answer):
            tag, content = "answer", action.text
        elif isinstance(action, GetCaption):
            tag, content = "tool", f"get_caption({_ids(action.node)})"
        elif isinstance(action, AskVideo):
            tag, content = "tool", f'video_qa({_ids(action.node)}, "{action.question}")'
        else:
            raise ValueError(f"The protocol {self.name} has no text for {action}.")
        for name in _TAGS:
            if f"</{name}>" in reasoning or f"<{name}>" in reasoning or f"</{name}>" in content:
                raise ValueError(f"Reasoning and questions must not contain <{name}>: it would be read as the action.")
        return f"<think>{reasoning}</think><{tag}>{content}</{tag}>"

    def _first(self, observation: CaptionObservation) -> str:
        captions = [
            self._caption((number,), caption, observation)
            for number, caption in enumerate(observation["captions"], start=1)
        ]
        told = {"duration": _seconds(observation["duration_s"]), "captions": "\n".join(captions)}
        kind = _kind(observation)
        if kind is not QuestionKind.MULTIPLE_CHOICE:
            return self._free.fill(kind, observation["question"], **told)
        return fill(
            self.wording["question"],
            question=observation["question"],
            options="\n".join(
                f"{letter}. {option}" for letter, option in zip(OPTION_LETTERS, observation["options"], strict=False)
            ),
            **told,
        )

    def _reply(self, turn: Turn, observation: CaptionObservation) -> str:
        """Return what the agent is told after a turn."""
        if isinstance(turn.action, GetCaption):
            return self._caption(turn.action.node, turn.text or "", observation)
        if isinstance(turn.action, AskVideo):
            return fill(self.wording["answer"], answer=turn.text or "")
        reason = turn.action.reason if isinstance(turn.action, Malformed) else MalformedReason.NOT_ALLOWED
        if reason == MalformedReason.NO_THINKING:
            return self.wording["no_thinking"]
        words = fill(self._reasons.get(str(reason), str(reason)), width=observation["width"])
        return fill(self.wording["refused"], reason=words)

    def _caption(self, node: Node, caption: str, observation: CaptionObservation) -> str:
        span_s = CaptionTree(observation["duration_s"], observation["width"]).span(node)
        return fill(
            self.wording[str(level_of(node))],
            node=", ".join(map(str, node)),
            start=_seconds(span_s.start_s),
            end=_seconds(span_s.end_s),
            caption=caption,
        )

    def _unspoken(self, turn: Turn, observation: CaptionObservation) -> str:
        return "" if isinstance(turn.action, Malformed) else self.write(turn.action, "", observation)


def _kind(observation: CaptionObservation) -> QuestionKind:
    return QUESTION_KINDS[observation["question_kind"]]


def _message(role: Role, text: str) -> Message:
    return Message(role, (TextPart(text),))


def _ids(node: Node) -> str:
    return f"({', '.join(map(str, node))})"


def _seconds(time_s: float) -> str:
    """Return a time with one decimal, if it has any."""
    return f"{time_s:.1f}".removesuffix(".0")
