"""From a config to the objects it describes: the one place where settings become constructor arguments.

What the user got wrong ends here, in one sentence, before anything is written into a run folder.
"""

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from videozoom.envs.caption_tree_env import CaptionTreeEnv
from videozoom.envs.generated.generate import generate
from videozoom.envs.observation import FrameSource, VideoDecodeError
from videozoom.envs.overlay import TimestampOverlay
from videozoom.envs.protocols.longvideo_r1 import LongVideoR1Protocol
from videozoom.envs.protocols.love_r1 import LoveR1Protocol
from videozoom.envs.protocols.videozoomer import VideoZoomerProtocol
from videozoom.envs.sampling import FrameSizing, FrameSpacing
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.task_files import load_tasks
from videozoom.envs.tasks import Task
from videozoom.envs.video_store import Resize, VideoStore
from videozoom.envs.video_zoom import VideoZoomEnv
from videozoom.envs.videos.reader import Backend, build_reader
from videozoom.experiments.build_captions import build_caption_env_maker, check_captions
from videozoom.experiments.build_rubric import build_rubric, check_judge
from videozoom.experiments.config import Config
from videozoom.experiments.config_data import DataSource
from videozoom.experiments.errors import UserError
from videozoom.experiments.grpo_settings import ModelSource
from videozoom.experiments.progress import progress
from videozoom.policies.feature_cache import FeatureBudget
from videozoom.policies.sampling import Sampling

if TYPE_CHECKING:
    from videozoom.policies.qwen_vl import QwenVLPolicy

MakeEnv = Callable[[], VideoZoomEnv | CaptionTreeEnv]


def check_config(config: Config, *, may_be_endpoint: bool = False) -> None:
    """Look at the files a config names, so that a mistake shows before anything is rendered or written.

    Args:
        config: The run.
        may_be_endpoint: Whether a chat server will do, which acts and does not learn.

    Raises:
        UserError: prompt texts cannot be used, a chat server is to learn, or the key of one is not there (the judge's,
            too).
        CheckpointError: `policy.checkpoint`, or that of a captioner, cannot be used.
        BackendError: the package of `video.backend` is missing or cannot be loaded.
        AttentionBackendError: this torch has no `policy.text_attention`.
    """
    if config.policy.kind == "endpoint" and not may_be_endpoint:
        raise UserError(
            "policy.kind is endpoint: a model behind a chat server can be evaluated (videozoom eval), not trained or "
            "looked into; set policy.kind=qwen_vl and policy.checkpoint"
        )
    build_protocol(config)
    check_judge(config)
    if config.env.kind == "caption_tree":
        check_captions(config)
    # Asking for its version loads the library.
    _ = build_reader(Backend(config.video.backend)).fingerprint
    if config.policy.kind == "qwen_vl" and config.policy.checkpoint is not None:
        from videozoom.policies.qwen_checkpoint import check_checkpoint

        check_checkpoint(config.policy.checkpoint, attention=config.policy.attention)
    if config.policy.text_attention == "cuda":
        from videozoom.policies.attention_backends import check_cuda

        check_cuda()


def build_tasks(source: DataSource, videos: Path, *, name: str = "videos") -> tuple[Task, ...]:
    """Return the tasks of a source; generated videos are rendered into `videos` once and found there again.

    Raises:
        TaskFileError: a task file is missing or wrong.
        UserError: not one video of a task file can be read, or `videos` cannot be written.
    """
    if source.tasks is not None:
        return _read_tasks(source.tasks)
    assert source.generated is not None  # the config admits no source without either
    recipe = source.generated.recipe()
    folder = videos / f"{recipe.content_hash}-{recipe.num_videos}"
    done = 0
    with progress(f"Rendering {name}", recipe.num_videos) as advance:

        def show(num_done: int, _: int) -> None:
            nonlocal done
            advance(num_done - done)
            done = num_done

        try:
            return load_tasks(generate(recipe, folder, num_workers=_num_workers(recipe.num_videos), progress=show))
        except OSError as error:
            raise UserError(
                f"Cannot write generated videos into {folder} ({error.strerror}); choose another folder with "
                "data.videos=..."
            ) from error


def _read_tasks(path: Path) -> tuple[Task, ...]:
    """Return the tasks of a file. Videos that cannot be read are counted later; a run without any makes no sense."""
    tasks = load_tasks(path)
    store = VideoStore()
    first: VideoDecodeError | None = None
    for video in dict.fromkeys(task.video for task in tasks):
        try:
            store.duration_s(video)
        except VideoDecodeError as error:
            first = first or error
        else:
            return tasks
    raise UserError(f"{path}: not one of its videos can be read; that of its first row: {first}")


