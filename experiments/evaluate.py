"""Evaluation: policies on held-out tasks, with confidence intervals; resumable by task."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from videozoom.envs.observation import FrameSource
from videozoom.envs.protocols.base import Protocol
from videozoom.envs.task_files import write_atomically
from videozoom.envs.tasks import EpisodeKind, Status, Task
from videozoom.experiments.build import (
    build_frames,
    build_protocol,
    build_sampling,
    build_tasks,
    check_config,
    model_source,
)
from videozoom.experiments.build_tracking import open_eval_tracker
from videozoom.experiments.config import Config
from videozoom.experiments.config_endpoint import UNDECIDING
from videozoom.experiments.config_files import dump_config, load_config
from videozoom.experiments.contestants import MODEL, Contestant, build_contestant
from videozoom.experiments.errors import UserError
from videozoom.experiments.open_traces import open_traces
from videozoom.experiments.progress import console, progress
from videozoom.experiments.result_rows import (
    eval_metrics,
    failure_note,
    print_probes,
    print_results,
    results_row,
)
from videozoom.experiments.run_folder import RunFolder
from videozoom.experiments.storage import storage_errors
from videozoom.policies.parallel import as_completed
from videozoom.rewards.judges import JudgeError
from videozoom.rollout.runner import EpisodeSpec, run_episodes
from videozoom.rollout.trace_rows import trace_row, trajectory_from_row
from videozoom.rollout.traces import TraceWriter, read_traces
from videozoom.rollout.types import Trajectory

if TYPE_CHECKING:
    from videozoom.experiments.contestants import Model
    from videozoom.policies.endpoint import EndpointPolicy
    from videozoom.policies.qwen_vl import QwenVLPolicy

_EVAL_SEED = 1_000_003
"""Keeps the random numbers of evaluation apart from those of training."""


FinishedEpisodes = Mapping[tuple[str, int, str], Trajectory]
"""Evaluated trajectories by policy, iteration and task id."""


@dataclass(slots=True)
class Evaluator:
    """Evaluates contestants on one list of tasks; every finished episode is in the trace file at once.

    With `finished` rows of an earlier, interrupted evaluation, tasks already done are not run again.
    """

    tasks: Sequence[Task]
    protocol: Protocol
    traces: TraceWriter
    batch_size: int
    seed: int = 0
    finished: FinishedEpisodes = field(default_factory=dict)

    def run(self, contestant: Contestant, *, iteration: int = 0, description: str | None = None) -> dict[str, Any]:
        """Return the results row of a contestant; see `results_row`."""
        return results_row(contestant.name, self.episodes(contestant, iteration=iteration, description=description))

    def episodes(
        self, contestant: Contestant, *, iteration: int = 0, description: str | None = None
    ) -> list[tuple[Task, Trajectory]]:
        """Return every task with the contestant's episode of it."""
        name = contestant.name
        specs = [
            EpisodeSpec(task, EpisodeKind.MULTI_STEP, 0, (self.seed, _EVAL_SEED, index), contestant.num_steps(task))
            for index, task in enumerate(self.tasks)
        ]
        done = {spec.task.task_id: known for spec in specs if (known := self._known(name, iteration, spec))}
        owed = [spec for spec in specs if spec.task.task_id not in done]
        size = self.batch_size if contestant.num_parallel is None else 1
        batches = [owed[start : start + size] for start in range(0, len(owed), size)]
        run = partial(run_episodes, make_env=contestant.make_env, protocol=self.protocol, policy=contestant.policy)
        with progress(description or f"Evaluating {name}", len(specs)) as advance:
            advance(len(done))
            for index, trajectories in as_completed(run, batches, contestant.num_parallel or 1):
                batch = batches[index]
                self.traces.write(
                    [
                        trace_row(spec.task, trajectory, phase="eval", policy=name, iteration=iteration)
                        for spec, trajectory in zip(batch, trajectories, strict=True)
                    ]
                )
                done |= {trajectory.task_id: trajectory for trajectory in trajectories}
                advance(len(batch))
        return [(task, done[task.task_id]) for task in self.tasks]

    def _known(self, policy: str, iteration: int, spec: EpisodeSpec) -> Trajectory | None:
        """Return the finished trajectory of an episode; one of another seed does not count."""
        trajectory = self.finished.get((policy, iteration, spec.task.task_id))
        return trajectory if trajectory is not None and trajectory.seed == spec.seed else None


