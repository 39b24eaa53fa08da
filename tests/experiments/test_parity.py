"""`videozoom parity` says yes where sampler and learner agree, and no where either is broken on purpose."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generated_world import smoke_config

from videozoom.envs.actions import Answer, Malformed, ZoomIn
from videozoom.envs.observation import EPISODE_KINDS, Observation, VideoClip
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.tasks import EpisodeKind, Span
from videozoom.experiments import parity_comparison
from videozoom.experiments.cli import main
from videozoom.experiments.config_files import dump_config
from videozoom.experiments.parity import run_parity
from videozoom.experiments.parity_rows import parity_rows, verdict
from videozoom.experiments.parity_zooms import MadeUpZooms
from videozoom.policies import logprobs, sampler, tree_logprobs
from videozoom.policies.base import Completion
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.rendering import RenderedPrompt

COLUMNS = {
    *("step", "num_completions", "num_prompt_tokens", "num_visual_tokens", "num_sampled_tokens"),
    *("token_mismatches", "position_mismatches", "visual_mismatches"),
    *("logprob_max_abs", "logprob_mean_abs", "learner_max_abs"),
}


@pytest.fixture
def report(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Return a function that runs the check, its exit code and what it reports."""

    def run(*overrides: str, **options: Any) -> tuple[int, Any]:
        code = run_parity(smoke_config(videos, tmp_path / "run", *overrides), num_groups=2, as_json=True, **options)
        return code, json.loads(capsys.readouterr().out)

    return run


def test_sampler_and_learner_agree(report: Callable[..., tuple[int, Any]], tmp_path: Path) -> None:
    code, found = report("rollout.top_p=0.9")
    assert (code, found["is_equal"], found["tolerance"]) == (0, True, 1e-5)
    assert [row["step"] for row in found["rows"]] == ["1", "2", "3", "all"]
    total = found["rows"][-1]
    assert set(total) == COLUMNS
    # One group of two episodes of three steps, one of two single zooms.
    assert [row["num_completions"] for row in found["rows"]] == [4, 2, 2, 8]
    assert [total[f"{name}_mismatches"] for name in ("token", "position", "visual")] == [0, 0, 0]
    assert 0.0 < total["logprob_max_abs"] < 5e-6
    assert total["logprob_mean_abs"] <= total["logprob_max_abs"]
    assert total["learner_max_abs"] < 5e-6
    # The untrained model writes nonsense; its episodes have clips all the same.
    visual = [row["num_visual_tokens"] / row["num_completions"] for row in found["rows"][:3]]
    assert visual[0] < visual[1] < visual[2]
    assert found["num_made_up_zooms"] > 0
    worst = found["worst"]
    assert abs(worst["sampler_logprob"] - worst["learner_logprob"]) == pytest.approx(total["logprob_max_abs"])
    assert not (tmp_path / "run").exists()


def test_a_tolerance_of_zero_is_never_kept(report: Callable[..., tuple[int, Any]]) -> None:
    code, found = report(tolerance=0.0)
    assert (code, found["is_equal"]) == (1, False)
    assert "more than 0. If policy.text_attention=reference mends that" in found["verdict"]


def test_half_precision_has_a_tolerance_of_its_own(report: Callable[..., tuple[int, Any]]) -> None:
    code, found = report("policy.dtype=bfloat16")
    assert (code, found["tolerance"]) == (0, 0.1)
    assert found["rows"][-1]["logprob_max_abs"] > 1e-5


def broken_sampling(change: Callable[[Completion], Completion]) -> Callable[..., list[Completion]]:
    sample = sampler.sample
    return lambda *arguments: [change(completion) for completion in sample(*arguments)]


