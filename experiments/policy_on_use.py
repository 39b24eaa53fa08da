"""A policy that is made late: describing one costs nothing, and every process makes its own."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from videozoom.policies.base import Completion, Policy, Request


class PolicyOnUse:
    """A policy that is made when it first acts; a pickled copy makes its own."""

    def __init__(self, make: "Callable[[], Policy]") -> None:
        self._make = make
        self._policy: Policy | None = None

    def act(self, requests: "Sequence[Request]") -> "list[Completion]":
        """Return one completion per request, in order."""
        if self._policy is None:
            self._policy = self._make()
        return self._policy.act(requests)

    def __reduce__(self) -> "tuple[object, ...]":
        return PolicyOnUse, (self._make,)
