from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("ray.rllib")

from grpo_world import make_tasks

from videozoom.envs.tasks import EpisodeKind
from videozoom.experiments.grpo_dispatch import RequestLedger, merge_replies, sample_remotely, split_requests
from videozoom.experiments.grpo_env_runner import SampleReply
from videozoom.rollout.groups import GroupSpec
from videozoom.rollout.types import Group


def make_specs(count: int) -> list[GroupSpec]:
    return [GroupSpec(task, EpisodeKind.MULTI_STEP, (0, index)) for index, task in enumerate(make_tasks(count))]


@dataclass
class Result:
    actor_id: int
    ok: bool
    value: Any = None

    def get(self) -> Any:
        return self.value


@dataclass
class FakeManager:
    """Workers that answer at once, except those that die at given calls and come back when they are asked."""

    num_workers: int
    dies_at_call: tuple[int, ...] = ()
    error: str | None = None
    comes_back: bool = True
    calls: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)
    ready: list[Result] = field(default_factory=list)

    def healthy_actor_ids(self) -> list[int]:
        return [worker for worker in range(1, self.num_workers + 1) if worker not in self.dead]

    def num_healthy_actors(self) -> int:
        return len(self.healthy_actor_ids())

    def foreach_actor_async(self, func: str, *, tag: str, kwargs: list[Any], remote_actor_ids: list[int]) -> None:
        (worker,), (call,) = remote_actor_ids, kwargs
        self.calls.append((worker, call))
        if len(self.calls) - 1 in self.dies_at_call:
            self.dead.add(worker)
            self.ready.append(Result(worker, ok=False))
        else:
            groups = tuple(Group(spec.task, spec.kind, ()) for spec in call["specs"])
            self.ready.append(Result(worker, ok=True, value=SampleReply(groups, 1.0, error=self.error)))

    def fetch_ready_async_reqs(self, *, tags: list[str], timeout_seconds: float) -> list[Result]:
        ready, self.ready = self.ready, []
        return ready

    def probe_unhealthy_actors(self, *, timeout_seconds: float, mark_healthy: bool) -> list[int]:
        restored = sorted(self.dead) if self.comes_back else []
        self.dead -= set(restored)
        return restored


def test_requests_hold_a_share_of_each_kind_and_merge_back_in_order() -> None:
    specs = make_specs(5)
    requests = split_requests(specs, 2)
    assert requests == [[specs[0], specs[2], specs[4]], [specs[1], specs[3]]]
    replies = [SampleReply(tuple(spec.task for spec in request), 0.0) for request in requests]  # type: ignore[misc]
    assert merge_replies(replies) == [spec.task for spec in specs]


def test_there_are_never_more_requests_than_groups() -> None:
    assert [len(request) for request in split_requests(make_specs(2), 8)] == [1, 1]


def test_every_request_is_answered_once_and_in_order() -> None:
    manager = FakeManager(num_workers=2)
    requests = split_requests(make_specs(6), 3)
    replies, num_lost = sample_remotely(manager, requests, version=4, weights="ref")
    assert [[group.task for group in reply.groups] for reply in replies] == [[s.task for s in r] for r in requests]
    assert num_lost == 0
    assert len(manager.calls) == 3
    assert all(call["version"] == 4 and call["weights"] == "ref" for _, call in manager.calls)


def test_the_groups_of_a_dead_worker_are_sampled_by_another() -> None:
    manager = FakeManager(num_workers=2, dies_at_call=(0,))
    requests = split_requests(make_specs(4), 2)
    replies, num_lost = sample_remotely(manager, requests, version=0, weights=None)
    assert [[group.task for group in reply.groups] for reply in replies] == [[s.task for s in r] for r in requests]
    assert num_lost == 1
    assert [worker for worker, _ in manager.calls] == [1, 2, 2]


def test_a_run_waits_for_a_worker_to_come_back() -> None:
    manager = FakeManager(num_workers=1, dies_at_call=(0,))
    replies, num_lost = sample_remotely(manager, split_requests(make_specs(2), 1), version=0, weights=None)
    assert (len(replies), num_lost) == (1, 1)


def test_a_run_without_workers_ends() -> None:
    manager = FakeManager(num_workers=1, dies_at_call=(0,), comes_back=False)
    with pytest.raises(RuntimeError, match=r"no rollout worker came back within 0\.1 s"):
        sample_remotely(manager, split_requests(make_specs(2), 1), version=0, weights=None, patience_s=0.1)


def test_a_mistake_in_our_code_ends_the_run_with_its_traceback() -> None:
    manager = FakeManager(num_workers=2, error="Traceback: KeyError 'x'")
    with pytest.raises(RuntimeError, match="KeyError 'x'"):
        sample_remotely(manager, split_requests(make_specs(2), 2), version=0, weights=None)


def test_groups_that_kill_every_worker_are_not_tried_for_ever() -> None:
    ledger = RequestLedger(1, max_attempts=3)
    for worker in (1, 2):
        assert ledger.take(worker) == 0
        ledger.lose(worker)
    assert ledger.take(3) == 0
    with pytest.raises(RuntimeError, match="3 rollout workers died while sampling the same groups"):
        ledger.lose(3)


def test_a_worker_has_one_request_at_a_time_and_an_idle_one_loses_nothing() -> None:
    ledger = RequestLedger(2)
    assert (ledger.take(1), ledger.take(1), ledger.take(2), ledger.take(3)) == (0, None, 1, None)
    ledger.lose(3)
    assert ledger.num_lost == 0
    ledger.finish(2, "b")
    assert not ledger.is_done
    ledger.finish(1, "a")
    assert ledger.is_done
    assert ledger.answers == ["a", "b"]
