"""The cold start: supervised stages before reinforcement learning. Source: LOVE-R1, Sec. 4.1 and 4.2."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.tasks import Task
from videozoom.experiments.cold_start_stage import Annotate, Annotator, SupervisedStage
from videozoom.experiments.progress import progress
from videozoom.policies.optimizers import OptimizerSet, build_optimizer, trapezoid
from videozoom.policies.supervised import SupervisedSample, supervised_update

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

_Key = TypeVar("_Key")
_NUM_LOSSES = 20
"""Steps over which the loss is averaged before it is compared with `until_loss`."""

Log = Callable[[str, int, dict[str, float]], None]
"""Takes the stage's name, the step within it from 1, and metrics."""
Save = Callable[[Mapping[str, Any], Mapping[str, Any]], None]
"""Takes the optimizer's state and the progress: with the policy's weights all that `run` needs to go on."""


class GivenUp(Exception):
    """A stage has not learned what it should have by now."""


@dataclass(slots=True)
class ColdStart:
    """Runs stages on a policy, vision tower included: a tiny model starts from nothing.

    Samples whose video cannot be read are left out and counted in `video/decode_error/rate`.

    Departs from the paper, which keeps a pretrained vision tower frozen throughout.
    """

    tasks: Mapping[str, Sequence[Task]]
    annotate: Annotate
    seed: int
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_tokens_per_batch: int = 32768
    """Distinct tokens of one forward and backward pass; a step of more takes several."""
    log_every: int = 10
    save: Save | None = None
    """Called every `save_every` steps, after each stage but the last, and before `run` stops early."""
    save_every: int = 0
    """0 saves only after stages."""
    is_stopping: Callable[[], bool] = lambda: False
    """Whether `run` should save its state and return as soon as it can."""
    _annotators: dict[str, Annotator] = field(default_factory=dict, init=False)
    _num_steps: int = field(default=0, init=False)
    _num_saved: int = field(default=0, init=False)

    def run(
        self,
        policy: "QwenVLPolicy",
        stages: Sequence[SupervisedStage],
        log: Log,
        state: Mapping[str, Any] | None = None,
    ) -> bool:
        """Train `policy` through all stages, then freeze its vision tower again if it was frozen.

        Args:
            policy: The model to train; to go on, with the weights of `state`.
            stages: What to train it on.
            log: Takes metrics.
            state: What was saved: `{"optimizer": ..., "progress": ...}`. The end is the same, to the bit, as without a
                break.

        Returns:
            Whether all stages are done; not if it was stopped before.

        Raises:
            GivenUp: A stage's loss is too high after `give_up_after` steps.
        """
        was_frozen, was_precise = policy.features.is_frozen, policy.is_precise
        policy.freeze_vision(False)
        # Nothing is sampled here that the learner would have to agree with.
        policy.is_precise = False
        first = state["progress"]["stage"] if state else 0
        self._num_steps = self._num_saved = state["progress"]["num_steps"] if state else 0
        try:
            for index, stage in enumerate(stages):
                is_done = index < first or self._run_stage(
                    policy, index, stage, log, state if index == first else None, is_last=index + 1 == len(stages)
                )
                if not is_done:
                    return False
        finally:
            policy.freeze_vision(was_frozen)
            policy.is_precise = was_precise
        return True

    def _run_stage(
        self,
        policy: "QwenVLPolicy",
        index: int,
        stage: SupervisedStage,
        log: Log,
        state: Mapping[str, Any] | None,
        *,
        is_last: bool,
    ) -> bool:
        """Return whether the stage is done."""
        optimizer = build_optimizer(
            policy.trained_parameters(), name=stage.optimizer, lr=stage.lr, weight_decay=self.weight_decay
        )
        recent: list[dict[str, float]] = []
        pace = _Pace(stage)
        if state is not None and state["optimizer"]:
            optimizer.load_state_dict(state["optimizer"])
            recent = list(state["progress"]["recent"])
            pace.restore(state["progress"]["pace"])
        started_s = time.perf_counter()
        with progress(f"Cold start, {stage.name}", stage.num_steps) as advance:
            advance(pace.step)
            while pace.step < pace.end:
                step, lr_factor = pace.step, pace.lr_factor
                batch = self._batch(stage, np.random.default_rng((self.seed, index, step)))
                metrics = {"video/decode_error/rate": 1 - len(batch) / stage.batch_size}
                if batch:
                    metrics |= supervised_update(
                        policy,
                        optimizer,
                        batch,
                        lr_factor=lr_factor,
                        max_grad_norm=self.max_grad_norm,
                        max_tokens_per_batch=self.max_tokens_per_batch,
                    )
                skipped = pace.advance(metrics.get("loss/sft"))
                if pace.is_hopeless:
                    raise GivenUp(f"{stage.name}: loss {pace.mean_loss:.3f} after {pace.step} steps")
                recent.append(metrics)
                if (step + 1) % self.log_every == 0 or step + 1 == pace.end:
                    elapsed_s = time.perf_counter() - started_s
                    times = {"optim/lr": stage.lr * lr_factor, "time/step_s": elapsed_s / len(recent)}
                    log(stage.name, step + 1, _means(recent) | times)
                    recent, started_s = [], time.perf_counter()
                advance(1 + skipped, note=f"loss {metrics.get('loss/sft', math.nan):.3f}")
                self._num_steps += 1
                is_end = pace.step >= pace.end
                if self._is_save_due(is_end=is_end and not is_last):
                    self._save_state(optimizer, index, pace, recent)
                    if self.is_stopping():
                        return False
        return True

    def _is_save_due(self, *, is_end: bool) -> bool:
        # In the middle of what an annotator gives in several samples, saving waits: only it knows the rest.
        if self.save is None or any(annotator.has_pending for annotator in self._annotators.values()):
            return False
        is_time = bool(self.save_every) and self._num_steps - self._num_saved >= self.save_every
        return is_end or is_time or self.is_stopping()

    def _save_state(
        self, optimizer: OptimizerSet, index: int, pace: "_Pace", recent: Sequence[Mapping[str, float]]
    ) -> None:
        assert self.save is not None  # or nothing would be due
        self._num_saved = self._num_steps
        if pace.step < pace.end:
            state, rest = optimizer.state_dict(), {"pace": pace.state(), "recent": [dict(row) for row in recent]}
        else:
            index, state, rest = index + 1, {}, {}
        self.save(state, {"stage": index, "step": pace.step, "num_steps": self._num_steps, **rest})

    def _batch(self, stage: SupervisedStage, rng: np.random.Generator) -> list[SupervisedSample]:
        """Return the samples of one step; those whose video cannot be read are left out."""
        samples = []
        for _ in range(stage.batch_size):
            with suppress(VideoDecodeError):
                samples.append(self._sample(stage, rng))
        return samples

    def _sample(self, stage: SupervisedStage, rng: np.random.Generator) -> SupervisedSample:
        name, objective = _draw(stage.sources, rng), _draw(stage.objectives, rng)
        if name not in self._annotators:
            self._annotators[name] = self.annotate(self.tasks[name])
        return self._annotators[name].sample(objective, stage, rng)


