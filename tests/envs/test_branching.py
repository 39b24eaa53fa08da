"""Episodes can be kept and gone on from at any step, in this process and in others."""

import copy
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from memory_world import EVIDENCE, MemoryFrames, make_env, make_tasks

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.tasks import Span, Status

ACTIONS = [ZoomIn(Span(40.0, 44.0)), Malformed("words"), ZoomIn(EVIDENCE), Answer("B")]


def same(first: Any, second: Any) -> bool:
    return bool(data_equivalence(first, second, exact=True))


@pytest.mark.parametrize("num_before", range(4))
def test_a_snapshot_of_any_step_goes_on_as_the_episode_did(num_before: int) -> None:
    env = make_env(max_steps=4)
    first = env.reset(seed=5)
    for action in ACTIONS[:num_before]:
        first = env.step(action)
    kept = env.snapshot()
    rest = [env.step(action) for action in ACTIONS[num_before:]]
    assert rest[-1][1] == 1.0
    for _ in range(2):  # A snapshot can be used again and again.
        observation, _ = env.restore(kept)
        assert same(observation, first[0])
        assert same([env.step(action) for action in ACTIONS[num_before:]], rest)


def test_branches_share_frames_and_nothing_else() -> None:
    env = make_env()
    env.reset(options={"task": "t0"})
    env.step(ZoomIn(EVIDENCE))
    kept = env.snapshot()
    right = env.step(Answer("B"))
    env.restore(kept)
    other = env.step(ZoomIn(Span(40.0, 44.0)))
    assert (right[1], right[2], other[2]) == (1.0, True, False)
    assert len(kept.clips) == 1
    assert len(other[0]["clips"]) == 2
    assert other[0]["clips"][0] is kept.clips[0]


def test_a_snapshot_fits_an_equal_environment_and_travels_by_pickle() -> None:
    env, other = make_env(), make_env()
    env.reset(seed=1)
    env.step(ZoomIn(EVIDENCE))
    other.restore(pickle.loads(pickle.dumps(env.snapshot())))
    assert same(other.step(Answer("B")), env.step(Answer("B")))


def test_a_finished_episode_stays_finished() -> None:
    env = make_env()
    env.reset()
    env.step(Answer("A"))
    observation, info = env.restore(env.snapshot())
    assert (info["status"], observation["step"]) == (Status.ANSWERED, 1)
    with pytest.raises(ResetNeeded):
        env.step(Answer("B"))
    with pytest.raises(ResetNeeded, match="No episode was started"):
        make_env().snapshot()


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_deep_copy_goes_its_own_way_and_draws_the_same_tasks(wrapped: bool) -> None:
    env: Any = make_env()
    if wrapped:
        env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=make_tasks(), frames=MemoryFrames())
    env.reset(seed=3)
    env.action_space.seed(4)
    env.step(ZoomIn(EVIDENCE))
    twin = copy.deepcopy(env)
    assert twin.unwrapped.snapshot().fast_view.frames is env.unwrapped.snapshot().fast_view.frames
    assert twin.step(Answer("B"))[1] == 1.0
    assert env.unwrapped.snapshot().status is Status.RUNNING
    assert same(twin.action_space.sample(), env.action_space.sample())
    drawn = [[each.reset()[1]["task_id"] for _ in range(20)] for each in (env, twin)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 1


def observed(tasks: str) -> str:
    """Return a digest of everything two episodes show; the program of another process, too."""
    env = gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=tasks)
    digest = hashlib.sha256()
    for seed in (0, 1):
        observation, info = env.reset(seed=seed)
        for action in (ZoomIn(Span(4.0, 8.0)), ZoomIn(Span(20.0, 26.0)), Answer("A")):
            for clip in (observation["fast_view"], *observation["clips"]):
                digest.update(clip.frames.tobytes() + clip.times_s.tobytes() + clip.key.encode())
            digest.update(repr((info, observation["question"], observation["options"])).encode())
            observation, *_, info = env.step(action)
    return digest.hexdigest()


def test_another_process_sees_the_same(tmp_path: Path) -> None:
    tasks = str(generate(VideoRecipe(num_videos=2, length_s=32.0), tmp_path))
    program = f"import sys; sys.path[:] = {sys.path!r}; from test_branching import observed; print(observed({tasks!r}))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == observed(tasks)
