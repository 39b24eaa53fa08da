"""From a recipe to a folder of videos with their task file."""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from videozoom.envs.generated.plan import plan_video, tasks_of
from videozoom.envs.generated.recipe import GENERATOR_VERSION, RecipeError, VideoRecipe
from videozoom.envs.generated.scenes import frames
from videozoom.envs.generated.writer import write_video
from videozoom.envs.task_files import save_tasks, write_atomically

TASK_FILE = "tasks.jsonl"
RECIPE_FILE = "recipe.json"

Progress = Callable[[int, int], None]
"""Called with the number of finished videos and their total."""


def generate(
    recipe: VideoRecipe, folder: str | Path, *, num_workers: int = 1, progress: Progress | None = None
) -> Path:
    """Write the videos and the task file of a recipe, and return the path of the task file.

    A folder that already holds them is reused after a check of every file's hash; what is missing or damaged is
    written again. `recipe.json` is complete only when everything else is.

    Args:
        recipe: the dials.
        folder: where `videos/*.mp4`, `tasks.jsonl` and `recipe.json` go; created if needed.
        num_workers: processes that render and encode.
        progress: called after each video.

    Raises:
        RecipeError: if the folder holds videos of another recipe.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generate(VideoRecipe(num_videos=1, length_s=16.0), folder).name
        'tasks.jsonl'
    """
    folder = Path(folder)
    manifest = _read_manifest(folder, recipe)
    videos = [folder / "videos" / f"{index:05d}.mp4" for index in range(recipe.num_videos)]
    known: dict[str, str] = manifest.get("files", {})
    missing = [index for index, video in enumerate(videos) if not _is_intact(video, known.get(video.name))]
    tasks_are_intact = _is_intact(folder / TASK_FILE, manifest.get("tasks"))
    if "files" in manifest and not missing and tasks_are_intact:
        return folder / TASK_FILE
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    _write_manifest(folder, recipe, {})
    for number, _ in enumerate(_render_all(recipe, folder / "videos", missing, num_workers), start=1):
        if progress is not None:
            progress(recipe.num_videos - len(missing) + number, recipe.num_videos)
    tasks = [task for index, video in enumerate(videos) for task in tasks_of(plan_video(recipe, index), video, recipe)]
    save_tasks(tasks, folder / TASK_FILE)
    files = {video.name: _digest(video) for video in videos}
    _write_manifest(folder, recipe, {"tasks": _digest(folder / TASK_FILE), "files": files})
    return folder / TASK_FILE


def render_video(recipe: VideoRecipe, folder: Path, index: int) -> None:
    """Write video `index` of a recipe into `folder`."""
    write_video(
        folder / f"{index:05d}.mp4",
        frames(plan_video(recipe, index), recipe),
        width_px=recipe.width_px,
        height_px=recipe.height_px,
        fps=recipe.fps,
        quality=recipe.quality,
    )


def _render_all(recipe: VideoRecipe, folder: Path, indices: list[int], num_workers: int) -> Iterator[None]:
    render = partial(render_video, recipe, folder)
    if num_workers <= 1 or len(indices) <= 1:
        yield from map(render, indices)
        return
    # Spawned, not forked: the caller may already run threads.
    with ProcessPoolExecutor(min(num_workers, len(indices)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(render, indices, chunksize=max(1, min(16, len(indices) // (2 * num_workers))))


def _read_manifest(folder: Path, recipe: VideoRecipe) -> dict[str, Any]:
    """Return what `recipe.json` says, `{}` if there is none; raises if it is of another recipe."""
    path = folder / RECIPE_FILE
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        same = manifest["recipe"] == recipe.as_dict() and manifest["version"] == GENERATOR_VERSION
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{path} is damaged; delete the folder or choose another one.") from error
    if not same:
        raise RecipeError(f"{folder} holds videos of another recipe; delete the folder or choose another one.")
    return manifest  # type: ignore[no-any-return]


def _write_manifest(folder: Path, recipe: VideoRecipe, hashes: dict[str, Any]) -> None:
    manifest = {"version": GENERATOR_VERSION, "recipe": recipe.as_dict(), **hashes}
    write_atomically(folder / RECIPE_FILE, (json.dumps(manifest, indent=1) + "\n").encode())


def _is_intact(path: Path, digest: str | None) -> bool:
    """Whether a file exists with this hash; without a known hash, existing is enough (files appear complete)."""
    return path.is_file() and (digest is None or _digest(path) == digest)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
