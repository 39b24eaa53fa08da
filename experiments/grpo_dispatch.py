"""Requests to rollout workers, each answered exactly once, also when workers die.

The ledger knows nothing of Ray; `sample_remotely` connects it to RLlib's actor manager.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from videozoom.experiments.grpo_env_runner import SampleReply, checked_reply
from videozoom.rollout.groups import GroupSpec

_TAG = "sample"
_POLL_S = 0.05
_PROBE_EVERY_S = 1.0
_PROBE_TIMEOUT_S = 0.1


class RequestLedger:
    """Which requests are open, with whom, and answered.

    Example:
        >>> ledger = RequestLedger(2)
        >>> ledger.take(1), ledger.take(2), ledger.take(3)
        (0, 1, None)
        >>> ledger.lose(1)
        >>> ledger.take(2), ledger.num_lost
        (None, 1)
        >>> ledger.finish(2, "second"); ledger.take(2)
        0
    """

    def __init__(self, num_requests: int, *, max_attempts: int = 3) -> None:
        self._open = deque(range(num_requests))
        self._with_worker: dict[int, int] = {}
        self._attempts = [0] * num_requests
        self._answers: dict[int, Any] = {}
        self._num_requests = num_requests
        self._max_attempts = max_attempts
        self.num_lost = 0

    @property
    def is_done(self) -> bool:
        """Whether every request has its answer."""
        return len(self._answers) == self._num_requests

    @property
    def answers(self) -> list[Any]:
        """All answers, in the order of the requests."""
        return [self._answers[request] for request in range(self._num_requests)]

    def take(self, worker: int) -> int | None:
        """Give `worker` an open request; `None` if it has one already or none is open."""
        if worker in self._with_worker or not self._open:
            return None
        request = self._open.popleft()
        self._with_worker[worker] = request
        self._attempts[request] += 1
        return request

    def finish(self, worker: int, answer: Any) -> None:
        """Note the answer to the worker's request."""
        self._answers[self._with_worker.pop(worker)] = answer

    def lose(self, worker: int) -> None:
        """Open the request of a worker that died again.

        Raises:
            RuntimeError: Too many workers died over the same request: it is what kills them.
        """
        request = self._with_worker.pop(worker, None)
        if request is None:
            return
        self.num_lost += 1
        if self._attempts[request] >= self._max_attempts:
            raise RuntimeError(
                f"{self._attempts[request]} rollout workers died while sampling the same groups (request {request}); "
                "look for the cause, often too little memory, in the workers' logs"
            )
        self._open.append(request)


def split_requests(specs: Sequence[GroupSpec], num_requests: int) -> list[list[GroupSpec]]:
    """Return the specs dealt out to at most `num_requests` requests, so that each gets its share of both kinds."""
    return [list(specs[index::num_requests]) for index in range(min(num_requests, len(specs)))]


def merge_replies(replies: Sequence[SampleReply]) -> list[Any]:
    """Return the groups of all replies in the order of the specs that `split_requests` dealt out."""
    merged: list[Any] = [None] * sum(len(reply.groups) for reply in replies)
    for index, reply in enumerate(replies):
        merged[index :: len(replies)] = reply.groups
    return merged


def sample_remotely(
    manager: Any, requests: Sequence[Sequence[GroupSpec]], *, version: int, weights: Any, patience_s: float = 300.0
) -> tuple[list[SampleReply], int]:
    """Return one reply per request and the number of requests that had to be sampled again.

    Args:
        manager: RLlib's `FaultTolerantActorManager` of the rollout workers.
        requests: Groups of each request.
        version: Of the weights to act with.
        weights: Reference to those weights, `None` for the checkpoint's.
        patience_s: How long to wait for a worker when none is alive.

    Raises:
        RuntimeError: Our code failed on a worker, or no worker is left.
    """
    ledger = RequestLedger(len(requests))
    probed_s = alive_s = time.monotonic()
    while not ledger.is_done:
        for worker in manager.healthy_actor_ids():
            request = ledger.take(worker)
            if request is not None:
                call = {"specs": requests[request], "version": version, "weights": weights}
                manager.foreach_actor_async("sample", tag=_TAG, kwargs=[call], remote_actor_ids=[worker])
        for result in manager.fetch_ready_async_reqs(tags=[_TAG], timeout_seconds=_POLL_S):
            if result.ok:
                ledger.finish(result.actor_id, checked_reply(result.get()))
            else:
                ledger.lose(result.actor_id)
        now_s = time.monotonic()
        alive_s = now_s if manager.num_healthy_actors() else alive_s
        if now_s - alive_s > patience_s:
            raise RuntimeError(f"no rollout worker came back within {patience_s:g} s; the run cannot go on")
        if now_s - probed_s > _PROBE_EVERY_S:
            restore_workers(manager)
            probed_s = now_s
        if not manager.num_healthy_actors():
            time.sleep(_POLL_S)
    return ledger.answers, ledger.num_lost


def restore_workers(manager: Any) -> list[int]:
    """Take back workers that were restarted, without waiting for those that are not there yet."""
    restored: list[int] = manager.probe_unhealthy_actors(timeout_seconds=_PROBE_TIMEOUT_S, mark_healthy=True)
    return restored
