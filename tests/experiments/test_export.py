"""Exports against what the loaders of other trainers ask for, read back as they would be."""

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from grpo_world import NonsenseProtocol
from PIL import Image
from pyarrow import parquet

from videozoom.envs.messages import Message, Prompt, Role, SampledPart, TextPart, VideoPart
from videozoom.envs.observation import VideoClip
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.tasks import Span
from videozoom.experiments.build import build_env_maker, build_frames, build_protocol
from videozoom.experiments.cli import main
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.export import Choice, run_export
from videozoom.experiments.export_llama_factory import LlamaFactoryExport
from videozoom.experiments.export_media import MediaFiles, write_lossless
from videozoom.experiments.export_steps import ExportedStep
from videozoom.experiments.export_trl import TrlExport
from videozoom.experiments.export_verl import VerlExport
from videozoom.rollout.playback import PlaybackError, PlayedStep, play
from videozoom.rollout.trace_rows import task_from_row
from videozoom.rollout.traces import read_traces

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts of the run are read as they were when it was made."""
    monkeypatch.setattr(LoveR1Protocol, "parse", NonsenseProtocol.parse)


def rows_of(run_dir: Path, phase: str = "train") -> list[Row]:
    return [row for row in read_traces(run_dir / "traces.jsonl") if row["phase"] == phase]


def shown(run_dir: Path, row: Row) -> list[tuple[PlayedStep, list[VideoClip]]]:
    """Return the steps of an episode with the clips of their prompts."""
    config = load_config(run_dir / "config.yaml")
    task = task_from_row(row)
    steps = list(play(row, task, build_env_maker(config, (task,), build_frames(config)), build_protocol(config)))
    return [
        (
            step,
            [part.clip for message in step.prompt.messages for part in message.content if isinstance(part, VideoPart)],
        )
        for step in steps
    ]


def decoded(path: Path) -> np.ndarray[Any, Any]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


# What the loaders check, and what they do silently to rows that break it.


def trl_problem(row: Row, key: str) -> str | None:
    blocks = [block for message in row[key] for block in message["content"]]
    if {block["type"] for block in blocks} - {"text", "image"}:
        return "block that is neither text nor image"
    if sum(block["type"] == "image" for block in blocks) != len(row["images"]):
        return "as many image blocks as images"
    if [message["role"] for message in row[key]][-1] != ("assistant" if key == "messages" else "user"):
        return "last role"
    return None


def llama_factory_problem(row: Row) -> str | None:
    turns = row["conversations"]
    if len(turns) % 2 or [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        return "roles alternate, even total"
    for column, word in (("videos", "<video>"), ("images", "<image>")):
        texts = [row["system"], *(turn["value"] for turn in turns)]
        if sum(text.count(word) for text in texts) != len(row[column]):
            return f"as many {word} as {column}"
    return None


def verl_problem(row: Row, key: str) -> str | None:
    for column, word in (("videos", "<video>"), ("images", "<image>")):
        # verl splits the contents at the placeholders and counts through the list.
        if sum(len(re.findall(word, message["content"])) for message in row[key]) != len(row[column]):
            return f"as many {word} as {column}"
    return None


def test_the_loaders_checks_see_broken_rows() -> None:
    """Control."""
    text = {"role": "user", "content": [{"type": "text", "text": "?"}]}
    assert trl_problem({"prompt": [text], "images": []}, "prompt") is None
    assert trl_problem({"prompt": [text], "images": ["a.png"]}, "prompt") == "as many image blocks as images"
    assert trl_problem({"messages": [text], "images": []}, "messages") == "last role"
    turns = [{"from": "human", "value": "<video>"}, {"from": "gpt", "value": "A"}]
    assert llama_factory_problem({"conversations": turns, "system": "", "videos": ["a"], "images": []}) is None
    assert llama_factory_problem({"conversations": turns, "system": "", "videos": [], "images": []})
    assert llama_factory_problem({"conversations": turns[:1], "system": "", "videos": ["a"], "images": []})
    assert verl_problem({"prompt": [{"content": "<video><video>"}], "videos": [1], "images": []}, "prompt")


def test_trl(nonsense_run: Path, tmp_path: Path) -> None:
    summary = run_export(nonsense_run, tmp_path / "out", "trl", Choice())
    rows = rows_of(nonsense_run)
    sft, grpo = (
        [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]
        for name in ("sft.jsonl", "grpo.jsonl")
    )
    assert summary["counts"] == {"episodes": len(rows), "steps": sum(len(row["steps"]) for row in rows)}
    assert len(sft) == summary["counts"]["steps"]
    assert [trl_problem(row, "messages") for row in sft] == [None] * len(sft)
    assert [trl_problem(row, "prompt") for row in grpo] == [None] * len(grpo)
    assert len(grpo) == len({(row["task_id"], row["kind"]) for row in rows})
    answers = {row["task_id"]: row["task"]["answer"] for row in rows}
    assert all(row["solution"] == answers[row["task_id"]] for row in grpo)
    # The frames of a step with a zoom are those that the policy was shown, pixel by pixel.
    episode = next(row for row in rows if row["num_clip_frames"])
    place = sum(len(row["steps"]) for row in rows[: rows.index(episode)])
    for index, (step, clips) in enumerate(shown(nonsense_run, episode)):
        row = sft[place + index]
        frames = [frame for clip in clips for frame in clip.frames]
        assert len(row["images"]) == len(frames)
        for file, frame in zip(row["images"], frames, strict=True):
            assert Path(file).is_absolute()
            assert np.array_equal(np.asarray(Image.open(file)), frame)
        [reply] = row["messages"][-1]["content"]
        assert reply["text"] == episode["steps"][index]["prefix"] + episode["steps"][index]["text"]
        assert (row["step"], row["is_last_step"]) == (index, step.is_last)
        assert (row["advantage"], row["reward"]) == (episode["advantage"], episode["reward"]["total"])


def test_llama_factory(nonsense_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export(nonsense_run, out, "llama_factory", Choice())
    info = json.loads((out / "dataset_info.json").read_text())["videozoom"]
    assert info["formatting"] == "sharegpt"
    rows = json.loads((out / info["file_name"]).read_text())
    assert len(rows) == sum(len(row["steps"]) for row in rows_of(nonsense_run))
    assert [llama_factory_problem(row) for row in rows] == [None] * len(rows)
    assert all(set(info["columns"].values()) <= row.keys() for row in rows)
    assert {len(row["videos"]) for row in rows} >= {1, 2}
    # Sampled at 2 frames per second, as by default, a clip gives every frame, and each is what was shown.
    [(_, [fast_view]), *_] = shown(nonsense_run, rows_of(nonsense_run)[0])
    file = Path(rows[0]["videos"][0])
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        seconds = float(stream.duration * stream.time_base)
        assert max(1, int(seconds * 2.0)) == stream.frames == len(fast_view.frames)
    assert np.array_equal(decoded(file), fast_view.frames)


def test_verl(nonsense_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export(nonsense_run, out, "verl", Choice())
    rl, sft = (parquet.read_table(out / f"{name}.parquet").to_pylist() for name in ("rl", "sft"))
    assert [verl_problem(row, "prompt") for row in rl] == [None] * len(rl)
    assert [verl_problem(row, "messages") for row in sft] == [None] * len(sft)
    assert len(sft) == sum(len(row["steps"]) for row in rows_of(nonsense_run))
    config = load_config(nonsense_run / "config.yaml")
    for index, row in enumerate(rl):
        assert {"data_source", "prompt", "videos", "ability", "reward_model", "extra_info", "agent_name"} <= row.keys()
        [video] = row["videos"]
        assert Path(video["video"]).is_file()
        assert (video["fps"], video["max_frames"]) == (config.video.fast_fps, config.video.fast_max_frames)
        assert row["reward_model"] == {"style": "rule", "ground_truth": row["extra_info"]["answer"]}
        assert row["extra_info"]["index"] == index
        assert row["extra_info"]["tools_kwargs"]["zoom"]["create_kwargs"]["video"] == video["video"]
    # Nothing was filled in: Parquet gives None for keys that a row does not have.
    assert not [path for row in (*rl, *sft) for path in missing(row, "") if not path.startswith(".advantage")]


def missing(value: Any, path: str) -> list[str]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in missing(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for inner in value for found in missing(inner, f"{path}[]")]
    return [path] if value is None else []


def conversation(*, word: str = "") -> ExportedStep:
    """Return the second step of an episode whose transcript is kept, frames as single images between their times."""
    images = [
        VideoClip(np.full((1, 28, 28, 3), n, np.uint8), np.array([float(n)]), Span(n, n + 1.0), f"f{n}") for n in (1, 2)
    ]
    clip = VideoClip(np.full((4, 28, 56, 3), 9, np.uint8), np.arange(4.0), Span(0.0, 4.0), "clip")
    prompt = Prompt(
        (
            Message(Role.SYSTEM, (TextPart("Look."),)),
            Message(Role.USER, (TextPart("1 s"), VideoPart(images[0]), TextPart("2 s"), VideoPart(images[1]))),
            Message(Role.USER, (TextPart(f"Which sign?{word}"),)),
            Message(Role.ASSISTANT, (SampledPart("0-4"),)),
            Message(Role.USER, (VideoPart(clip),)),
        ),
        assistant_prefix="I get the answer.",
    )
    task = {"video": "v.mp4", "duration_s": 8.0, "question": "?", "options": ["a", "b"], "answer": "A", "evidence": []}
    row = {
        "task_id": "t0",
        "phase": "train",
        "policy": "grpo",
        "iteration": 3,
        "kind": "multi_step",
        "member": 1,
        "status": "answered",
        "advantage": None,
        "reward": {"total": 1.0, "parts": {}},
        "task": task,
    }
    return ExportedStep(row, task_from_row(row), PlayedStep(prompt, " \\boxed{A}", 1, is_last=True))


def test_a_transcript_with_single_frames(tmp_path: Path) -> None:
    step, media = conversation(), MediaFiles(tmp_path, tmp_path)
    llama, trl = LlamaFactoryExport(tmp_path, media), TrlExport(tmp_path, media)
    verl = VerlExport(tmp_path, media, fast_fps=1.0, fast_max_frames=2)
    for export in (llama, trl, verl):
        export.add(step)
        export.close()
    [row] = json.loads((tmp_path / "videozoom.json").read_text())
    assert llama_factory_problem(row) is None
    assert [turn["value"] for turn in row["conversations"]] == [
        "1 s<image>2 s<image>Which sign?",
        "0-4",
        "<video>",
        "I get the answer. \\boxed{A}",
    ]
    assert (row["system"], len(row["images"]), len(row["videos"])) == ("Look.", 2, 1)
    [line] = (tmp_path / "sft.jsonl").read_text().splitlines()
    assert trl_problem(json.loads(line), "messages") is None
    assert len(json.loads(line)["images"]) == 2 + 4
    [row] = parquet.read_table(tmp_path / "sft.parquet").to_pylist()
    assert verl_problem(row, "messages") is None
    assert row["videos"][0] | {"video": ""} == {"video": "", "fps": 2.0, "max_frames": 4}
    # It is no question of its own.
    assert parquet.read_table(tmp_path / "rl.parquet").num_rows == 0
    assert conversation(word=" <video>").has_placeholder
    assert not step.has_placeholder


def test_a_clip_within_another_is_refused_where_it_cannot_be_held(tmp_path: Path) -> None:
    step = conversation()
    [*first, last] = step.step.prompt.messages
    within = Message(Role.USER, (*last.content, VideoPart(last.content[0].clip, goes_on=True)))  # type: ignore[union-attr]
    step = ExportedStep(step.row, step.task, PlayedStep(Prompt((*first, within), ""), "A", 1, is_last=True))
    with pytest.raises(UserError, match="--format trl"):
        LlamaFactoryExport(tmp_path, MediaFiles(tmp_path, tmp_path)).add(step)
    TrlExport(tmp_path, MediaFiles(tmp_path, tmp_path)).add(step)


def test_clips_keep_every_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (7, 28, 84, 3), dtype=np.uint8)
    write_lossless(tmp_path / "clip.mp4", VideoClip(frames, np.arange(7.0), Span(0.0, 7.0), "noise"))
    assert np.array_equal(decoded(tmp_path / "clip.mp4"), frames)


def test_choices(nonsense_run: Path, tmp_path: Path) -> None:
    rows = rows_of(nonsense_run)
    summary = run_export(nonsense_run, tmp_path / "right", "trl", Choice(only_correct=True))
    right = [row for row in rows if row["reward"]["parts"].get("outcome") or row["reward"]["parts"].get("overlap")]
    assert 0 < summary["counts"]["episodes"] == len(right) < len(rows)
    assert run_export(nonsense_run, tmp_path / "two", "trl", Choice(limit=2))["counts"]["episodes"] == 2
    best = max(row["reward"]["total"] for row in rows)
    number = sum(row["reward"]["total"] >= best for row in rows)
    assert run_export(nonsense_run, tmp_path / "best", "trl", Choice(min_reward=best))["counts"]["episodes"] == number
    with pytest.raises(UserError, match=r"no episodes of that choice; it has .*16 of train by decoupled_grpo"):
        run_export(nonsense_run, tmp_path / "none", "trl", Choice(policy="nobody"))
    assert not (tmp_path / "none").exists()


def test_an_episode_that_is_not_played_as_it_was_recorded_is_noticed(nonsense_run: Path) -> None:
    row = next(row for row in rows_of(nonsense_run) if row["num_clip_frames"])
    shown(nonsense_run, row)
    zoom = next(step for step in row["steps"] if step["action"]["type"] == "zoom_in")
    for changed in (
        {**row, "status": "malformed"},
        {**row, "steps": [step | {"prefix": "Hm. "} for step in row["steps"]]},
        {**row, "steps": [zoom | {"action": zoom["action"] | {"span_s": [0.0, 2.5]}}, *row["steps"][1:]]},
    ):
        with pytest.raises(PlaybackError):
            shown(nonsense_run, changed)


def test_the_command(nonsense_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(nonsense_run), str(tmp_path / "out"), "--format", "llama_factory"]
    assert main([*arguments, "--only-correct"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(r"\d+ episodes, \d+ steps in", told)
    assert "mask_history: true" in told
    assert json.loads((tmp_path / "out" / "export.json").read_text())["made_with"][0]["packages"]["torch"]
    assert main(arguments) == 2
    assert "is there already" in capsys.readouterr().err
