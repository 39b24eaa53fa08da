"""From a config to a caption tree environment, its captioner, and who answers questions about spans."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from videozoom.envs.caption_tree_env import CaptionTreeEnv
from videozoom.envs.captions.kept_texts import KeptCaptioner, KeptTexts, KeptVideoQA
from videozoom.envs.captions.probes import BlindCaptioner, OtherVideoCaptioner, OtherVideoQA, caption_partners
from videozoom.envs.captions.sources import Captioner, VideoQA
from videozoom.envs.captions.tree import LEVELS, Level, WidthRule
from videozoom.envs.generated.caption_words import CaptionStyle
from videozoom.envs.generated.captions import TruthCaptioner, TruthVideoQA, events_by_video
from videozoom.envs.generated.narration import Event
from videozoom.envs.probes import Probe
from videozoom.envs.tasks import Task
from videozoom.envs.video_store import Resize, VideoStore
from videozoom.envs.videos.file_ids import FileStamp, digest_of
from videozoom.envs.videos.reader import Backend
from videozoom.experiments.build_endpoint import build_endpoint
from videozoom.experiments.build_rubric import build_rubric
from videozoom.experiments.config import Config
from videozoom.experiments.config_captions import Seer, Shown
from videozoom.experiments.config_endpoint import UNDECIDING
from videozoom.experiments.errors import UserError
from videozoom.experiments.grpo_settings import ModelSource
from videozoom.experiments.policy_on_use import PolicyOnUse
from videozoom.policies.captioners import PolicyCaptioner, PolicyVideoQA
from videozoom.policies.sampling import Sampling

if TYPE_CHECKING:
    from videozoom.policies.base import Policy


def check_captions(config: Config) -> None:
    """Look at what the models of captions and answers need, without asking them.

    Raises:
        UserError: prompt texts cannot be used, or the key of a chat server is not there.
        CheckpointError: a checkpoint cannot be used.
        EndpointError: what should be a key is none.
    """
    for name in ("captioner", "video_qa"):
        seer: Seer | None = getattr(config.captions, name)
        if seer is None or seer.kind == "truth":
            continue
        try:
            PolicyCaptioner(PolicyOnUse(_maker(seer)), {}, "", seer.prompts)
        except (OSError, ValueError) as error:
            raise UserError(f"captions.{name}.prompts is {seer.prompts!r}, which cannot be used: {error}") from error
        if seer.kind == "endpoint":
            _maker(seer)()
        elif seer.checkpoint is not None:
            from videozoom.policies.qwen_checkpoint import check_checkpoint

            check_checkpoint(seer.checkpoint)


def build_width_rule(config: Config) -> WidthRule:
    """Return how many parts a video has."""
    captions = config.captions
    return WidthRule(captions.leaf_s, captions.least_width, captions.most_width)


def build_caption_env_maker(
    config: Config, tasks: Sequence[Task], probe: Probe | None = None
) -> Callable[[], CaptionTreeEnv]:
    """Return a function that makes environments sharing one captioner.

    Args:
        config: The run.
        tasks: Whose videos are described.
        probe: What is taken away from who describes them, if anything.

    Raises:
        ValueError: `wrong_video` is probed, and there is only one.
        UserError: the truth is to write captions, and a task is not of a generated video.
    """
    # The task of an episode comes with `reset`: one stands for all here, so that making an environment costs nothing.
    longest = max(tasks, key=lambda task: (task.duration_s, len(task.options)))
    captioner, video_qa = _probed(build_captioner(config, tasks), build_video_qa(config, tasks), tasks, probe)
    return partial(
        CaptionTreeEnv,
        [longest],
        captioner,
        video_qa,
        build_rubric(config),
        config.env.max_steps,
        build_width_rule(config),
        config.captions.caption_before_question,
        config.env.mask_unreadable,
    )


def _probed(
    captioner: Captioner, video_qa: VideoQA | None, tasks: Sequence[Task], probe: Probe | None
) -> tuple[Captioner, VideoQA | None]:
    if probe is Probe.BLIND:
        return BlindCaptioner(), BlindCaptioner() if video_qa else None
    if probe is Probe.WRONG_VIDEO:
        partners = caption_partners(tasks)
        return OtherVideoCaptioner(captioner, partners), OtherVideoQA(video_qa, partners) if video_qa else None
    return captioner, video_qa


def build_captioner(config: Config, tasks: Sequence[Task]) -> Captioner:
    """Return who writes captions; raises as `build_caption_env_maker`."""
    captions, seer = config.captions, config.captions.captioner
    if seer.kind == "truth":
        return TruthCaptioner(_events(tasks), Level(captions.times_from), CaptionStyle(captions.style))
    shown = {level: getattr(captions, str(level)) for level in LEVELS}
    frames = {level: _frames(config, it) for level, it in shown.items()}
    captioner = PolicyCaptioner(PolicyOnUse(_maker(seer)), frames, _name(config, seer, *shown.values()), seer.prompts)
    return KeptCaptioner(captioner, _kept(config))


def build_video_qa(config: Config, tasks: Sequence[Task]) -> VideoQA | None:
    """Return who answers questions about spans, `None` if nobody does; raises as `build_caption_env_maker`."""
    captions, seer = config.captions, config.captions.video_qa
    if seer is None:
        return None
    if seer.kind == "truth":
        return TruthVideoQA(_events(tasks))
    name = _name(config, seer, captions.question)
    video_qa = PolicyVideoQA(PolicyOnUse(_maker(seer)), _frames(config, captions.question), name, seer.prompts)
    return KeptVideoQA(video_qa, _kept(config))


def _maker(seer: Seer) -> "Callable[[], Policy]":
    sampling = Sampling(temperature=0.0, max_new_tokens=seer.max_new_tokens)
    if seer.endpoint is not None and seer.kind == "endpoint":
        return partial(build_endpoint, seer.endpoint, sampling)
    assert seer.checkpoint is not None  # the config admits no other
    return partial(ModelSource(seer.checkpoint, dtype=seer.dtype).load, sampling)


def _name(config: Config, seer: Seer, *shown: Shown) -> str:
    """Return what decides a text besides video, span and wording."""
    if seer.endpoint is not None and seer.kind == "endpoint":
        who = seer.endpoint.model_dump_json(exclude=set(UNDECIDING))
    else:
        assert seer.checkpoint is not None  # the config admits no other
        files = sorted(path for path in seer.checkpoint.glob("*") if path.is_file())
        # The weights themselves are not read for it: a file that was written anew is another one.
        who = str([(path.name, stamp.num_bytes, stamp.modified_ns) for path in files for stamp in [FileStamp.of(path)]])
    seen = [it.model_dump() for it in shown]
    return digest_of(who, seer.max_new_tokens, seer.dtype, config.captions.fps, config.video.resize, seen)


def _frames(config: Config, shown: Shown) -> VideoStore:
    video = config.video
    return VideoStore(
        slow_fps=config.captions.fps,
        slow_max_frames=shown.frames,
        slow_frame_tokens=shown.tokens,
        resize=Resize(video.resize),
        backend=Backend(video.backend),
        decode_limit_s=video.decode_limit_s,
        max_filled=video.max_filled,
        # A text is made once from its frames.
        memory_bytes=0,
        cache=video.cache,
    )


def _kept(config: Config) -> KeptTexts:
    captions = config.captions
    return KeptTexts(captions.cache and Path(captions.cache), max_bytes=int(captions.cache_gib * 2**30))


def _events(tasks: Sequence[Task]) -> dict[Path, tuple[Event, ...]]:
    try:
        return events_by_video(tasks)
    except ValueError as error:
        raise UserError(
            f"captions are to come from the truth of generated videos, but {error}; set captions.captioner.kind"
        ) from error
