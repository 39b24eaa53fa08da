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
        ("env.zzz=1", "allowed there: kind, max_steps, "),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(override: str, advice: str) -> None:
    message = error_of(override)
    assert message.startswith("Unknown key '")
    assert advice in message
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


def test_numbers_that_yaml_would_turn_into_others_are_refused() -> None:
    # YAML 1.1 reads these as 8, 16, 1000 and 90.
    for text in ("010", "0x10", "1_000", "1:30"):
        with pytest.raises(UserError, match="seed must be a valid integer"):
            load_config(overrides=[f"seed={text}"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &a [*a]", "Circular reference"),
        ("? [a, b]\n: 1", "a key must be text"),
        ("seed: !!binary aGk=", "not JSON serializable"),
        ("seed: !!set {a, b}", "not JSON serializable"),
        ("rollout: {1: 2}", "Unknown key 'rollout.1'"),
    ],
)
def test_yaml_that_json_could_not_say_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence) as caught:
        load_config(tmp_path / "odd.yaml")
    assert "\n" not in str(caught.value)


def test_anchors_and_merge_keys_are_read(tmp_path: Path) -> None:
    text = "grpo: {eval_every: &often 2, checkpoint_every: *often}\nvideo: {<<: {fast_fps: 1.0}, slow_fps: 4.0}\n"
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "a.yaml")
    assert (config.grpo.checkpoint_every, config.video.fast_fps, config.video.slow_fps) == (2, 1.0, 4.0)


def test_entries_of_a_default_list_can_be_overridden() -> None:
    assert load_config(overrides=["eval.policies.0=never"]).eval.policies == ("never",)
    assert load_config(overrides=["data.train.generated.length_s.0=32"]).data.train.generated.length_s == (32.0, 64.0)
    with pytest.raises(UserError, match="'1' is no entry of the list; allowed: 0 to 0"):
        load_config(overrides=["eval.policies.1=never"])


def test_a_list_that_is_too_short_is_looked_for_where_it_was_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: {train: {generated: {length_s: [64, 64], seed: 7}}}", encoding="utf-8")
    with pytest.raises(UserError, match=r"length_s\.1 is missing in the overrides"):
        load_config(tmp_path / "a.yaml", ["data.train.generated.length_s=[64]"])


def test_a_misspelled_key_without_its_section_is_found() -> None:
    with pytest.raises(UserError, match=r"did you mean 'rollout\.group_size'\?"):
        load_config(overrides=["group_siz=3"])


def test_a_built_in_configuration_can_be_extended_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: demo\nname: mine", encoding="utf-8")
    assert load_config(tmp_path / "mine.yaml") == load_config("demo", ["name=mine"])
    # A file of that name beside it comes first.
    (tmp_path / "demo").write_text("seed: 77", encoding="utf-8")
    assert load_config(tmp_path / "mine.yaml").seed == 77


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a": "extends: a.yaml"}, "extends another file itself"),
        ({"a": "extends: b.yaml", "b": "extends: a.yaml"}, "extends another file itself"),
        ({"a": "extends: b.yaml", "b": "extends: c.yaml", "c": "seed: 1"}, "only one level is allowed"),
        ({"a": "extends: [b.yaml]", "b": "seed: 1"}, "extends must be the name of one file"),
        ({"a": "extends: nowhere.yaml"}, "give a path relative to the file or one of: demo, "),
        ({"a": "rollout: {extends: b.yaml}", "b": "seed: 1"}, "Unknown key 'rollout.extends'"),
    ],
)
def test_chains_and_cycles_are_refused(files: dict[str, str], sentence: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        load_config(tmp_path / "a.yaml")