def build_evaluator(
    config: Config, tasks: Sequence[Task], traces: TraceWriter, finished: FinishedEpisodes
) -> Evaluator:
    """Return the evaluator of a config's protocol and settings."""
    return Evaluator(tasks, build_protocol(config), traces, config.eval.batch_size, config.seed, finished)


def run_eval(config: Config, *, resume: bool = False, overwrite: bool = False) -> dict[str, Any]:
    """Evaluate `eval.policies` on `data.eval`, write a run folder with a report, and return the results.

    Args:
        config: The run.
        resume: Go on in the run's folder: tasks whose traces it holds are not run again.
        overwrite: Replace a run of another configuration in the same folder.

    Raises:
        UserError: A model is to be evaluated and `policy.checkpoint` names none; the run folder is taken; with
            `resume`, the folder's episodes were made under other settings; or a chat server went away.
        EndpointError: There is no chat server that can be used; nothing was written.
        KeyboardInterrupt: Ctrl-C; the traces of finished episodes are in the run folder.
    """
    from videozoom.experiments.probes import check_probes

    if MODEL in config.eval.policies and config.policy.kind == "qwen_vl" and config.policy.checkpoint is None:
        raise UserError(
            "policy.checkpoint is not set; name a checkpoint folder, a chat server with policy.kind=endpoint, or "
            "evaluate rules alone with eval.policies=[never,oracle]"
        )
    check_probes(config)
    check_config(config, may_be_endpoint=True)
    endpoint = _endpoint(config)
    tasks = build_tasks(config.data.eval, config.data.videos, name="held-out videos")[: config.eval.num_tasks]
    model = endpoint or _checkpoint(config)
    with storage_errors(config.run_dir, f"videozoom eval --resume {config.run_dir}"):
        return _evaluate(config, _folder(config, resume=resume, overwrite=overwrite), tasks, model)


def _evaluate(config: Config, run: RunFolder, tasks: tuple[Task, ...], model: "Model | None") -> dict[str, Any]:
    from videozoom.experiments.report import write_report

    frames = build_frames(config)
    contestants = [build_contestant(config, name, tasks, frames, model) for name in config.eval.policies]
    rows: list[dict[str, Any]] = []
    episodes: dict[str, list[tuple[Task, Trajectory]]] = {}
    tracker = open_eval_tracker(run, config, main_phase=MODEL, frames=frames)
    with tracker, open_traces(run, config, tracker) as traces, _resumable(run):
        evaluator = build_evaluator(config, tasks, traces, finished_episodes(run))
        for contestant in contestants:
            name = contestant.name
            episodes[name] = evaluator.episodes(contestant)
            rows.append(results_row(name, episodes[name]))
            tracker.log(eval_metrics(rows[-1]), 0, name)
        probed = _probed(config, evaluator, frames, model, episodes)
    results = {"rows": rows, "seed": config.seed, **probed}
    run.write_results(results)
    print_results(rows)
    print_probes(probed)
    if note := failure_note(rows):
        console.print(note, markup=False)
    write_report(run.path, frames)
    return results


def _probed(
    config: Config,
    evaluator: Evaluator,
    frames: FrameSource,
    model: "Model | None",
    episodes: Mapping[str, Sequence[tuple[Task, Trajectory]]],
) -> dict[str, Any]:
    """Return the tables of the probes that the config asks for."""
    from videozoom.experiments.probes import ProbeRunner

    if model is None or MODEL not in episodes:
        return {}
    return ProbeRunner(config, evaluator, frames, model, episodes[MODEL]).run()


