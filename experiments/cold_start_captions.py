"""Cold-start samples on caption trees, from generated truth: single steps of somebody who reads and then answers.

Source: LongVideo-R1, released code, whose trajectories are taken apart into steps and learned one by one. There a large
model is the annotator; here it is a rule that knows what happens in the video.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from videozoom.envs.actions import Action, Answer, GetCaption
from videozoom.envs.caption_tree_env import CaptionTreeEnv
from videozoom.envs.captions.tree import CaptionTree, Level, Node
from videozoom.envs.generated.caption_words import CAPTION_WORDS, CaptionStyle
from videozoom.envs.generated.narration import LIST_QUESTION, NOT_SEEN, Event, events_of, span_of
from videozoom.envs.messages import SampledPart
from videozoom.envs.observation import QUESTION_KINDS
from videozoom.envs.protocols.longvideo_r1 import LongVideoR1Protocol
from videozoom.envs.tasks import QuestionKind, Task
from videozoom.experiments.cold_start_stage import Objective, SupervisedStage
from videozoom.policies.supervised import SupervisedSample
from videozoom.rewards.answers import gold_answer
from videozoom.rewards.overlap import intersection_s

_TOP_DOWN_SHARE = 0.5
"""Share of the scenes that are looked for through their medium-level span although a caption told where they are."""


@dataclass(frozen=True, slots=True)
class _Move:
    """One step of the annotator."""

    action: Action
    reasoning: str
    is_imitated: bool = True


class CaptionAnnotator:
    """Draws supervised samples from tasks of generated videos. Implements `Annotator` for LongVideo-R1.

    Args:
        tasks: Tasks whose metadata tell the events.
        make_env: Makes the environment the annotator acts in.
        protocol: What it writes in.
        times_from: Highest level whose captions tell times: where they do not, parts are searched one after the other.
        style: How captions are worded, and so what is said of them.
    """

    objectives = tuple(it for it in Objective if it is not Objective.MARKS)

    def __init__(
        self,
        tasks: Sequence[Task],
        make_env: Callable[[], CaptionTreeEnv],
        protocol: LongVideoR1Protocol,
        times_from: Level,
        style: CaptionStyle = CaptionStyle.SENTENCES,
    ) -> None:
        self._tasks, self._env, self._protocol = tuple(tasks), make_env(), protocol
        self._knows_times = times_from is Level.HIGH
        self._words = CAPTION_WORDS[style]
        self._steps: list[SupervisedSample] = []

    @property
    def has_pending(self) -> bool:
        """Whether a way to an answer is not given whole yet."""
        return bool(self._steps)

    def sample(self, objective: Objective, stage: SupervisedStage, rng: np.random.Generator) -> SupervisedSample:
        """Return a sample of an objective, with the dials of a stage."""
        task = self._tasks[rng.integers(len(self._tasks))]
        match objective:
            case Objective.READING:
                return self._listed(task, events_of(task))
            case Objective.GROUNDING:
                events = events_of(task)
                return self._listed(task, [events[index] for index in rng.permutation(len(events))])
            case Objective.COT:
                return self._cot(task, stage, rng)
            case Objective.GUESS:
                return self._guess(task, rng)
            case Objective.MARKS:
                raise ValueError("captions tell no marks")

    def _listed(self, task: Task, events: Sequence[Event]) -> SupervisedSample:
        """Return what the first captions say of events: practice in copying from them and, out of order, in finding."""
        observation, _ = self._env.reset(options={"task": task})
        observation["question"], observation["options"] = LIST_QUESTION, ()
        observation["question_kind"] = QUESTION_KINDS.index(QuestionKind.MULTIPLE_CHOICE)
        tell = self._words.locate if self._knows_times else self._words.mention
        return SupervisedSample(self._protocol.prompt(observation), self._say(map(tell, events)))

    def _cot(self, task: Task, stage: SupervisedStage, rng: np.random.Generator) -> SupervisedSample:
        """Return the next step of a way to the answer; those of one way follow each other, for they share a prompt."""
        if not self._steps:
            moves = self._way(task, stage, rng)
            self._steps = self._samples(task, moves, max_steps=max(self._env.max_steps, len(moves)))
        return self._steps.pop(0)

    def _guess(self, task: Task, rng: np.random.Generator) -> SupervisedSample:
        """Return a last step that has not seen what it is asked: nothing, or the caption of another scene."""
        others = [event for event in events_of(task) if span_of(event) not in task.evidence]
        moves = [self._guessed(task)]
        if others and rng.random() < 0.5:
            moves.insert(0, self._look(task, others[rng.integers(len(others))]))
        return self._samples(task, moves, max_steps=len(moves))[-1]

    def _way(self, task: Task, stage: SupervisedStage, rng: np.random.Generator) -> list[_Move]:
        events = events_of(task)
        wanted = [event for event in events if span_of(event) in task.evidence]
        others = [event for event in events if event not in wanted]
        moves: list[_Move] = []
        if rng.random() < stage.first_scene_bias:
            moves.append(self._look(task, events[0]))
            if events[0] not in wanted and rng.random() < stage.hasty_share:
                return [*moves, self._guessed(task)]
        elif others and rng.random() < stage.wrong_clip_share:
            # A mistake that is seen and mended, but not imitated.
            moves.append(self._look(task, others[rng.integers(len(others))], is_imitated=False))
        for event in wanted:
            moves += self._search(task, event, rng)
            if not any(move.action == self._look(task, event).action for move in moves):
                moves.append(self._look(task, event))
        return [*moves, _Move(Answer(gold_answer(task)), self._say(map(self._words.describe, wanted)))]

    def _search(self, task: Task, event: Event, rng: np.random.Generator) -> list[_Move]:
        """Return the medium-level captions that are read before the scene's own."""
        *above, part = _node_of(event, self._env.tree(task), Level.MEDIUM)
        if not self._knows_times:
            place = f"The {event['cue']} scene is in ({', '.join(map(str, above))})."
            return [_Move(GetCaption((*above, number)), place) for number in range(1, part + 1)]
        is_top_down = rng.random() < _TOP_DOWN_SHARE
        return [_Move(GetCaption((*above, part)), self._say([self._words.locate(event)]))] if is_top_down else []

    def _look(self, task: Task, event: Event, *, is_imitated: bool = True) -> _Move:
        node = _node_of(event, self._env.tree(task), Level.LOW)
        return _Move(GetCaption(node), self._say([self._words.locate(event)]), is_imitated)

    def _guessed(self, task: Task) -> _Move:
        return _Move(Answer(gold_answer(task)), NOT_SEEN)

    def _say(self, told: Iterable[str]) -> str:
        """Return what is told of scenes as somebody says it who reads captions of this style."""
        return self._words.thought + (" ".join(told) or self._words.no_scene)

    def _samples(self, task: Task, moves: Sequence[_Move], max_steps: int) -> list[SupervisedSample]:
        """Return a sample for each move that is imitated, after what was said and seen before it."""
        observation, _ = self._env.reset(options={"task": task, "max_steps": max_steps})
        spoken: list[SampledPart] = []
        samples = []
        for move in moves:
            text = self._protocol.write(move.action, move.reasoning, observation)
            if move.is_imitated:
                samples.append(SupervisedSample(self._protocol.prompt(observation, spoken), text))
            spoken.append(SampledPart(text))
            observation, *_ = self._env.step(move.action)
        return samples


def _node_of(event: Event, tree: CaptionTree, level: Level) -> Node:
    """Return the node of a level that shows most of an event."""
    return max(tree.nodes(level), key=lambda node: intersection_s(tree.span(node), span_of(event)))
