"""Probes and the audit of zooms, with readers whose answers are known by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated_world import GeneratedWorld

from videozoom.envs.actions import Action, Answer, ZoomIn
from videozoom.envs.captions.probes import caption_partners
from videozoom.envs.observation import VideoClip
from videozoom.envs.probes import Probe, video_partners
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.task_files import save_tasks
from videozoom.envs.tasks import Span, Task
from videozoom.experiments.build import build_env_maker, build_policy, build_protocol
from videozoom.experiments.build_captions import build_width_rule
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config
from videozoom.experiments.contestants import Contestant
from videozoom.experiments.errors import UserError
from videozoom.experiments.evaluate import Evaluator, run_eval
from videozoom.experiments.probes import ProbeRunner
from videozoom.policies.base import Completion, Request
from videozoom.policies.scripted import ZoomRule
from videozoom.policies.scripted_reading import ScriptedReader
from videozoom.rollout.traces import TraceWriter, read_traces

SIGNS = ("bars", "lines", "checks", "rings")
NUM_TASKS = 12
LENGTH_S = 64.0
MARK = 250


def sign_of(video: Path) -> int:
    return int(video.stem) // 3 % len(SIGNS)


def evidence_of(video: Path) -> Span:
    start_s = 8.0 + 4.0 * int(video.stem)
    return Span(start_s, start_s + 4.0)


class SignFrames:
    """The fast view is bright where the evidence is; a clip is as dark as its sign where it shows the evidence."""

    def duration_s(self, video: Path) -> float:
        return LENGTH_S

    def fast_view(self, video: Path) -> VideoClip:
        times_s = np.arange(0.0, LENGTH_S, 4.0)
        levels = np.where(times_s == evidence_of(video).start_s, MARK, 0)
        return self._clip(video, levels, times_s, Span(0.0, LENGTH_S))

    def slow_clip(self, video: Path, span_s: Span, fps: float | None = None) -> VideoClip:
        times_s = np.linspace(*span_s, 4, endpoint=False)
        start_s, end_s = evidence_of(video)
        levels = np.where((times_s >= start_s) & (times_s < end_s), 10 * (1 + sign_of(video)), 0)
        return self._clip(video, levels, times_s, span_s)

    def _clip(self, video: Path, levels: Any, times_s: Any, span_s: Span) -> VideoClip:
        frames = np.tile(levels.astype(np.uint8)[:, None, None, None], (1, 28, 28, 3))
        return VideoClip(frames, times_s.astype(np.float64), span_s, f"{video}:{span_s}")


class Reader:
    """Looks at pixels alone: zooms to the bright frame (or where it is told), then names the sign, or guesses A."""

    def __init__(self, protocol: Protocol, always: Span | None = None) -> None:
        self.protocol, self.always = protocol, always

    def greedy(self, max_new_tokens: int) -> "Reader":
        return self

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        return [self._written(request) for request in requests]

    def _written(self, request: Request) -> Completion:
        observation = request.observation
        is_last = observation["step"] == observation["max_steps"] - 1
        action = self._answer(observation) if observation["clips"] or is_last else self._zoom(observation)
        num_frames = sum(len(clip.frames) for clip in observation["clips"])
        return Completion(self.protocol.write(action, "", observation), num_visual_tokens=16 + num_frames)

    def _zoom(self, observation: Any) -> Action:
        fast_view = observation["fast_view"]
        # Of equally bright frames the first one.
        start_s = float(fast_view.times_s[fast_view.frames[:, 0, 0, 0].argmax()])
        return ZoomIn(self.always or Span(start_s, start_s + 4.0))

    def _answer(self, observation: Any) -> Action:
        level = max((int(clip.frames.max()) for clip in observation["clips"]), default=0)
        # Grey is no sign.
        name = SIGNS[level // 10 - 1] if level in (10, 20, 30, 40) else None
        return Answer("ABCD"[observation["options"].index(name)] if name else "A")


def sign_tasks() -> tuple[Task, ...]:
    videos = [Path(f"{number}.mp4") for number in range(NUM_TASKS)]
    return tuple(
        Task(f"t{it.stem}", it, LENGTH_S, "Which sign?", SIGNS, "ABCD"[sign_of(it)], (evidence_of(it),))
        for it in videos
    )


def runner(tmp_path: Path, always: Span | None = None, *overrides: str) -> ProbeRunner:
    config = load_config("demo", ["video.cache=null", *overrides])
    tasks, protocol, frames = sign_tasks(), build_protocol(config), SignFrames()
    traces = TraceWriter(tmp_path / "traces.jsonl")
    evaluator = Evaluator(tasks, protocol, traces, batch_size=5)
    model: Any = Reader(protocol, always)
    make_env = build_env_maker(config, tasks, frames)
    own = evaluator.episodes(Contestant("model", model, make_env, lambda _: config.env.max_steps))
    return ProbeRunner(config, evaluator, frames, model, own)


def test_a_reader_of_pixels_is_right_and_falls_to_guessing_where_it_cannot_see(tmp_path: Path) -> None:
    probes = runner(tmp_path)
    assert all(trajectory.is_right(task) for task, trajectory in probes.own)
    blind, fast_view = probes.probe(Probe.BLIND), probes.probe(Probe.FAST_VIEW)
    for row in (blind, fast_view):
        assert (row["accuracy"], row["num_tasks"]) == (0.25, NUM_TASKS)
        assert (row["num_right_to_wrong"], row["num_wrong_to_right"]) == (9, 0)
        assert row["difference"] == -0.75
        assert row["difference_ci95"][1] < 0
    # Blind, it zooms to the first frame; at once, it cannot zoom.
    assert fast_view["zoom_hit_rate"] == blind["zoom_hit_rate"] == 0.0


def test_in_another_video_it_reads_the_signs_of_that_one(tmp_path: Path) -> None:
    row = runner(tmp_path).probe(Probe.WRONG_VIDEO)
    partners = video_partners([task.video for task in sign_tasks()])
    num_alike = sum(sign_of(video) == sign_of(other) for video, other in partners.items())
    assert 0 < num_alike < NUM_TASKS
    assert row["accuracy"] == num_alike / NUM_TASKS
    assert row["zoom_hit_rate"] == 0.0


def test_shuffled_frames_mislead_who_trusts_the_times(tmp_path: Path) -> None:
    row = runner(tmp_path).probe(Probe.SHUFFLED)
    # Its zooms show what they always did, so it is right where it sees the evidence, and where A is the answer.
    assert row["zoom_hit_rate"] < 0.5
    assert 0.25 <= row["accuracy"] < 0.75


def test_other_letters_change_nothing_for_who_reads_and_everything_for_who_says_a(tmp_path: Path) -> None:
    reads = runner(tmp_path / "reads").probe(Probe.PERMUTED_OPTIONS)
    assert (reads["accuracy"], reads["difference"]) == (1.0, 0.0)
    # This one never sees the evidence, so it always says A, which is never right twice.
    guesses = runner(tmp_path / "guesses", Span(0.0, 4.0)).probe(Probe.PERMUTED_OPTIONS)
    assert guesses["num_right_to_wrong"] == 3
    assert guesses["num_wrong_to_right"] == round(NUM_TASKS * guesses["accuracy"])


def test_the_audit_of_an_agent_that_looks_well(tmp_path: Path) -> None:
    own, gold, random, none = runner(tmp_path).audit()
    assert [row["zooms"] for row in (own, gold, random, none)] == ["own", "gold", "random", "none"]
    assert (own["accuracy"], gold["accuracy"], none["accuracy"]) == (1.0, 1.0, 0.25)
    assert "difference" not in own
    assert (gold["difference"], none["num_right_to_wrong"]) == (0.0, 9)
    assert 0.25 <= random["accuracy"] < 1.0
    assert (none["num_seen"], none["accuracy_seen"], none["num_missed"], none["accuracy_missed"]) == (12, 0.25, 0, None)
    names = {row["policy"] for row in read_traces(tmp_path / "traces.jsonl")}
    assert names == {"model", "model:own_zooms", "model:gold_zooms", "model:random_zooms", "model:none_zooms"}


def test_the_audit_of_an_agent_that_looks_at_the_wrong_place(tmp_path: Path) -> None:
    own, gold, _, none = runner(tmp_path, Span(0.0, 4.0)).audit()
    assert (own["accuracy"], none["accuracy"], gold["accuracy"]) == (0.25, 0.25, 1.0)
    assert (gold["num_wrong_to_right"], gold["num_right_to_wrong"]) == (9, 0)
    assert (none["num_wrong_to_right"], none["num_right_to_wrong"]) == (0, 0)
    assert (gold["num_missed"], gold["accuracy_missed"], gold["num_seen"]) == (12, 1.0, 0)


def test_replaced_zooms_are_what_they_are_called(tmp_path: Path) -> None:
    runner(tmp_path).audit()
    spans: dict[str, list[Any]] = {}
    for row in read_traces(tmp_path / "traces.jsonl"):
        spans.setdefault(row["policy"], []).append(row["spans_s"])
    evidence = [[list(evidence_of(task.video))] for task in sign_tasks()]
    assert spans["model:own_zooms"] == spans["model:gold_zooms"] == evidence
    assert spans["model:none_zooms"] == [[]] * NUM_TASKS
    random = [it[0] for it in spans["model:random_zooms"]]
    assert {end_s - start_s for start_s, end_s in random} == {4.0}
    assert len({start_s for start_s, _ in random}) > NUM_TASKS / 2


def test_nobody_who_never_zooms_is_audited(tmp_path: Path) -> None:
    assert runner(tmp_path, None, "env.max_steps=1").audit() == []


@pytest.fixture
def task_file(generated: GeneratedWorld, tmp_path: Path) -> Path:
    save_tasks(generated.tasks, tmp_path / "tasks.jsonl")
    return tmp_path / "tasks.jsonl"


def probed_config(task_file: Path, run_dir: Path, *overrides: str) -> Config:
    source = ["data.eval.generated=null", f"data.eval.tasks={task_file}"]
    places = [f"run_dir={run_dir}", f"video.cache={task_file.parent / 'cache'}"]
    tiny = ["policy.tiny.hidden_size=32", "policy.tiny.num_layers=1", "eval.max_new_tokens=6"]
    return load_config("smoke", [*source, *places, *tiny, *overrides])


def test_an_evaluation_with_everything(generated: GeneratedWorld, task_file: Path, tmp_path: Path) -> None:
    names = [probe.value for probe in Probe]
    run_dir = tmp_path / "run"
    asked = [f"eval.probes=[{','.join(names)}]", "eval.audit=true", "eval.uniform_frames=[2,4]"]
    config = probed_config(task_file, run_dir, *asked)
    model = build_policy(config, tmp_path / "tiny", lambda: ["Which sign? bars lines checks rings [0, 1] \\boxed{A}"])
    model.save(tmp_path / "model")
    config = probed_config(task_file, run_dir, *asked, f"policy.checkpoint={tmp_path / 'model'}")
    results = run_eval(config)
    assert json.loads((run_dir / "results.json").read_text()) == results
    assert [row["probe"] for row in results["probes"]] == ["model", *names]
    assert [row["num_tasks"] for row in results["probes"]] == [3] * 6
    # Two frames are one pair: a clip of the whole video adds its tokens to those of the fast view.
    two, four = results["budgets"]
    assert (two["num_frames"], four["num_frames"]) == (2, 4)
    assert four["visual_tokens_mean"] - two["visual_tokens_mean"] == two["visual_tokens_mean"] - 8
    page = (run_dir / "report.html").read_text()
    for text in ("wrong video", "permuted options", "uniform, 4 frames"):
        assert text in page
    # Nothing is run again.
    assert run_eval(config, resume=True) == results


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["eval.policies=[never]", "eval.probes=[blind]"], "add model to eval.policies"),
        (["env.kind=caption_tree", "protocol.name=longvideo_r1", "eval.probes=[shuffled]"], "shuffled changes frames"),
        (["env.kind=caption_tree", "protocol.name=longvideo_r1", "eval.audit=true"], "eval.audit changes frames"),
    ],
)
def test_probes_that_cannot_be_are_told_before_anything_is_done(
    task_file: Path, tmp_path: Path, overrides: list[str], sentence: str
) -> None:
    config = probed_config(task_file, tmp_path / "run", "policy.checkpoint=nowhere", *overrides)
    with pytest.raises(UserError, match=sentence):
        run_eval(config)
    assert not (tmp_path / "run").exists()


class CaptionAnswerer:
    """Answers with the option that a caption it read names, or with A."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol

    def act(self, requests: Sequence[Request]) -> list[Completion]:
        return [self._written(request) for request in requests]

    def _written(self, request: Request) -> Completion:
        observation: Any = request.observation
        read = " ".join(turn.text or "" for turn in observation["turns"])
        named = [index for index, option in enumerate(observation["options"]) if option in read]
        return Completion(self.protocol.write(Answer("ABCD"[named[0]] if named else "A"), "", observation))


