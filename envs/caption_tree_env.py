"""`CaptionTreeEnv`: a question about a long video that is not seen but read, in captions of its parts."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gymnasium import spaces

from videozoom.envs.actions import Action, AskVideo, GetCaption, Malformed, MalformedReason
from videozoom.envs.captions.episode import CaptionEpisode, CaptionObservation
from videozoom.envs.captions.sources import Captioner, CaptionError, Segment, VideoQA
from videozoom.envs.captions.tree import LEVELS, CaptionTree, Level, WidthRule, level_of
from videozoom.envs.observation import EPISODE_KINDS, QUESTION_KINDS, Turn, VideoDecodeError
from videozoom.envs.question_env import QuestionEnv, answer_in
from videozoom.envs.spaces import MAX_STEPS_LIMIT, SecondsSpace, StringSpace, TurnSpace, answer_spaces
from videozoom.envs.tasks import EpisodeKind, Span, Status, Task
from videozoom.rewards.rubric import Rubric

CAPTION_ACTION_KINDS = ("get_caption", "video_qa", "answer")
"""What `action["kind"]` counts."""


class CaptionTreeEnv(QuestionEnv[CaptionObservation, CaptionEpisode]):
    """A question about a video, answered within some steps of reading captions of its parts.

    The video is cut into a tree of three levels (`CaptionTree`). The captions of the high level are there from the
    start. A step reads the caption of a medium- or low-level part (`GetCaption`), asks about a low-level part
    (`AskVideo`), answers, or is malformed, which costs a step and changes nothing else. Captions are made when they are
    read, never before.

    How episodes end, what `reset` and `info` hold, and `snapshot` and `restore` are as in `VideoZoomEnv`. At the last
    step only an answer is taken. If a caption, or an answer about a part, cannot be had, the status is `error_decode`.
    The spans in `facts` are those whose captions were read, repeats included.

    Args:
        tasks: Tasks, or the path of a task file.
        captioner: Who writes captions; by default the truth of generated videos. `KeptCaptioner` keeps them.
        video_qa: Who answers questions about parts; without one, they cannot be asked.
        rubric: What an episode is worth; by default `Rubric.longvideo_r1()`.
        max_steps: Steps of a `multi_step` episode: by default 15 calls and the answer.
        width_rule: How many parts a video has, and each part.
        caption_before_question: Whether a question about a part is taken only after its caption was read.
        mask_unreadable: What an episode without an answer at its last step becomes: `no_answer`, which training masks,
            or `malformed`, which scores no answer but what was read (the released code).
        zoom_step_fraction: Chance of a `zoom_step` episode, one caption to read, where `reset` is not told the kind.

    Raises:
        ValueError: if there are no tasks, a task id repeats, or a value is not allowed.

    Example:
        >>> env = gymnasium.make("videozoom.envs:CaptionTree-v0", tasks="tasks.jsonl")
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(GetCaption((2, 1)))
        >>> observation["turns"][0].text
        'The red scene is at 12 to 16.'

    Source: LongVideo-R1, released code.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (declared by Gymnasium, per instance)

    def __init__(
        self,
        tasks: Sequence[Task] | str | Path,
        captioner: Captioner | None = None,
        video_qa: VideoQA | None = None,
        rubric: Rubric | None = None,
        max_steps: int = 16,
        width_rule: WidthRule | None = None,
        caption_before_question: bool = False,
        mask_unreadable: bool = False,
        zoom_step_fraction: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"CaptionTreeEnv has no render mode {render_mode!r}: use render_mode=None.")
        if rubric is None:
            rubric = Rubric.longvideo_r1()
        super().__init__(tasks, rubric, max_steps, mask_unreadable, zoom_step_fraction)
        self._captioner = captioner if captioner is not None else _truth(self.tasks)
        self._video_qa = video_qa
        self._width_rule = width_rule if width_rule is not None else WidthRule()
        self._caption_before_question = caption_before_question
        self.render_mode = render_mode
        self.observation_space = _observation_space(self._width_rule.most)  # type: ignore[assignment]
        self.action_space = _action_space(self._width_rule.most, self._tasks.values())

    def tree(self, task: Task) -> CaptionTree:
        """Return the tree of a task's video."""
        return CaptionTree(task.duration_s, self._width_rule.width(task.duration_s))

    def _started(self, task: Task, kind: EpisodeKind, max_steps: int) -> CaptionEpisode:
        tree = self.tree(task)
        captions, error = self._read(task, [Segment(tree.span(node), Level.HIGH) for node in tree.nodes(Level.HIGH)])
        status = Status.RUNNING if error is None else Status.ERROR_DECODE
        return CaptionEpisode(task, kind, max_steps, status=status, error=error, tree=tree, captions=tuple(captions))

    def _as_action(self, action: Any, task: Task) -> Action:
        return _as_action(action, task)

    def _checked_look(self, action: Action, episode: CaptionEpisode) -> Action:
        reason = self._reason_against(action, episode)
        return action if reason is None else Malformed(reason, action)

    def _reason_against(self, action: Action, episode: CaptionEpisode) -> MalformedReason | None:
        is_zoom_step = episode.kind is EpisodeKind.ZOOM_STEP
        if episode.is_last_step and not is_zoom_step:
            return MalformedReason.NOT_ALLOWED
        if isinstance(action, GetCaption):
            is_readable = action.node in episode.tree and level_of(action.node) is not Level.HIGH
            return None if is_readable else MalformedReason.UNKNOWN_NODE
        if not isinstance(action, AskVideo) or self._video_qa is None or is_zoom_step:
            return MalformedReason.NOT_ALLOWED
        if action.node not in episode.tree or level_of(action.node) is not Level.LOW:
            return MalformedReason.UNKNOWN_NODE
        is_early = self._caption_before_question and action.node not in episode.visits
        return MalformedReason.CAPTION_FIRST if is_early else None

    def _looked(self, action: Action, episode: CaptionEpisode) -> CaptionEpisode:
        if isinstance(action, GetCaption):
            segment = Segment(episode.tree.span(action.node), level_of(action.node))
            texts, error = self._read(episode.task, [segment])
        else:
            assert isinstance(action, AskVideo)  # as it was checked
            texts, error = self._ask(episode.task, episode.tree.span(action.node), action.question)
        turn = Turn(action, text=texts[0] if texts else None)
        status = Status.RUNNING if error is None else Status.ERROR_DECODE
        return replace(episode, turns=(*episode.turns, turn), status=status, error=error)

    def _read(self, task: Task, segments: Sequence[Segment]) -> tuple[list[str], str | None]:
        """Return captions, or none and why they cannot be had."""
        try:
            return self._captioner.captions(task.video, segments), None
        except (CaptionError, VideoDecodeError) as failure:
            return [], str(failure)

    def _ask(self, task: Task, span_s: Span, question: str) -> tuple[list[str], str | None]:
        """Return the answer to a question about a span, or none and why it cannot be had."""
        assert self._video_qa is not None  # or the action would not be valid
        try:
            return [self._video_qa.answer(task.video, span_s, question)], None
        except (CaptionError, VideoDecodeError) as failure:
            return [], str(failure)


