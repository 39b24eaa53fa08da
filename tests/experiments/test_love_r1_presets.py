from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.span_rules import SpanRules
from videozoom.experiments.build import build_protocol
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config, load_config
from videozoom.experiments.errors import UserError
from videozoom.experiments.love_r1_presets import PRESETS, with_preset


def value_of(config: Config, path: str) -> Any:
    return reduce(getattr, path.split("."), config)


def settings(preset: str, *overrides: str) -> Config:
    return load_config(None, [f"protocol.preset={preset}", *overrides])


def test_the_defaults_are_those_of_the_paper() -> None:
    config, named = Config(), settings("paper")
    for path, fact in PRESETS["paper"].items():
        value = config.protocol.parser or "rl" if path == "protocol.parser" else value_of(config, path)
        assert value == fact.value, path
    assert named.model_copy(update={"protocol": config.protocol}) == config


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "paper"])
def test_a_preset_sets_what_it_says_and_nothing_else(preset: str) -> None:
    config, default = settings(preset), Config()
    for path, fact in PRESETS[preset].items():
        if path != "protocol.parser" or fact.value != "rl":
            assert value_of(config, path) == fact.value, path
        assert fact.source
    changed = {path.split(".")[0] for path in PRESETS[preset]}
    for name in Config.model_fields:
        if name not in changed:
            assert getattr(config, name) == getattr(default, name)
    assert config != default


@pytest.mark.parametrize(
    ("preset", "path", "value"),
    [
        ("paper", "video.slow_max_frames", 32),
        ("paper", "video.double_fast_below_s", 0),
        ("paper", "env.max_steps", 3),
        ("paper", "reward.format", 0),
        ("released_rl", "video.slow_max_frames", 16),
        ("released_rl", "video.double_fast_below_s", 60),
        ("released_rl", "video.double_slow_below_s", 0),
        ("released_rl", "env.max_steps", 2),
        ("released_rl", "env.span_rules.repeat_iou", 0.7),
        ("released_rl", "reward.format", 1),
        ("released_rl", "rollout.top_k", 50),
        ("paper", "reward_rules.needs_format", False),
        ("released_rl", "reward_rules.needs_format", True),
        ("released_eval", "env.span_rules.ends_at_whole_s", True),
        ("released_eval", "env.whole_clip_if_refused", True),
        ("released_sft", "video.double_fast_below_s", 120),
        ("released_sft", "cold_start.clip_frames", (32, 24, 16)),
        ("released_eval", "video.slow_max_frames", 32),
        ("released_eval", "video.double_slow_below_s", 60),
        ("released_eval", "env.span_rules.repeat_iou", 0.3),
        ("released_eval", "eval.max_new_tokens", 2048),
        ("released_eval_mlvu", "video.fast_max_frames", 384),
        ("released_eval_mlvu", "video.fast_frame_tokens", 64),
        ("released_eval_longvideobench", "video.slow_max_frames", 16),
        ("released_eval_longvideobench", "env.span_rules.pad_s", 5),
    ],
)
def test_published_values(preset: str, path: str, value: object) -> None:
    assert value_of(settings(preset), path) == value


def test_evaluation_has_the_rules_that_are_named_so() -> None:
    rules, named = settings("released_eval").env.span_rules, SpanRules.evaluation()
    without_limit = {"max_length_s": named.max_length_s}
    assert SpanRules(**rules.model_dump() | without_limit) == named


def test_keys_win_over_the_preset_in_files_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("protocol: {preset: released_rl}\nvideo: {slow_max_frames: 8}\nenv: {span_rules: {pad_s: 2.0}}\n")
    config = load_config(path, ["env.max_steps=4", "rollout.stop=[a, b]"])
    assert (config.video.slow_max_frames, config.env.span_rules.pad_s, config.env.max_steps) == (8, 2.0, 4)
    assert (config.video.double_fast_below_s, config.rollout.top_k, config.rollout.stop) == (60.0, 50, ("a", "b"))


def test_what_was_resolved_reads_as_the_same(tmp_path: Path) -> None:
    config = settings("released_eval", "env.span_rules.pad_s=1")
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert "pad_s: 1.0" in path.read_text()


def test_values_given_are_left_as_they_are() -> None:
    given = {"protocol": {"preset": "released_rl"}, "env": {"span_rules": {}}}
    with_preset(given)
    assert given == {"protocol": {"preset": "released_rl"}, "env": {"span_rules": {}}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["protocol.preset=sft_code"], "'released_sft'"),
        (["protocol.preset=no_tool"], "no_tool is none of protocol.name=love_r1"),
        (["protocol.name=longvideo_r1", "env.kind=caption_tree", "protocol.preset=released_rl"], "longvideo_r1"),
        (["protocol.preset=[1]"], "protocol.preset"),
        (["protocol.preset=released_rl", "env.span_rules=4"], "env.span_rules must be a mapping"),
    ],
)
def test_presets_that_do_not_exist_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(None, overrides)


def test_presets_reach_the_protocol() -> None:
    protocol = build_protocol(settings("released_eval"))
    assert isinstance(protocol, LoveR1Protocol)
    assert protocol.rules.lowest_two
    assert protocol.force_after_malformed
    released = build_protocol(settings("released_rl"))
    assert isinstance(released, LoveR1Protocol)
    assert not released.force_answer
