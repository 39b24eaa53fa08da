"""From a config to objects: settings arrive, and mistakes are sentences."""

from pathlib import Path

import pytest
from generated_world import GeneratedWorld

from videozoom.envs.actions import Malformed, MalformedReason, ZoomIn
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.task_files import TaskFileError, save_tasks
from videozoom.envs.tasks import Span, Task
from videozoom.envs.videos.reader import BackendError
from videozoom.experiments.build import (
    build_env_maker,
    build_frames,
    build_policy,
    build_protocol,
    build_tasks,
    check_config,
    evidence_length_s,
    model_source,
)
from videozoom.experiments.cli import is_user_error
from videozoom.experiments.config_data import DataSource, GeneratedVideos
from videozoom.experiments.config_files import load_config
from videozoom.experiments.errors import UserError
from videozoom.policies.attention_backends import AttentionBackendError
from videozoom.policies.feature_cache import FeatureBudget
from videozoom.policies.qwen_checkpoint import CheckpointError

CORPUS = ["Which sign appears in the red scene?", "The red scene shows bars."] * 2


def test_generated_videos_are_rendered_once(tmp_path: Path) -> None:
    source = DataSource(generated=GeneratedVideos(num_videos=2, length_s=(16.0, 16.0), num_events=(2, 2)))
    tasks = build_tasks(source, tmp_path)
    assert len(tasks) == 2
    written = {task.video: task.video.stat().st_mtime_ns for task in tasks}
    assert build_tasks(source, tmp_path) == tasks
    assert {task.video: task.video.stat().st_mtime_ns for task in tasks} == written
    more = source.model_copy(update={"generated": source.generated.model_copy(update={"num_videos": 3})})
    assert [task.task_id for task in build_tasks(more, tmp_path)][:2] == [task.task_id for task in tasks]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    source = DataSource(generated=GeneratedVideos(num_videos=1, length_s=(16.0, 16.0), num_events=(2, 2)))
    with pytest.raises(UserError, match=r"Cannot write generated videos .*choose another folder with data\.videos="):
        build_tasks(source, tmp_path / "file")


def test_a_task_file_is_read(generated: GeneratedWorld, tmp_path: Path) -> None:
    save_tasks(generated.tasks, tmp_path / "tasks.jsonl")
    found = build_tasks(DataSource(tasks=tmp_path / "tasks.jsonl"), tmp_path)
    assert [task.task_id for task in found] == [task.task_id for task in generated.tasks]


def test_some_unreadable_videos_are_no_mistake_but_all_are(generated: GeneratedWorld, tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"no video" * 100)
    noise = Task("noise", tmp_path / "noise.mp4", 16.0, "Which?", ("a", "b"), "A")
    save_tasks([noise, generated.tasks[0]], tmp_path / "some.jsonl")
    assert len(build_tasks(DataSource(tasks=tmp_path / "some.jsonl"), tmp_path)) == 2
    save_tasks([noise], tmp_path / "all.jsonl")
    with pytest.raises(UserError, match=r"all\.jsonl: not one of its videos can be read; .*noise\.mp4"):
        build_tasks(DataSource(tasks=tmp_path / "all.jsonl"), tmp_path)
    with pytest.raises(TaskFileError, match=r"none\.jsonl"):
        build_tasks(DataSource(tasks=tmp_path / "none.jsonl"), tmp_path)


def test_video_settings_reach_the_frames(generated: GeneratedWorld) -> None:
    """A video of 32 s: 16 frames at 0.5 per second, of one token each; a clip of 4 s has 4 frames of 2x2 tokens."""
    [task, *_] = generated.tasks
    frames = build_frames(load_config("demo", ["video.cache=null"]))
    assert frames.fast_view(task.video).frames.shape == (16, 28, 28, 3)
    assert frames.slow_clip(task.video, Span(4.0, 8.0)).frames.shape == (4, 56, 56, 3)
    overrides = ["cache=null", "fast_max_frames=6", "fast_frame_tokens=2", "double_fast_below_s=33", "slow_fps=0.5"]
    other = build_frames(load_config("demo", [f"video.{override}" for override in overrides]))
    assert other.fast_view(task.video).frames.shape == (6, 56, 56, 3)
    assert other.slow_clip(task.video, Span(4.0, 8.0)).frames.shape == (2, 56, 56, 3)


def test_a_backend_that_is_not_installed_is_told_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = load_config("demo", ["video.backend=decord"])
    for build in (check_config, build_frames):
        with pytest.raises(BackendError, match=r"video backend 'decord' .* run: pip install 'videozoom\[decord\]'"):
            build(config)
    check_config(load_config("demo"))


def test_attention_kernels_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = load_config("demo", ["policy.text_attention=cuda"])
    monkeypatch.setattr("torch.backends.cuda.is_built", lambda: False)
    with pytest.raises(AttentionBackendError, match="is built without CUDA; install one with it, or use 'auto'"):
        check_config(config)
    monkeypatch.setattr("torch.backends.cuda.is_built", lambda: True)
    check_config(config)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(
        AttentionBackendError, match="'cuda', but the model is on 'cpu': use 'auto' or 'reference'"
    ) as raised:
        build_policy(config, tmp_path, lambda: ["a b"] * 2)
    assert is_user_error(raised.value)


def test_the_reference_can_be_asked_for(tmp_path: Path) -> None:
    for override, name in (("text_attention=reference", "reference"), ("dtype=float32", "cpu")):
        policy = build_policy(load_config("demo", [f"policy.{override}"]), tmp_path, lambda: ["a b"] * 2)
        assert policy.attention_backend.name == name


