from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from videozoom.envs.json_lines import read_json_lines
from videozoom.experiments.alarm_log import AlarmLog
from videozoom.experiments.alarm_words import ADVICE, MEANINGS, WHAT
from videozoom.experiments.alarms import Alarm, AlarmLimits, AlarmName, AlarmState, AlarmWatch
from videozoom.experiments.config_results import Alarms
from videozoom.experiments.progress import console
from videozoom.experiments.tracking import JsonlTracker
from videozoom.rollout.metrics import METRICS

Stream = Sequence[float]
LENGTH = 40
METRIC = {
    AlarmName.TOOL_USE_COLLAPSE: "zoom/used/rate",
    AlarmName.ENTROPY_COLLAPSE: "policy/entropy/mean",
    AlarmName.NO_VARIANCE: "group/zero_std/rate",
    AlarmName.SAMPLER_GAP: "policy/sampler_logprob_gap/mean",
    AlarmName.DECODE_ERRORS: "video/decode_error/rate",
}
HEALTHY: dict[str, Callable[[int], float]] = {
    "zoom/used/rate": lambda i: 0.9 - 0.05 * (i % 3),
    "policy/entropy/mean": lambda i: 0.06 - 0.0005 * i + 0.01 * (i % 2),
    "group/zero_std/rate": lambda i: min(1.0, 0.1 + 0.02 * i + 0.2 * (i % 2)),
    "group/solved_all/rate": lambda i: 0.02 * i,
    "policy/sampler_logprob_gap/mean": lambda i: 1e-9 * (1 + i % 5),
    "video/decode_error/rate": lambda i: 0.0,
    "reward/total/mean": lambda i: 0.4 + 0.01 * i,
}
SICK: dict[AlarmName, Callable[[int], float]] = {
    AlarmName.TOOL_USE_COLLAPSE: lambda i: max(0.0, 1.0 - 0.06 * i),
    AlarmName.ENTROPY_COLLAPSE: lambda i: 0.06 * 0.9**i,
    AlarmName.NO_VARIANCE: lambda i: min(1.0, 0.2 + 0.05 * i),
    AlarmName.SAMPLER_GAP: lambda i: 1e-7 * 1.6**i,
    AlarmName.DECODE_ERRORS: lambda i: 0.125 if i == 20 else 0.0,
}


def watched(limits: AlarmLimits | None = None, length: int = LENGTH, **streams: Callable[[int], float]) -> list[Alarm]:
    """Return the alarms of a healthy run in which `streams`, by the name of an alarm, take the place of its metric."""
    watch = AlarmWatch(limits)
    functions = HEALTHY | replacing(streams)
    rows = [{name: function(i) for name, function in functions.items()} for i in range(length)]
    return [alarm for i, row in enumerate(rows) for alarm in watch.observe(row, i + 1, "grpo")]


def replacing(streams: Mapping[str, Callable[[int], float]]) -> dict[str, Callable[[int], float]]:
    """Return streams by metric; where entropy falls, rewards stand still."""
    flat = {"reward/total/mean": lambda i: 0.4} if AlarmName.ENTROPY_COLLAPSE in streams else {}
    return {METRIC[AlarmName(name)]: stream for name, stream in streams.items()} | flat


def begun(alarms: Sequence[Alarm]) -> list[AlarmName]:
    return [alarm.name for alarm in alarms if alarm.state == AlarmState.ON]


def test_a_healthy_run_raises_nothing() -> None:
    assert watched() == []


def of_the_demo(**streams: Callable[[int], float]) -> list[Alarm]:
    """Return the alarms of a true run of the demo, in which `streams` take the place of what it logged."""
    watch, alarms = AlarmWatch(), []
    replaced = replacing(streams)
    for row in read_json_lines(Path(__file__).with_name("demo_metrics.jsonl")):
        iteration, phase = row["progress/iteration"], row["phase"]
        metrics = {name: value for name, value in row.items() if isinstance(value, float)}
        if phase == "decoupled_grpo":
            metrics |= {name: stream(iteration) for name, stream in replaced.items()}
        alarms += watch.observe(metrics, iteration, phase)
    return alarms


def test_a_true_run_raises_nothing() -> None:
    assert of_the_demo() == []


@pytest.mark.parametrize("name", list(AlarmName))
def test_a_true_run_that_goes_wrong_raises_its_alarm(name: AlarmName) -> None:
    assert begun(of_the_demo(**{name: SICK[name]})) == [name]


@pytest.mark.parametrize("name", list(AlarmName))
def test_each_alarm_is_told_once_and_no_other_with_it(name: AlarmName) -> None:
    alarms = watched(**{name: SICK[name]})
    assert begun(alarms) == [name]
    (first, *_) = alarms
    assert first.metric == METRIC[name]
    assert first.phase == "grpo"
    assert f"{first.value:.3g}" in first.what


def test_use_of_the_tool_collapses_where_the_mean_of_the_window_crosses_the_limit() -> None:
    limits = AlarmLimits(tool_use=0.1, window=2)
    (alarm,) = watched(limits, tool_use_collapse=lambda i: [1.0, 1.0, 0.2, 0.1, 0.0, 0.0][min(i, 5)])
    # Means of two: 1, 0.6, 0.15, 0.05.
    assert (alarm.iteration, alarm.value, alarm.limit) == (5, 0.05, 0.1)


