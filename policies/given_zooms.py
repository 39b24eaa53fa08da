"""A policy whose zooms are given beforehand; somebody else answers from what they show."""

from collections.abc import Mapping, Sequence

from videozoom.envs.actions import Action, ZoomIn
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.tasks import Task
from videozoom.policies.base import Policy, Request
from videozoom.policies.scripted import ScriptedPolicy, ZoomRule


class GivenZooms(ScriptedPolicy):
    """Makes the given zooms of a task in order, then lets `answerer` answer, or guesses.

    Run it with `max_steps = policy.num_steps(task)` and `SCRIPTED_SPAN_RULES`. Zooms are written without a word beside
    them, so that nothing but what they show tells the answerer where to look.

    Example:
        >>> policy = GivenZooms({"v0-q0": [ZoomIn(Span(12.0, 16.0))]}, protocol, answerer=model)
    """

    def __init__(
        self, zooms: Mapping[str, Sequence[ZoomIn]], protocol: Protocol, *, answerer: Policy | None = None
    ) -> None:
        super().__init__(ZoomRule.NEVER, protocol, answerer=answerer)
        self._zooms = zooms

    def num_steps(self, task: Task) -> int:
        """Return the steps an episode takes, the answer included."""
        return len(self._zooms[task.task_id]) + 1

    def look(self, request: Request) -> Action:
        """Return the next zoom."""
        return self._zooms[request.task.task_id][request.observation["step"]]