def test_completions_placed_elsewhere_are_noticed(
    report: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: the sampler counts on from the prompt's length, not from its largest position."""
    prefill = sampler._Batch._prefill

    def broken(self: Any, *arguments: Any) -> torch.Tensor:
        logits = prefill(self, *arguments)
        self.next_positions = self.next_positions + 5
        return logits

    monkeypatch.setattr(sampler._Batch, "_prefill", broken)
    code, found = report()
    total = found["rows"][-1]
    assert code == 1
    assert total["position_mismatches"] > 0
    assert (total["token_mismatches"], total["visual_mismatches"]) == (0, 0)
    assert "positions differ" in found["verdict"]


def test_another_temperature_is_noticed(
    report: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sampler.sample

    def warmer(policy: Any, prompts: Any, seeds: Any, sampling: Any, held: Any) -> list[Completion]:
        return sample(policy, prompts, seeds, replace(sampling, temperature=1.01), held)

    monkeypatch.setattr(sampler, "sample", warmer)
    code, found = report()
    total = found["rows"][-1]
    assert code == 1
    assert total["position_mismatches"] == total["token_mismatches"] == 0
    assert total["logprob_max_abs"] > 1e-4
    assert total["learner_max_abs"] < 5e-6


def test_other_pixels_are_noticed(report: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    embed_packed = QwenVLPolicy.embed_packed
    is_sampling = [True]

    def noisy(self: QwenVLPolicy, tree: Any, is_wanted: Any = None) -> torch.Tensor:
        embeds = embed_packed(self, tree, is_wanted)
        rows = np.flatnonzero((tree.feature_rows if is_wanted is None else tree.feature_rows[is_wanted]) >= 0)
        return embeds.index_fill(1, torch.from_numpy(rows), 0.0) if is_sampling[0] else embeds

    learned = parity_comparison._learned

    def clean(*arguments: Any) -> Any:
        is_sampling[0] = False
        return learned(*arguments)

    monkeypatch.setattr(QwenVLPolicy, "embed_packed", noisy)
    monkeypatch.setattr(parity_comparison, "_learned", clean)
    code, found = report()
    total = found["rows"][-1]
    assert code == 1
    assert total["token_mismatches"] == total["num_visual_tokens"]


def test_another_number_of_visual_tokens_is_noticed(
    report: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = broken_sampling(lambda it: replace(it, num_visual_tokens=it.num_visual_tokens + 2))
    monkeypatch.setattr(sampler, "sample", change)
    code, found = report()
    assert (code, found["rows"][-1]["visual_mismatches"]) == (1, 2 * 8)


def test_a_learner_that_is_off_is_noticed(
    report: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a tree learner that places completions elsewhere, as its own sequences say."""
    positions = RenderedPrompt.completion_positions
    sequences_of = logprobs.sequences_of

    def moved(*arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RenderedPrompt, "completion_positions", lambda self, n: positions(self, n) + 5)
            return sequences_of(*arguments)

    monkeypatch.setattr(tree_logprobs, "sequences_of", moved)
    code, found = report()
    total = found["rows"][-1]
    assert code == 1
    assert total["position_mismatches"] > 0
    assert total["learner_max_abs"] > 1e-5


def test_people_get_a_table(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(dump_config(smoke_config(videos, tmp_path / "run")), encoding="utf-8")
    assert main(["parity", str(config), "--num-groups", "2", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["1", "2", "3", "all"]
    assert max(map(len, lines[:6])) <= 80
    assert any(line.startswith("Largest: task ") for line in lines)
    assert lines[-1] == "What is trained is what was sampled, to 1e-05."
    assert main(["parity", str(config), "--num-groups", "2", "--quiet", "--tolerance", "0"]) == 1


def row(**values: float) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS, 0) | values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"token_mismatches": 3, "visual_mismatches": 1}, "3 tokens, 1 visual tokens differ"),
        ({"logprob_max_abs": 2e-5}, "differ from the learner's by up to 2.0e-05"),
        ({"logprob_max_abs": float("nan")}, "differ from the learner's by up to nan"),
        ({"learner_max_abs": 3e-5}, "token tree differs from the plain one by up to 3.0e-05"),
    ],
)
def test_what_to_do_depends_on_what_is_wrong(values: dict[str, float], words: str) -> None:
    is_equal, sentence = verdict([row(**values)], 1e-5)
    assert not is_equal
    assert words in sentence
    assert verdict([row(logprob_max_abs=1e-5, learner_max_abs=1e-5)], 1e-5)[0]


def test_rows_by_hand() -> None:
    def comparison(step: int, sampled: Sequence[float]) -> parity_comparison.Comparison:
        learned, plain = np.array([-1.0, -2.0]), np.array([-1.0, -2.5])
        ids = np.zeros(2, np.int32)
        return parity_comparison.Comparison(
            "t", EpisodeKind.MULTI_STEP, 0, step, 10, 4, ids, 0, 0, 0, np.array(sampled), learned, plain
        )

    rows = parity_rows([comparison(1, [-1.0, -2.0]), comparison(2, [-1.25, -2.0])])
    assert [it["logprob_max_abs"] for it in rows] == [0.0, 0.25, 0.25]
    assert [it["logprob_mean_abs"] for it in rows] == [0.0, 0.125, 0.0625]
    assert [it["learner_max_abs"] for it in rows] == [0.5, 0.5, 0.5]
    assert [it["num_prompt_tokens"] for it in rows] == [10, 10, 20]


def observation(step: int, kind: EpisodeKind) -> Observation:
    clip = VideoClip(np.zeros((2, 28, 28, 3), np.uint8), np.zeros(2), Span(0.0, 64.0), "v")
    return {
        "fast_view": clip,
        "clips": (),
        "question": "Which?",
        "question_kind": 0,
        "options": ("a", "b"),
        "step": step,
        "max_steps": 3,
        "episode_kind": EPISODE_KINDS.index(kind),
        "turns": (),
    }


def test_only_nonsense_becomes_a_zoom_and_only_where_one_is_allowed() -> None:
    zooms = MadeUpZooms(LoveR1Protocol(), min_length_s=1.0, max_length_s=16.0, max_fraction=0.5)
    multi, zoom = EpisodeKind.MULTI_STEP, EpisodeKind.ZOOM_STEP
    assert isinstance(zooms.parse("I get the answer.\n\n\\boxed{A}", observation(0, multi)), Answer)
    assert isinstance(zooms.parse("nonsense", observation(2, multi)), Malformed)
    assert zooms.num_made_up == 0
    first, second = (zooms.parse(text, observation(0, kind)) for text, kind in (("x", multi), ("y", zoom)))
    assert isinstance(first, ZoomIn)
    assert isinstance(second, ZoomIn)
    assert first != second
    assert all(it.span_s.length_s == 8.0 and 0.0 <= it.span_s.start_s <= 56.0 for it in (first, second))
    assert zooms.num_made_up == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "videozoom parity needs a configuration"),
        (["smoke", "policy.checkpoint=nowhere"], "no checkpoint at nowhere"),
        (["smoke", "grpo.max_tokens_per_batch=8"], "set grpo.max_tokens_per_batch to at least"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(dump_config(smoke_config(videos, tmp_path / "run")), encoding="utf-8")
    arguments = [str(config) if argument == "smoke" else argument for argument in arguments]
    assert main(["parity", *arguments, "--num-groups", "1", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)


@pytest.mark.parametrize("options", [["--num-groups", "0"], ["--tolerance", "-1"], ["--tolerance", "x"]])
def test_wrong_options_exit_with_2(options: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["parity", "smoke", *options])
    assert exit_info.value.code == 2
