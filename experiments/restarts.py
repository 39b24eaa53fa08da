"""Learners that die: the run goes on from its last checkpoint by itself."""

from collections.abc import Callable
from itertools import count
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
        KeyboardInterrupt: Ctrl-C; says how to go on.
    """
    for number in count(1):
        try:
            return run()
        except LearnerLostError as error:
            if number > max_restarts:
                raise UserError(
                    f"{error}, as often as ray.max_restarts={max_restarts} allows and once more; look for the cause, "
                    f"often too little memory, then go on with: {again}"
                ) from error
            told = f"{error}; going on from the last checkpoint (restart {number} of {max_restarts})"
            console.print(told, markup=False)
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(f"Interrupted; what was finished is kept, go on with: {again}") from interrupt
    raise AssertionError("it goes on until it returns or raises")