def _as_action(action: Any, task: Task) -> Action:
    """Return a structured action as an `Action`; `Action`s pass through."""
    if isinstance(action, Action):
        return action
    try:
        kind = dict(enumerate(CAPTION_ACTION_KINDS))[int(action["kind"])]
        if kind == "answer":
            return answer_in(action, task)
        # A part of a higher level has fewer numbers; 0 stands for those that are missing.
        numbers = [int(number) for number in action["node"]]
        node = tuple(numbers[: numbers.index(0)] if 0 in numbers else numbers)
        return GetCaption(node) if kind == "get_caption" else AskVideo(node, str(action["question"]))
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            "An action is GetCaption, AskVideo, Answer, Malformed, or a dictionary with kind, node, question and "
            f"choice (text, where there are no options), got {action!r}."
        ) from error


def _truth(tasks: Sequence[Task]) -> Captioner:
    """Return the captioner of generated videos; raises `ValueError` if a task is of another one."""
    from videozoom.envs.generated.captions import TruthCaptioner, events_by_video

    try:
        return TruthCaptioner(events_by_video(tasks))
    except ValueError as error:
        raise ValueError(f"CaptionTreeEnv needs a captioner for videos that are not generated ({error}).") from error


def _observation_space(most_width: int) -> spaces.Dict:
    return spaces.Dict(
        {
            "captions": spaces.Sequence(StringSpace()),
            "width": spaces.Discrete(most_width - 1, start=2),
            "duration_s": SecondsSpace(),
            "question": StringSpace(),
            "question_kind": spaces.Discrete(len(QUESTION_KINDS)),
            "options": spaces.Sequence(StringSpace()),
            "step": spaces.Discrete(MAX_STEPS_LIMIT + 1),
            "max_steps": spaces.Discrete(MAX_STEPS_LIMIT, start=1),
            "episode_kind": spaces.Discrete(len(EPISODE_KINDS)),
            "turns": spaces.Sequence(TurnSpace()),
        }
    )


def _action_space(most_width: int, tasks: Iterable[Task]) -> spaces.Dict:
    return spaces.Dict(
        {
            "kind": spaces.Discrete(len(CAPTION_ACTION_KINDS)),
            "node": spaces.MultiDiscrete([most_width + 1] * len(LEVELS)),
            "question": StringSpace(),
            **answer_spaces(tasks),
        }
    )
