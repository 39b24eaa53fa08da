from types import SimpleNamespace

import numpy as np

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.messages import SampledPart
from videozoom.envs.tasks import EpisodeKind, Span, Status
from videozoom.policies.base import Completion
from videozoom.rollout.runner import EpisodeSpec, environment_seed, run_episodes


def specs(world: SimpleNamespace, *tasks: object, kind: EpisodeKind = EpisodeKind.MULTI_STEP) -> list[EpisodeSpec]:
    return [EpisodeSpec(task, kind, index, (7, index), max_steps=3) for index, task in enumerate(tasks)]


def test_an_episode_zooms_then_answers(world: SimpleNamespace) -> None:
    policy = world.scripted("4-8", "B")
    (trajectory,) = run_episodes(
        specs(world, world.make_task()), make_env=world.make_env, protocol=world.protocol, policy=policy
    )
    assert [step.action for step in trajectory.steps] == [ZoomIn(Span(4.0, 8.0)), Answer("B")]
    assert trajectory.status == Status.ANSWERED
    assert trajectory.answer == "B"
    assert trajectory.spans_s == (Span(4.0, 8.0),)
    assert trajectory.reward.total == 1.0
    assert trajectory.error is None


def test_every_step_samples_with_its_own_seed(world: SimpleNamespace) -> None:
    policy = world.scripted("4-8", "20-24", "B")
    run_episodes(specs(world, world.make_task()), make_env=world.make_env, protocol=world.protocol, policy=policy)
    assert [request.seed for call in policy.calls for request in call] == [(7, 0, 0), (7, 0, 1), (7, 0, 2)]


def test_the_protocol_is_told_what_was_sampled_in_the_steps_before(world: SimpleNamespace) -> None:
    class Sampled(world.scripted):  # type: ignore[misc,name-defined]
        def act(self, requests):  # type: ignore[no-untyped-def]
            texts = [completion.text for completion in super().act(requests)]
            return [Completion(text, token_ids=np.array([*text.encode()], np.int32)) for text in texts]

    policy = Sampled("4-8", "9-10", "B")
    run_episodes(specs(world, world.make_task()), make_env=world.make_env, protocol=world.protocol, policy=policy)
    first, second = SampledPart("4-8", (52, 45, 56)), SampledPart("9-10", (57, 45, 49, 48))
    assert world.protocol.spoken == [(), (first,), (first, second)]


def test_running_episodes_act_in_one_batch_and_finished_ones_leave_it(world: SimpleNamespace) -> None:
    class TwoSpeeds(world.scripted):  # type: ignore[misc,name-defined]
        def act(self, requests):  # type: ignore[no-untyped-def]
            completions = super().act(requests)
            return [
                completion if request.task.task_id == "t1" else completions[0].__class__("A")
                for request, completion in zip(requests, completions, strict=True)
            ]

    policy = TwoSpeeds("4-8", "B")
    trajectories = run_episodes(
        specs(world, world.make_task(0), world.make_task(1)),
        make_env=world.make_env,
        protocol=world.protocol,
        policy=policy,
    )
    assert [len(call) for call in policy.calls] == [2, 1]
    assert [trajectory.task_id for trajectory in trajectories] == ["t0", "t1"]
    assert [len(trajectory.steps) for trajectory in trajectories] == [1, 2]


def test_an_unreadable_video_ends_its_own_episode_only(world: SimpleNamespace) -> None:
    tasks = [world.make_task(0, video=world.broken), world.make_task(1)]
    broken, fine = run_episodes(
        specs(world, *tasks), make_env=world.make_env, protocol=world.protocol, policy=world.scripted("B")
    )
    assert (broken.status, broken.error, broken.steps) == (Status.ERROR_DECODE, "no such file", ())
    assert broken.is_masked
    assert fine.status == Status.ANSWERED


def test_no_answer_by_the_last_step_is_a_status(world: SimpleNamespace) -> None:
    (trajectory,) = run_episodes(
        specs(world, world.make_task()),
        make_env=world.make_env,
        protocol=world.protocol,
        policy=world.scripted("hm", "hm", "hm"),
    )
    assert trajectory.status == Status.NO_ANSWER
    assert trajectory.is_masked
    assert [step.action for step in trajectory.steps] == [Malformed("no_box")] * 3


def test_environment_seeds_differ_between_episodes_and_repeat() -> None:
    seeds = {environment_seed((3, iteration, member)) for iteration in range(20) for member in range(8)}
    assert len(seeds) == 160
    assert environment_seed((3, 1, 2)) == environment_seed([3, 1, 2])
