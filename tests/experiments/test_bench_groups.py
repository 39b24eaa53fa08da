"""`bench rollout`, `learner` and `step`: what is compared is the same, and what is reported is right."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videozoom.experiments import bench_groups, bench_learner, bench_rollout, bench_sizes
from videozoom.experiments.bench_clock import timed
from videozoom.experiments.bench_contests import Part
from videozoom.experiments.bench_floor import text_work, vision_share, vision_work
from videozoom.experiments.bench_group import Scenario, make_group
from videozoom.experiments.bench_group_rows import GroupBench, measured
from videozoom.experiments.bench_groups import SCENARIO_NAMES, SIZE_NAMES
from videozoom.experiments.bench_learner import Learned, differences
from videozoom.experiments.bench_rollout import generate
from videozoom.experiments.bench_sizes import SIZES, build_policy
from videozoom.experiments.cli import main
from videozoom.policies.base import Request
from videozoom.policies.qwen_vl import QwenVLPolicy
from videozoom.policies.sampling import Sampling

CONTRACT = {
    *("scenario", "size", "naive_s", "ours_s", "ratio", "floor_ratio", "ratio_over_floor"),
    *("logprob_max_abs", "grad_rel", "peak_mib"),
}
TINY = SIZES["tiny"]


@pytest.fixture(scope="module")
def policy() -> QwenVLPolicy:
    return build_policy(TINY, seed=0)


@pytest.fixture
def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare starting a process; that one is started is tested once."""
    monkeypatch.setattr(bench_groups, "_items", measured)


