"""Cold-start samples from generated truth: the paper's stages 1 and 2 in small.

Stage 1 gets the model used to fast views and slow clips. In `reading` it says what excerpts of a fast view, a few
frames long, show and when: with everything in one place, reading the drawn seconds is learned in a hundred steps. In
whole fast views, where the colour says where to read and the reading says what the place is worth, neither comes
first and little is learned in five times as many. In `grounding` it lists the scenes of whole videos with their
times, or says what a slow clip shows. Stage 2 (`cot`) imitates single steps of reasoning: zoom with no clip or a wrong
clip in view, answer with the right one. Source: LOVE-R1, Sec. 4.1 and 4.2.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.generated.narration import (
    DESCRIBE_QUESTION,
    EXCERPT_HEADER,
    LIST_QUESTION,
    describe,
    events_of,
    locate,
    nothing_at,
    span_of,
)
from videozoom.envs.observation import EPISODE_KINDS, FrameSource, Observation, VideoClip
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.sampling import FRAMES_PER_PATCH
from videozoom.envs.tasks import EpisodeKind, Span, Task
from videozoom.policies.supervised import SupervisedSample

_AROUND_EVENT = 0.85
"""Share of excerpts placed on an event; the others lie anywhere."""


class Objective(StrEnum):
    """What a cold-start stage imitates."""

    READING = "reading"
    GROUNDING = "grounding"
    COT = "cot"


class ColdStartData:
    """Draws supervised samples from tasks of generated videos."""

    def __init__(self, tasks: Sequence[Task], frames: FrameSource, protocol: LoveR1Protocol) -> None:
        """Take tasks whose metadata tell the events."""
        self.tasks, self.frames, self.protocol = tuple(tasks), frames, protocol
        self.plain_protocol = protocol.without_instruction()

    def reading(self, rng: np.random.Generator, *, num_pairs: Sequence[int] = (1, 1, 2, 2, 4)) -> SupervisedSample:
        """Return a sample of early stage 1: list the scenes of an excerpt of a few frame pairs, mostly around one.

        Args:
            rng: where chance comes from.
            num_pairs: lengths of excerpts in frame pairs, drawn from evenly.
        """
        task = self._draw(rng)
        events = events_of(task)
        view = self.frames.fast_view(task.video)
        centre = events[rng.integers(len(events))]["start_s"] if rng.random() < _AROUND_EVENT else math.inf
        excerpt = _excerpt(view, centre, int(rng.choice(num_pairs)), rng)
        inside = [
            event
            for event in events
            if excerpt.span_s.start_s <= event["start_s"] and event["end_s"] <= excerpt.span_s.end_s
        ]
        sentences = [locate(inside[index]) for index in rng.permutation(len(inside))]
        completion = " ".join(sentences) or nothing_at(excerpt.span_s)
        return SupervisedSample(self.plain_protocol.prompt_on_clip(excerpt, EXCERPT_HEADER, LIST_QUESTION), completion)

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
        self,
        rng: np.random.Generator,
        *,
        answer_share: float = 0.35,
        wrong_share: float = 0.25,
        first_scene_bias: float = 0.0,
    ) -> SupervisedSample:
        """Return a sample of stage 2: answer with the right clip, else zoom with a wrong clip or none.

        A question about several events is answered with the clips of all; they are zoomed into in order of time.

        Args:
            rng: where chance comes from.
            answer_share: share of answers.
            wrong_share: share of zooms after a wrong clip.
            first_scene_bias: a planted annotator's mistake: this share of the first zooms goes to the first scene of
                the video instead of the one asked for.
        """
        task = self._draw(rng)
        events = events_of(task)
        wanted = [event for event in events if span_of(event) in task.evidence]
        num_held = int(rng.integers(len(wanted)))
        draw = rng.random()
        if draw < answer_share:
            observation = self._observe(task, [span_of(event) for event in wanted])
            completion = self.protocol.write(Answer(task.answer), " ".join(map(describe, wanted)), observation)
            return SupervisedSample(self.protocol.prompt(observation), completion)
        target, held = wanted[num_held], [span_of(event) for event in wanted[:num_held]]
        others = [event for event in events if event not in wanted]
        is_wrong = bool(others) and draw < answer_share + wrong_share
        wrong = [span_of(others[rng.integers(len(others))])] if is_wrong else []
        if not held and not wrong and rng.random() < first_scene_bias:
            target = events[0]
        observation = self._observe(task, [*held, *wrong])
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


def _excerpt(view: VideoClip, centre_s: float, num_pairs: int, rng: np.random.Generator) -> VideoClip:
    """Return consecutive frame pairs of a fast view: those around `centre_s`, or anywhere if it lies outside."""
    total = len(view.frames) // FRAMES_PER_PATCH
    count = min(num_pairs, total)
    pair_s = view.span_s.length_s / total
    wanted = int(centre_s // pair_s) if centre_s < view.span_s.end_s else int(rng.integers(total))
    first = int(rng.integers(max(0, wanted - count + 1), min(wanted, total - count) + 1))
    frames = slice(FRAMES_PER_PATCH * first, FRAMES_PER_PATCH * (first + count))
    return VideoClip(
        frames=view.frames[frames],
        times_s=view.times_s[frames],
        span_s=Span(first * pair_s, (first + count) * pair_s),
        key=f"{view.key} pairs {first}+{count}",
    )
