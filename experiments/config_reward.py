"""Settings of rewards: what is praised, how much, and when."""

from typing import Literal, Self

from pydantic import model_validator

from videozoom.experiments.config_data import Count, Fraction, NonNegative, Section


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


class RewardRules(Section):
    """When rewards count. Source: VideoZoomer, released code, where all of it is off."""

    penalties_when: Literal["always", "correct", "incorrect"] = "always"
    """Which episodes `repeat`, `cost`, `zoom_used` and `many_frames` are taken from: all, or those with a right or a
    wrong answer."""
    many_frames: Count = 64
    """Frames of slow clips from which on the penalty of that name is taken."""
    needs_zoom: bool = False
    """Whether `outcome` and `format` are 0 in `multi_step` episodes without a zoom."""
    overlap: Literal["binary", "iou"] = "binary"
    """What the zoom of a `zoom_step` episode is worth: 1 if it touches the evidence (the paper), or its IoU with it."""
