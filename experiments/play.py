"""`videozoom play`: a person plays episodes in a local web page, with the environment that models get."""

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from videozoom.envs.tasks import Task
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.experiments.build import build_env_maker, build_frames, build_tasks
from videozoom.experiments.config import Config
from videozoom.experiments.errors import UserError
from videozoom.experiments.play_episode import PlayedEpisode
from videozoom.experiments.play_server import Game, PlayServer
from videozoom.experiments.progress import console
from videozoom.experiments.report_traces import TraceDigest
from videozoom.experiments.report_words import main_policy, policy_words
from videozoom.experiments.run_folder import RunFolder
from videozoom.rollout.trace_rows import TraceRow, trajectory_from_row
from videozoom.rollout.traces import read_traces
from videozoom.rollout.viewer_timeline import LabelledRollout

_NOTHING_TO_SEE = (
    "The page of videozoom play shows videos, and agents of env.kind=caption_tree read captions instead; play another "
    "configuration, such as demo, or see in the report.html of a run what its agent read"
)


def run_play(config: Config, *, run_dir: Path | None = None, port: int = 0, open_browser: bool = True) -> None:
    """Serve the page until Ctrl-C, then print how it went.

    Args:
        config: Its held-out tasks are played, with its videos, steps, span rules and rewards.
        run_dir: A run whose trained policy's episodes on the same tasks are shown at the end of each.
        port: Of the page; 0 takes a free one.
        open_browser: Whether to show the page in the user's browser.

    Raises:
        UserError: there are no videos to look at, the port is taken, or the run did not evaluate these tasks.
    """
    if config.env.kind != "video_zoom":
        raise UserError(_NOTHING_TO_SEE)
    rows = _rows(run_dir) if run_dir is not None else {}
    tasks = build_tasks(config.data.eval, config.data.videos, name="videos to play")[: config.eval.num_tasks]
    if run_dir is not None and not any(task.task_id in rows for task in tasks):
        raise UserError(
            f"{run_dir} evaluated none of these tasks; play those it has with: videozoom play "
            f"{RunFolder(run_dir).config_file} --run {run_dir}"
        )
    with _server(game(config, tasks, rows), port) as server:
        _tell(server.url, open_browser)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            console.print(f"Stopped: {server.game.score()}.", markup=False)


def game(config: Config, tasks: tuple[Task, ...], rows: Mapping[str, TraceRow]) -> Game:
    """Return the game of some tasks; `rows` are episodes of somebody else by task id.

    Raises:
        UserError: the configuration's environment has nothing to look at.
    """
    make_env = build_env_maker(config, tasks, build_frames(config))

    def start(task: Task) -> PlayedEpisode:
        env = make_env()
        if not isinstance(env, VideoZoomEnv):
            raise UserError(_NOTHING_TO_SEE)
        row = rows.get(task.task_id)
        return PlayedEpisode(env, task, () if row is None else (_labelled(row),))

    start(tasks[0])  # What the configuration gets wrong shows before there is a page.
    return Game(tasks, start)


def _rows(run_dir: Path) -> dict[str, TraceRow]:
    """Return the episodes of a run's furthest trained policy, by task id."""
    run = RunFolder.open(run_dir)
    evaluations = TraceDigest.of(read_traces(run.traces_file)).evaluations if run.traces_file.is_file() else {}
    policy = main_policy(list(evaluations))
    if policy is None:
        raise UserError(f"{run_dir} holds no evaluated episodes; give the run_dir of a finished training or evaluation")
    return {row["task_id"]: row for row in evaluations[policy]}


def _labelled(row: TraceRow) -> LabelledRollout:
    return LabelledRollout(policy_words(row["policy"]).name, trajectory_from_row(row), style=row["policy"])


def _server(played: Game, port: int) -> PlayServer:
    try:
        return PlayServer(played, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"Port {port} cannot be used ({reason}); choose another with --port, or 0 for a free one"
        ) from None


def _tell(url: str, open_browser: bool) -> None:
    # What programs read goes to stdout: the address.
    print(url, flush=True)
    console.print("Open this address in a browser on this machine. Ctrl-C ends.", markup=False)
    # Without a display, a browser in the terminal would take it over.
    has_display = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if open_browser and has_display:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