def _num_workers(num_videos: int) -> int:
    """Return how many processes render: one per CPU, or none but this one where starting them would take longer."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cpus if num_videos > 100 else 1


def build_frames(config: Config) -> VideoStore:
    """Return the reader of fast views and slow clips."""
    video = config.video
    return VideoStore(
        fast_fps=video.fast_fps,
        fast_max_frames=video.fast_max_frames,
        fast_frame_tokens=video.fast_frame_tokens,
        slow_fps=video.slow_fps,
        slow_max_frames=video.slow_max_frames,
        slow_frame_tokens=video.slow_frame_tokens,
        double_fast_below_s=video.double_fast_below_s,
        double_slow_below_s=video.double_slow_below_s,
        spacing=FrameSpacing(video.spacing),
        sizing=FrameSizing(video.sizing),
        min_frame_tokens=video.min_frame_tokens,
        resize=Resize(video.resize),
        backend=Backend(video.backend),
        decode_limit_s=video.decode_limit_s,
        max_filled=video.max_filled,
        memory_bytes=video.cache_mib * 2**20,
        cache=video.cache,
        disk_bytes=int(video.cache_gib * 2**30),
        cold_bytes=int(video.cold_cache_gib * 2**30),
    )


def build_protocol(config: Config) -> LoveR1Protocol | VideoZoomerProtocol | LongVideoR1Protocol:
    """Return the protocol, its wording loaded.

    Raises:
        UserError: the prompt texts cannot be used.
    """
    protocol = config.protocol
    try:
        if protocol.name == "longvideo_r1":
            return LongVideoR1Protocol(protocol.prompts, parser=protocol.parser or "first")
        if protocol.name == "videozoomer":
            return VideoZoomerProtocol(
                protocol.prompts,
                preset=protocol.preset or "rl",
                frames=protocol.frames,
                max_frames=config.env.span_rules.max_frames or config.video.slow_max_frames,
                fps=config.video.slow_fps,
                overlay=TimestampOverlay(digit_scale=protocol.timestamp_scale, plate=protocol.timestamp_plate)
                if protocol.timestamps
                else None,
            )
        return LoveR1Protocol(
            protocol.prompts,
            timestamps=protocol.timestamps is not False,
            timestamp_scale=protocol.timestamp_scale,
            timestamp_plate=protocol.timestamp_plate,
            parser=protocol.parser or "rl",
            template=protocol.template,
            force_answer=protocol.force_answer,
            force_after_malformed=protocol.force_after_malformed,
        )
    except (OSError, ValueError) as error:
        raise UserError(f"protocol.prompts is {protocol.prompts!r}, which cannot be used: {error}") from error


def build_env_maker(
    config: Config, tasks: tuple[Task, ...], frames: FrameSource, *, span_rules: SpanRules | None = None
) -> MakeEnv:
    """Return a function that makes environments sharing what they read from; `span_rules` replaces the config's.

    Raises:
        UserError: captions are to come from the truth of videos that are not generated, or a question is of a kind that
            the protocol does not know.
    """
    _check_questions(config, tasks)
    if config.env.kind == "caption_tree":
        return build_caption_env_maker(config, tasks)
    rules = span_rules or SpanRules(**config.env.span_rules.model_dump())
    # The task of an episode comes with `reset`: one stands for all here, so that making an environment costs nothing.
    longest = max(tasks, key=lambda task: (task.duration_s, len(task.options)))
    return partial(
        VideoZoomEnv,
        [longest],
        frames,
        build_rubric(config),
        config.env.max_steps,
        rules,
        config.env.mask_unreadable,
        whole_clip_if_refused=config.env.whole_clip_if_refused,
    )


def _check_questions(config: Config, tasks: tuple[Task, ...]) -> None:
    known = build_protocol(config).question_kinds
    wrong = next((task for task in tasks if task.kind not in known), None)
    if wrong is not None:
        raise UserError(
            f"task {wrong.task_id!r} is of kind {wrong.kind}, but with its prompt texts and parser protocol "
            f"{config.protocol.name} asks only: {', '.join(sorted(known))}; choose others with protocol.prompts and "
            "protocol.parser, or leave such tasks out"
        )


def evidence_length_s(tasks: tuple[Task, ...]) -> float:
    """Return the mean length of the tasks' evidence spans; 30 s, the paper's random clip, where none is annotated."""
    lengths = [span.length_s for task in tasks for span in task.evidence]
    return math.fsum(lengths) / len(lengths) if lengths else 30.0


def model_source(config: Config, checkpoint: Path) -> ModelSource:
    """Return a checkpoint, loaded as the config says."""
    policy, cache = config.policy, config.policy.feature_cache
    return ModelSource(
        checkpoint,
        dtype=policy.dtype,
        attention=policy.attention,
        text_attention=policy.text_attention,
        freeze_vision=policy.freeze_vision,
        gradient_checkpointing=policy.gradient_checkpointing,
        feature_budget=FeatureBudget(
            memory_bytes=int(cache.memory_gib * 2**30),
            # Workers may run in other folders than this process.
            folder=cache.folder and cache.folder.absolute(),
            disk_bytes=int(cache.disk_gib * 2**30),
        ),
    )


def build_policy(config: Config, folder: Path, corpus: Callable[[], list[str]]) -> "QwenVLPolicy":
    """Return the model of `policy.checkpoint`, or a tiny one written into `folder` with a tokenizer for `corpus`.

    Raises:
        CheckpointError: the checkpoint cannot be used.
    """
    from videozoom.policies.tiny import TinySize, build_tiny

    checkpoint = config.policy.checkpoint
    if checkpoint is None:
        checkpoint = build_tiny(folder, corpus(), size=TinySize(**config.policy.tiny.model_dump()), seed=config.seed)
    return model_source(config, checkpoint).load(build_sampling(config))


def build_sampling(config: Config) -> Sampling:
    """Return how a config's rollouts draw completions."""
    rollout = config.rollout
    return Sampling(
        temperature=rollout.temperature,
        top_k=rollout.top_k,
        top_p=rollout.top_p,
        max_new_tokens=rollout.max_new_tokens,
        stop=rollout.stop,
    )
