"""What happens in one generated video, and what is asked about it: data, no pixels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from videozoom.envs.generated.question_kinds import Shown, free_question
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.generated.signs import CUES, SIGNS, usual_sign
from videozoom.envs.tasks import OPTION_LETTERS, QuestionKind, Span, Task

_MAX_SHUFFLES = 50


@dataclass(frozen=True, slots=True)
class Event:
    """A coloured frame around a panel, during `[start_s, end_s)`."""

    start_s: float
    end_s: float
    cue: str
    sign: str | None
    """What the panel shows; `None` is a blank decoy."""
    has_mark: bool = False
    """Whether a mark tells the sign in the fast view."""

    @property
    def is_decoy(self) -> bool:
        """Whether the panel is blank."""
        return self.sign is None

    def as_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON values; `has_mark` only if it has one."""
        values = asdict(self) | {"is_decoy": self.is_decoy}
        if not self.has_mark:
            del values["has_mark"]
        return values


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """One video: its length, its events by start, and the cues each question asks for."""

    index: int
    num_frames: int
    length_s: float
    events: tuple[Event, ...]
    queries: tuple[tuple[str, ...], ...]
    """For each question the queried cues, in the order they are asked for."""


def video_generator(recipe: VideoRecipe, index: int, purpose: int) -> np.random.Generator:
    """Return the random stream of one video for one purpose; streams are independent of each other."""
    return np.random.default_rng([int(recipe.scenes_hash, 16), index, purpose])


def plan_video(recipe: VideoRecipe, index: int) -> VideoPlan:
    """Return what happens in video `index` of a recipe; the same arguments give the same plan."""
    rng = video_generator(recipe, index, purpose=0)
    shortest, longest = (round(length / recipe.event_length_s) for length in recipe.length_range_s)
    num_slots = int(rng.integers(shortest, longest + 1))
    fewest, most = recipe.num_events_range
    cues = [str(cue) for cue in rng.permutation(CUES)[: rng.integers(fewest, most + 1)]]
    pool = SIGNS[: recipe.signs_per_place] if recipe.fixed_options else SIGNS
    signs: list[str | None] = [str(sign) for sign in rng.choice(pool, len(cues))]
    queries = _queries(cues, recipe, rng)
    for cue in sorted({cue for query in queries for cue in query}):
        if rng.random() < recipe.decoy_probability:
            cues += [cue] * recipe.num_decoys
            signs += [None] * recipe.num_decoys
    starts = _apart(_starts(len(cues), num_slots, recipe, rng), cues, recipe, rng)
    events = [
        Event(start / recipe.fps, (start + recipe.frames_per_event) / recipe.fps, cue, sign)
        for start, cue, sign in zip(starts, cues, signs, strict=True)
    ]
    num_frames = num_slots * recipe.frames_per_event
    events = _with_habits(sorted(events, key=lambda event: event.start_s), recipe, index)
    events = _marked(events, recipe, index)
    return VideoPlan(index, num_frames, num_frames / recipe.fps, tuple(events), queries)


def tasks_of(plan: VideoPlan, video: Path, recipe: VideoRecipe) -> list[Task]:
    """Return the questions about one video, with answers, evidence and the events as metadata."""
    rng = video_generator(recipe, plan.index, purpose=1)
    tasks = []
    for number, query in enumerate(plan.queries):
        asked = [next(event for event in plan.events if event.cue == cue and not event.is_decoy) for cue in query]
        truth = tuple(str(event.sign) for event in asked)
        options = _options(truth, recipe, rng)
        task = Task(
            task_id=f"{recipe.content_hash}-v{plan.index:05d}-q{number}",
            video=video,
            duration_s=plan.length_s,
            question=_question(query),
            options=tuple(_listed(option) for option in options),
            answer=OPTION_LETTERS[options.index(truth)],
            evidence=tuple(sorted(Span(event.start_s, event.end_s) for event in asked)),
            metadata={
                "cue": query[0] if len(query) == 1 else list(query),
                "events": [event.as_dict() for event in plan.events],
                "seed": recipe.seed,
            },
        )
        turn = plan.index * len(plan.queries) + number
        tasks.append(_of_kind(task, QuestionKind(recipe.question_kinds[turn % len(recipe.question_kinds)]), asked))
    return tasks


