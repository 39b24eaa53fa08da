import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from videozoom.envs.json_lines import read_json_lines
from videozoom.envs.videos.index import scan
from videozoom.experiments import bench_process, bench_video, bench_video_cases, bench_video_files
from videozoom.experiments.bench_process import Job, Measurement
from videozoom.experiments.bench_rounds import Results
from videozoom.experiments.bench_video import case_names
from videozoom.experiments.bench_video_cases import Case, Entry, Part, Subject, question_cases
from videozoom.experiments.bench_video_files import BenchVideo, encode, num_steps, scenes
from videozoom.experiments.bench_video_jobs import FastView, Floor, SlowClip
from videozoom.experiments.bench_video_reference import Decoder, ReferenceView
from videozoom.experiments.bench_video_rows import print_rows, rows_of
from videozoom.experiments.cli import main

Row = dict[str, Any]
NUM_FRAMES = 50
FILE_CASES = ["fast_file", "slow_file", "second_use", "question_8x3_cold", "question_8x3_warm"]


def small_scenes() -> Iterator[NDArray[np.uint8]]:
    return (image[::4, ::4] for image in scenes())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video of 2 s, 160x90."""
    path = tmp_path_factory.mktemp("bench") / "clip.mp4"
    encode(path, small_scenes(), NUM_FRAMES, 10, lambda: None)
    return path


@pytest.fixture
def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare starting processes; that they are started is tested elsewhere."""
    monkeypatch.setattr(bench_process, "measure", bench_process.measure_here)
    monkeypatch.setattr(bench_process, "prepare", lambda job, folder: job.prepare(folder))


def by_method(rows: list[Row], case: str) -> dict[str, Row]:
    return {row["method"]: row for row in rows if row["case"] == case}


def psnr_db(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / ((images.astype(float) - others) ** 2).mean()))


