"""Traces as a data set of LLaMA-Factory: ShareGPT conversations with clips as video files.

Source: LLaMA-Factory 0.9.5: turns of human and gpt alternate, their number is even, and there are as many `<video>` as
videos; a row that breaks this is emptied without a word. It samples videos at one rate for all, so clips are files of
their own whose every frame is taken at its default of 2 per second.
"""

import json
from pathlib import Path
from typing import Any

from videozoom.envs.messages import Role
from videozoom.envs.observation import VideoClip
from videozoom.envs.task_files import write_atomically
from videozoom.experiments.export_media import MediaFiles
from videozoom.experiments.export_steps import ExportedStep, check_whole_videos

DATA_FILE, INFO_FILE, NAME = "videozoom.json", "dataset_info.json", "videozoom"
_SPEAKERS = {Role.USER: "human", Role.ASSISTANT: "gpt"}


class LlamaFactoryExport:
    """Writes `videozoom.json`, a row per step, and `dataset_info.json`."""

    notes: tuple[str, ...] = (
        "dataset_dir: this folder; dataset: videozoom; mask_history: true, for only the last turn is of the step;",
        "video_fps: 2.0 and video_maxlen at least the most frames of a clip (the defaults are 2.0 and 128).",
    )

    def __init__(self, folder: Path, media: MediaFiles) -> None:
        self._folder, self._media = folder, media
        # A JSON list, written row by row: all rows together may not fit into memory.
        self._file = (folder / DATA_FILE).open("w", encoding="utf-8")
        self._num_rows = 0

    def add(self, step: ExportedStep) -> None:
        """Write a step."""
        check_whole_videos(step.step.prompt)
        turns = step.turns
        system = turns.pop(0).text(_placeholder) if turns[0].role is Role.SYSTEM else ""
        conversations = [{"from": _SPEAKERS[turn.role], "value": turn.text(_placeholder)} for turn in turns]
        conversations.append({"from": "gpt", "value": step.completion})
        row: dict[str, Any] = {
            "conversations": conversations,
            "system": system,
            "videos": [str(self._media.video(clip)) for clip in step.clips if not is_image(clip)],
            "images": [str(self._media.frames(clip)[0]) for clip in step.clips if is_image(clip)],
            **step.facts(),
        }
        self._file.write(("[\n" if not self._num_rows else ",\n") + json.dumps(row))
        self._num_rows += 1

    def close(self) -> None:
        """Finish the files."""
        self._file.write("\n]\n" if self._num_rows else "[]\n")
        self._file.close()
        columns = {"messages": "conversations", "system": "system", "videos": "videos", "images": "images"}
        info = {NAME: {"file_name": DATA_FILE, "formatting": "sharegpt", "columns": columns}}
        write_atomically(self._folder / INFO_FILE, json.dumps(info, indent=2).encode() + b"\n")


def is_image(clip: VideoClip) -> bool:
    """Return whether a clip is a single frame, which is no video."""
    return len(clip.frames) == 1


def _placeholder(clip: VideoClip) -> str:
    return "<image>" if is_image(clip) else "<video>"
