"""Disks that are full or read-only, real ones where they can be mounted: one sentence, and the run goes on after it."""

import errno
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from generated_world import smoke_config
from ray.exceptions import RayTaskError
from safetensors import SafetensorError

from videozoom.envs.json_lines import JsonLinesWriter, read_json_lines
from videozoom.experiments.checkpoints import latest_checkpoint
from videozoom.experiments.cli import main
from videozoom.experiments.config import Config
from videozoom.experiments.errors import UserError
from videozoom.experiments.storage import storage_errno, storage_errors
from videozoom.experiments.train import run_train
from videozoom.rollout.traces import read_traces

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (FULL, errno.ENOSPC),
        (RayTaskError("write_checkpoint", "traceback", FULL), errno.ENOSPC),
        (SafetensorError('I/O error: Os { code: 28, kind: StorageFull, message: "No space left" }'), errno.ENOSPC),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), errno.ENOSPC),
        (PermissionError(errno.EACCES, "Permission denied", "runs/a/metrics.jsonl"), errno.EACCES),
        # Not of the run's folder: some other mistake.
        (PermissionError(errno.EACCES, "Permission denied", "elsewhere/video.mp4"), None),
        (ValueError("code: 28"), None),
        (ConnectionError(errno.ECONNRESET, "reset"), None),
    ],
)
def test_what_is_a_failure_of_the_disk(error: Exception, number: int | None) -> None:
    assert storage_errno(error, Path("runs/a")) == number


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="ours"), storage_errors(Path("runs/a"), "videozoom train"):
        raise ValueError("ours")
    told = r"^runs/a cannot be written \(Read-only file system\); what was finished is kept: make the folder writable"
    with pytest.raises(UserError, match=told), storage_errors(Path("runs/a"), "videozoom train --resume runs/a"):
        raise OSError(errno.EROFS, "Read-only file system")


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """The operating system itself ends a write at 300 bytes, in the middle of a line."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_fails_halfway_leaves_whole_lines(tmp_path: Path, file_size_limit: None) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"number": number, "text": "x" * 80} for number in range(4)]
    writer = JsonLinesWriter(path)
    writer.append(rows[:2])
    size = path.stat().st_size
    with pytest.raises(OSError, match=r"File too large.*rows\.jsonl"):
        writer.append(rows[2:])
    assert path.stat().st_size == size
    # Room again, without a new writer.
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    writer.append(rows[2:])
    writer.close()
    assert list(read_json_lines(path)) == rows


class SmallDisk:
    """A file system in memory that can be filled and made read-only."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        self.remount = lambda options: subprocess.run(["mount", "-o", f"remount,{options}", path], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        disk = SmallDisk(folder, "1500k")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs rights that this user does not have")
    yield disk
    subprocess.run(["umount", "-l", folder], check=True)


def small_config(videos: Path, run_dir: Path) -> Config:
    sizes = ["policy.tiny.vision_hidden_size=16", "policy.tiny.vision_intermediate_size=32", "policy.tiny.num_heads=2"]
    training = ["grpo.num_iterations=4", "grpo.checkpoint_every=1", "policy.tiny.num_kv_heads=1"]
    return smoke_config(videos, run_dir, *sizes, *training)


def test_a_disk_that_fills_up_and_gets_room_again(videos: Path, tmp_path: Path, small_disk: SmallDisk) -> None:
    run_train(small_config(videos, tmp_path / "whole"))
    run_dir = small_disk.path / "run"
    with pytest.raises(UserError) as caught:
        run_train(small_config(videos, run_dir))
    assert str(caught.value) == (
        f"{run_dir} cannot be written (No space left on device); what was finished is kept: make room, then go on "
        f"with: videozoom train --resume {run_dir}"
    )
    before = list(read_traces(run_dir / "traces.jsonl")) if (run_dir / "traces.jsonl").exists() else []
    small_disk.remount("size=64m")
    run_train(small_config(videos, run_dir), resume=run_dir)
    traces = list(read_traces(run_dir / "traces.jsonl"))
    assert traces[: len(before)] == before
    assert traces == list(read_traces(tmp_path / "whole" / "traces.jsonl"))
    assert latest_checkpoint(run_dir / "checkpoints") == run_dir / "checkpoints" / "iteration_000004"


def test_a_run_folder_that_became_read_only(
    videos: Path, tmp_path: Path, small_disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    small_disk.remount("size=64m")
    run_dir = small_disk.path / "run"
    run_train(small_config(videos, run_dir))
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    small_disk.remount("ro")
    capsys.readouterr()
    assert main(["train", "--quiet", "--resume", str(run_dir), "grpo.num_iterations=5"]) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert sentence == (
        f"videozoom: {run_dir} cannot be written (Read-only file system); what was finished is kept: make the folder "
        f"writable, then go on with: videozoom train --resume {run_dir}"
    )
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before
    new = small_disk.path / "new"
    assert main(["train", "smoke", "--quiet", f"run_dir={new}", f"data.videos={videos}"]) == 2
    assert "cannot be written (Read-only file system); choose another folder" in capsys.readouterr().err
    assert not new.exists()


def test_an_evaluation_that_finds_the_disk_full_goes_on(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, num_left = tmp_path / "run", [1]
    append = JsonLinesWriter.append

    def append_while_there_is_room(writer: JsonLinesWriter, rows: Any) -> None:
        if not num_left[0]:
            raise FULL
        num_left[0] -= 1
        append(writer, rows)

    places = [f"data.videos={videos}", f"video.cache={videos / 'cache'}", "eval.policies=[never,oracle]"]
    sizes = ["data.eval.generated.num_videos=3", "eval.num_tasks=3", "eval.batch_size=2"]
    with monkeypatch.context() as patch:
        patch.setattr(JsonLinesWriter, "append", append_while_there_is_room)
        assert main(["eval", "smoke", "--quiet", f"run_dir={run_dir}", *places, *sizes]) == 2
    told = capsys.readouterr().err
    assert told == (
        f"videozoom: {run_dir} cannot be written (No space left on device); what was finished is kept: make room, then "
        f"go on with: videozoom eval --resume {run_dir}\n"
    )
    kept = (run_dir / "traces.jsonl").read_bytes()
    assert kept.count(b"\n") == 2
    assert main(["eval", "--quiet", "--resume", str(run_dir)]) == 0
    assert (run_dir / "traces.jsonl").read_bytes().startswith(kept)
    assert len(list(read_traces(run_dir / "traces.jsonl"))) == 6
