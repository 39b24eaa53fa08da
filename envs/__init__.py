"""The world: tasks, videos, sampling, `VideoZoomEnv`, protocols, generated videos.

Importing this package registers `VideoZoom-v0` and `CaptionTree-v0`, and loads neither torch, ray nor transformers.
"""

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from videozoom.envs.actions import Answer as Answer
    from videozoom.envs.actions import AskVideo as AskVideo
    from videozoom.envs.actions import GetCaption as GetCaption
    from videozoom.envs.actions import Malformed as Malformed
    from videozoom.envs.actions import ZoomIn as ZoomIn
    from videozoom.envs.caption_tree_env import CaptionTreeEnv as CaptionTreeEnv
    from videozoom.envs.check import ZoomEnvError as ZoomEnvError
    from videozoom.envs.check import check_zoom_env as check_zoom_env
    from videozoom.envs.episode import Episode as Episode
    from videozoom.envs.observation import Observation as Observation
    from videozoom.envs.observation import VideoClip as VideoClip
    from videozoom.envs.ready_envs import ReadyEnvs as ReadyEnvs
    from videozoom.envs.span_rules import SpanRules as SpanRules
    from videozoom.envs.task_files import load_tasks as load_tasks
    from videozoom.envs.task_files import save_tasks as save_tasks
    from videozoom.envs.tasks import EpisodeKind as EpisodeKind
    from videozoom.envs.tasks import QuestionKind as QuestionKind
    from videozoom.envs.tasks import Span as Span
    from videozoom.envs.tasks import Status as Status
    from videozoom.envs.tasks import Task as Task
    from videozoom.envs.video_store import VideoStore as VideoStore
    from videozoom.envs.video_zoom import VideoZoomEnv as VideoZoomEnv

_EXPORTS = {
    "Answer": "actions",
    "AskVideo": "actions",
    "CaptionTreeEnv": "caption_tree_env",
    "Episode": "episode",
    "EpisodeKind": "tasks",
    "GetCaption": "actions",
    "Malformed": "actions",
    "Observation": "observation",
    "QuestionKind": "tasks",
    "ReadyEnvs": "ready_envs",
    "Span": "tasks",
    "SpanRules": "span_rules",
    "Status": "tasks",
    "Task": "tasks",
    "VideoClip": "observation",
    "VideoStore": "video_store",
    "VideoZoomEnv": "video_zoom",
    "ZoomEnvError": "check",
    "ZoomIn": "actions",
    "check_zoom_env": "check",
    "load_tasks": "task_files",
    "save_tasks": "task_files",
}
__all__ = sorted(_EXPORTS)

if "CaptionTree-v0" not in gymnasium.registry:
    gymnasium.register(id="CaptionTree-v0", entry_point="videozoom.envs.caption_tree_env:CaptionTreeEnv")
if "VideoZoom-v0" not in gymnasium.registry:
    gymnasium.register(id="VideoZoom-v0", entry_point="videozoom.envs.settings:make_video_zoom")


def __getattr__(name: str) -> Any:
    """Load an export on first use (PEP 562), so that the submodules stay free of import cycles."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
