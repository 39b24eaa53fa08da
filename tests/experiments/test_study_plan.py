"""What cells share is found by what it depends on: nothing else changes it, and all of that does."""

from pathlib import Path

import pytest
from study_files import STUDY, make_plan

from videozoom.experiments import study_plan
from videozoom.experiments.errors import UserError
from videozoom.experiments.study_code import code_version, meaning
from videozoom.experiments.study_plan import Plan, StepKind


def keys(plan: Plan, kind: StepKind, row: str = "multi") -> list[str]:
    """Return the keys of the steps that the first seed of a row needs."""
    run = next(run for run in plan.runs if run.row == row)
    return list(dict.fromkeys(step.key for step in run.step.all() if step.kind is kind))


def test_cells_share_what_they_have_in_common(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    counts = {kind: sum(step.kind is kind for step in plan.steps()) for kind in StepKind}
    # Two seeds: a cold start and a training each, which three cells look at; three sources of videos.
    assert counts == {StepKind.VIDEOS: 6, StepKind.COLD_START: 2, StepKind.GRPO: 2, StepKind.EVALUATE: 8}
    training = next(step for step in plan.steps() if step.kind is StepKind.GRPO)
    assert plan.users(training) == ["multi", "one_step", "random"]


def test_seeds_of_a_cell_are_neighbours(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    assert [(run.cell, run.seed) for run in plan.runs[:4]] == [("none", 0), ("none", 1), ("multi", 0), ("multi", 1)]
    first, second = plan.runs[0].step, plan.runs[1].step
    assert not set(first.all()) & set(second.all())


@pytest.mark.parametrize(
    "irrelevant",
    [
        "run_dir=elsewhere",
        "name=other",
        "data.videos=elsewhere",
        "video.cache_mib=1",
        "video.cache=null",
        "policy.text_attention=reference",
        "grpo.checkpoint_every=7",
        "grpo.eval_every=3",
        "eval.batch_size=2",
        "tracking.wandb=true",
    ],
)
def test_settings_that_change_nothing_change_no_key(tmp_path: Path, irrelevant: str) -> None:
    assert [run.step.key for run in make_plan(tmp_path, irrelevant).runs] == [
        run.step.key for run in make_plan(tmp_path).runs
    ]


@pytest.mark.parametrize(
    ("relevant", "changed"),
    [
        ("seed=5", []),  # Every seed of the study replaces it.
        ("cold_start.stages.0.num_steps=5", [StepKind.COLD_START, StepKind.GRPO, StepKind.EVALUATE]),
        ("policy.tiny.num_layers=2", [StepKind.COLD_START, StepKind.GRPO, StepKind.EVALUATE]),
        ("protocol.template=b", [StepKind.COLD_START, StepKind.GRPO, StepKind.EVALUATE]),
        ("grpo.lr=1e-5", [StepKind.GRPO, StepKind.EVALUATE]),
        ("grpo.num_iterations=3", [StepKind.GRPO, StepKind.EVALUATE]),
        ("rollout.group_size=4", [StepKind.GRPO, StepKind.EVALUATE]),
        ("reward.format=0.5", [StepKind.GRPO, StepKind.EVALUATE]),
        ("reward_rules.overlap=iou", [StepKind.GRPO, StepKind.EVALUATE]),
        ("env.max_steps=4", [StepKind.GRPO, StepKind.EVALUATE]),
        ("eval.max_new_tokens=9", [StepKind.EVALUATE]),
        ("eval.num_tasks=2", [StepKind.EVALUATE]),
        ("data.eval.generated.seed=77", [StepKind.VIDEOS, StepKind.EVALUATE]),
    ],
)
def test_settings_change_the_steps_that_depend_on_them(tmp_path: Path, relevant: str, changed: list[StepKind]) -> None:
    before, after = make_plan(tmp_path), make_plan(tmp_path, relevant)
    assert [kind for kind in StepKind if keys(before, kind) != keys(after, kind)] == changed


def test_settings_of_the_evaluation_alone_leave_the_training_as_it_is(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    assert keys(plan, StepKind.GRPO, "one_step") == keys(plan, StepKind.GRPO, "multi")
    evaluations = {keys(plan, StepKind.EVALUATE, row)[-1] for row in ("multi", "one_step", "random")}
    assert len(evaluations) == 3


def test_other_code_means_other_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_plan(tmp_path)
    monkeypatch.setattr(study_plan, "code_version", lambda: "another")
    after = make_plan(tmp_path)
    for kind in (StepKind.COLD_START, StepKind.GRPO, StepKind.EVALUATE):
        assert keys(before, kind) != keys(after, kind)


def test_the_version_of_the_code_ignores_comments_and_docstrings_alone() -> None:
    assert len(code_version()) == 12
    plain = "class A:\n    x: int = 1\n\ndef f(y):\n    return y + 1\n"
    told = 'class A:\n    "What it is."\n    x: int = 1\n    "How many."\n\ndef f(y):\n    # Why.\n    return y + 1\n'
    assert meaning(plain) == meaning(told)
    assert meaning(plain) != meaning(plain.replace("+ 1", "+ 2"))
    assert meaning("x = 'a'") != meaning("x = 'b'")


def test_axes_repeat_cells_and_a_pinned_cold_start_is_shared(tmp_path: Path) -> None:
    axes = {"events": {3: {"data.train.generated.num_events": [3, 3]}, 4: {}}}
    loose = make_plan(tmp_path, axes=axes)
    assert [run.row for run in loose.runs[:3:2]] == ["none, events 3", "multi, events 3"]
    assert len(loose.runs) == 2 * 2 * len(STUDY["cells"])
    assert keys(loose, StepKind.COLD_START, "multi, events 3") != keys(loose, StepKind.COLD_START, "multi, events 4")
    pinned = make_plan(tmp_path, axes=axes, start={"data.train.generated.num_events": [4, 5]})
    assert keys(pinned, StepKind.COLD_START, "multi, events 3") == keys(pinned, StepKind.COLD_START, "multi, events 4")
    assert keys(pinned, StepKind.GRPO, "multi, events 3") != keys(pinned, StepKind.GRPO, "multi, events 4")


def test_an_evaluation_that_is_measured_alone_is_another_one(tmp_path: Path) -> None:
    together, alone = make_plan(tmp_path), make_plan(tmp_path, evaluates_alone=True)
    assert keys(together, StepKind.GRPO) == keys(alone, StepKind.GRPO)
    assert keys(together, StepKind.EVALUATE) != keys(alone, StepKind.EVALUATE)


def test_a_checkpoint_on_the_way_is_looked_at_without_another_training(tmp_path: Path) -> None:
    cells = {"last": {"label": "x"}, "first": {"label": "x", "iteration": 1}}
    plan = make_plan(tmp_path, cells=cells, baseline=None, claims=[])
    assert keys(plan, StepKind.GRPO, "first") == keys(plan, StepKind.GRPO, "last")
    assert keys(plan, StepKind.EVALUATE, "first") != keys(plan, StepKind.EVALUATE, "last")
    cells["first"]["iteration"] = 3
    with pytest.raises(UserError, match="cell first: iteration is 3, but checkpoints are made every 1 of 2"):
        make_plan(tmp_path, cells=cells, baseline=None, claims=[])
