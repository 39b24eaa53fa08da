from pathlib import Path

import pytest
from pydantic import ValidationError

from videozoom.experiments.config import Config
from videozoom.experiments.config_data import Data, DataSource, GeneratedVideos
from videozoom.experiments.config_env import Env, SpanRules
from videozoom.experiments.config_policy import Policy, TinyModel
from videozoom.experiments.config_reward import Reward


def test_run_folder_is_named_after_the_run() -> None:
    assert Config(name="try").run_dir == Path("runs/try")
    assert Config(name="try", run_dir=Path("elsewhere")).run_dir == Path("elsewhere")


def test_defaults_are_those_of_love_r1() -> None:
    config = Config()
    assert (config.video.fast_fps, config.video.fast_max_frames, config.video.fast_frame_tokens) == (2.0, 768, 32)
    assert (config.video.slow_max_frames, config.video.slow_frame_tokens) == (32, 256)
    assert (config.env.max_steps, config.rollout.group_size, config.grpo.kl_coef) == (3, 8, 0.0)
    assert config.env.span_rules == SpanRules(min_length_s=1.0, max_length_s=60.0, max_fraction=0.5, repeat_iou=0.7)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().env.max_steps = 4  # type: ignore[misc]


def test_a_source_is_a_file_or_generated() -> None:
    with pytest.raises(ValidationError, match="neither is set"):
        DataSource()
    with pytest.raises(ValidationError, match="both are set"):
        DataSource(tasks=Path("a.jsonl"), generated=GeneratedVideos())


def test_evaluation_must_use_other_videos_than_training() -> None:
    few, many = (DataSource(generated=GeneratedVideos(num_videos=n, seed=5)) for n in (4, 40))
    with pytest.raises(ValidationError, match=r"eval and cold_start\.short have the same videos"):
        Data(eval=few, cold_start={"short": many})
    assert Data(eval=few, cold_start={"short": DataSource(generated=GeneratedVideos(seed=6))})


def test_impossible_videos_are_refused_by_the_rules_of_the_generator() -> None:
    with pytest.raises(ValidationError, match="at least 16 to hold 4 events"):
        GeneratedVideos(length_s=(8.0, 8.0), num_events=(4, 4))


def test_impossible_span_rules_are_refused_by_the_rules_of_the_environment() -> None:
    with pytest.raises(ValidationError, match="max_length_s"):
        Env(span_rules=SpanRules(min_length_s=5.0, max_length_s=4.0))


def test_a_reward_needs_a_weight() -> None:
    with pytest.raises(ValidationError, match="all weights are 0"):
        Reward(outcome=0.0, overlap=0.0)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"hidden_size": 100}, "hidden_size 100 must be a multiple of 4 x num_heads, 16"),
        ({"vision_hidden_size": 60}, "vision_hidden_size 60 must be a multiple of 4 x vision_num_heads, 8"),
        ({"num_kv_heads": 3}, "num_heads 4 must be a multiple of num_kv_heads 3"),
    ],
)
def test_sizes_of_a_tiny_model_must_fit_together(sizes: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Policy(tiny=TinyModel(**sizes))


def test_marks_are_not_read_in_captions() -> None:
    values = {
        "data": {"cold_start": {"mixed": {"generated": {"seed": 3}}}},
        "env": {"kind": "caption_tree"},
        "protocol": {"name": "longvideo_r1"},
    }
    stage = {"name": "s", "sources": {"mixed": 1}, "num_steps": 1}
    assert Config(**values, cold_start={"stages": [stage | {"objectives": {"reading": 1}}]})
    with pytest.raises(ValidationError, match=r"cold_start\.stages\.0\.objectives has 'marks', but captions tell none"):
        Config(**values, cold_start={"stages": [stage | {"objectives": {"marks": 1}}]})
