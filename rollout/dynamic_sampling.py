"""Groups without a signal, such as all right or all wrong, make room for groups of other tasks, a few times.

Source: DAPO, arXiv:2503.14476, Sec. 3.2; VideoZoomer, released code. Departs from both, which sample whole batches
until one is full and throw the surplus away: as many groups are sampled as are missing, the number of rounds is
bounded, and then the batch is filled with what there is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from videozoom.envs.observation import EPISODE_KINDS
from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.rollout.groups import GroupSpec, spare_group


class SignalSearch:
    """Which groups an iteration still has to sample, and which of those it sampled it learns from.

    What is sampled depends on the arguments and on which groups had a signal alone, so a run that is continued samples
    the same again. A replacement has the kind of the group it replaces, a task from a random order of its own, and the
    group seed `(seed, iteration, kind index, slot)` with a slot behind those of the plan.

    Args:
        planned: The groups of the iteration.
        tasks: Training tasks.
        seed: The run's seed.
        iteration: From 0.
        max_rounds: How often groups are replaced at most; 0 for never.

    Example:
        >>> search = SignalSearch(plan_groups(tasks, seed=0, iteration=0, num_groups=2, zoom_step_fraction=0.0), tasks,
        ...                       seed=0, iteration=0, max_rounds=1)
        >>> len(search.wanted)
        2
        >>> search.take([np.zeros(8), np.array([1.0, -1.0])])
        >>> len(search.wanted)
        1
        >>> search.take([np.zeros(8)])
        >>> search.wanted, search.kept
        ([], [1, 2])
    """

    def __init__(
        self, planned: Sequence[GroupSpec], tasks: Sequence[Task], *, seed: int, iteration: int, max_rounds: int
    ) -> None:
        self.wanted = list(planned)
        """What to sample next; empty when the batch is complete."""
        self.num_replaced = 0
        self._tasks, self._seed, self._iteration, self._max_rounds = tasks, seed, iteration, max_rounds
        self._num_planned = {kind: sum(spec.kind == kind for spec in planned) for kind in EPISODE_KINDS}
        self._num_spare = dict.fromkeys(EPISODE_KINDS, 0)
        self._rounds_left = max_rounds
        self._is_kept: list[bool] = []

    @property
    def kept(self) -> list[int]:
        """Indices of the groups to learn from, among all that were sampled, in their order: as many as were planned."""
        return [index for index, is_kept in enumerate(self._is_kept) if is_kept]

    def take(self, advantages: Sequence[NDArray[np.float64]]) -> None:
        """Note the advantages `[G]` of the groups that were wanted, in order."""
        has_signal = [bool(np.any(advantages_G)) for advantages_G in advantages]
        silent = [spec for spec, is_heard in zip(self.wanted, has_signal, strict=True) if not is_heard]
        if not self._rounds_left:
            # What has no signal now stays: there are as many groups as were planned.
            self._is_kept += [True] * len(has_signal)
            self.wanted = []
            return
        self._rounds_left -= 1
        self._is_kept += has_signal
        self.num_replaced += len(silent)
        self.wanted = [self._replacement(spec.kind) for spec in silent]

    def _replacement(self, kind: EpisodeKind) -> GroupSpec:
        number, planned = self._num_spare[kind], self._num_planned[kind]
        self._num_spare[kind] += 1
        return spare_group(
            self._tasks,
            kind,
            seed=self._seed,
            iteration=self._iteration,
            slot=planned + number,
            position=self._iteration * self._max_rounds * planned + number,
        )