def test_protocol_settings_reach_the_protocol(tmp_path: Path) -> None:
    for name, text in (("system", "S"), ("question", "{question} / {options}"), ("instruction", "I")):
        (tmp_path / f"{name}.txt").write_text(text)
    overrides = [f"protocol.prompts={tmp_path}", "protocol.timestamps=false", "protocol.parser=eval"]
    protocol = build_protocol(load_config("demo", overrides))
    assert (protocol.prompts.system, protocol.overlay, protocol.rules.require_prefix) == ("S", None, False)
    default = build_protocol(load_config("demo"))
    assert default.overlay is not None
    assert default.rules.require_prefix


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "system.txt does not exist"),
        ({"system": b"S", "question": b"{question}", "instruction": b"I"}, "must contain {options}"),
        ({"system": b"\xff\xfe\xff"}, "utf-8"),
    ],
)
def test_prompt_texts_that_cannot_be_used_are_the_users_mistake(
    files: dict[str, bytes], sentence: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / f"{name}.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"protocol\.prompts is ") as raised:
        check_config(load_config("demo", [f"protocol.prompts={tmp_path}"]))
    assert sentence in str(raised.value)


def test_the_rules_of_the_config_are_those_of_the_environment(generated: GeneratedWorld) -> None:
    config = load_config("demo", ["env.max_steps=2", "env.span_rules.max_length_s=6", "reward.format=0.5"])
    [task, *_] = generated.tasks
    env = build_env_maker(config, generated.tasks, generated.frames)()
    observation, _ = env.reset(seed=0, options={"task": task})
    assert observation["max_steps"] == 2
    *_, info = env.step(ZoomIn(Span(4.0, 12.0)))
    assert info["action"] == Malformed(MalformedReason.TOO_LONG)
    *_, info = env.step(ZoomIn(Span(4.0, 12.0)))
    parts = info["reward_breakdown"].parts
    assert (parts["outcome"], parts["format"], "overlap" in parts) == (0.0, 0.0, False)
    free = build_env_maker(config, generated.tasks, generated.frames, span_rules=SpanRules(max_fraction=1.0))()
    free.reset(seed=0, options={"task": task})
    *_, info = free.step(ZoomIn(Span(4.0, 12.0)))
    assert info["action"] == ZoomIn(Span(4.0, 12.0))


def test_environments_take_any_task_and_share_frames(generated: GeneratedWorld) -> None:
    make_env = build_env_maker(load_config("demo"), generated.tasks, generated.frames)
    for task in generated.tasks:
        observations = [make_env().reset(seed=0, options={"task": task})[0] for _ in range(2)]
        assert observations[0]["fast_view"] is observations[1]["fast_view"]


def test_the_length_of_the_evidence(generated: GeneratedWorld) -> None:
    def task(*evidence: Span) -> Task:
        return Task("t", Path("v.mp4"), 64.0, "Which?", ("a", "b"), "A", evidence)

    assert evidence_length_s((task(Span(0.0, 2.0), Span(4.0, 8.0)), task(Span(0.0, 6.0)), task())) == 4.0
    assert evidence_length_s((task(),)) == 30.0
    assert evidence_length_s(generated.tasks) == 4.0


def test_a_tiny_model_is_built_and_a_checkpoint_is_loaded(tmp_path: Path) -> None:
    sizes = ["policy.tiny.hidden_size=32", "policy.tiny.num_layers=1", "rollout.temperature=0.5"]
    tiny = build_policy(load_config("demo", [*sizes, "seed=3"]), tmp_path / "tiny", lambda: CORPUS)
    assert tiny.model.config.text_config.hidden_size == 32
    assert tiny.sampling.temperature == 0.5

    def no_corpus() -> list[str]:
        raise AssertionError("a checkpoint brings its own tokenizer")

    config = load_config("demo", [f"policy.checkpoint={tmp_path / 'tiny'}", "policy.freeze_vision=false"])
    check_config(config)
    loaded = build_policy(config, tmp_path / "unused", no_corpus)
    assert not loaded.features.is_frozen
    assert not (tmp_path / "unused").exists()
    assert not model_source(config, tmp_path / "tiny").load().features.is_frozen


def test_what_is_kept_and_what_is_computed_again_is_as_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = ["memory_gib=0.5", "folder=features", "disk_gib=2"]
    config = load_config(
        "demo", ["policy.gradient_checkpointing=true", *(f"policy.feature_cache.{it}" for it in cache)]
    )
    source = model_source(config, tmp_path / "tiny")
    assert source.gradient_checkpointing
    # Workers run in folders of their own.
    assert source.feature_budget == FeatureBudget(2**29, tmp_path / "features", 2 * 2**30)
    plain = model_source(load_config("demo", []), tmp_path / "tiny")
    assert plain.feature_budget == FeatureBudget()
    assert not plain.gradient_checkpointing


@pytest.mark.parametrize(
    ("content", "override", "sentence"),
    [
        (None, "dtype=float32", "no checkpoint at"),
        ('{"model_type": "qwen2"}', "dtype=float32", "'qwen2' model; only 'qwen2_5_vl'"),
        ("{}", "dtype=float32", "cannot read the config.json"),
    ],
)
def test_a_checkpoint_is_looked_at_before_anything_else(
    content: str | None, override: str, sentence: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=sentence):
        check_config(load_config("demo", [f"policy.checkpoint={tmp_path}", f"policy.{override}"]))
