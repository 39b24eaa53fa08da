"""`FixedShape`: observations as padded arrays of one shape, for learners that know nothing of video.

Shape legend: F frame, C clip, K option, T text feature, H height, W width.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from videozoom.envs.observation import EPISODE_KINDS, QUESTION_KINDS, Observation, VideoClip
from videozoom.envs.tasks import EpisodeKind
from videozoom.envs.videos.lru import LRU
from videozoom.envs.wrappers.base import check_kind, num_options, zoom_env

Arrays = dict[str, NDArray[Any]]

_WORD = re.compile(r"\w+")
_FEATURES_PER_WORD = 3
_KEPT_BYTES = 64 * 2**20


class FixedShape(
    gymnasium.ObservationWrapper[Arrays, Any, Observation],
    RecordConstructorArgs,
):
    """Turns observations into a dictionary of `Box`es with masks: everything in [0, 1], pixels `uint8`.

    | key | shape | what |
    |---|---|---|
    | `fast_frames` | `[F, H, W, 3]` | frames of the fast view, evenly chosen if there are more than fit |
    | `fast_mask` | `[F]` | 1 where there is a frame |
    | `fast_times` | `[F]` | their times, as a share of the video |
    | `clip_frames` | `[C, F, H, W, 3]` | frames of the slow clips, sorted by start |
    | `clip_mask` | `[C, F]` | 1 where there is a frame |
    | `clip_spans` | `[C, 2]` | start and end of the clips, as shares of the video |
    | `question` | `[T]` | which words it has |
    | `options` | `[K, T]` | which words they have |
    | `option_mask` | `[K]` | 1 where there is an option |
    | `progress` | `[3]` | share of the steps taken; 1 at the last step; 1 in a `zoom_step` episode |

    Frames keep their shape: they are made to fit into `fast_px` and `clip_px` and centred on black. A word is three
    ones among T zeros, at places drawn from its letters.

    Args:
        env: The environment.
        num_fast_frames: Frames of the fast view.
        fast_px: Their height and width.
        num_clips: Slow clips; by default as many as fit into the environment's `max_steps`.
        num_clip_frames: Frames of a slow clip.
        clip_px: Their height and width.
        num_text_features: T.

    Raises:
        ValueError: if a number is not positive, or a task has no options to choose from.

    Example:
        >>> env = FixedShape(env, num_fast_frames=32, fast_px=(28, 28), num_clip_frames=4, clip_px=(56, 56))
        >>> env.observation_space["fast_frames"].shape
        (32, 28, 28, 3)

    Source: words as features, Weinberger et al. 2009 (arXiv:0902.2206).
    """

    def __init__(
        self,
        env: gymnasium.Env[Observation, Any],
        *,
        num_fast_frames: int = 64,
        fast_px: tuple[int, int] = (28, 28),
        num_clips: int | None = None,
        num_clip_frames: int = 8,
        clip_px: tuple[int, int] = (112, 112),
        num_text_features: int = 128,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            num_fast_frames=num_fast_frames,
            fast_px=fast_px,
            num_clips=num_clips,
            num_clip_frames=num_clip_frames,
            clip_px=clip_px,
            num_text_features=num_text_features,
        )
        gymnasium.ObservationWrapper.__init__(self, env)
        unwrapped = zoom_env(env)
        self._fast_shape = (num_fast_frames, *fast_px, 3)
        self._clip_shape = (num_clip_frames, *clip_px, 3)
        self._num_clips = max(1, unwrapped.max_steps - 1) if num_clips is None else num_clips
        self._num_options = num_options(unwrapped, type(self).__name__)
        self._num_text_features = num_text_features
        if min(*self._fast_shape, *self._clip_shape, self._num_clips, num_text_features) < 1:
            raise ValueError("FixedShape needs at least one frame, pixel, clip and text feature of each kind.")
        self._kept: LRU[NDArray[np.uint8]] = LRU(_KEPT_BYTES)
        self.observation_space = self._space()

    def observation(self, observation: Observation) -> Arrays:
        """Return the arrays of an observation.

        Raises:
            ValueError: if it has more clips or options than there is room for, or a question without options.
        """
        check_kind(QUESTION_KINDS[observation["question_kind"]], type(self).__name__)
        fast_view, clips = observation["fast_view"], observation["clips"]
        if len(observation["options"]) > self._num_options:
            raise ValueError(
                f"FixedShape has room for {self._num_options} options, those of the environment's own tasks, but the "
                f"task has {len(observation['options'])}: make the environment with a task that has as many."
            )
        if len(clips) > self._num_clips:
            raise ValueError(
                f"FixedShape has room for {self._num_clips} clips, but the episode has {len(clips)}: "
                f"make it with num_clips={observation['max_steps'] - 1}."
            )
        duration_s, num_fast = max(fast_view.span_s.end_s, 1e-9), self._fast_shape[0]
        is_last = observation["step"] >= observation["max_steps"] - 1
        is_zoom_step = EPISODE_KINDS[observation["episode_kind"]] is EpisodeKind.ZOOM_STEP
        return {
            "fast_frames": self._fitted(fast_view, self._fast_shape),
            "fast_mask": _mask(len(fast_view.frames), num_fast),
            "fast_times": _padded(fast_view.times_s[_chosen(fast_view, num_fast)] / duration_s, num_fast),
            **self._clip_arrays(clips, duration_s),
            "question": word_features(observation["question"], self._num_text_features),
            **self._option_arrays(observation["options"]),
            "progress": np.array([observation["step"] / observation["max_steps"], is_last, is_zoom_step], np.float32),
        }

    def _clip_arrays(self, clips: Sequence[VideoClip], duration_s: float) -> Arrays:
        frames = np.zeros((self._num_clips, *self._clip_shape), np.uint8)
        mask = np.zeros((self._num_clips, self._clip_shape[0]), np.float32)
        spans = np.zeros((self._num_clips, 2), np.float32)
        for index, clip in enumerate(clips):
            frames[index] = self._fitted(clip, self._clip_shape)
            mask[index] = _mask(len(clip.frames), self._clip_shape[0])
            spans[index] = np.clip(np.array(clip.span_s) / duration_s, 0.0, 1.0)
        return {"clip_frames": frames, "clip_mask": mask, "clip_spans": spans}

    def _option_arrays(self, options: Sequence[str]) -> Arrays:
        features = np.zeros((self._num_options, self._num_text_features), np.float32)
        for index, option in enumerate(options):
            features[index] = word_features(option, self._num_text_features)
        return {"options": features, "option_mask": _mask(len(options), self._num_options)}

    def _fitted(self, clip: VideoClip, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the clip's frames in `shape`; a clip is fitted once."""
        name = (clip.key, clip.span_s, shape)
        fitted = self._kept.get(name)
        if fitted is None:
            fitted = np.zeros(shape, np.uint8)
            chosen = _chosen(clip, shape[0])
            if len(chosen):
                fit_into(fitted[: len(chosen)], clip.frames[chosen])
            fitted.setflags(write=False)
            self._kept.put(name, fitted, fitted.nbytes)
        return fitted

    def _space(self) -> spaces.Dict:
        num_fast, num_clips, num_frames = self._fast_shape[0], self._num_clips, self._clip_shape[0]
        num_options, num_features = self._num_options, self._num_text_features
        shares = {
            "fast_mask": (num_fast,),
            "fast_times": (num_fast,),
            "clip_mask": (num_clips, num_frames),
            "clip_spans": (num_clips, 2),
            "question": (num_features,),
            "options": (num_options, num_features),
            "option_mask": (num_options,),
            "progress": (3,),
        }
        return spaces.Dict(
            {
                "fast_frames": spaces.Box(0, 255, self._fast_shape, np.uint8),
                "clip_frames": spaces.Box(0, 255, (num_clips, *self._clip_shape), np.uint8),
                **{name: spaces.Box(0.0, 1.0, shape, np.float32) for name, shape in shares.items()},
            }
        )


