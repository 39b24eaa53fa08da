import math
from pathlib import Path

import pytest

from videozoom.experiments.config_files import BUILT_IN, dump_config, load_config
from videozoom.experiments.errors import UserError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def error_of(*overrides: str, source: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_config(source, overrides)
    return str(caught.value)


def test_overrides_replace_the_file_which_replaces_its_base(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "seed: 1\nrollout: {group_size: 4, temperature: 0.5}\ngrpo: {lr: 1e-5}\n")
    path = write(tmp_path / "own.yaml", "extends: base.yaml\nrollout: {group_size: 6}\n")
    config = load_config(path, ["grpo.lr=2e-5"])
    assert (config.seed, config.rollout.group_size, config.rollout.temperature) == (1, 6, 0.5)
    assert config.grpo.lr == 2e-5


def test_lists_are_replaced_and_their_entries_can_be_overridden(tmp_path: Path) -> None:
    source = "{tasks: short.jsonl}"
    stage = "{name: a, objectives: {cot: 1}, sources: {short: 1}, num_steps: 5}"
    path = write(tmp_path / "c.yaml", f"data: {{cold_start: {{short: {source}}}}}\ncold_start: {{stages: [{stage}]}}\n")
    config = load_config(path, ["cold_start.stages.0.num_steps=7"])
    assert [(it.name, it.num_steps) for it in config.cold_start.stages] == [("a", 7)]
    assert "allowed: 0 to 0" in error_of("cold_start.stages.1.num_steps=7", source=path)


@pytest.mark.parametrize("name", sorted(path.stem for path in BUILT_IN.glob("*.yaml")))
def test_a_written_configuration_reads_as_the_same(name: str, tmp_path: Path) -> None:
    config = load_config(name, ["grpo.lr=3e-7", "tracking.project='yes'"])
    path = write(tmp_path / "config.yaml", dump_config(config))
    assert load_config(path) == config
    assert dump_config(load_config(path)) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(path.stem for path in BUILT_IN.glob("*.yaml")))
def test_one_pass_of_the_learner_holds_the_longest_prompt(name: str) -> None:
    config = load_config(name)
    video, num_steps = config.video, config.env.max_steps
    fast = math.ceil(video.fast_max_frames / 2) * video.fast_frame_tokens
    slow = math.ceil(video.slow_max_frames / 2) * video.slow_frame_tokens
    visual = 0 if config.env.kind == "caption_tree" else fast + (num_steps - 1) * slow
    # At most this; what was said before is in the prompts of some protocols.
    text = 2000 + num_steps * config.rollout.max_new_tokens
    assert visual + text <= config.grpo.max_tokens_per_batch


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("rolout.group_size=4", "did you mean 'rollout.group_size'?"),
        ("rollout.groupsize=4", "did you mean 'rollout.group_size'?"),
        ("group_size=4", "did you mean 'rollout.group_size'?"),
        ("env.span_rules.min_len_s=2", "did you mean 'env.span_rules.min_length_s'?"),
        (
            "data.cold_start={near: {generated: {nun_videos: 3}}}",
            "did you mean 'data.cold_start.near.generated.num_videos'?",
        ),
        ("env.zzz=1", "allowed there: kind, max_steps, mask_unreadable, span_rules"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(override: str, advice: str) -> None:
    message = error_of(override)
    assert message.startswith("Unknown key '")
    assert message.endswith(advice)
    assert override.partition("=")[0] in message


def test_an_unknown_key_is_found_in_the_file_that_has_it(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "rolout: {group_size: 4}\n")
    own = write(tmp_path / "own.yaml", "extends: base.yaml\nseed: 3\n")
    assert error_of("seed=4", source=own) == (
        f"Unknown key 'rolout.group_size' in {base}; did you mean 'rollout.group_size'?"
    )


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("rollout.group_size=1", "rollout.group_size must be greater than or equal to 2, got 1, in the overrides"),
        ("rollout.group_size=two", 'rollout.group_size must be a valid integer, got "two", in the overrides'),
        ("rollout.group_size=4.5", "rollout.group_size must be a valid integer, got 4.5, in the overrides"),
        ("tracking.wandb=yes", 'tracking.wandb must be a valid boolean, got "yes", in the overrides'),
        ("policy.dtype=fp8", "policy.dtype must be 'float32' or 'bfloat16', got \"fp8\", in the overrides"),
        ("grpo.lr=.inf", "grpo.lr must be a finite number, got Infinity, in the overrides"),
        ("rollout=", "rollout must be a mapping, got null, in the overrides"),
        ("seed=2026-01-01", 'seed must be a valid integer, got "2026-01-01", in the overrides'),
        ("reward={outcome: 0, overlap: 0}", "reward: all weights are 0; give at least one part a positive weight"),
        (
            "cold_start.stages=[{name: a, objectives: {cot: 1}, sources: {far: 1}, num_steps: 3}]",
            "cold_start.stages.0.sources names 'far', but data.cold_start has: none",
        ),
        ("seed", "Override 'seed' is not of the form key.sub=value"),
        ("a..b=1", "Override 'a..b=1' is not of the form key.sub=value"),
        ("seed=[1", "The value of override 'seed=[1' is not YAML"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(override: str, sentence: str) -> None:
    assert sentence in error_of(override)


def test_numbers_may_be_written_with_an_exponent() -> None:
    assert load_config(None, ["grpo.lr=1e-6"]).grpo.lr == 1e-6
    assert load_config(None, ["grpo.weight_decay=0"]).grpo.weight_decay == 0.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("extends: nowhere.yaml\n", "extends 'nowhere.yaml', but there is no"),
        ("extends: [a, b]\n", "extends must be the name of one file"),
        ("- seed\n", "must hold `key: value` lines"),
        ("seed: [1\n", "Cannot read"),
        ("seed: 1\nseed: 2\n", "key 'seed' is written twice"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in error_of(source=write(tmp_path / "c.yaml", text))


def test_a_base_may_not_extend_another_file(tmp_path: Path) -> None:
    write(tmp_path / "first.yaml", "seed: 1\n")
    write(tmp_path / "second.yaml", "extends: first.yaml\n")
    third = write(tmp_path / "third.yaml", "extends: second.yaml\n")
    assert "only one level is allowed" in error_of(source=third)


def test_a_missing_file_is_answered_with_the_built_in_names() -> None:
    assert error_of(source=Path("no_such.yaml")).startswith("No configuration file 'no_such.yaml'; give the path")
    assert "demo" in error_of(source=Path("no_such"))


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "empty.yaml", "")) == load_config()
