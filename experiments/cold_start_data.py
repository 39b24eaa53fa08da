"""Cold-start samples from generated truth: the paper's stages 1 and 2 in small.

Stage 1 gets the model used to fast views and slow clips. In `reading` it says what an excerpt of a fast view, a few
moments and most of them scenes, shows and when: with little to choose from, reading the drawn seconds is learned in a
hundred steps, and then telling the scenes apart. In whole fast views, where the colour says where to read and the
reading says what the place is worth, neither comes first and little is learned in five times as many. In `grounding`
it lists the scenes of whole videos with their times, or says what a slow clip shows. Stage 2 (`cot`) imitates single
steps of reasoning: zoom with no clip or a wrong clip in view, answer with the right one. `guess` is for the step that
forces an answer although no clip shows what is asked. Source: LOVE-R1, Sec. 4.1 and 4.2.
"""

import math
from collections.abc import Sequence

import numpy as np

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.generated.narration import (
    DESCRIBE_QUESTION,
    EXCERPT_HEADER,
    LIST_QUESTION,
    NO_SCENE,
    NOT_SEEN,
    Event,
    describe,
    events_of,
    locate,
    span_of,
)
from videozoom.envs.messages import Prompt
from videozoom.envs.observation import EPISODE_KINDS, FrameSource, Observation, Turn, VideoClip
from videozoom.envs.protocols.base import TeachableProtocol
from videozoom.envs.sampling import FRAMES_PER_PATCH
from videozoom.envs.tasks import EpisodeKind, Span, Task
from videozoom.experiments.cold_start_stage import Objective, SupervisedStage
from videozoom.policies.supervised import SupervisedSample

_EMPTY_SHARE = 0.08
"""Share of excerpts without a scene."""
_MOST_OTHERS = 2
"""Moments of an excerpt that show no scene, at most, if it shows any and the video has enough."""
_SLACK = 1e-6


