"""Cold-start samples from generated truth: the paper's stages 1 and 2 in small.

Stage 1 (`grounding`) gets the model used to fast views and slow clips: it lists the scenes with their times, or says
what a clip shows. Stage 2 (`cot`) imitates single steps of reasoning: zoom with no clip or a wrong clip in view,
answer with the right one. Source: LOVE-R1, Sec. 4.1 and 4.2.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.generated.narration import (
    DESCRIBE_QUESTION,
    LIST_QUESTION,
    describe,
    events_of,
    locate,
    span_of,
)
from videozoom.envs.observation import EPISODE_KINDS, FrameSource, Observation
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.tasks import EpisodeKind, Span, Task
from videozoom.policies.supervised import SupervisedSample

SampleSource = Callable[[np.random.Generator], SupervisedSample]


class Objective(StrEnum):
    """What a cold-start stage imitates."""

    GROUNDING = "grounding"
    COT = "cot"


class ColdStartData:
    """Draws supervised samples from tasks of generated videos."""

    def __init__(self, tasks: Sequence[Task], frames: FrameSource, protocol: LoveR1Protocol) -> None:
        """Take tasks whose metadata tell the events."""
        self.tasks, self.frames, self.protocol = tuple(tasks), frames, protocol
        self.plain_protocol = protocol.without_instruction()

    def source(self, objective: Objective) -> SampleSource:
        """Return the sampler of an objective."""
        return {Objective.GROUNDING: self.grounding, Objective.COT: self.cot}[objective]

    def grounding(self, rng: np.random.Generator, *, clip_share: float = 0.2) -> SupervisedSample:
        """Return a sample of stage 1: list all scenes, in random order, or describe the clip of one."""
        task = self._draw(rng)
        events = events_of(task)
        if rng.random() < clip_share:
            event = events[rng.integers(len(events))]
            observation = self._observe(task, (span_of(event),), question=DESCRIBE_QUESTION)
            return SupervisedSample(self.plain_protocol.prompt(observation), describe(event))
        observation = self._observe(task, (), question=LIST_QUESTION)
        sentences = [locate(events[index]) for index in rng.permutation(len(events))]
        return SupervisedSample(self.plain_protocol.prompt(observation), " ".join(sentences))

    def cot(
        self, rng: np.random.Generator, *, answer_share: float = 0.35, wrong_share: float = 0.25
    ) -> SupervisedSample:
        """Return a sample of stage 2: answer with the right clip, else zoom with a wrong clip or none."""
        task = self._draw(rng)
        events = events_of(task)
        wanted = [event for event in events if span_of(event) in task.evidence]
        target = wanted[rng.integers(len(wanted))]
        draw = rng.random()
        if draw < answer_share:
            observation = self._observe(task, (span_of(target),))
            completion = self.protocol.write(Answer(task.answer), describe(target), observation)
            return SupervisedSample(self.protocol.prompt(observation), completion)
        others = [event for event in events if event not in wanted]
        is_wrong = bool(others) and draw < answer_share + wrong_share
        clips = (span_of(others[rng.integers(len(others))]),) if is_wrong else ()
        observation = self._observe(task, clips)
        completion = self.protocol.write(ZoomIn(span_of(target)), locate(target), observation)
        return SupervisedSample(self.protocol.prompt(observation), completion)

    def _draw(self, rng: np.random.Generator) -> Task:
        return self.tasks[rng.integers(len(self.tasks))]

    def _observe(self, task: Task, spans: Sequence[Span], *, question: str | None = None) -> Observation:
        """Return what an agent would see with `spans` already zoomed, or with another question and no options."""
        return Observation(
            fast_view=self.frames.fast_view(task.video),
            clips=tuple(self.frames.slow_clip(task.video, span) for span in sorted(spans)),
            question=task.question if question is None else question,
            options=task.options if question is None else (),
            step=0,
            max_steps=len(spans) + 2,
            episode_kind=EPISODE_KINDS.index(EpisodeKind.MULTI_STEP),
        )
