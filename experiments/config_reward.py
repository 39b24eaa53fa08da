"""Settings of rewards: what is praised, how much, and when."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from videozoom.experiments.config_data import Count, Fraction, NonNegative, Section
from videozoom.experiments.config_endpoint import Endpoint


class Reward(Section):
    """Weights of the reward's parts."""

    outcome: NonNegative = 1.0
    """The answer is right. Source: LOVE-R1, eq. 1."""
    overlap: NonNegative = 1.0
    """The forced zoom of a `zoom_step` episode touches the evidence. Source: LOVE-R1, eq. 2."""
    format: NonNegative = 0.0
    """Every step was a valid action."""
    evidence_f1: NonNegative = 0.0
    """What a `multi_step` episode looked at covers the evidence and nothing else. Source: LongVideo-R1, weight 1."""
    repeat: NonNegative = 0.0
    """Taken off for looking at the same again. Source: LongVideo-R1, weight 0.2."""
    cost: NonNegative = 0.0
    """Taken off for each step before the last. VideoZoomer has it as a penalty of turns, at 0."""
    zoom_used: NonNegative = 0.0
    """Taken off if there was any step before the last. Source: VideoZoomer, at 0."""
    many_frames: NonNegative = 0.0
    """Taken off if many frames were shown. Source: VideoZoomer, at 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("all weights are 0; give at least one part a positive weight")
        return self


class PenaltyChange(Section):
    """How `repeat`, `cost`, `zoom_used` and `many_frames` change over a training.

    Evaluations, and what replays a trace, have them in full. Source: VideoZoomer, released code, where they are off.
    """

    start: NonNegative = 1.0
    """Factor of their weights in the first iteration."""
    end: NonNegative = 1.0
    """The same in the last; between them it changes linearly."""
    max_success: Fraction = 1.0
    """They are taken only while zooming succeeds in at most this share of the episodes that try: a running mean of the
    iterations before. 1 for always."""


class Judge(Section):
    """Who grades answers to open questions."""

    kind: Literal["same_words", "rouge_l", "endpoint"] = "same_words"
    """`same_words`: right if the words are those of the reference, marks and capitals aside; `rouge_l`: as many of them
    as it has, in order (F1); `endpoint`: a model behind a chat server says so."""
    endpoint: Endpoint | None = None
    """The chat server of `endpoint`."""
    prompts: str = "judge"
    """Folder of its prompt texts, or the name of a shipped one."""
    max_new_tokens: Count = 512
    """Longest verdict."""
    file: Path | None = Path("runs/grades.jsonl")
    """Where its grades are kept, relative to the working directory, shared by all runs; null keeps none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "endpoint" and self.endpoint is None:
            raise ValueError("kind is endpoint, but there are no settings of one; give endpoint.base_url and .model")
        return self


class AnswerRules(Section):
    """Which answers are right, where a question has no options.

    Source: LOVE-R1, released code, which has rewards for these kinds of questions, and never calls them.
    """

    number_tolerance: NonNegative = 0.01
    """Largest error of a right number, relative to the true one; absolute below 1."""
    max_word_error_rate: NonNegative = 0.0
    """Of a right transcription: words to insert, delete and replace, per word of the true one."""
    min_grade: Fraction = 0.5
    """The judge's, of a right answer to an open question."""
    min_iou: Fraction = 0.5
    """Of a right span with the true one."""
    is_graded: bool = False
    """Whether answers are worth their grade (1 less the error, the judge's grade, the IoU), not 1 or 0 (the paper,
    eq. 1). What is right stays as above."""
    judge: Judge = Judge()


class RewardRules(Section):
    """When rewards count. Source: VideoZoomer, released code, where all of it is off."""

    penalties_when: Literal["always", "correct", "incorrect"] = "always"
    """Which episodes `repeat`, `cost`, `zoom_used` and `many_frames` are taken from: all, or those with a right or a
    wrong answer."""
    many_frames: Count = 64
    """Frames of slow clips from which on the penalty of that name is taken."""
    needs_zoom: bool = False
    """Whether `outcome` and `format` are 0 in `multi_step` episodes without a zoom."""
    needs_format: bool = False
    """Whether `outcome` and `overlap` are 0 in episodes with a step that was no valid action. Source: LOVE-R1, released
    training code."""
    answers: AnswerRules = AnswerRules()
    overlap: Literal["binary", "iou"] = "binary"
    """What the zoom of a `zoom_step` episode is worth: 1 if it touches the evidence (the paper), or its IoU with it."""