class ColdStartData:
    """Draws supervised samples from tasks of generated videos. Implements `Annotator` for LOVE-R1."""

    objectives = tuple(Objective)

    def __init__(self, tasks: Sequence[Task], frames: FrameSource, protocol: TeachableProtocol) -> None:
        """Take tasks whose metadata tell the events."""
        self.tasks, self.frames, self.protocol = tuple(tasks), frames, protocol
        self.plain_protocol = protocol.without_instruction()

    def sample(self, objective: Objective, stage: SupervisedStage, rng: np.random.Generator) -> SupervisedSample:
        """Return a sample of an objective, with the dials of a stage."""
        match objective:
            case Objective.READING:
                return self.reading(rng, num_pairs=stage.excerpt_pairs)
            case Objective.GROUNDING:
                return self.grounding(rng)
            case Objective.COT:
                return self.cot(rng, wrong_clip_share=stage.wrong_clip_share, first_scene_bias=stage.first_scene_bias)
            case Objective.GUESS:
                return self.guess(rng)

    def reading(self, rng: np.random.Generator, *, num_pairs: Sequence[int] = (1, 2, 2, 3, 4)) -> SupervisedSample:
        """Return a sample of early stage 1: list the scenes of an excerpt, some moments of the fast view.

        Args:
            rng: where chance comes from.
            num_pairs: numbers of moments, in frame pairs, drawn from evenly. Scenes longer than a pair are shown
                whole, and so may make it more.
        """
        task = self._draw(rng)
        events = events_of(task)
        view = self.frames.fast_view(task.video)
        total = len(view.frames) // FRAMES_PER_PATCH
        wanted = min(int(rng.choice(num_pairs)), total)
        most = min(wanted, len(events)) if rng.random() >= _EMPTY_SHARE else 0
        num_shown = int(rng.integers(min(most, max(1, wanted - _MOST_OTHERS)), most + 1))
        shown = [events[index] for index in rng.permutation(len(events))[:num_shown]]
        pairs = {pair for event in shown for pair in _pairs_of(event, view)}
        taken = {pair for event in events for pair in _pairs_of(event, view)}
        others = rng.permutation([pair for pair in range(total) if pair not in taken])
        excerpt = _excerpt(view, sorted(pairs | {int(pair) for pair in others[: max(0, wanted - len(pairs))]}) or [0])
        completion = " ".join(locate(event) for event in shown) or NO_SCENE
        return SupervisedSample(self.plain_protocol.prompt_on_clip(excerpt, EXCERPT_HEADER, LIST_QUESTION), completion)

    def grounding(self, rng: np.random.Generator, *, clip_share: float = 0.2) -> SupervisedSample:
        """Return a sample of stage 1: list all scenes, in random order, or describe the clip of one."""
        task = self._draw(rng)
        events = events_of(task)
        if rng.random() < clip_share:
            event = events[rng.integers(len(events))]
            observation = self._observe(task, (event,), question=DESCRIBE_QUESTION)
            return SupervisedSample(self._prompt(observation, (event,), self.plain_protocol), describe(event))
        observation = self._observe(task, (), question=LIST_QUESTION)
        sentences = [locate(events[index]) for index in rng.permutation(len(events))]
        return SupervisedSample(self._prompt(observation, (), self.plain_protocol), " ".join(sentences))

    def cot(
        self,
        rng: np.random.Generator,
        *,
        answer_share: float = 0.35,
        wrong_clip_share: float = 0.25,
        first_scene_bias: float = 0.0,
    ) -> SupervisedSample:
        """Return a sample of stage 2: answer with the right clip, else zoom with a wrong clip or none.

        A question about several events is answered with the clips of all; they are zoomed into in order of time.

        Args:
            rng: where chance comes from.
            answer_share: share of answers.
            wrong_clip_share: share of zooms after a wrong clip.
            first_scene_bias: a planted annotator's mistake: this share of the first zooms goes to the first scene of
                the video instead of the one asked for.
        """
        task = self._draw(rng)
        events = events_of(task)
        wanted = [event for event in events if span_of(event) in task.evidence]
        num_held = int(rng.integers(len(wanted)))
        draw = rng.random()
        if draw < answer_share:
            observation = self._observe(task, wanted)
            completion = self.protocol.write(Answer(task.answer), " ".join(map(describe, wanted)), observation)
            return SupervisedSample(self._prompt(observation, wanted, self.protocol), completion)
        target, held = wanted[num_held], wanted[:num_held]
        others = [event for event in events if event not in wanted]
        is_wrong = bool(others) and draw < answer_share + wrong_clip_share
        wrong = [others[rng.integers(len(others))]] if is_wrong else []
        if not held and not wrong and rng.random() < first_scene_bias:
            target = events[0]
        observation = self._observe(task, [*held, *wrong])
        completion = self.protocol.write(ZoomIn(span_of(target)), locate(target), observation)
        return SupervisedSample(self._prompt(observation, [*held, *wrong], self.protocol), completion)

    def guess(self, rng: np.random.Generator) -> SupervisedSample:
        """Return a sample of a forced answer that has not seen what it is asked: no clip, or a wrong one.

        Without any, a small model's forced answers cannot be read, and policies that do not zoom score zero.
        """
        task = self._draw(rng)
        others = [event for event in events_of(task) if span_of(event) not in task.evidence]
        held = [others[rng.integers(len(others))]] if others and rng.random() < 0.5 else []
        observation = self._observe(task, held, is_last=True)
        completion = self.protocol.write(Answer(task.answer), NOT_SEEN, observation)
        return SupervisedSample(self._prompt(observation, held, self.protocol), completion)

    def _draw(self, rng: np.random.Generator) -> Task:
        return self.tasks[rng.integers(len(self.tasks))]

    def _prompt(self, observation: Observation, held: Sequence[Event], protocol: TeachableProtocol) -> Prompt:
        """Return the prompt of an observation in which some events were zoomed into."""
        return protocol.prompt(observation)

    def _turn(self, task: Task, event: Event) -> Turn:
        """Return the step that zooms into an event."""
        span_s = span_of(event)
        return Turn(ZoomIn(span_s), self.frames.slow_clip(task.video, span_s))

    def _observe(
        self, task: Task, held: Sequence[Event], *, question: str | None = None, is_last: bool = False
    ) -> Observation:
        """Return what an agent would see with events already zoomed into, or with another question and no options."""
        turns = tuple(self._turn(task, event) for event in held)
        clips = (turn.clip for turn in turns if turn.clip is not None)
        return Observation(
            fast_view=self.frames.fast_view(task.video),
            clips=tuple(sorted(clips, key=lambda clip: clip.span_s)),
            question=task.question if question is None else question,
            options=task.options if question is None else (),
            step=len(turns),
            max_steps=len(turns) + (1 if is_last else 2),
            episode_kind=EPISODE_KINDS.index(EpisodeKind.MULTI_STEP),
            turns=turns,
        )


def _pairs_of(event: Event, view: VideoClip) -> range:
    """Return the frame pairs of a fast view that show something of an event."""
    total = len(view.frames) // FRAMES_PER_PATCH
    pair_s = view.span_s.length_s / total
    return range(int(event["start_s"] / pair_s + _SLACK), min(total, math.ceil(event["end_s"] / pair_s - _SLACK)))


def _excerpt(view: VideoClip, pairs: Sequence[int]) -> VideoClip:
    """Return some frame pairs of a fast view, given in order of time."""
    frames = [FRAMES_PER_PATCH * pair + index for pair in pairs for index in range(FRAMES_PER_PATCH)]
    pair_s = view.span_s.length_s / (len(view.frames) // FRAMES_PER_PATCH)
    return VideoClip(
        frames=view.frames[frames],
        times_s=view.times_s[frames],
        span_s=Span(pairs[0] * pair_s, (pairs[-1] + 1) * pair_s),
        key=f"{view.key} pairs {pairs}",
    )