def report_of(part: str, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["bench", part, "--size", "tiny", "--repeats", "1", "--json", "--quiet", *options]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


@pytest.mark.usefixtures("in_one_process")
@pytest.mark.parametrize("part", ["rollout", "learner", "step"])
def test_every_scenario_has_a_row_in_which_both_sides_agree(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(part, capsys)
    assert [row["scenario"] for row in report["rows"]] == list(SCENARIO_NAMES)
    for row in report["rows"]:
        assert set(row) >= CONTRACT
        assert row["size"] == "tiny"
        assert row["ratio"] == pytest.approx(row["naive_s"] / row["ours_s"])
        assert row["ratio_over_floor"] == pytest.approx(row["ratio"] / row["floor_ratio"])
        assert 1.0 < row["floor_ratio"] < 5.0
        assert row["logprob_max_abs"] < 5e-6
        assert row["peak_mib"] >= 0.0
        if part == "rollout":
            assert row["grad_rel"] is None
            assert row["ratio_batched"] == pytest.approx(row["naive_batched_s"] / row["ours_s"])
        else:
            assert 0.0 < row["grad_rel"] < 5e-6
    assert (report["part"], report["repeats"]) == (part, 1)
    assert report["environment"]["seed"] == 0


@pytest.mark.usefixtures("in_one_process")
def test_the_stages_of_a_step_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = report_of("step", capsys, "--scenario", "one_step")["rows"]
    for side in ("naive", "ours"):
        stages = [row[f"{side}_{stage}_s"] for stage in ("vision", "rollout", "learner")]
        assert min(stages) > 0.0
        assert sum(stages) <= row[f"{side}_s"]


def test_a_process_of_its_own_measures(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of("learner", capsys, "--scenario", "two_steps")
    assert [row["scenario"] for row in report["rows"]] == ["two_steps"]


@pytest.mark.usefixtures("in_one_process")
@pytest.mark.parametrize("part", ["rollout", "learner", "step"])
def test_people_get_a_table_that_fits(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--scenario", "three_star", "--scenario", "one_step", "--repeats", "2", "--quiet"]
    assert main(["bench", part, "--size", "tiny", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["one_step", "three_star"]
    assert max(map(len, lines[:4])) <= 80
    assert "…" not in "".join(lines[:4])
    assert any("medians of 1 run of naive and 2 runs" in line for line in lines)


@pytest.mark.usefixtures("in_one_process")
@pytest.mark.parametrize("part", ["rollout", "learner", "step"])
def test_sizes_for_gpus_are_measured_alike(
    part: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half precision, and activations computed again in the backward pass."""
    monkeypatch.setitem(SIZES, "tiny", replace(TINY, dtype="bfloat16", is_checkpointed=True))
    (row,) = report_of(part, capsys, "--scenario", "three_chain")["rows"]
    assert 1e-5 < row["logprob_max_abs"] < 0.1
    assert row["grad_rel"] is None or 1e-4 < row["grad_rel"] < 0.1


@pytest.mark.usefixtures("in_one_process")
def test_activations_that_are_computed_again_change_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "tiny", replace(TINY, is_checkpointed=True))
    (row,) = report_of("learner", capsys, "--scenario", "three_chain")["rows"]
    assert max(row["logprob_max_abs"], row["grad_rel"]) < 5e-6


@pytest.mark.usefixtures("in_one_process")
def test_a_learner_that_is_off_shows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: gradients of other weights than those of the log-probabilities."""

    def off(policy: QwenVLPolicy, group: Any) -> list[torch.Tensor]:
        logprobs = learn_on_tree(policy, group)
        policy.model.lm_head.weight.grad *= 1.001
        return logprobs

    learn_on_tree = bench_learner.learn_on_tree
    monkeypatch.setattr(bench_learner, "learn_on_tree", off)
    (row,) = report_of("learner", capsys, "--scenario", "one_step")["rows"]
    assert row["logprob_max_abs"] < 5e-6
    assert row["grad_rel"] > 1e-4


@pytest.mark.usefixtures("in_one_process")
def test_a_sampler_that_is_off_shows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sample_group = bench_rollout.sample_group

    def off(*arguments: Any, **options: Any) -> list[Any]:
        completions = sample_group(*arguments, **options)
        completions[-1].logprobs[-1] += 1e-3
        return completions

    monkeypatch.setattr(bench_rollout, "sample_group", off)
    (row,) = report_of("rollout", capsys, "--scenario", "one_step")["rows"]
    assert row["logprob_max_abs"] == pytest.approx(1e-3, rel=0.01)


def test_differences_by_hand() -> None:
    naive = Learned([torch.tensor([-1.0, -2.0])], {"a": torch.tensor([3.0]), "b": torch.tensor([4.0])})
    ours = Learned([torch.tensor([-1.0, -2.25])], {"a": torch.tensor([3.3]), "b": torch.tensor([4.4])})
    assert differences(naive, ours) == {"logprob_max_abs": 0.25, "grad_rel": pytest.approx(0.1)}
    with pytest.raises(RuntimeError, match="gradient of b"):
        differences(naive, Learned(ours.logprobs, {"a": torch.tensor([3.0])}))


def test_gradients_of_all_parameters_and_features_are_compared(policy: QwenVLPolicy) -> None:
    group = make_group(TINY, Scenario.TWO_STEPS, policy.renderer, seed=0)
    held = bench_learner.HeldFeatures(policy.features, group.clips)
    twin = policy.with_sampling(Sampling())
    twin.features = held  # type: ignore[assignment]
    learned = bench_learner.learned(twin, bench_learner.learn_naively, group)
    trained = {name for name, _ in policy.trained_parameters()}
    assert set(learned.gradients) == trained | {f"features {clip.key}" for clip in group.clips}
    assert all(float(gradient.abs().max()) > 0 for gradient in learned.gradients.values())
    assert all(parameter.grad is None for parameter in policy.model.parameters())


def test_token_counts_by_hand(policy: QwenVLPolicy) -> None:
    group = make_group(TINY, Scenario.ONE_STEP, policy.renderer, seed=0)
    work = text_work(TINY, policy.renderer, group.samples)
    # 72 tokens in common, a question of 13, completions of 6 on average; three members.
    assert (work.num_naive_tokens, work.num_tree_tokens) == (3 * 85 + 18, 85 + 18)
    lengths = [len(ids) for _, ids in group.samples]
    assert (min(lengths), max(lengths), sum(lengths)) == (3, 9, 18)


@pytest.mark.parametrize(
    ("scenario", "expected"), [("one_step", 7.02), ("two_steps", 5.72), ("three_star", 4.24), ("three_chain", 5.60)]
)
def test_the_floor_of_the_small_groups(scenario: str, expected: float, policy: QwenVLPolicy) -> None:
    group = make_group(SIZES["small"], Scenario(scenario), policy.renderer, seed=0)
    assert text_work(SIZES["small"], policy.renderer, group.samples).ratio == pytest.approx(expected, abs=0.01)


def test_third_steps_go_on_from_the_second_only_in_a_chain(policy: QwenVLPolicy) -> None:
    def starts(scenario: Scenario) -> list[list[float]]:
        group = make_group(TINY, scenario, policy.renderer, seed=0)
        return [[clip.span_s.start_s for clip in of_step[0].clips()] for of_step in group.steps]

    assert starts(Scenario.THREE_STAR) == [[0.0], [0.0, 500.0], [0.0, 200.0, 500.0]]
    assert starts(Scenario.THREE_CHAIN) == [[0.0], [0.0, 500.0], [0.0, 500.0, 800.0]]


def test_the_vision_tower_costs_what_it_costs_at_7b(policy: QwenVLPolicy) -> None:
    for name in ("small", "7b"):
        group = make_group(SIZES[name], Scenario.ONE_STEP, policy.renderer, seed=0)
        assert vision_share(SIZES[name], policy.renderer, group.steps[0][0]) == pytest.approx(0.33, abs=0.01)
        assert vision_work(SIZES[name], policy.renderer, group).ratio == 8.0


def test_the_7b_size_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    config = bench_sizes._config(SIZES["7b"], bench_sizes._tokenizer(tmp_path))
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_292_166_656


def test_transformers_generates_what_we_sample(policy: QwenVLPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take the most likely token, from prompts of different lengths in one batch."""
    monkeypatch.setattr(torch, "multinomial", lambda probabilities, **_: probabilities.argmax(-1, keepdim=True))
    policy = build_policy(TINY, seed=0)
    with torch.no_grad():
        # With the weights of a new model the last token decides alone.
        for layer in policy.model.model.language_model.layers:
            for projection in vars(layer.self_attn)["_modules"].values():
                projection.weight.mul_(20.0)
    group = make_group(TINY, Scenario.THREE_CHAIN, policy.renderer, seed=0)
    prompts = [of_step[1] for of_step in group.steps]
    requests = [Request(prompt, None, None) for prompt in prompts]  # type: ignore[arg-type]
    ours = [completion.token_ids.tolist() for completion in policy.greedy(6).act(requests)]
    assert [ids.tolist() for ids in generate(policy, prompts, 6)] == ours
    assert [generate(policy, [prompt], 6)[0].tolist() for prompt in prompts] == ours
    assert len(set(map(tuple, ours))) == 3


def test_completions_never_end_early(policy: QwenVLPolicy) -> None:
    group = make_group(TINY, Scenario.ONE_STEP, policy.renderer, seed=0)
    with torch.no_grad():
        policy.model.lm_head.weight[policy.renderer.tokenizer.convert_tokens_to_ids("<|im_end|>")] *= 100.0
    sampled = bench_rollout.sample_group(policy, group, 9, seed=0)
    assert [len(completion.token_ids) for completion in sampled] == [9, 9, 9]


def test_the_slower_sides_run_half_as_often() -> None:
    bench = GroupBench(Part.ROLLOUT, "tiny", (Scenario.ONE_STEP, Scenario.TWO_STEPS), repeats=3)
    assert [bench.num_runs(side) for side in ("ours", "naive", "naive_batched")] == [3, 2, 2]
    items = list(measured(GroupBench(Part.ROLLOUT, "tiny", (Scenario.ONE_STEP,), repeats=3)))
    notes = [item for item in items if isinstance(item, str)]
    sides = ["naive", "naive_batched", "ours"]
    assert notes == ["warming up", *(f"one_step {side}" for side in (*sides, *sides, "ours"))]
    assert bench.num_steps == 1 + 2 * 7


def test_peak_memory_is_that_of_the_call() -> None:
    result, cost = timed(lambda: float(np.ones(64 * 2**20, np.uint8).sum()), torch.device("cpu"))
    assert result == 64 * 2**20
    assert 60 < cost.peak_mib < 100


def test_names_of_options_are_those_of_what_they_choose() -> None:
    assert tuple(SIZES) == SIZE_NAMES
    assert tuple(Scenario) == SCENARIO_NAMES
    assert set(bench_groups.PARTS) == set(Part)


def test_7b_needs_a_gpu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "learner", "--size", "7b"]) == 2
    captured = capsys.readouterr()
    assert "--size 7b needs a CUDA GPU" in captured.err
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)


def test_an_unknown_scenario_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "step", "--scenario", "four_steps"]) == 2
    sentence = "there is no scenario 'four_steps'; --scenario takes one_step, two_steps, three_star, three_chain"
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--size", "huge"], ["--repeats", "0"], ["--sise", "tiny"], ["clip.mp4"]])
def test_wrong_options_exit_with_2(options: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", "learner", *options])
    assert exit_info.value.code == 2
