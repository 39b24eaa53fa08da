"""What `VideoZoomEnv` can be made with: mistakes are named, with what is allowed and what to do."""

import inspect
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoom.envs.observation import FrameSource
from videozoom.envs.spaces import MAX_STEPS_LIMIT
from videozoom.envs.tasks import Task
from videozoom.rewards.rubric import Rubric

if TYPE_CHECKING:
    from videozoom.envs.video_zoom import VideoZoomEnv

_HOW_TO_MAKE = 'gymnasium.make("videozoom.envs:VideoZoom-v0", tasks="tasks.jsonl")'


def make_video_zoom(**settings: Any) -> "VideoZoomEnv":
    """Return a `VideoZoomEnv`: what `gymnasium.make` calls.

    Raises:
        ValueError: if a setting does not exist, `tasks` is missing, or a value is not allowed.
    """
    from videozoom.envs.video_zoom import VideoZoomEnv

    known = [name for name in inspect.signature(VideoZoomEnv.__init__).parameters if name != "self"]
    check_names(settings, known, "setting of VideoZoom-v0")
    if "tasks" not in settings:
        raise ValueError(f"VideoZoom-v0 needs tasks, a task file or a list of Task objects: {_HOW_TO_MAKE}.")
    return VideoZoomEnv(**settings)


# Gymnasium looks here for what can be rendered.
make_video_zoom.metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # type: ignore[attr-defined]


def check_names(names: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raise `ValueError` on the first name that is not known, with the one that was probably meant."""
    for name in names:
        if name not in known:
            raise ValueError(f"Unknown {what} {name!r}{_meant(str(name), known)}; there are {', '.join(known)}.")


def checked_tasks(tasks: Sequence[Task] | str | Path) -> dict[str, Task]:
    """Return the tasks by their ids, read from their file if a path is given.

    Raises:
        ValueError: if there are none, one is no `Task`, an id repeats, or the file cannot be used.
    """
    if isinstance(tasks, str | Path):
        from videozoom.envs.task_files import load_tasks

        tasks = load_tasks(Path(tasks))
    wrong: object = tasks if isinstance(tasks, Task) or not isinstance(tasks, Iterable) else None
    if wrong is None:
        tasks = tuple(tasks)
        wrong = next((task for task in tasks if not isinstance(task, Task)), None)
    if wrong is not None:
        what = "one Task alone" if isinstance(wrong, Task) else type(wrong).__name__
        raise ValueError(
            f"tasks must be the path of a task file or a list of Task objects, got {what}; "
            "videozoom.envs.load_tasks reads files, videozoom.envs.generated makes tasks."
        )
    if not tasks:
        raise ValueError(f"VideoZoomEnv needs at least one task: {_HOW_TO_MAKE}.")
    by_id = {task.task_id: task for task in tasks}
    if len(by_id) < len(tasks):
        task_ids = [task.task_id for task in tasks]
        repeated = next(task_id for task_id in task_ids if task_ids.count(task_id) > 1)
        raise ValueError(f"Task ids must be unique; {repeated!r} occurs more than once.")
    return by_id


def checked_frames(frames: FrameSource | None) -> FrameSource:
    """Return what reads frames; without one, a `VideoStore` that decodes in a process of its own.

    Raises:
        ValueError: if `frames` cannot read frames.
    """
    if frames is None:
        from videozoom.envs.video_store import VideoStore
        from videozoom.envs.videos.reader import Backend

        return VideoStore(backend=Backend.PYAV_PROCESS)
    if not (callable(getattr(frames, "fast_view", None)) and callable(getattr(frames, "slow_clip", None))):
        raise ValueError(
            f"frames must have fast_view(video) and slow_clip(video, span_s), as VideoStore has, got {frames!r}."
        )
    return frames


def checked_rubric(rubric: Rubric | None) -> Rubric:
    """Return the rubric, `Rubric.love_r1()` without one; raises `ValueError` if it cannot score."""
    if rubric is not None and not callable(getattr(rubric, "score", None)):
        raise ValueError(
            f"rubric must have score(task, facts), as Rubric.from_weights(...) returns it, got {rubric!r}."
        )
    return rubric if rubric is not None else Rubric.love_r1()


def checked_max_steps(max_steps: int) -> int:
    """Return the number of steps; raises `ValueError` if it is no possible one."""
    if not 1 <= max_steps <= MAX_STEPS_LIMIT:
        raise ValueError(f"max_steps must be from 1 to {MAX_STEPS_LIMIT}, got {max_steps}.")
    return int(max_steps)


def checked_fraction(name: str, value: float) -> float:
    """Return the share; raises `ValueError` if it is not between 0 and 1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be from 0 to 1, got {value}.")
    return float(value)


def task_of(tasks: dict[str, Task], task_id: Any) -> Task:
    """Return the task of an id; raises `ValueError` if there is none."""
    if task_id not in tasks:
        known = list(tasks)
        raise ValueError(f"There is no task with id {task_id!r} among the {len(known)} tasks{_meant(task_id, known)}.")
    return tasks[task_id]


def _meant(name: object, known: Sequence[str]) -> str:
    matches = get_close_matches(str(name), known, n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
