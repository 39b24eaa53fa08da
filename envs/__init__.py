"""The world: tasks, videos, sampling, `VideoZoomEnv`, protocols, generated videos.

Importing this package registers `VideoZoom-v0` and `CaptionTree-v0`, and loads neither torch, ray nor transformers.
"""

import importlib
from typing import Any

import gymnasium

_EXPORTS = {
    "Answer": "actions",
    "AskVideo": "actions",
    "CaptionTreeEnv": "caption_tree_env",
    "Episode": "episode",
    "EpisodeKind": "tasks",
    "GetCaption": "actions",
    "Malformed": "actions",
    "Observation": "observation",
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