class _Pace:
    """Where a stage is in its schedule of learning rates; the flat part may end early."""

    def __init__(self, stage: SupervisedStage) -> None:
        self.stage, self.step, self.end = stage, 0, stage.num_steps
        self._decay_from = round(stage.decay_from * stage.num_steps)
        self._losses: deque[float] = deque(maxlen=_NUM_LOSSES)

    def state(self) -> dict[str, Any]:
        """Return plain data for `restore`."""
        return {"step": self.step, "end": self.end, "decay_from": self._decay_from, "losses": list(self._losses)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.step, self.end, self._decay_from = state["step"], state["end"], state["decay_from"]
        self._losses.extend(state["losses"])

    @property
    def mean_loss(self) -> float:
        """Mean loss of the last steps; NaN before there are any."""
        return fmean(self._losses) if self._losses else math.nan

    @property
    def is_hopeless(self) -> bool:
        """Whether it is time to give up, unless the loss was low enough to begin the decay before."""
        is_time = self.step == self.stage.give_up_after and self.step < self._decay_from
        return is_time and self.mean_loss >= self.stage.give_up_above

    @property
    def lr_factor(self) -> float:
        return trapezoid(
            self.step,
            self.end,
            num_warmup=self.stage.num_warmup,
            decay_start=self._decay_from / self.end,
            floor=self.stage.final_lr_fraction,
        )

    def advance(self, loss: float | None) -> int:
        """Count a step and return how many are left out because its loss was low enough."""
        self.step += 1
        if loss is not None:
            self._losses.append(loss)
        if self.stage.until_loss is None or len(self._losses) < _NUM_LOSSES or self.step >= self._decay_from:
            return 0
        if self.mean_loss >= self.stage.until_loss:
            return 0
        skipped = self._decay_from - self.step
        self._decay_from, self.end = self.step, self.end - skipped
        return skipped


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: fmean(row[name] for row in rows if name in row) for name in names}


def _draw(weights: Mapping[_Key, float], rng: np.random.Generator) -> _Key:
    """Return a key, with a chance in proportion to its weight."""
    keys = list(weights)
    shares = np.array([weights[key] for key in keys])
    return keys[rng.choice(len(keys), p=shares / shares.sum())]
