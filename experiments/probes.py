"""Probes and the audit of zooms: a model on the same tasks with one thing taken away, compared task by task."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from videozoom.envs.observation import FrameSource
from videozoom.envs.probes import BlindFrames, OtherVideos, Probe, ShuffledFrames, video_partners, with_other_letters
from videozoom.envs.tasks import Task
from videozoom.experiments.build import build_env_maker, build_frames, build_protocol
from videozoom.experiments.build_captions import build_caption_env_maker
from videozoom.experiments.config import Config
from videozoom.experiments.contestants import (
    MODEL,
    Contestant,
    model_contestant,
    num_parallel,
    scripted_contestant,
)
from videozoom.experiments.errors import UserError
from videozoom.experiments.evaluate import Evaluator
from videozoom.experiments.paired_rows import Pairs, audit_row, paired_row
from videozoom.experiments.result_rows import VARIANT, results_row, visual_tokens
from videozoom.policies.given_zooms import GivenZooms
from videozoom.policies.scripted import SCRIPTED_SPAN_RULES, ZoomRule
from videozoom.rollout.audit import Zooms, own_zooms, replaced_zooms
from videozoom.rollout.runner import MakeEnv

if TYPE_CHECKING:
    from videozoom.experiments.contestants import Model


def check_probes(config: Config) -> None:
    """Look at what the probes of a config need.

    Raises:
        UserError: probes without the model among `eval.policies`, or of frames where captions are read.
    """
    settings = config.eval
    wanted = [*settings.probes, *(["audit"] if settings.audit else []), *map(str, settings.uniform_frames)]
    if wanted and MODEL not in settings.policies:
        raise UserError("eval.probes, eval.audit and eval.uniform_frames are of a model; add model to eval.policies")
    if config.env.kind != "caption_tree":
        return
    of_frames = [name for name in settings.probes if name not in CAPTION_PROBES]
    if of_frames or settings.audit or settings.uniform_frames:
        names = ", ".join(of_frames) or ("eval.audit" if settings.audit else "eval.uniform_frames")
        raise UserError(
            f"{names} changes frames or zooms, and env.kind caption_tree has none; use eval.probes="
            f"[{','.join(CAPTION_PROBES)}] with eval.audit=false and eval.uniform_frames=[]"
        )


CAPTION_PROBES = tuple(probe.value for probe in Probe if probe is not Probe.SHUFFLED)
"""Probes of agents that read captions. Their fast view is the captions of the longest parts."""


@dataclass
class ProbeRunner:
    """Runs the probes of one model. Episodes are in the trace file under names like `model:blind`."""

    config: Config
    evaluator: Evaluator
    frames: FrameSource
    model: "Model"
    own: Pairs
    """The tasks with the model's own episodes."""

    def run(self) -> dict[str, Any]:
        """Return the tables `probes`, `audit` and `budgets`, as far as the config asks for them."""
        settings = self.config.eval
        tables: dict[str, Any] = {}
        if settings.probes:
            first = {"probe": MODEL, **paired_row(self.own, self.own, is_baseline=True)}
            tables["probes"] = [first, *(self.probe(Probe(name)) for name in settings.probes)]
        if settings.audit:
            tables["audit"] = self.audit()
        if settings.uniform_frames:
            tables["budgets"] = [self.budget(num_frames) for num_frames in settings.uniform_frames]
        return tables

    def probe(self, probe: Probe) -> dict[str, Any]:
        """Return the row of one probe; see `paired_row`."""
        tasks = self._tasks
        if probe is Probe.PERMUTED_OPTIONS:
            tasks = tuple(with_other_letters(task) for task in tasks if len(task.options) > 1)
            if not tasks:
                raise UserError("eval.probes has permuted_options, but no task has options; leave it out")
        make_env = self._probed_world(probe, tasks)
        contestant = model_contestant(self.config, f"{MODEL}{VARIANT}{probe}", self.model, make_env)
        if probe is Probe.FAST_VIEW:
            contestant = Contestant(contestant.name, contestant.policy, make_env, lambda _: 1, contestant.num_parallel)
        pairs = self._with_tasks(tasks).episodes(contestant)
        return {"probe": probe.value, **paired_row(self.own, pairs)}

    def audit(self) -> list[dict[str, Any]]:
        """Return a row per kind of replacement, of the episodes that zoomed; see `audit_row`."""
        zoomed = [(task, trajectory) for task, trajectory in self.own if own_zooms(trajectory)]
        if not zoomed:
            return []
        make_env = build_env_maker(self.config, self._tasks, self.frames, span_rules=SCRIPTED_SPAN_RULES)
        replayed = {zooms: self._replayed(zooms, zoomed, make_env) for zooms in Zooms}
        seen = {task.task_id: trajectory for task, trajectory in zoomed}
        return [
            {"zooms": zooms.value, **audit_row(replayed[Zooms.OWN], pairs, seen, is_baseline=zooms is Zooms.OWN)}
            for zooms, pairs in replayed.items()
            if pairs
        ]

    def _replayed(self, zooms: Zooms, zoomed: Pairs, make_env: MakeEnv) -> Pairs:
        """Return the episodes in which the model answers after the replaced zooms."""
        given = {task.task_id: replaced_zooms(task, trajectory, zooms) for task, trajectory in zoomed}
        known = {task_id: it for task_id, it in given.items() if it is not None}
        tasks = tuple(task for task, _ in zoomed if task.task_id in known)
        if not tasks:
            return []
        policy = GivenZooms(known, build_protocol(self.config), answerer=self._greedy)
        name = f"{MODEL}{VARIANT}{zooms}_zooms"
        contestant = Contestant(name, policy, make_env, policy.num_steps, num_parallel(self.config))
        return self._with_tasks(tasks).episodes(contestant)

    def budget(self, num_frames: int) -> dict[str, Any]:
        """Return the results row of one clip of the whole video, of that many frames, from which the model answers."""
        shortest_s = min(task.duration_s for task in self._tasks)
        # A rate high enough that the number of frames is the limit.
        rate = max(self.config.video.slow_fps, 2 * num_frames / shortest_s)
        video = self.config.video.model_copy(update={"slow_max_frames": num_frames, "slow_fps": rate})
        frames = build_frames(self.config.model_copy(update={"video": video}))
        contestant = scripted_contestant(self.config, ZoomRule.UNIFORM, self._tasks, frames, self._greedy)
        name = f"{MODEL}{VARIANT}uniform_{num_frames}"
        contestant = Contestant(
            name, contestant.policy, contestant.make_env, contestant.num_steps, contestant.num_parallel
        )
        pairs = self.evaluator.episodes(contestant)
        tokens = [visual_tokens(trajectory) for _, trajectory in pairs]
        row = results_row(name, pairs)
        return row | {"num_frames": num_frames, "visual_tokens_mean": sum(tokens) / len(tokens)}

    @property
    def _tasks(self) -> tuple[Task, ...]:
        return tuple(task for task, _ in self.own)

    @cached_property
    def _greedy(self) -> "Model":
        return self.model.greedy(self.config.eval.max_new_tokens)

    def _probed_world(self, probe: Probe, tasks: tuple[Task, ...]) -> MakeEnv:
        try:
            if self.config.env.kind == "caption_tree":
                return build_caption_env_maker(self.config, tasks, probe)
            return build_env_maker(self.config, tasks, self._probed_frames(probe))
        except ValueError as error:
            raise UserError(f"eval.probes has {probe}, but {error}; leave it out") from error

    def _probed_frames(self, probe: Probe) -> FrameSource:
        if probe is Probe.BLIND:
            return BlindFrames(self.frames)
        if probe is Probe.SHUFFLED:
            return ShuffledFrames(self.frames)
        if probe is Probe.WRONG_VIDEO:
            return OtherVideos(self.frames, video_partners(task.video for task in self._tasks))
        return self.frames

    def _with_tasks(self, tasks: Sequence[Task]) -> Evaluator:
        it = self.evaluator
        return Evaluator(tasks, it.protocol, it.traces, it.batch_size, it.seed, it.finished)
