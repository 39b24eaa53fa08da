"""Many episodes at a time: sync, async, and one whose video hangs or kills its decoder."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from memory_world import EVIDENCE, MemoryFrames, make_tasks

from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import Task
from videozoom.envs.video_store import VideoStore
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.envs.videos.reader import Backend

ASYNC = {"vectorization_mode": "async", "vector_kwargs": {"shared_memory": False}}


def make_vec(num_envs: int, **values: Any) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    values = {"tasks": make_tasks(), "frames": MemoryFrames()} | values
    return gymnasium.make_vec("videozoom.envs:VideoZoom-v0", num_envs=num_envs, **values)


def zooms(num_envs: int, start_s: float = 12.0, end_s: float = 16.0) -> dict[str, Any]:
    spans = tuple(np.array([start_s, end_s], np.float32) for _ in range(num_envs))
    return {"kind": np.zeros(num_envs, np.int64), "span_s": spans, "choice": np.zeros(num_envs, np.int64)}


def answers(num_envs: int, choice: int) -> dict[str, Any]:
    choices = np.full(num_envs, choice, np.int64)
    return zooms(num_envs) | {"kind": np.ones(num_envs, np.int64), "choice": choices}


@pytest.mark.parametrize(("num_envs", "values"), [(3, {"vectorization_mode": "sync"}), (16, ASYNC)])
def test_environments_step_together_and_apart(num_envs: int, values: dict[str, Any]) -> None:
    envs = make_vec(num_envs, **values)
    observations, infos = envs.reset(seed=10)
    assert observations in envs.observation_space
    singles = [VideoZoomEnv(make_tasks(), frames=MemoryFrames()).reset(seed=10 + index) for index in range(num_envs)]
    assert list(infos["task_id"]) == [info["task_id"] for _, info in singles]
    assert list(observations["fast_view"]) == [observation["fast_view"] for observation, _ in singles]
    observations, _, terminated, _, infos = envs.step(zooms(num_envs))
    assert [clips[0].span_s for clips in observations["clips"]] == [EVIDENCE] * num_envs
    assert not terminated.any()
    *_, rewards, terminated, _, infos = envs.step(answers(num_envs, choice=1))
    assert rewards.tolist() == [1.0] * num_envs
    assert terminated.all()
    assert [facts.answer for facts in infos["facts"]] == ["B"] * num_envs
    observations, *_ = envs.step(answers(num_envs, choice=0))  # Begins the next episodes.
    assert observations["step"].tolist() == [0] * num_envs
    envs.close()


def test_without_automatic_resets_only_finished_episodes_are_begun_again() -> None:
    vector_kwargs = {"autoreset_mode": AutoresetMode.DISABLED, "shared_memory": False}
    envs = make_vec(3, vectorization_mode="async", vector_kwargs=vector_kwargs)
    envs.reset(seed=0)
    actions = zooms(3) | {"kind": np.array([0, 1, 0]), "choice": np.array([0, 1, 0])}
    terminated = envs.step(actions)[2]
    assert terminated.tolist() == [False, True, False]
    observations, _ = envs.reset(options={"reset_mask": terminated})
    assert observations["step"].tolist() == [1, 0, 1]
    envs.close()


def test_the_batch_does_not_change_the_class() -> None:
    make_vec(2).close()
    assert set(VideoZoomEnv.metadata) == {"render_modes", "render_fps"}


def make_env_of(task: Task, limit_s: float) -> VideoZoomEnv:
    return VideoZoomEnv([task], frames=VideoStore(backend=Backend.PYAV_PROCESS, decode_limit_s=limit_s))


@pytest.fixture
def tasks(tmp_path: Path) -> tuple[Task, ...]:
    return load_tasks(generate(VideoRecipe(num_videos=1, length_s=32.0), tmp_path / "videos"))


def test_a_hung_video_ends_its_own_episode_and_no_other(tasks: tuple[Task, ...], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)  # Opening it waits for somebody to write.
    hung = Task("hung", pipe, 32.0, "Which sign?", ("bars", "lines", "rings", "dots"), "A")
    makers = [partial(make_env_of, hung, 3.0), *[partial(make_env_of, tasks[0], 120.0)] * 2]
    envs = AsyncVectorEnv(makers, shared_memory=False)
    _, infos = envs.reset(seed=0)
    assert list(map(str, infos["status"])) == ["error_decode", "running", "running"]
    assert infos["error"][0].endswith("pipe.mp4: decoding did not finish within 3 s and was stopped.")
    observations, _, terminated, _, infos = envs.step(zooms(3))
    assert terminated.tolist() == [True, False, False]
    assert [len(clips) for clips in observations["clips"]] == [0, 1, 1]
    *_, infos = envs.step(answers(3, choice=0))
    assert list(map(str, infos["status"])) == ["error_decode", "answered", "answered"]
    envs.close()


def test_a_decoder_that_dies_ends_its_own_episode_and_the_next_one_runs(tasks: tuple[Task, ...]) -> None:
    env = make_env_of(tasks[0], 120.0)
    env.reset()
    worker = env.frames._reader._worker  # type: ignore[attr-defined]
    process_id = worker.process_id
    os.kill(process_id, signal.SIGSTOP)  # It cannot answer before it dies.
    zoom = {"kind": 0, "span_s": np.array(tasks[0].evidence[0], np.float32), "choice": 0}
    with ThreadPoolExecutor(1) as thread:
        step = thread.submit(env.step, zoom)
        while not worker._lock.locked():
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(process_id, signal.SIGKILL)
        *_, info = step.result()
    assert info["status"] == "error_decode"
    assert info["error"].endswith("decoding was killed by SIGKILL.")
    assert env.reset()[1]["status"] == "running"


@pytest.mark.slow
def test_sixteen_environments_share_one_cache_of_real_videos(tmp_path: Path) -> None:
    task_file = generate(VideoRecipe(num_videos=4, length_s=32.0), tmp_path / "videos")
    frames = VideoStore(backend=Backend.PYAV_PROCESS, cache=tmp_path / "cache", decode_limit_s=120.0)
    envs = make_vec(16, tasks=task_file, frames=frames, **ASYNC)
    envs.action_space.seed(0)
    _, infos = envs.reset(seed=0)
    assert set(map(str, infos["status"])) == {"running"}
    for _ in range(12):
        observations, _, _, _, infos = envs.step(envs.action_space.sample())
        assert all(len(view.frames) for view in observations["fast_view"])
        assert "error" not in infos
    envs.close()
