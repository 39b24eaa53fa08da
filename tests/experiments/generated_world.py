"""A few real generated videos with everything that reads them, at the sizes of the demo."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.messages import Prompt, TextPart
from videozoom.envs.observation import FrameSource
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import Task
from videozoom.envs.video_store import VideoStore
from videozoom.experiments.build import build_frames, build_protocol
from videozoom.experiments.cold_start_data import ColdStartData
from videozoom.experiments.cold_start_stage import Annotate
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import load_config

TINY = (
    *(f"data.{part}.generated.num_videos=3" for part in ("train", "eval", "cold_start.mixed")),
    "policy.tiny.hidden_size=32",
    "policy.tiny.num_layers=1",
    "rollout.max_new_tokens=6",
    "eval.max_new_tokens=6",
    "eval.num_tasks=3",
)
"""Overrides that make `smoke` small enough for a test."""


@dataclass(frozen=True)
class GeneratedWorld:
    tasks: tuple[Task, ...]
    """Three events each, and a blank look-alike of the one that is asked for."""
    pairs: tuple[Task, ...]
    """Questions about two events."""
    marked: tuple[Task, ...]
    """Questions whose answer a mark tells in the fast view."""
    frames: VideoStore
    protocol: LoveR1Protocol


def make_generated_world(folder: Path) -> GeneratedWorld:
    common = {"num_videos": 3, "length_s": 32.0, "num_events": 3}
    single = VideoRecipe(**common, decoy_probability=1.0, seed=11)
    double = VideoRecipe(**common, evidence_events=2, seed=12)
    marked = VideoRecipe(**common, legibility=1.0, seed=13)
    config = load_config("demo", [f"video.cache={folder / 'cache'}"])
    protocol = build_protocol(config)
    assert isinstance(protocol, LoveR1Protocol)
    return GeneratedWorld(
        tasks=load_tasks(generate(single, folder / "single")),
        pairs=load_tasks(generate(double, folder / "double")),
        marked=load_tasks(generate(marked, folder / "marked")),
        frames=build_frames(config),
        protocol=protocol,
    )


def annotate(world: GeneratedWorld, frames: FrameSource) -> Annotate:
    return partial(ColdStartData, frames=frames, protocol=world.protocol)


def smoke_config(videos: Path, run_dir: Path, *overrides: str) -> Config:
    places = [f"data.videos={videos}", f"video.cache={videos / 'cache'}", f"run_dir={run_dir}"]
    return load_config("smoke", [*TINY, *places, *overrides])


def text_of(prompt: Prompt) -> str:
    """Return all text of a prompt; a clip is a line of its own."""
    parts = [part for message in prompt.messages for part in message.content]
    return "\n".join(part.text if isinstance(part, TextPart) else "<video>" for part in parts)
