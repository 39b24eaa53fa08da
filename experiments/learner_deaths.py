"""Telling the death of a learner process from other errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from videozoom.experiments.restarts import LearnerLostError

if TYPE_CHECKING:
    from videozoom.experiments.grpo_algorithm import DecoupledGRPO

_ANSWER_S = 10.0
"""Time a learner has to say that it lives; one that is busy counts as alive."""


@contextmanager
def noticing_lost_learners(algorithm: "DecoupledGRPO") -> Iterator[None]:
    """Say it plainly when an error of the block is the death of one of the algorithm's learners.

    Raises:
        LearnerLostError: A learner died; the algorithm cannot go on.
    """
    try:
        yield
    except Exception as error:
        group = algorithm.learner_group
        if group.is_local or not is_death(error, group._worker_manager):
            raise
        raise LearnerLostError(f"a learner died in iteration {algorithm.progress.iteration + 1}") from error


def is_death(error: Exception, manager: Any) -> bool:
    """Return whether `error` comes from the death of a learner.

    A dead learner shows in many ways: as the death of its actor, as a broken connection in the others, as weights that
    nobody owns any more. An exception of our code that was raised in a learner ends its process too, but is no death:
    the next one would end the same.

    Args:
        error: What was raised in this process.
        manager: RLlib's `FaultTolerantActorManager` of the learners.
    """
    if isinstance(error, RayActorError):
        return True
    if isinstance(error, RayTaskError) and not isinstance(error.cause, RuntimeError | RayError):
        return False
    return any(map(_is_dead, manager.actors().values()))


def _is_dead(learner: Any) -> bool:
    try:
        ray.get(learner.__ray_ready__.remote(), timeout=_ANSWER_S)
    except RayActorError:
        return True
    except RayError:
        return False
    return False