def word_features(text: str, num_features: int) -> NDArray[np.float32]:
    """Return `[T]`, ones at the places of the words of a text: the same words, the same places, in every process.

    Example:
        >>> (word_features("The red scene", 64) >= word_features("scene", 64)).all()
        True
    """
    features = np.zeros(num_features, np.float32)
    for word in set(_WORD.findall(text.lower())):
        digest = np.frombuffer(hashlib.blake2b(word.encode(), digest_size=4 * _FEATURES_PER_WORD).digest(), np.uint32)
        features[digest % num_features] = 1.0
    return features


def fit_into(target_FHWC: NDArray[np.uint8], frames_FHWC: NDArray[np.uint8]) -> None:
    """Write frames into the middle of `target`, as large as they fit with their shape kept."""
    from videozoom.envs.videos.resizing import Resize, Resizer

    room, source = target_FHWC.shape[1:3], frames_FHWC.shape[1:3]
    scale = min(room[0] / source[0], room[1] / source[1])
    height, width = (min(limit, max(1, round(side * scale))) for limit, side in zip(room, source, strict=True))
    top, left = (room[0] - height) // 2, (room[1] - width) // 2
    resize = Resizer(Resize.AREA)
    for index, frame in enumerate(frames_FHWC):
        target_FHWC[index, top : top + height, left : left + width] = resize(frame, (height, width))


def _chosen(clip: VideoClip, most: int) -> NDArray[np.int64]:
    """Return the indices of the frames that are shown, evenly chosen."""
    num_shown = min(len(clip.frames), most)
    return np.arange(num_shown) * len(clip.frames) // max(1, num_shown)


def _mask(num: int, length: int) -> NDArray[np.float32]:
    return (np.arange(length) < num).astype(np.float32)


def _padded(values: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    padded = np.zeros(length, np.float32)
    padded[: len(values)] = np.clip(values, 0.0, 1.0)
    return padded
