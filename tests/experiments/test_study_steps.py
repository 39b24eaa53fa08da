"""Steps are done once, go on after an interruption, and are not tried again once they failed."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from study_files import make_plan

from videozoom.experiments import study_steps
from videozoom.experiments.study_plan import Plan, Step, StepKind
from videozoom.experiments.study_steps import StepCache, StepFailed
from videozoom.experiments.study_work import StepResult


class FakeWork:
    """Stands in for the work of all steps."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.breaks: dict[StepKind, BaseException] = {}

    def __call__(self, step: Step, folder: Path, needed: list[StepResult]) -> dict[str, Any]:
        assert [it.folder.name for it in needed] == [need.name for need in step.needs]
        self.done.append(step.name)
        (folder / "half").write_text("half done", encoding="utf-8")
        if step.kind in self.breaks:
            raise self.breaks[step.kind]
        return {"checkpoint": "somewhere", "episodes": []}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> FakeWork:
    work = FakeWork()
    monkeypatch.setattr(study_steps, "WORK", dict.fromkeys(StepKind, work))
    return work


def run_all(plan: Plan, cache: StepCache) -> list[str | None]:
    """Return for every run the failure, if there was one."""
    failures: list[str | None] = []
    for run in plan.runs:
        try:
            cache.result(run.step)
            failures.append(None)
        except StepFailed as error:
            failures.append(str(error))
    return failures


def test_every_step_is_done_once(work: FakeWork, tmp_path: Path) -> None:
    plan, cache = make_plan(tmp_path), StepCache(tmp_path / "cache")
    assert run_all(plan, cache) == [None] * 8
    assert sorted(work.done) == sorted(step.name for step in plan.steps())
    # Another process, later: all is found.
    assert run_all(plan, StepCache(tmp_path / "cache")) == [None] * 8
    assert len(work.done) == len(plan.steps())
    saved = json.loads((cache.path(plan.runs[0].step) / "inputs.json").read_text())
    assert saved == json.loads(json.dumps(plan.runs[0].step.inputs))


def test_a_failed_step_takes_down_only_what_needs_it(work: FakeWork, tmp_path: Path) -> None:
    plan, cache = make_plan(tmp_path), StepCache(tmp_path / "cache")
    work.breaks[StepKind.GRPO] = RuntimeError("the loss is not a number\nand more")
    failures = run_all(plan, cache)
    assert failures[:2] == [None, None]
    assert all(it and it.endswith("RuntimeError: the loss is not a number") for it in failures[2:])
    # One attempt for each seed, not for each cell that needs it.
    assert sum(name.startswith("grpo") for name in work.done) == 2
    file = cache.path(next(step for step in plan.steps() if step.kind is StepKind.GRPO)) / "failed.json"
    assert "raise self.breaks" in json.loads(file.read_text())["traceback"]


def test_failed_steps_are_tried_again_when_asked_to(work: FakeWork, tmp_path: Path) -> None:
    plan, cache = make_plan(tmp_path), StepCache(tmp_path / "cache")
    work.breaks[StepKind.GRPO] = RuntimeError("full")
    run_all(plan, cache)
    work.breaks.clear()
    assert all(run_all(plan, cache)[2:])
    for run in plan.runs:
        cache.forget_failures(run.step)
    assert run_all(plan, cache) == [None] * 8


def test_an_interrupted_step_is_no_failure_and_keeps_its_folder(work: FakeWork, tmp_path: Path) -> None:
    plan, cache = make_plan(tmp_path), StepCache(tmp_path / "cache")
    work.breaks[StepKind.COLD_START] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_all(plan, cache)
    step = next(step for step in plan.steps() if step.kind is StepKind.COLD_START)
    assert cache.find(step) is None
    assert cache.failure(step) is None
    assert (cache.path(step) / "half").is_file()
    work.breaks.clear()
    assert run_all(plan, cache) == [None] * 8


def test_two_cells_that_want_the_same_at_once_do_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, cache = make_plan(tmp_path), StepCache(tmp_path / "cache")
    step = next(step for step in plan.steps() if step.kind is StepKind.VIDEOS)
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def slow(step: Step, folder: Path, needed: list[StepResult]) -> dict[str, Any]:
        begun.set()
        assert may_end.wait(30)
        done.append(step.name)
        return {}

    monkeypatch.setattr(study_steps, "WORK", {StepKind.VIDEOS: slow})
    monkeypatch.setattr(study_steps, "_WAIT_S", 0.01)
    told: list[str] = []
    first = threading.Thread(target=cache.result, args=(step,))
    first.start()
    assert begun.wait(30)

    def tell(text: str) -> None:
        told.append(text)
        may_end.set()

    assert StepCache(tmp_path / "cache").result(step, tell).facts == {}
    first.join(30)
    assert done == [step.name]
    assert "waiting for videos" in told
