"""Features that are kept: in memory to a bound, on the disk whole or not at all, and never for other weights."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_prompts import random_clip
from torch import Tensor

from videozoom.envs.tasks import Span
from videozoom.envs.videos import cache_writer
from videozoom.policies.feature_cache import FeatureBudget, FeatureCache, FeatureSource, FeatureStats
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.vision_features import VisionFeatures, tower_fingerprint

NAME, OTHER = "ab" * 16, "cd" * 16
CLIP = random_clip("a", 4, 28, Span(0, 4))


def features(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(8, 16, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture
def budget(tmp_path: Path) -> FeatureBudget:
    return FeatureBudget(folder=tmp_path / "features")


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    cache_writer.log.addHandler(handler)
    yield found
    cache_writer.log.removeHandler(handler)


def files(budget: FeatureBudget) -> list[Path]:
    assert budget.folder is not None
    return sorted(budget.folder.rglob("*.safetensors*"))


def test_memory_keeps_what_was_used_last() -> None:
    size = features(0).nbytes
    cache = FeatureCache(FeatureBudget(memory_bytes=2 * size))
    for number in range(2):
        cache.put(str(number), features(number))
    assert cache.get("0") is not None
    cache.put("2", features(2))
    assert [cache.get(name) is not None for name in "012"] == [True, False, True]
    cache.clear()
    assert cache.get("0") is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_process_finds_them_on_the_disk(budget: FeatureBudget, dtype: torch.dtype) -> None:
    FeatureCache(budget).put(NAME, features(1, dtype))
    again = FeatureCache(budget)
    found = again.get(NAME)
    assert found is not None
    assert found[1] == FeatureSource.DISK
    assert torch.equal(found[0], features(1, dtype))
    assert again.get(NAME)[1] == FeatureSource.MEMORY  # type: ignore[index]
    assert again.get(OTHER) is None


def test_the_disk_is_bounded(budget: FeatureBudget) -> None:
    cache = FeatureCache(replace(budget, memory_bytes=0, disk_bytes=3 * 4096))
    for number in range(8):
        cache.put(f"{number:032x}", features(number))
    assert 1 <= len(files(budget)) <= 3
    assert cache.get(f"{7:032x}") is not None
    assert cache.num_bytes() <= 3 * 4096


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"", lambda data: b"\xff" * len(data)])
def test_a_damaged_file_counts_as_missing_and_goes(budget: FeatureBudget, damage) -> None:
    FeatureCache(budget).put(NAME, features(1))
    [file] = files(budget)
    file.write_bytes(damage(file.read_bytes()))
    cache = FeatureCache(budget)
    assert cache.get(NAME) is None
    assert files(budget) == []
    cache.put(NAME, features(2))
    assert torch.equal(FeatureCache(budget).get(NAME)[0], features(2))  # type: ignore[index]


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = FeatureCache(FeatureBudget(folder=tmp_path / "file"))
    cache.put(NAME, features(1))
    cache.put(OTHER, features(2))
    assert cache.get(OTHER) is not None
    [warning] = warnings
    assert warning.startswith(f"The feature cache {tmp_path / 'file'} cannot be written")


def test_each_clip_is_computed_once_ever(tiny_folder: Path, budget: FeatureBudget) -> None:
    other = random_clip("b", 2, 28, Span(0, 2))
    first = QwenVLPolicy.from_checkpoint(tiny_folder, feature_budget=budget).features
    expected = first([CLIP, other, CLIP])
    assert first.stats == FeatureStats(num_computed=2)
    first([CLIP])
    assert first.stats == FeatureStats(num_memory_hits=1, num_computed=2)
    second = QwenVLPolicy.from_checkpoint(tiny_folder, feature_budget=budget).features
    assert torch.equal(second([CLIP])[0], expected[0])
    assert second.stats == FeatureStats(num_disk_hits=1)


def test_features_do_not_depend_on_what_is_computed_with_them(tiny_folder: Path) -> None:
    clips = [random_clip(f"c{index}", 2 + 2 * (index % 3), 28 * (1 + index % 4), Span(0, 4)) for index in range(9)]
    together = QwenVLPolicy.from_checkpoint(tiny_folder).features(clips)
    alone = [QwenVLPolicy.from_checkpoint(tiny_folder).features([clip])[0] for clip in clips]
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_other_weights_or_pixels_are_other_features(tiny_folder: Path, budget: FeatureBudget) -> None:
    policy = QwenVLPolicy.from_checkpoint(tiny_folder, feature_budget=budget)
    [before] = policy.features([CLIP])
    with torch.no_grad():
        policy.model.model.visual.merger.mlp[0].weight[0, 0] += 0.5
    policy.features.clear()
    [after] = policy.features([CLIP])
    assert not torch.equal(before, after)
    assert policy.features.stats.num_computed == 2
    policy.features([replace(CLIP, key="another")])
    assert policy.features.stats.num_computed == 3
    assert len(files(budget)) == 3


def test_the_fingerprint_names_what_decides_features(tiny_folder: Path) -> None:
    tower = QwenVLPolicy.from_checkpoint(tiny_folder).model.model.visual
    same = QwenVLPolicy.from_checkpoint(tiny_folder).model.model.visual
    assert tower_fingerprint(tower) == tower_fingerprint(same)
    assert tower_fingerprint(same.bfloat16()) != tower_fingerprint(tower)
    assert tower_fingerprint(same.float()) != tower_fingerprint(tower)  # Rounded.
    before = tower_fingerprint(tower)
    tower.config._attn_implementation = "eager"
    assert tower_fingerprint(tower) != before


def test_policies_with_the_same_frozen_tower_share_their_features(tiny_folder: Path) -> None:
    def shares(**options: bool) -> bool:
        policy = QwenVLPolicy.from_checkpoint(tiny_folder)
        reference = QwenVLPolicy.from_checkpoint(tiny_folder, **options)
        with torch.no_grad():
            # Trained in the meantime.
            policy.model.lm_head.weight.mul_(2.0)
        reference.share_features(policy)
        policy.features([CLIP])
        reference.features([CLIP])
        return policy.features.stats == FeatureStats(num_memory_hits=1, num_computed=1)

    assert shares()
    assert not shares(freeze_vision=False)
    policy, other = QwenVLPolicy.from_checkpoint(tiny_folder), QwenVLPolicy.from_checkpoint(tiny_folder)
    with torch.no_grad():
        other.model.model.visual.merger.mlp[0].weight[0, 0] += 0.5
    other.share_features(policy)
    assert other.features is not policy.features


def test_nothing_is_kept_of_a_tower_that_learns(tiny_folder: Path, budget: FeatureBudget) -> None:
    policy = QwenVLPolicy.from_checkpoint(tiny_folder, freeze_vision=False, feature_budget=budget)
    policy.features([CLIP, CLIP])
    policy.features([CLIP])
    assert policy.features.stats == FeatureStats(num_computed=2)
    assert files(budget) == []


def test_kept_features_are_not_a_part_of_something_larger(tiny_folder: Path) -> None:
    """A view would keep alive what it is a view of, and the bound would not hold."""
    policy = QwenVLPolicy.from_checkpoint(tiny_folder)
    assert isinstance(policy.features, VisionFeatures)
    [kept] = policy.features([CLIP])
    assert kept.untyped_storage().nbytes() == kept.nbytes
    assert np.prod(kept.shape) == kept.numel()