def _endpoint(config: Config) -> "EndpointPolicy | None":
    """Return the model behind a chat server, which was asked something small; `None` if it is none."""
    settings = config.policy.endpoint
    if config.policy.kind != "endpoint" or settings is None:
        return None
    from videozoom.experiments.build_endpoint import build_endpoint

    endpoint = build_endpoint(settings, build_sampling(config)).greedy(config.eval.max_new_tokens)
    endpoint.check()
    return endpoint


def _checkpoint(config: Config) -> "QwenVLPolicy | None":
    """Return the model of `policy.checkpoint`; `None` if there is none."""
    checkpoint = config.policy.checkpoint
    return model_source(config, checkpoint).load() if checkpoint is not None else None


@contextmanager
def _resumable(run: RunFolder) -> Iterator[None]:
    """Say how to go on if a chat server, or the judge of answers, fails while episodes run."""
    from videozoom.policies.chat_client import EndpointError

    try:
        yield
    except (EndpointError, JudgeError) as error:
        raise UserError(
            f"{error}; finished episodes are kept, go on with: videozoom eval --resume {run.path}"
        ) from None


def _folder(config: Config, *, resume: bool, overwrite: bool) -> RunFolder:
    """Return the folder of a new evaluation, or of one whose episodes may stand beside new ones."""
    if any(RunFolder(config.run_dir).checkpoints.glob("*")):
        raise UserError(
            f"run_dir {config.run_dir} holds a training with its checkpoints; choose another folder for the evaluation "
            "with run_dir=..."
        )
    text = dump_config(config)
    if not resume:
        return RunFolder.create(config.run_dir, text, seed=config.seed, overwrite=overwrite)
    run = RunFolder.open(config.run_dir)
    before, now = (dict(_deciding_settings(it)) for it in (load_config(run.config_file), config))
    changed = next((name for name in {**before, **now} if before.get(name) != now.get(name)), None)
    if changed is not None:
        raise UserError(
            f"{run.path} was evaluated with {changed}={before.get(changed)}, not {now.get(changed)}; resume with the "
            "settings it has, or choose another folder with run_dir=..."
        )
    write_atomically(run.config_file, text.encode())
    return run


_SEERS = ("captioner", "video_qa")
_UNDECIDING: dict[str, Any] = {
    "video": {"cache_mib", "cache", "cache_gib", "cold_cache_gib"},
    "captions": {"cache": True, "cache_gib": True, **{who: {"endpoint": set(UNDECIDING)} for who in _SEERS}},
    "policy": {"endpoint": set(UNDECIDING)},
    "reward_rules": {"answers": {"judge": {"endpoint": set(UNDECIDING), "file": True}}},
}
"""Settings that no result depends on."""


def _deciding_settings(config: Config) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the settings that an episode depends on."""
    sections = ("video", "protocol", "env", "captions", "reward", "reward_rules", "policy")
    values = config.model_dump(mode="json", include=set(sections), exclude=_UNDECIDING)
    yield from _leaves(values)
    yield "seed", config.seed
    yield "data.eval", config.data.eval.content
    yield "eval.max_new_tokens", config.eval.max_new_tokens


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def evaluated_episodes(run: RunFolder) -> FinishedEpisodes:
    """Return the evaluated trajectories a run folder holds."""
    if not run.traces_file.is_file():
        return {}
    return {
        (row["policy"], row["iteration"], row["task_id"]): trajectory_from_row(row)
        for row in read_traces(run.traces_file)
        if row["phase"] == "eval"
    }


def finished_episodes(run: RunFolder) -> FinishedEpisodes:
    """Return the evaluated trajectories that need not be run again: those whose video could not be read are tried."""
    episodes = evaluated_episodes(run)
    return {key: episode for key, episode in episodes.items() if episode.status is not Status.ERROR_DECODE}
