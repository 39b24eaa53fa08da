"""Learners that die: the run goes on from its last checkpoint by itself."""

from collections.abc import Callable
from typing import TypeVar

from videozoom.experiments.errors import UserError
from videozoom.experiments.progress import console

_Result = TypeVar("_Result")


class LearnerLostError(Exception):
    """A learner process died, and with it the weights since the last checkpoint."""


def restarting(run: Callable[[], _Result], *, max_restarts: int, again: str) -> _Result:
    """Return what `run` does, which is called again when a learner died and goes on from its last checkpoint then.

    Args:
        run: Goes on from wherever its folder stands.
        max_restarts: How often that may happen.
        again: Command that goes on after the last time.

    Raises:
        UserError: Learners died more often.
    """
    for number in range(1, max_restarts + 1):
        try:
            return run()
        except LearnerLostError as error:
            console.print(
                f"{error}; going on from the last checkpoint (restart {number} of {max_restarts})", markup=False
            )
    try:
        return run()
    except LearnerLostError as error:
        raise UserError(
            f"{error}, as often as ray.max_restarts={max_restarts} allows and once more; look for the cause, often too "
            f"little memory, then go on with: {again}"
        ) from error
