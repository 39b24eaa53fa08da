"""Cold-start samples from generated truth: the paper's stages 1 and 2 in small.

Stage 1 gets the model used to fast views and slow clips. In `reading` it says what an excerpt of a fast view, a few
moments and most of them scenes, shows and when: with little to choose from, reading the drawn seconds is learned in a
hundred steps, and then telling the scenes apart. In whole fast views, where the colour says where to read and the
reading says what the place is worth, neither comes first and little is learned in five times as many. In `grounding`
it lists the scenes of whole videos with their times, or says what a slow clip shows. Stage 2 (`cot`) imitates single
steps of reasoning: zoom with no clip or a wrong clip in view, answer with the right one. `guess` is for the step that
forces an answer although no clip shows what is asked. Where marks tell a sign in the fast view, stage 2 answers from
them once a clip is in view, or at once (`glance_share`); `marks` teaches to read them, best after the times and by
itself: beside times they are not learned. Source: LOVE-R1, Sec. 4.1 and 4.2.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from videozoom.envs.actions import Answer, ZoomIn
from videozoom.envs.generated.narration import (
    DESCRIBE_QUESTION,
    EXCERPT_HEADER,
    LIST_QUESTION,
    MARKS_QUESTION,
    NO_MARK,
    NO_SCENE,
    NOT_SEEN,
    TIME_KINDS,
    Event,
    describe,
    events_of,
    glimpse,
    has_mark,
    locate,
    span_of,
)
from videozoom.envs.messages import Prompt
from videozoom.envs.observation import EPISODE_KINDS, QUESTION_KINDS, FrameSource, Observation, Turn, VideoClip
from videozoom.envs.protocols.base import TeachableProtocol
from videozoom.envs.sampling import FRAMES_PER_PATCH
from videozoom.envs.tasks import EpisodeKind, QuestionKind, Span, Task
from videozoom.experiments.cold_start_stage import Objective, SupervisedStage
from videozoom.policies.supervised import SupervisedSample
from videozoom.rewards.answers import gold_answer

_EMPTY_SHARE = 0.08
"""Share of excerpts without a scene."""
_MOST_OTHERS = 2
"""Moments of an excerpt that show no scene, at most, if it shows any and the video has enough."""
_SLACK = 1e-6


class ColdStartData:
    """Draws supervised samples from tasks of generated videos. Implements `Annotator` for LOVE-R1."""

    has_pending = False

    def __init__(
        self,
        tasks: Sequence[Task],
        frames: FrameSource,
        protocol: TeachableProtocol,
        clip_frames: Sequence[int] = (),
    ) -> None:
        """Take tasks whose metadata tell the events, and the most frames of a clip where one, two, ... are held."""
        self.tasks, self.frames, self.protocol = tuple(tasks), frames, protocol
        self.clip_frames = tuple(clip_frames)
        self.plain_protocol = protocol.without_instruction()
        self.frames_per_moment = FRAMES_PER_PATCH
        has_marks = any(has_mark(event) for task in self.tasks for event in events_of(task))
        self.objectives = tuple(it for it in Objective if has_marks or it is not Objective.MARKS)

    def sample(self, objective: Objective, stage: SupervisedStage, rng: np.random.Generator) -> SupervisedSample:
        """Return a sample of an objective, with the dials of a stage."""
        match objective:
            case Objective.READING:
                return self.reading(rng, num_pairs=stage.excerpt_pairs)
            case Objective.GROUNDING:
                return self.grounding(rng)
            case Objective.MARKS:
                return self.marks(rng, num_pairs=stage.excerpt_pairs)
            case Objective.COT:
                return self.cot(
                    rng,
                    wrong_clip_share=stage.wrong_clip_share,
                    first_scene_bias=stage.first_scene_bias,
                    glance_share=stage.glance_share,
                    forced_share=stage.forced_share,
                )
            case Objective.GUESS:
                return self.guess(rng, overview_share=stage.overview_share, reads_fast_view=stage.reads_fast_view)

    def reading(self, rng: np.random.Generator, *, num_pairs: Sequence[int] = (1, 2, 2, 3, 4)) -> SupervisedSample:
        """Return a sample of early stage 1: list the scenes of an excerpt, some moments of the fast view.

        Args:
            rng: where chance comes from.
            num_pairs: numbers of moments, drawn from evenly. Scenes longer than a moment are shown whole, and so may
                make it more.
        """
        excerpt, shown = self._draw_excerpt(rng, num_pairs)
        completion = " ".join(map(locate, shown)) or NO_SCENE
        return SupervisedSample(self.plain_protocol.prompt_on_clip(excerpt, EXCERPT_HEADER, LIST_QUESTION), completion)

    def marks(self, rng: np.random.Generator, *, num_pairs: Sequence[int] = (1, 2, 2, 3, 4)) -> SupervisedSample:
        """Return a sample that reads the marks in an excerpt; `num_pairs` as for `reading`."""
        excerpt, shown = self._draw_excerpt(rng, num_pairs)
        completion = " ".join(glimpse(event) for event in shown if has_mark(event)) or NO_MARK
        return SupervisedSample(self.plain_protocol.prompt_on_clip(excerpt, EXCERPT_HEADER, MARKS_QUESTION), completion)

    def _draw_excerpt(self, rng: np.random.Generator, num_pairs: Sequence[int]) -> tuple[VideoClip, list[Event]]:
        """Return an excerpt of a fast view and the scenes in it, in random order."""
        task = self._draw(rng)
        events = events_of(task)
        view = self.frames.fast_view(task.video)
        total = len(view.frames) // self.frames_per_moment
        wanted = min(int(rng.choice(num_pairs)), total)
        most = min(wanted, len(events)) if rng.random() >= _EMPTY_SHARE else 0
        num_shown = int(rng.integers(min(most, max(1, wanted - _MOST_OTHERS)), most + 1))
        shown = [events[index] for index in rng.permutation(len(events))[:num_shown]]
        moments = {moment for event in shown for moment in _moments_of(event, view, total)}
        taken = {moment for event in events for moment in _moments_of(event, view, total)}
        others = rng.permutation([moment for moment in range(total) if moment not in taken])
        moments |= {int(moment) for moment in others[: max(0, wanted - len(moments))]}
        return _excerpt(view, sorted(moments) or [0], self.frames_per_moment), shown

    def grounding(self, rng: np.random.Generator, *, clip_share: float = 0.2) -> SupervisedSample:
        """Return a sample of stage 1: list all scenes, in random order, or describe the clip of one."""
        task = self._draw(rng)
        events = events_of(task)
        if rng.random() < clip_share:
            event = events[rng.integers(len(events))]
            observation = self._observe(task, (event,), question=DESCRIBE_QUESTION)
            return SupervisedSample(self._prompt(observation, [locate(event)], self.plain_protocol), describe(event))
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
        glance_share: float = 0.0,
        forced_share: float = 0.0,
    ) -> SupervisedSample:
        """Return a sample of stage 2: answer with the right clip, else zoom with a wrong clip or none.

        A question about several events is answered with the clips of all; they are zoomed into in order of time.

        Args:
            rng: where chance comes from.
            answer_share: share of answers.
            wrong_clip_share: share of zooms after a wrong clip.
            first_scene_bias: a planted annotator's mistake: this share of the first zooms goes to the first scene of
                the video instead of the one asked for.
            glance_share: share of first steps that answer at once where marks tell the answer in the fast view. With a
                wrong clip in view, all do.
            forced_share: share of answers that are told that it is the last step.
        """
        task = self._draw(rng)
        events = events_of(task)
        wanted, others = self._wanted(task)
        num_held = int(rng.integers(len(wanted)))
        draw = rng.random()
        if draw < answer_share:
            is_last = bool(forced_share) and rng.random() < forced_share
            return self._answered(task, wanted, wanted, is_last=is_last)
        target, held = wanted[num_held], wanted[:num_held]
        is_wrong = bool(others) and draw < answer_share + wrong_clip_share
        wrong = [others[rng.integers(len(others))]] if is_wrong else []
        if all(map(has_mark, wanted[num_held:])) and (wrong or rng.random() < glance_share):
            return self._answered(task, wanted, [*held, *wrong])
        if not held and not wrong and rng.random() < first_scene_bias:
            target = events[0]
        observation = self._observe(task, [*held, *wrong])
        completion = self.protocol.write(ZoomIn(span_of(target)), locate(target), observation)
        return SupervisedSample(
            self._prompt(observation, list(map(locate, [*held, *wrong])), self.protocol), completion
        )

    def guess(
        self, rng: np.random.Generator, *, overview_share: float = 0.0, reads_fast_view: bool = False
    ) -> SupervisedSample:
        """Return a sample of a forced answer that was not helped by a zoom: there is no clip, or a wrong one.

        Without any, a small model's forced answers cannot be read, and policies that do not zoom score zero.

        Args:
            rng: where chance comes from.
            overview_share: share of answers from a clip of the whole video, as the rule `uniform` has, which may show
                what is asked.
            reads_fast_view: whether all others answer from the fast view alone, whose frames are large enough to read.
        """
        task = self._draw(rng)
        wanted, others = self._wanted(task)
        if overview_share and rng.random() < overview_share:
            turn = self._turn(task, self.frames.fast_view(task.video).span_s)
            is_seen = turn.clip is not None and _is_seen(wanted, turn.clip)
            return self._forced(task, [turn], [""], _told(wanted, is_seen=is_seen))
        if reads_fast_view:
            is_seen = _is_seen(wanted, self.frames.fast_view(task.video))
            return self._forced(task, [], [], _told(wanted, is_seen=is_seen))
        held = [others[rng.integers(len(others))]] if others and rng.random() < 0.5 else []
        if all(map(has_mark, wanted)):
            return self._answered(task, wanted, held, is_last=True)
        return self._forced(
            task, self._turns(task, held), list(map(locate, held)), " ".join([*map(describe, held), NOT_SEEN])
        )

    def _forced(self, task: Task, turns: Sequence[Turn], zoom_reasons: Sequence[str], told: str) -> SupervisedSample:
        """Return a sample of a forced answer after `turns`, for a reason that is told."""
        observation = self._observed(task, turns, is_last=True)
        completion = self.protocol.write(Answer(gold_answer(task)), told, observation)
        return SupervisedSample(self._prompt(observation, zoom_reasons, self.protocol), completion)

    def _answered(
        self, task: Task, wanted: Sequence[Event], held: Sequence[Event], *, is_last: bool = False
    ) -> SupervisedSample:
        """Return a sample that answers from the clips of `held`, and from marks where they do not show it."""
        observation = self._observe(task, held, is_last=is_last)
        # What is asked is when, or what: the reasons tell it.
        tell = locate if task.kind in TIME_KINDS else describe
        reasons = " ".join(tell(event) if event in held else glimpse(event) for event in wanted)
        completion = self.protocol.write(Answer(gold_answer(task)), reasons, observation)
        return SupervisedSample(self._prompt(observation, list(map(locate, held)), self.protocol), completion)

    def _wanted(self, task: Task) -> tuple[list[Event], list[Event]]:
        """Return the events that are asked for, and the others."""
        events = events_of(task)
        wanted = [event for event in events if span_of(event) in task.evidence]
        return wanted, [event for event in events if event not in wanted]

    def _draw(self, rng: np.random.Generator) -> Task:
        return self.tasks[rng.integers(len(self.tasks))]

    def _prompt(self, observation: Observation, reasons: Sequence[str], protocol: TeachableProtocol) -> Prompt:
        """Return the prompt of an observation whose zooms had these reasons."""
        return protocol.prompt(observation)

    def _fewer(self, turn: Turn, task: Task, num_held: int) -> Turn:
        """Return a turn whose clip has no more frames than fit beside the others.

        Source: LOVE-R1, released cold start code: 32 frames of one clip, 24 of each of two, 16 of each of more.
        """
        most = self.clip_frames[min(num_held, len(self.clip_frames)) - 1] if self.clip_frames else 0
        if turn.clip is None or not 0 < most < len(turn.clip.frames):
            return turn
        span_s = turn.clip.span_s
        return replace(turn, clip=self.frames.slow_clip(task.video, span_s, (most + _SLACK) / span_s.length_s))

    def _turn(self, task: Task, span_s: Span) -> Turn:
        """Return the step that zooms into a span."""
        return Turn(ZoomIn(span_s), self.frames.slow_clip(task.video, span_s))

    def _observe(
        self, task: Task, held: Sequence[Event], *, question: str | None = None, is_last: bool = False
    ) -> Observation:
        """Return what an agent would see with events already zoomed into, or with another question and no options."""
        return self._observed(task, self._turns(task, held), question=question, is_last=is_last)

    def _turns(self, task: Task, held: Sequence[Event]) -> list[Turn]:
        return [self._fewer(self._turn(task, span_of(event)), task, len(held)) for event in held]

    def _observed(
        self, task: Task, turns: Sequence[Turn], *, question: str | None = None, is_last: bool = False
    ) -> Observation:
        clips = (turn.clip for turn in turns if turn.clip is not None)
        return Observation(
            fast_view=self.frames.fast_view(task.video),
            clips=tuple(sorted(clips, key=lambda clip: clip.span_s)),
            question=task.question if question is None else question,
            question_kind=QUESTION_KINDS.index(task.kind if question is None else QuestionKind.MULTIPLE_CHOICE),
            options=task.options if question is None else (),
            step=len(turns),
            max_steps=len(turns) + (1 if is_last else 2),
            episode_kind=EPISODE_KINDS.index(EpisodeKind.MULTI_STEP),
            turns=tuple(turns),
        )


def _is_seen(events: Sequence[Event], clip: VideoClip) -> bool:
    """Return whether a frame of a clip shows each of the events."""
    return all(any(event["start_s"] <= time_s < event["end_s"] for time_s in clip.times_s) for event in events)


def _told(events: Sequence[Event], *, is_seen: bool) -> str:
    """Return what is told of events by somebody who has seen all of them or not."""
    return " ".join(map(describe, events)) if is_seen else NOT_SEEN


def _moments_of(event: Event, view: VideoClip, total: int) -> range:
    """Return the moments of a fast view, of so many, that show something of an event."""
    moment_s = view.span_s.length_s / total
    return range(int(event["start_s"] / moment_s + _SLACK), min(total, math.ceil(event["end_s"] / moment_s - _SLACK)))


def _excerpt(view: VideoClip, moments: Sequence[int], size: int) -> VideoClip:
    """Return some moments of a fast view, of so many frames each, given in order of time."""
    frames = [size * moment + index for moment in moments for index in range(size)]
    moment_s = view.span_s.length_s / (len(view.frames) // size)
    return VideoClip(
        frames=view.frames[frames],
        times_s=view.times_s[frames],
        span_s=Span(moments[0] * moment_s, (moments[-1] + 1) * moment_s),
        key=f"{view.key} moments {moments} of {size}",
    )