def _of_kind(task: Task, kind: QuestionKind, asked: Sequence[Event]) -> Task:
    """Return the task, or one of another kind about the same events."""
    if kind is QuestionKind.MULTIPLE_CHOICE:
        return task
    shown = [Shown(event.cue, str(event.sign), Span(event.start_s, event.end_s)) for event in asked]
    return replace(task, kind=kind, options=(), **free_question(kind, shown)._asdict())


def _with_habits(events: list[Event], recipe: VideoRecipe, index: int) -> list[Event]:
    draws = video_generator(recipe, index, purpose=4).random(len(events))
    return [
        replace(event, sign=usual_sign(event.cue, recipe.signs_per_place))
        if draw < recipe.habit and not event.is_decoy
        else event
        for event, draw in zip(events, draws, strict=True)
    ]


def _marked(events: list[Event], recipe: VideoRecipe, index: int) -> list[Event]:
    draws = video_generator(recipe, index, purpose=3).random(len(events))
    return [
        replace(event, has_mark=bool(draw < recipe.legibility and not event.is_decoy))
        for event, draw in zip(events, draws, strict=True)
    ]


def _queries(cues: list[str], recipe: VideoRecipe, rng: np.random.Generator) -> tuple[tuple[str, ...], ...]:
    every = list(combinations(cues, recipe.evidence_events))
    chosen = rng.choice(len(every), recipe.questions_per_video, replace=False)
    return tuple(every[int(number)] for number in chosen)


def _starts(num_events: int, num_slots: int, recipe: VideoRecipe, rng: np.random.Generator) -> list[int]:
    """Return the first frames of events that do not overlap, in random order."""
    length = recipe.frames_per_event
    if recipe.aligned:
        return [int(slot) * length for slot in rng.permutation(num_slots)[:num_events]]
    gaps = np.sort(rng.integers(0, (num_slots - num_events) * length + 1, num_events))
    return [int(start) for start in rng.permutation(gaps + length * np.arange(num_events))]


def _apart(starts: list[int], cues: list[str], recipe: VideoRecipe, rng: np.random.Generator) -> list[int]:
    """Return `starts` reordered so that events of one cue do not touch, where the video has room for that."""
    for _ in range(_MAX_SHUFFLES):
        pairs = combinations(zip(starts, cues, strict=True), 2)
        if not any(a[1] == b[1] and abs(a[0] - b[0]) <= recipe.frames_per_event for a, b in pairs):
            break
        starts = [int(start) for start in rng.permutation(starts)]
    return starts


def _options(truth: tuple[str, ...], recipe: VideoRecipe, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Return the options: every combination of the competing signs, cut to `num_options` with the truth kept."""
    count = recipe.signs_per_place
    if recipe.fixed_options:
        return list(product(SIGNS[:count], repeat=recipe.evidence_events))
    places = []
    for sign in truth:
        others = [other for other in SIGNS if other != sign]
        places.append([sign, *(str(other) for other in rng.permutation(others)[: count - 1])])
    wrong = [option for option in product(*places) if option != truth]
    options = [truth, *(wrong[int(number)] for number in rng.permutation(len(wrong))[: recipe.num_options - 1])]
    return [options[int(number)] for number in rng.permutation(len(options))]


def _question(query: tuple[str, ...]) -> str:
    if len(query) == 1:
        return f"Which sign appears in the {query[0]} scene?"
    return f"Which signs appear in the {_listed(query)} scenes, in this order?"


def _listed(words: tuple[str, ...]) -> str:
    return " and ".join(words) if len(words) < 3 else ", ".join(words[:-1]) + " and " + words[-1]
