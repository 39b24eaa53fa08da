import hashlib
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from videozoom.envs.generated import RecipeError, VideoRecipe, generate
from videozoom.envs.generated.canvas import Canvas
from videozoom.envs.generated.plan import plan_video
from videozoom.envs.generated.scenes import frames
from videozoom.envs.generated.signs import SIGNS
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import Span
from videozoom.envs.video_store import VideoStore

TINY = VideoRecipe(num_videos=3, length_s=16.0, num_events=2, decoy_probability=1.0)


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def block_means(luma: np.ndarray, block_px: int) -> np.ndarray:
    num_frames, height, width = luma.shape
    return luma.reshape(num_frames, height // block_px, block_px, width // block_px, block_px).mean((2, 4))


def test_the_same_recipe_gives_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    generate(TINY, tmp_path / "a")
    generate(TINY, tmp_path / "b", num_workers=2)
    expected = ["recipe.json", "tasks.jsonl", "videos/00000.mp4", "videos/00001.mp4", "videos/00002.mp4"]
    assert list(hashes(tmp_path / "a")) == expected
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_another_seed_gives_other_tasks_and_frames(tmp_path: Path) -> None:
    first = load_tasks(generate(TINY, tmp_path / "a"))
    second = load_tasks(generate(replace(TINY, seed=1), tmp_path / "b"))
    store = VideoStore(fast_frame_tokens=1, resize="area")  # type: ignore[arg-type]
    for one, other in zip(first, second, strict=True):
        assert one.task_id != other.task_id
        assert not np.array_equal(store.fast_view(one.video).frames, store.fast_view(other.video).frames)


def test_videos_are_h264_files_of_the_length_and_size_the_recipe_says(tmp_path: Path) -> None:
    recipe = VideoRecipe(
        num_videos=1, length_s=8.0, num_events=1, fps=25.0, width_px=224, height_px=168, cell_px=4, detail_tiles=4
    )
    (task,) = load_tasks(generate(recipe, tmp_path))
    with av.open(str(task.video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 224, 168)
        assert stream.frames == 200
    assert task.duration_s == 8.0
    assert VideoStore().duration_s(task.video) == pytest.approx(8.0)


def test_long_videos_are_drawn_some_frames_at_a_time() -> None:
    recipe = VideoRecipe(num_videos=1, length_s=3600.0, fps=25.0)
    chunk = next(iter(frames(plan_video(recipe, 0), recipe)))
    assert chunk.nbytes < 2 * 2**20


def test_a_finished_folder_is_reused(tmp_path: Path) -> None:
    generate(TINY, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    calls: list[tuple[int, int]] = []
    assert generate(TINY, tmp_path, progress=lambda *call: calls.append(call)) == tmp_path / "tasks.jsonl"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert calls == []


def test_missing_and_damaged_files_are_made_again(tmp_path: Path) -> None:
    generate(TINY, tmp_path)
    whole = hashes(tmp_path)
    video = tmp_path / "videos" / "00001.mp4"
    video.write_bytes(video.read_bytes()[:-100])
    (tmp_path / "videos" / "00002.mp4").unlink()
    calls: list[tuple[int, int]] = []
    generate(TINY, tmp_path, progress=lambda *call: calls.append(call))
    assert hashes(tmp_path) == whole
    assert calls == [(2, 3), (3, 3)]
    (tmp_path / "tasks.jsonl").write_text("{}\n")
    generate(TINY, tmp_path)
    assert hashes(tmp_path) == whole


def test_an_interrupted_folder_is_completed(tmp_path: Path) -> None:
    generate(TINY, tmp_path / "whole")

    def interrupt(num_done: int, _: int) -> None:
        if num_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(TINY, tmp_path / "cut", progress=interrupt)
    assert not (tmp_path / "cut" / "tasks.jsonl").exists()
    calls: list[tuple[int, int]] = []
    generate(TINY, tmp_path / "cut", progress=lambda *call: calls.append(call))
    assert calls == [(3, 3)]
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")


def test_a_folder_of_another_recipe_is_left_alone(tmp_path: Path) -> None:
    generate(TINY, tmp_path)
    before = hashes(tmp_path)
    with pytest.raises(
        RecipeError, match=r"holds videos of another recipe; delete the folder or choose another one\.$"
    ):
        generate(replace(TINY, seed=5), tmp_path)
    assert hashes(tmp_path) == before
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(RecipeError, match=r"recipe.json is damaged"):
        generate(TINY, tmp_path)


@pytest.mark.parametrize("cell_px", [2, 4])
def test_before_encoding_the_means_over_blocks_are_the_same_whatever_the_sign(cell_px: int) -> None:
    recipe = VideoRecipe(num_videos=1, length_s=32.0, cell_px=cell_px, width_px=112 * cell_px, height_px=64 * cell_px)
    plan = plan_video(recipe, 0)
    height = recipe.height_px

    def drawn(sign: str | None) -> np.ndarray:
        events = tuple(replace(event, sign=sign) for event in plan.events)
        return np.concatenate(list(frames(replace(plan, events=events), recipe)))

    blank = drawn(None)
    for sign in SIGNS:
        video = drawn(sign)
        assert np.array_equal(block_means(video[:, :height], 2 * cell_px), block_means(blank[:, :height], 2 * cell_px))
        assert np.array_equal(video[:, height:], blank[:, height:])
        assert not np.array_equal(video, blank)  # the signs are there
        finer = block_means(video[:, :height], cell_px) - block_means(blank[:, :height], cell_px)
        assert np.abs(finer).max() == 55  # and are seen at twice the resolution


def test_a_later_drawing_covers_an_earlier_one() -> None:
    canvas = Canvas.blank(1, 64, 64, 2)
    canvas.draw_panel(0, 0, 2, "bars")
    canvas.draw_frame(1, (81, 90, 240))
    assert (canvas.detail_FHW[0, :4] == 0).all()
    assert (canvas.detail_FHW[0, 4:16, 4:16] != 0).all()
    assert canvas.coarse_FRC[0, 0, 0] == 81
    canvas.draw_panel(0, 0, 2, None)
    assert (canvas.detail_FHW == 0).all()


def test_every_cue_is_a_colour_of_its_own_in_the_fast_view(tmp_path: Path) -> None:
    recipe = VideoRecipe(num_videos=6, length_s=32.0, num_events=8)
    store = VideoStore(fast_frame_tokens=1, resize="area")  # type: ignore[arg-type]
    colours: dict[str, list[np.ndarray]] = {}
    for task in load_tasks(generate(recipe, tmp_path)):
        clip = store.fast_view(task.video)
        for event in task.metadata["events"]:
            shown = clip.frames[(clip.times_s >= event["start_s"]) & (clip.times_s < event["end_s"])]
            # The left edge and the upper half of the right one: a timestamp may cover the lower right corner.
            colours.setdefault(event["cue"], []).extend([shown[:, :, 0].mean((0, 1)), shown[:, :14, 27].mean((0, 1))])
    means = {cue: np.mean(values, axis=0) for cue, values in colours.items()}
    for cue, values in colours.items():
        for value in values:
            distances = {other: float(np.abs(value - mean).max()) for other, mean in means.items()}
            assert min(distances, key=distances.__getitem__) == cue
            assert sorted(distances.values())[1] > 3 * distances[cue] + 20


def test_the_events_of_the_task_file_are_where_it_says(tmp_path: Path) -> None:
    recipe = VideoRecipe(num_videos=4, length_s=64.0, aligned=False, decoy_probability=1.0)
    store = VideoStore(fast_frame_tokens=1, slow_frame_tokens=4, resize="area")  # type: ignore[arg-type]
    for task in load_tasks(generate(recipe, tmp_path)):
        clip = store.fast_view(task.video)
        spread = clip.frames[:, :2].astype(float).std((1, 2)).max(1)  # a cue's edge is of one colour
        saturation = np.ptp(clip.frames[:, :2].mean((1, 2)), axis=1)
        is_event = np.zeros(len(clip.times_s), bool)
        for event in task.metadata["events"]:
            is_event |= (clip.times_s >= event["start_s"]) & (clip.times_s < event["end_s"])
        brightness = clip.frames[:, :2].mean((1, 2)).min(1)
        assert ((saturation > 80) | (brightness > 220)).tolist() == is_event.tolist()
        assert spread[is_event].max() < 12
        start_s = task.evidence[0].start_s
        assert store.slow_clip(task.video, Span(start_s, start_s + 4)).frames.shape == (8, 56, 56, 3)
