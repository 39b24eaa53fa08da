"""A world in a few lines: actions are written as they are parsed, and the environment accepts every span."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from videozoom.envs.actions import Action, Answer, Malformed, ZoomIn
from videozoom.envs.messages import Message, Prompt, Role, SampledPart, TextPart
from videozoom.envs.observation import Observation, VideoClip
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.policies.base import Completion, Request
from videozoom.policies.sampling import Sampling
from videozoom.rewards.facts import EpisodeFacts, RewardBreakdown

BROKEN = "broken.mp4"


def make_task(number: int = 0, *, evidence: bool = True, video: str = "a.mp4") -> Task:
    spans = (Span(4.0, 8.0),) if evidence else ()
    return Task(f"t{number}", Path(video), 64.0, "Which sign?", ("bars", "lines"), "B", spans)


class FakeEnv:
    """Accepts every span; the answer ends a multi-step episode, any action a zoom step."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        assert options is not None
        self.task: Task = options["task"]
        self.kind: EpisodeKind = options["episode_kind"]
        self.max_steps: int = options["max_steps"]
        self.spans: tuple[Span, ...] = ()
        self.answer: str | None = None
        self.num_steps = 0
        self.status = Status.ERROR_DECODE if self.task.video.name == BROKEN else Status.RUNNING
        return self._observation(), self._info(None)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.num_steps += 1
        if isinstance(action, ZoomIn):
            self.spans += (action.span_s,)
        if isinstance(action, Answer):
            self.answer, self.status = action.text, Status.ANSWERED
        elif self.kind == EpisodeKind.ZOOM_STEP:
            self.status = Status.ZOOMED if isinstance(action, ZoomIn) else Status.MALFORMED
        elif self.num_steps == self.max_steps:
            self.status = Status.NO_ANSWER
        return self._observation(), 0.0, self.status != Status.RUNNING, False, self._info(action)

    def _observation(self) -> Observation:
        fast_view = VideoClip(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1), Span(0.0, 64.0), "fast")
        return Observation(
            fast_view=fast_view,
            clips=(),
            question=self.task.question,
            question_kind=0,
            options=self.task.options,
            step=self.num_steps,
            max_steps=self.max_steps,
            episode_kind=0,
            turns=(),
        )

    def _info(self, action: Action | None) -> dict[str, Any]:
        facts = EpisodeFacts(self.kind, self.status, self.answer, self.spans, self.num_steps, 0)
        part = "overlap" if self.kind == EpisodeKind.ZOOM_STEP else "outcome"
        score = float(self.answer == self.task.answer) if part == "outcome" else float(bool(self.spans))
        info: dict[str, Any] = {"task_id": self.task.task_id, "status": self.status, "action": action}
        if self.status == Status.ERROR_DECODE:
            info["error"] = "no such file"
        if self.status != Status.RUNNING:
            info |= {"facts": facts, "reward_breakdown": RewardBreakdown(score, {part: score})}
        return info


class FakeProtocol:
    """`4-8` is a zoom, a letter an answer, anything else malformed."""

    name = "fake"

    def __init__(self) -> None:
        self.spoken: list[tuple[SampledPart, ...]] = []

    def prompt(self, observation: Observation, spoken: Sequence[SampledPart] = ()) -> Prompt:
        self.spoken.append(tuple(spoken))
        return Prompt((Message(Role.USER, (TextPart(f"step {observation['step']}"),)),))

    def parse(self, text: str, observation: Observation) -> Action:
        if "-" in text:
            start, end = text.split("-")
            return ZoomIn(Span(float(start), float(end)))
        return Answer(text) if len(text) == 1 else Malformed("no_box")

    def write(self, action: Action, reasoning: str, observation: Observation) -> str:
        raise NotImplementedError


class ScriptedTexts:
    """Says the texts in order, one per step of an episode, and remembers every call."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.calls: list[list[Request]] = []

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        self.calls.append(list(requests))
        return [Completion(self.texts[request.observation["step"]]) for request in requests]


class RandomTexts:
    """Draws each text from the request's seed alone, as a sampling policy does."""

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        texts = ("A", "B", "4-8", "20-24", "hm")
        draws = [np.random.default_rng(request.seed).integers(len(texts)) for request in requests]
        return [
            Completion(
                texts[draw],
                token_ids=np.arange(3, dtype=np.int32),
                logprobs=-np.ones(3, np.float32),
                sampling=Sampling(top_p=0.9, stop=("A",)),
            )
            for draw in draws
        ]


@pytest.fixture
def world() -> SimpleNamespace:
    return SimpleNamespace(
        make_task=make_task,
        make_env=FakeEnv,
        protocol=FakeProtocol(),
        scripted=ScriptedTexts,
        random=RandomTexts(),
        broken=BROKEN,
    )