def test_a_reader_of_captions_falls_to_guessing_where_nothing_is_described(
    generated: GeneratedWorld, task_file: Path, tmp_path: Path
) -> None:
    places = [f"run_dir={tmp_path / 'run'}", f"captions.cache={tmp_path / 'captions'}"]
    source = ["data.eval.generated=null", f"data.eval.tasks={task_file}"]
    config = load_config(
        "longvideo_r1", [*source, *places, "captions.least_width=2", "captions.leaf_s=4", "captions.style=sentences"]
    )
    protocol, tasks = build_protocol(config), generated.tasks
    reader: Any = ScriptedReader(
        ZoomRule.ORACLE, protocol, width_rule=build_width_rule(config), answerer=CaptionAnswerer(protocol)
    )
    reader.greedy = lambda _: reader
    evaluator = Evaluator(tasks, protocol, TraceWriter(tmp_path / "traces.jsonl"), batch_size=5)
    (num_steps,) = {reader.num_steps(task) for task in tasks}
    config = config.model_copy(update={"env": config.env.model_copy(update={"max_steps": num_steps})})
    make_env = build_env_maker(config, tasks, generated.frames)
    own = evaluator.episodes(Contestant("model", reader, make_env, lambda _: num_steps))
    probes = ProbeRunner(config, evaluator, generated.frames, reader, own)
    assert all(trajectory.is_right(task) for task, trajectory in own)
    num_a = sum(task.answer == "A" for task in tasks)
    assert probes.probe(Probe.BLIND)["accuracy"] == num_a / len(tasks)
    wrong = probes.probe(Probe.WRONG_VIDEO)
    assert (wrong["num_tasks"], wrong["accuracy"] < 1.0) == (3, True)
    assert probes.probe(Probe.PERMUTED_OPTIONS)["accuracy"] == 1.0


def test_another_video_of_another_length_is_described_part_by_part() -> None:
    tasks = [Task(name, Path(name), length_s, "?", SIGNS, "A") for name, length_s in (("long", 90.0), ("short", 30.0))]
    partners = caption_partners(tasks)
    assert (partners[Path("long")].video, partners[Path("short")].video) == (Path("short"), Path("long"))
    assert partners[Path("long")].span(Span(30.0, 60.0)) == Span(10.0, 20.0)
    with pytest.raises(ValueError, match="of a single video"):
        caption_partners(tasks[:1])
