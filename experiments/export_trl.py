"""Traces as data sets of TRL: JSON lines with frames as images; it has no column of videos.

Source: TRL 1.16, its conversational formats with images: as many image blocks as images, in their order.
"""

from pathlib import Path
from typing import Any

from videozoom.envs.json_lines import JsonLinesWriter
from videozoom.envs.observation import VideoClip
from videozoom.experiments.export_media import MediaFiles
from videozoom.experiments.export_steps import ExportedStep, Turn

SFT_FILE, GRPO_FILE = "sft.jsonl", "grpo.jsonl"


class TrlExport:
    """Writes `sft.jsonl`, a row per step, and `grpo.jsonl`, a row per question."""

    notes: tuple[str, ...] = (
        'load_dataset("json", data_files="sft.jsonl").cast_column("images", Sequence(Image()))',
        "sft.jsonl: messages, images; only the last message is of the step, those before are its prompt.",
        "grpo.jsonl: prompt, images; solution and the other columns reach reward functions.",
    )

    def __init__(self, folder: Path, media: MediaFiles) -> None:
        self._media = media
        self._sft, self._grpo = JsonLinesWriter(folder / SFT_FILE), JsonLinesWriter(folder / GRPO_FILE)
        self._asked: set[tuple[str, str]] = set()

    def add(self, step: ExportedStep) -> None:
        """Write a step, and its question if it is new."""
        messages = [self._message(turn) for turn in step.turns]
        images = [str(file) for clip in step.clips for file in self._media.frames(clip)]
        reply = {"role": "assistant", "content": [{"type": "text", "text": step.completion}]}
        self._sft.append([{"messages": [*messages, reply], "images": images, **step.facts()}])
        question = (step.task.task_id, step.row["kind"])
        if step.step.index == 0 and question not in self._asked:
            self._asked.add(question)
            self._grpo.append([{"prompt": messages, "images": images, **_question(step)}])

    def close(self) -> None:
        """Finish the files."""
        self._sft.close()
        self._grpo.close()

    def _message(self, turn: Turn) -> dict[str, Any]:
        blocks: list[dict[str, str]] = []
        for part in turn.content:
            if isinstance(part, VideoClip):
                blocks += [{"type": "image"}] * len(part.frames)
            else:
                blocks.append({"type": "text", "text": part})
        return {"role": str(turn.role), "content": blocks}


def _question(step: ExportedStep) -> dict[str, Any]:
    task = step.task
    return {
        "solution": task.answer,
        "task_id": task.task_id,
        "kind": step.row["kind"],
        "question_kind": str(task.kind),
        "video": str(task.video),
        "duration_s": task.duration_s,
        "question": task.question,
        "options": list(task.options),
        "evidence": [list(span) for span in task.evidence],
    }