def test_an_agent_that_never_zoomed_has_nothing_to_lose() -> None:
    assert watched(tool_use_collapse=lambda i: 0.0) == []


def test_an_agent_that_learned_to_zoom_can_forget_it_again() -> None:
    assert begun(watched(tool_use_collapse=lambda i: 0.05 if i < 8 or i > 25 else 0.9)) == [AlarmName.TOOL_USE_COLLAPSE]


def test_a_policy_that_gets_better_may_become_sure() -> None:
    for gain, names in ((0.06, []), (0.04, [AlarmName.ENTROPY_COLLAPSE])):
        rows = [
            {"policy/entropy/mean": 0.06 * 0.9**i, "reward/total/mean": 0.4 + gain * (i > 4)} for i in range(LENGTH)
        ]
        watch = AlarmWatch()
        assert begun([alarm for i, row in enumerate(rows) for alarm in watch.observe(row, i, "grpo")]) == names


def test_a_policy_that_is_right_may_be_sure_of_it() -> None:
    watch = AlarmWatch()
    for i in range(LENGTH):
        row = {"policy/entropy/mean": 0.06 * 0.9**i, "group/solved_all/rate": 0.8}
        assert watch.observe(row, i, "grpo") == []


def test_small_differences_between_sampler_and_learner_are_rounding() -> None:
    assert watched(sampler_gap=lambda i: 1e-10 if i < 10 else 9e-5) == []
    assert begun(watched(sampler_gap=lambda i: 1e-10 if i < 10 else 2e-4)) == [AlarmName.SAMPLER_GAP]
    # As in bfloat16: large from the start, and no larger later.
    assert watched(sampler_gap=lambda i: 0.01 + 0.005 * (i % 4)) == []


def test_values_around_the_limit_are_told_once() -> None:
    alarms = watched(AlarmLimits(window=1), no_variance=lambda i: 0.96 if i % 2 else 0.94)
    assert begun(alarms) == [AlarmName.NO_VARIANCE]
    assert len(alarms) == 1


def test_an_alarm_ends_after_a_recovery_and_can_come_back() -> None:
    alarms = watched(AlarmLimits(recovery=3), decode_errors=lambda i: 0.5 if i in (3, 5, 20) else 0.0)
    assert [(alarm.state, alarm.iteration) for alarm in alarms] == [("on", 4), ("over", 9), ("on", 21), ("over", 24)]
    assert "is over" in alarms[1].text


def test_phases_are_watched_apart() -> None:
    watch = AlarmWatch()
    for i in range(10):
        assert watch.observe({"zoom/used/rate": 1.0}, i, "multi_step_grpo") == []
        assert watch.observe({"zoom/used/rate": 0.0}, i, "decoupled_grpo") == []


def test_metrics_that_are_missing_or_no_numbers_are_passed_over() -> None:
    watch = AlarmWatch(AlarmLimits(window=2))
    for i in range(10):
        assert watch.observe({"loss/sft": 1.0, "zoom/used/rate": float("nan")}, i, "cot") == []


def test_alarms_are_written_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(console, "print", lambda text, **_: told.append(text))
    log = AlarmLog(tmp_path / "alarms.jsonl", AlarmLimits())
    log.observe({"video/decode_error/rate": 0.125}, 7, "cot")
    log.observe({"video/decode_error/rate": 0.125}, 8, "cot")
    log.close()
    (row,) = read_json_lines(tmp_path / "alarms.jsonl")
    assert row == {
        "progress/iteration": 7,
        "alarm": "decode_errors",
        "state": "on",
        "phase": "cot",
        "metric": "video/decode_error/rate",
        "value": 0.125,
        "limit": 0.0,
        "what": "Videos cannot be read: video/decode_error/rate is 0.125, beyond its limit of 0.",
        "meaning": MEANINGS["decode_errors"],
        "advice": ADVICE["decode_errors"],
    }
    assert told == [f"Alarm. Iteration 7 of cot: {row['what']} {row['meaning']} {row['advice']}"]


def test_a_resumed_run_neither_forgets_nor_repeats_alarms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(console, "print", lambda text, **_: told.append(text))
    rows = [{"group/zero_std/rate": 1.0, "loss/total": float("nan")} for _ in range(12)]

    def run(first: int, last: int) -> list[dict[str, object]]:
        log = AlarmLog(tmp_path / "alarms.jsonl", AlarmLimits(), metrics_file=tmp_path / "metrics.jsonl")
        metrics = JsonlTracker(tmp_path / "metrics.jsonl")
        for i in range(first, last):
            metrics.log(rows[i], i + 1, "grpo")
            log.observe(rows[i], i + 1, "grpo")
        log.close()
        metrics.close()
        return list(read_json_lines(tmp_path / "alarms.jsonl"))

    assert run(0, 3) == []
    # The window of five is full two iterations later.
    (alarm,) = run(3, 8)
    assert alarm["progress/iteration"] == 5
    assert run(8, 12) == [alarm]
    assert len(told) == 1


def test_every_alarm_has_words_and_a_registered_metric() -> None:
    names = {str(name) for name in AlarmName}
    for words in (WHAT, MEANINGS, ADVICE):
        assert words.keys() == names
    assert set(METRIC.values()) <= METRICS.keys()


def test_settings_are_the_limits() -> None:
    assert AlarmLimits(**Alarms().model_dump(exclude={"enabled"})) == AlarmLimits()