@pytest.mark.usefixtures("in_one_process")
def test_a_file_is_measured_in_every_case(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--json", "--quiet", "--repeats", "1", "--folder", str(tmp_path / "made")]
    assert main(["bench", "video", str(video), *options]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = report["rows"]
    assert list(dict.fromkeys(row["case"] for row in rows)) == FILE_CASES
    for case in FILE_CASES:
        of_case = by_method(rows, case)
        assert {"ours", "floor", "reference_pattern"} <= set(of_case)
        for row in of_case.values():
            assert row["error"] is None, row
            assert row["cpu_s_min"] <= row["cpu_s"] <= row["cpu_s_max"]
            assert row["ratio_to_floor"] == pytest.approx(row["cpu_s"] / of_case["floor"]["cpu_s"])
            assert row["ratio_to_ours"] == pytest.approx(row["cpu_s"] / of_case["ours"]["cpu_s"])
            assert row["method"] == "floor_ffmpeg" or row["peak_mib"] >= 0.0
            assert not row["extrapolated"]
    assert report["videos"][0] | {"kilobits_per_s": 0} == {
        "name": "clip.mp4",
        "num_frames": NUM_FRAMES,
        "duration_s": 2.0,
        "height_px": 90,
        "width_px": 160,
        "codec": "h264",
        "kilobits_per_s": 0,
        "num_key_frames": 5,
    }

    fast, second = by_method(rows, "fast_file"), by_method(rows, "second_use")["ours"]
    assert (fast["ours"]["num_decodes"], fast["ours"]["num_scans"]) == (1, 1)
    assert (second["num_decodes"], second["num_scans"], second["num_runs"]) == (0, 0, 9)
    assert fast["ours"]["num_frames"] == second["num_frames"] == fast["reference_pattern"]["num_frames"] == 4
    assert fast["floor"]["num_frames"] == NUM_FRAMES
    slow = by_method(rows, "slow_file")
    assert (slow["ours"]["num_scans"], slow["ours_unknown_file"]["num_scans"]) == (0, 1)
    cold, warm = by_method(rows, "question_8x3_cold"), by_method(rows, "question_8x3_warm")
    assert (cold["ours"]["num_fast_decodes"], cold["ours"]["num_slow_decodes"]) == (1, 24)
    assert (warm["ours"]["num_fast_decodes"], warm["ours"]["num_slow_decodes"]) == (0, 24)
    reference = cold["reference_pattern"]
    assert (reference["num_fast_decodes"], reference["num_slow_decodes"]) == (24, 72)
    assert [path.name for path in (tmp_path / "made").iterdir()] == [".lock"]


@pytest.mark.usefixtures("in_one_process")
def test_people_get_a_table_of_the_cases_they_want(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    options = ["--repeats", "1", "--folder", str(tmp_path), "--only", "second_use"]
    assert main(["bench", "video", str(video), *options, "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["second_use", "ours", "floor", "reference_pattern"]
    assert any(line.startswith("second_use: ") and line.endswith(" 0 scans.") for line in lines)


@pytest.mark.parametrize("decoder", Decoder)
def test_the_reference_pattern_shows_the_same_frames(video: Path, decoder: Decoder, tmp_path: Path) -> None:
    if decoder is Decoder.DECORD:
        pytest.importorskip("decord")
    subject = Subject.of(video, "clip")
    span_s = subject.spans_s(3)[1]
    ours = {
        subject.fast: FastView(video).run(tmp_path).clip.frames,
        subject.slow(span_s): SlowClip(video, span_s).run(tmp_path).clip.frames,
    }
    for view, frames in ours.items():
        images, _ = ReferenceView(video, view, decoder).run(tmp_path)
        theirs = images.numpy().astype(np.uint8).transpose(0, 2, 3, 1)
        left = slice(0, frames.shape[2] // 2)  # Timestamps are drawn on the right.
        assert psnr_db(frames[:, :, left], theirs[:, :, left]) > 48
        assert psnr_db(frames[1:, :, left], theirs[:-1, :, left]) < 40
        assert psnr_db(frames, theirs) < 40


def test_the_floor_decodes_what_it_says(video: Path, tmp_path: Path) -> None:
    pts = scan(video).pts.tolist()
    assert Floor(video).run(tmp_path) == NUM_FRAMES
    # From the key frame 20 to frame 39.
    assert Floor(video, pts[25], pts[39]).run(tmp_path) == 20


def test_spans_of_a_question_are_all_different_and_inside(video: Path) -> None:
    spans_s = Subject.of(video, "clip").spans_s(24)
    assert len(set(spans_s)) == 24
    assert (spans_s[0].start_s, spans_s[-1].end_s) == (0.0, 2.0)
    assert all(span_s.length_s == pytest.approx(1.0) for span_s in spans_s)


@pytest.fixture
def question(video: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Case, Case]:
    monkeypatch.setattr(bench_video_cases, "_SHORT_S", 1.0)
    cold, warm = question_cases(Subject.of(video, "clip"), in_full=False)
    return cold, warm


def test_long_questions_are_extrapolated_from_one_read_of_each_kind(question: tuple[Case, Case]) -> None:
    entries = {entry.method: entry for entry in question[0].entries}
    reference = entries["reference_pattern"]
    assert [(part.weight, part.without) for part in reference.parts] == [(24.0, ""), (72.0, "open_cpu_s")]
    fast, slow = (part.job for part in reference.parts)

    def runs(*cpu_s: float, open_cpu_s: float = 0.0) -> list[Measurement]:
        return [Measurement(it, 2 * it, 100.0 * it, None, {"open_cpu_s": open_cpu_s}) for it in cpu_s]

    (ours,), (floor,) = ([part.job for part in entries[name].parts] for name in ("ours", "floor"))
    counts = {"num_fast_decodes": 1.0, "num_slow_decodes": 24.0}
    results: Results = {
        fast: runs(2.0, 4.0, 3.0, open_cpu_s=0.25),
        slow: runs(0.75, 0.5, 1.0, open_cpu_s=0.25),
        ours: [Measurement(9.0, 9.0, 500.0, 0.0, counts)],
        floor: runs(4.5),
    }
    rows = by_method(
        rows_of([Case("question", "clip", (entries["ours"], entries["floor"], reference))], results), "question"
    )
    row = rows["reference_pattern"]
    assert row["extrapolated"]
    # 24 x 3 + 72 x (0.75 - 0.25); opening the file counts once per step.
    assert row["cpu_s"] == pytest.approx(108.0)
    assert (row["cpu_s_min"], row["cpu_s_max"]) == (pytest.approx(66.0), pytest.approx(150.0))
    assert (row["ratio_to_floor"], row["ratio_to_ours"]) == (pytest.approx(24.0), pytest.approx(12.0))
    assert (row["peak_mib"], row["num_runs"]) == (300.0, 3)
    assert (rows["ours"]["extrapolated"], rows["ours"]["ratio_to_floor"]) == (False, 2.0)


def test_what_does_not_fit_into_the_memory_is_read_in_part(video: Path) -> None:
    whole = Subject.of(video, "clip")
    frame_bytes = 90 * 160 * 3 * 9
    little = replace(whole, memory_bytes=int(2.01 / 0.7 * frame_bytes))
    part = bench_video_cases._reference_part(little, little.fast, Decoder.PYAV)
    assert isinstance(part.job, ReferenceView)
    assert (part.weight, part.job.view.frames) == (2.0, whole.fast.frames[:2])
    much = replace(whole, memory_bytes=100 * frame_bytes)
    assert bench_video_cases._reference_part(much, much.fast, Decoder.PYAV).weight == 1.0


def test_a_method_that_failed_has_a_row_without_numbers(video: Path) -> None:
    entries = tuple(
        Entry(name, (Part(Floor(video, number)),)) for number, name in enumerate(("ours", "floor", "decord"))
    )
    ours, floor, decord = (entry.parts[0].job for entry in entries)
    measured = [Measurement(1.0, 1.0, 1.0, None, {})]
    rows = rows_of([Case("fast_file", "clip", entries)], {ours: measured, floor: measured, decord: "no such codec"})
    assert rows[2] | {"error": ""} == rows[2] | dict.fromkeys(("cpu_s", "peak_mib", "ratio_to_floor")) | {"error": ""}
    assert rows[2]["error"] == "no such codec"
    printed = StringIO()
    print_rows(rows, Console(file=printed, width=100))
    assert "decord failed: no such codec" in " ".join(printed.getvalue().split())


def test_the_cases_are_those_that_programs_know() -> None:
    known = {
        *("fast_10min_gop250", "fast_10min_gop30", "fast_60min_gop30", "slow_10min_gop250"),
        *("second_use", "question_8x3_cold", "question_8x3_warm"),
    }
    assert set(case_names(None, full=False)) == known
    assert set(case_names(None, full=True)) > known | {"fast_60min_gop250"}
    assert case_names(Path("clip.mp4"), full=False) == FILE_CASES


def cut_short(video: Path, path: Path) -> None:
    """Write a copy of a video with its table of frames in front, and without its last part."""
    with av.open(str(video)) as source, av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.mp4"], "No such file or directory"),
        (["folder"], "Is a directory"),
        (["text.mp4"], "cannot read the video"),
        (["empty.mp4"], "cannot read the video"),
        (["cut.mp4"], "the file is cut short; "),
        (
            ["clip.mp4", "--only", "fast_10min_gop250"],
            "no case 'fast_10min_gop250' here; --only takes fast_file, slow_file",
        ),
        (["--only", "fast_file"], "no case 'fast_file' here; --only takes fast_10min_gop250"),
        (["clip.mp4", "--folder", "text.mp4"], "text.mp4 cannot be written (File exists)"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    sentence: str,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("text.mp4").write_text("no video", encoding="ascii")
    Path("empty.mp4").touch()
    Path("clip.mp4").write_bytes(video.read_bytes())
    cut_short(video, Path("cut.mp4"))
    assert main(["bench", "video", *arguments, "--quiet"]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)


def test_a_killed_run_is_continued_and_measures_nothing_twice(
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    in_one_process: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [
        *["bench", "video", "--json", "--repeats", "1", "--only", "second_use", "--folder"],
        str(tmp_path),
        str(video),
    ]
    command = [sys.executable, "-m", "videozoom.experiments.cli", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None and num_measured(tmp_path) < 3:
                time.sleep(0.01)
            if process.poll() is None:
                assert main(options) == 2
                assert "another videozoom bench is measuring in" in capsys.readouterr().err
        finally:
            process.kill()
    num_there = num_measured(tmp_path)
    (journal,) = tmp_path.glob("unfinished_*.jsonl")
    with journal.open("a", encoding="ascii") as file:
        file.write('{"job": "torn')
    assert list((tmp_path / "caches").iterdir()) != []

    measured: list[Job] = []

    def measure(job: Job, folder: Path) -> Measurement:
        measured.append(job)
        return bench_process.measure_here(job, folder)

    monkeypatch.setattr(bench_process, "measure", measure)
    assert main(options) == 0
    captured = capsys.readouterr()
    rows = by_method(json.loads(captured.out)["rows"], "second_use")
    num_runs = sum(row["num_runs"] for row in rows.values())
    assert 3 <= num_there < num_runs
    assert len(measured) == num_runs - num_there
    assert f"Continuing an interrupted run: {num_there} of {num_runs} measurements are there." in captured.err
    assert all(row["error"] is None for row in rows.values())
    assert (rows["ours"]["num_runs"], rows["ours"]["num_decodes"], rows["ours"]["num_scans"]) == (9, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def num_measured(folder: Path) -> int:
    return sum(len(list(read_json_lines(path))) - 1 for path in folder.glob("unfinished_*.jsonl"))


class Interrupted:
    """Measures a few times and is interrupted then; changes the memory that is free, as time does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_runs, self.last = 0, 3
        monkeypatch.setattr(bench_process, "measure", self)
        monkeypatch.setattr(bench_process, "prepare", lambda job, folder: job.prepare(folder))
        monkeypatch.setattr(bench_video_cases, "free_bytes", lambda: 10**6 + self.num_runs)
        monkeypatch.setattr(bench_video, "free_bytes", lambda: 10**6 + self.num_runs)

    def __call__(self, job: Job, folder: Path) -> Measurement:
        self.num_runs += 1
        if self.num_runs > self.last:
            raise KeyboardInterrupt
        return Measurement(1.0, 1.0, 1.0, 1.0, job.facts(job.run(folder)))


def test_ctrl_c_says_how_to_go_on_and_a_changed_file_starts_over(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(video.read_bytes())
    run = Interrupted(monkeypatch)
    options = [
        *["bench", "video", "--repeats", "1", "--only", "fast_file", "--folder"],
        str(tmp_path / "made"),
        str(clip),
    ]
    assert main(options) == 130
    sentence = "Interrupted; the same command continues with what is left to measure.\n"
    assert capsys.readouterr().err.endswith(sentence)
    run.num_runs, run.last = 0, 0
    assert main(options) == 130
    assert "Continuing an interrupted run: 3 of " in capsys.readouterr().err
    with monkeypatch.context() as changed:
        changed.setattr(bench_video, "_sources", lambda: "other")
        run.num_runs = 0
        assert main(options) == 130
        assert "The code has changed since the run was interrupted; --overwrite" in capsys.readouterr().err
    for change in (lambda: os.utime(clip, ns=(1, 1)), lambda: options.append("--overwrite")):
        change()
        run.num_runs, run.last = 0, 3
        assert main(options) == 130
        errors = capsys.readouterr().err
        assert "Continuing" not in errors
        assert ("starting over" in errors) == ("--overwrite" not in options)
    options.remove("--overwrite")
    run.num_runs, run.last = 0, 10**6
    assert main(options) == 0
    captured = capsys.readouterr()
    assert "Continuing an interrupted run: 3 of " in captured.err
    assert "failed" not in captured.out


@pytest.mark.parametrize("options", [["--repeats", "0"], ["--fulll"], ["a.mp4", "b.mp4"]])
def test_wrong_options_exit_with_2(options: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", "video", *options])
    assert exit_info.value.code == 2


def test_made_videos_repeat_one_minute_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_video_files, "FRAMES_PER_MINUTE", 20)
    monkeypatch.setattr(bench_video_files, "scenes", partial(islice, small_scenes(), None))
    two, three = BenchVideo(2, 5), BenchVideo(3, 5)
    done: list[None] = []
    assert num_steps([two, three], tmp_path) == 25
    path = three.make(tmp_path, lambda: done.append(None))
    two.make(tmp_path, lambda: done.append(None))
    assert len(done) == 25
    index = scan(path)
    assert np.allclose(index.times_s, np.arange(60) / 25)
    assert (index.duration_s, index.num_missing) == (pytest.approx(2.4), 0)
    assert np.flatnonzero(index.packets.is_key).tolist() == list(range(0, 60, 5))
    before = path.stat()
    assert num_steps([two, three], tmp_path) == 0
    assert three.make(tmp_path, pytest.fail) == path
    assert path.stat() == before


def test_a_video_whose_making_was_interrupted_is_not_there(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BenchVideo(1, 5).make(tmp_path, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_frames_of_made_videos_all_differ() -> None:
    images = list(islice(scenes(), 30))
    assert {image.shape for image in images} == {(360, 640, 3)}
    assert len({image.tobytes() for image in images}) == 30
