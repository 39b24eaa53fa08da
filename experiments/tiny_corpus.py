"""Texts a tiny model's tokenizer is trained on: what it will read and write about its own tasks."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from videozoom.envs.messages import SampledPart, TextPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.tasks import Span, Task
from videozoom.experiments.cold_start_stage import Annotate, SupervisedStage
from videozoom.policies.supervised import SupervisedSample

_NUM_SAMPLES = 600
_STAGE = SupervisedStage("corpus", objectives={}, sources={}, num_steps=0)


class BlankFrames:
    """Frames that show nothing: texts do not depend on pixels."""

    def duration_s(self, video: Path) -> float:
        return 64.0

    def fast_view(self, video: Path) -> VideoClip:
        return self.slow_clip(video, Span(0.0, 64.0))

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        times_s = np.linspace(span_s.start_s, span_s.end_s, 2, endpoint=False)
        return VideoClip(np.zeros((2, 28, 28, 3), np.uint8), times_s, span_s, key=f"blank {span_s}")


def tiny_corpus(tasks: Sequence[Task], annotate: Annotate, *, seed: int = 0) -> list[str]:
    """Return texts of prompts and completions; tasks that are not generated give their questions and options only.

    Args:
        tasks: What the model will meet.
        annotate: Makes the samples; `BlankFrames` will do for what it shows.
        seed: Of the samples.
    """
    known = [task for task in tasks if "events" in task.metadata]
    rng = np.random.default_rng(seed)
    samples: list[SupervisedSample] = []
    if known:
        annotator = annotate(known)
        draws = annotator.objectives
        samples = [annotator.sample(draws[index % len(draws)], _STAGE, rng) for index in range(_NUM_SAMPLES)]
    others = [text for task in tasks if "events" not in task.metadata for text in (task.question, *task.options)]
    return [*chain.from_iterable(_texts(sample) for sample in samples), *others]


def _texts(sample: SupervisedSample) -> Iterator[str]:
    for message in sample.prompt.messages:
        yield f"{message.role}\n"
        for part in message.content:
            if isinstance(part, TextPart | SampledPart):
                yield part.text
    yield sample.completion
