"""A tiny policy and prompts on random clips, shared by the policy tests."""

from pathlib import Path

import pytest

from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.sampling import Sampling
from videozoom.policies.tiny import TinySize, build_tiny

CORPUS = [
    "Which sign appears in the red scene?\nA. bars\nB. lines",
    "I need to zoom in on the video.\n\nThe red scene is at 12 to 16. \\boxed{[12, 16]}",
    "I get the answer.\n\nThe red scene shows bars. \\boxed{A}",
] * 2


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = TinySize(hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, intermediate_size=64)
    return build_tiny(tmp_path_factory.mktemp("tiny"), CORPUS, size=size)


@pytest.fixture
def policy(tiny_folder: Path) -> QwenVLPolicy:
    return QwenVLPolicy.from_checkpoint(tiny_folder, sampling=Sampling(max_new_tokens=12))
