"""Traces as data sets of verl: Parquet files whose rows all have the same columns and keys.

Source: verl 0.9.1, `RLHFDataset` and its multi-turn supervised data: as many `<video>` as videos; Parquet fills keys
that other rows have with None, so every row has all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from videozoom.envs.observation import VideoClip
from videozoom.experiments.errors import UserError
from videozoom.experiments.export_llama_factory import is_image
from videozoom.experiments.export_media import FPS, MediaFiles
from videozoom.experiments.export_steps import ExportedStep, Turn, check_whole_videos

RL_FILE, SFT_FILE, TOOL = "rl.parquet", "sft.parquet", "zoom"
_BATCH = 256


class VerlExport:
    """Writes `rl.parquet`, a row per question, and `sft.parquet`, a row per step."""

    notes: tuple[str, ...] = (
        "rl.parquet: the video itself at the rate of the fast view; zooms come from a tool of yours called zoom, whose "
        "create_kwargs name video and length.",
        "sft.parquet: messages, with clips as files of 2 frames per second; only the last message is of the step.",
        "reward: compute_score(data_source, solution_str, ground_truth, extra_info).",
    )

    def __init__(self, folder: Path, media: MediaFiles, *, fast_fps: float, fast_max_frames: int) -> None:
        self._media = media
        self._rate = {"fps": float(fast_fps), "max_frames": int(fast_max_frames)}
        schemas = _schemas()
        self._rl = _Table(folder / RL_FILE, schemas[0])
        self._sft = _Table(folder / SFT_FILE, schemas[1])
        self._asked: set[tuple[str, str]] = set()

    def add(self, step: ExportedStep) -> None:
        """Write a step, and its question if it is new."""
        check_whole_videos(step.step.prompt)
        messages = [_message(turn) for turn in step.turns]
        saved = {
            "videos": [self._saved(clip) for clip in step.clips if not is_image(clip)],
            "images": [{"image": str(self._media.frames(clip)[0])} for clip in step.clips if is_image(clip)],
        }
        reply = {"role": "assistant", "content": step.completion}
        self._sft.add(
            {"messages": [*messages, reply], **saved, "tools": "[]", "enable_thinking": False, **step.facts()}
        )
        question = (step.task.task_id, step.row["kind"])
        if step.step.index == 0 and question not in self._asked:
            self._asked.add(question)
            self._rl.add({"prompt": messages, **saved, **self._question(step, len(self._asked) - 1)})

    def close(self) -> None:
        """Finish the files."""
        self._rl.close()
        self._sft.close()

    def _saved(self, clip: VideoClip) -> dict[str, Any]:
        return {"video": str(self._media.video(clip)), "fps": float(FPS), "max_frames": len(clip.frames)}

    def _question(self, step: ExportedStep, index: int) -> dict[str, Any]:
        task = step.task
        video = str(task.video.absolute())
        # The whole video is the reference itself, at the rate of the fast view.
        videos = [{"video": video, **self._rate}] if len(step.clips) == 1 and not is_image(step.clips[0]) else None
        return {
            **({"videos": videos} if videos else {}),
            "data_source": "videozoom",
            "ability": str(task.kind),
            "reward_model": {"style": "rule", "ground_truth": task.answer},
            "agent_name": "tool_agent",
            "extra_info": {
                "split": step.row["phase"],
                "index": index,
                "task_id": task.task_id,
                "kind": step.row["kind"],
                "question": task.question,
                "options": list(task.options),
                "answer": task.answer,
                "evidence": [list(span) for span in task.evidence],
                "need_tools_kwargs": True,
                "tools_kwargs": {TOOL: {"create_kwargs": {"video": video, "duration_s": task.duration_s}}},
            },
        }


def _message(turn: Turn) -> dict[str, str]:
    return {
        "role": str(turn.role),
        "content": turn.text(lambda clip: "<image>" if is_image(clip) else "<video>"),
    }


def _schemas() -> tuple[Any, Any]:
    """Return the columns of both files."""
    pa = _pyarrow()
    text, number, real = pa.string(), pa.int64(), pa.float64()
    messages = pa.list_(pa.struct({"role": text, "content": text}))
    media = {
        "videos": pa.list_(pa.struct({"video": text, "fps": real, "max_frames": number})),
        "images": pa.list_(pa.struct({"image": text})),
    }
    tool = pa.struct({"create_kwargs": pa.struct({"video": text, "duration_s": real})})
    extra = {
        **{"split": text, "index": number, "task_id": text, "kind": text, "question": text, "answer": text},
        "options": pa.list_(text),
        "evidence": pa.list_(pa.list_(real)),
        "need_tools_kwargs": pa.bool_(),
        "tools_kwargs": pa.struct({TOOL: tool}),
    }
    reward = pa.struct({"style": text, "ground_truth": text})
    texts = {"data_source": text, "ability": text, "agent_name": text}
    rl = {"prompt": messages, **media, **texts, "reward_model": reward, "extra_info": pa.struct(extra)}
    facts = {
        **dict.fromkeys(("task_id", "phase", "policy", "kind", "status"), text),
        **dict.fromkeys(("iteration", "member", "step"), number),
        **dict.fromkeys(("advantage", "reward"), real),
        "is_last_step": pa.bool_(),
    }
    sft = {"messages": messages, **media, "tools": text, "enable_thinking": pa.bool_(), **facts}
    return pa.schema(rl), pa.schema(sft)


class _Table:
    """A Parquet file, written in batches."""

    def __init__(self, path: Path, schema: Any) -> None:
        from pyarrow import parquet

        self._schema = schema
        self._writer = parquet.ParquetWriter(path, schema)
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self._flush(self._rows)
            self._rows = []

    def close(self) -> None:
        self._flush(self._rows)
        self._writer.close()

    def _flush(self, rows: Sequence[dict[str, Any]]) -> None:
        self._writer.write_table(_pyarrow().Table.from_pylist(list(rows), schema=self._schema))


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise UserError("verl reads Parquet files, which need the package pyarrow: pip install pyarrow") from error
    return pyarrow
