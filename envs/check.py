"""`check_zoom_env`: does an environment keep what `VideoZoomEnv` promises?"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence

from videozoom.envs.actions import Action, Answer, Malformed, ZoomIn
from videozoom.envs.check_episodes import Episodes, Taken, wrong_answers, wrong_part
from videozoom.envs.spaces import ACTION_KINDS
from videozoom.envs.tasks import EpisodeKind, QuestionKind, Span, Status, Task
from videozoom.rewards.answers import gold_answer
from videozoom.rewards.overlap import any_overlap

_JUNK = Malformed("junk")
_SLACK_S = 1e-6


class ZoomEnvError(AssertionError):
    """An environment breaks its contract. The message has one line per problem, each with what to do."""


def check_zoom_env(
    env: gymnasium.Env[Any, Any],
    *,
    tasks: Sequence[Task] | None = None,
    num_tasks: int = 4,
    gold_reward: float = 1.0,
) -> None:
    """Check an environment that was derived from `VideoZoomEnv`, or imitates it; return if all is well.

    Runs Gymnasium's own checker, then: the right answer is worth `gold_reward` and nothing else is; zooms that hit the
    evidence are worth it in `zoom_step` episodes and no others; every status can be reached and has its flags; clips
    show the spans that were asked for, invalid ones none; observations are inside their space; the same actions give
    the same observations; `restore` goes on where `snapshot` was taken.

    Args:
        env: The environment. If wrapped, the outermost layer is checked for its spaces, the innermost for the rest.
        tasks: What it is checked with; by default its own `tasks`.
        num_tasks: The first so many of them are used.
        gold_reward: What a right answer is worth, with the environment's rubric.

    Raises:
        ZoomEnvError: with everything that is wrong.

    Example:
        >>> check_zoom_env(gymnasium.make("videozoom.envs:VideoZoom-v0", tasks=tasks))
    """
    known = tasks if tasks is not None else getattr(env.unwrapped, "tasks", None)
    if not known:
        raise ZoomEnvError(
            "The environment has no property `tasks` to check it with: add one, or call check_zoom_env(env, tasks=...)."
        )
    episodes = Episodes(env.unwrapped, tuple(known)[:num_tasks], gold_reward)
    checks: list[tuple[str, Callable[[], Iterator[str]]]] = [
        ("Gymnasium's checker", lambda: _gymnasium(env.unwrapped)),
        ("the outermost layer", lambda: _outermost(env)),
        ("what comes back", lambda: _returned(episodes)),
        ("answers", lambda: _answers(episodes)),
        ("zoom steps", lambda: _zoom_steps(episodes)),
        ("statuses", lambda: _statuses(episodes)),
        ("spans", lambda: _spans(episodes)),
        ("repeatability", lambda: _repeatability(episodes)),
        ("branching", lambda: _branching(episodes)),
    ]
    problems = [f"{name}: {problem}" for name, check in checks for problem in _guarded(check)]
    if problems:
        # One mistake is seen with every task.
        unique = list(dict.fromkeys(problems))
        raise ZoomEnvError("\n".join([f"{len(unique)} problems of {env.unwrapped}:", *(f"- {it}" for it in unique)]))


def _guarded(check: Callable[[], Iterator[str]]) -> Iterator[str]:
    try:
        yield from check()
    except Exception as error:
        yield f"stopped by {type(error).__name__}: {error}; reset() and step() must not raise on valid input."


def _gymnasium(env: gymnasium.Env[Any, Any]) -> Iterator[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # Without a spec no other render mode can be tried.
            check_env(env, skip_render_check=env.spec is None)
        except AssertionError as error:
            yield f"{error}"
    yield from (str(warning.message).strip() for warning in caught if issubclass(warning.category, UserWarning))


def _outermost(env: gymnasium.Env[Any, Any]) -> Iterator[str]:
    env.action_space.seed(0)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        is_over = False
        while not is_over:
            if observation not in env.observation_space:
                part = wrong_part(observation, env.observation_space)
                yield f"{part} is outside env.observation_space: widen the space, or return what it declares."
                return
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            is_over = terminated or truncated


def _returned(episodes: Episodes) -> Iterator[str]:
    """Observation inside its space, info complete and of one mind with the flags, nothing after the end."""
    for task in episodes.tasks:
        for taken in episodes.run(task, [_JUNK, episodes.zoom(task), Answer(gold_answer(task))]):
            yield from taken.problems(episodes.env.observation_space)
        try:
            episodes.env.step(Answer(gold_answer(task)))
        except ResetNeeded:
            pass
        else:
            yield "step() after the end of an episode must raise gymnasium.error.ResetNeeded, it returned a result."
        named = episodes.run(task, [Answer(gold_answer(task))])[-1]
        has_options = task.kind is QuestionKind.MULTIPLE_CHOICE
        chosen: dict[str, Any] = {"choice": task.answer_index} if has_options else {"text": gold_answer(task)}
        structured = {"kind": ACTION_KINDS.index("answer"), "span_s": (0.0, 1.0), **chosen}
        if episodes.run(task, [structured])[-1].reward != named.reward:
            yield "A dictionary of action_space must do what the Answer of its choice does: look at kind and choice."


def _answers(episodes: Episodes) -> Iterator[str]:
    gold = episodes.gold_reward
    for task in episodes.tasks:
        last = episodes.run(task, [Answer(gold_answer(task))])[-1]
        if not math.isclose(last.reward, gold):
            yield (
                f"the right answer {gold_answer(task)} of task {task.task_id!r} is worth {last.reward:g}, not "
                f"{gold:g}: mend the rubric or the task's answer, or pass check_zoom_env(..., gold_reward=...)."
            )
        wrong = [Answer(text) for text in wrong_answers(task)]
        junk: list[list[Any]] = [[_JUNK] * 50, [Answer("?")] * 50, *([action] for action in wrong)]
        for actions in junk:
            worth = sum(taken.reward for taken in episodes.run(task, actions))
            if worth >= gold:
                yield f"{actions[0]} is worth {worth:g} in task {task.task_id!r}, as much as the right answer."


def _zoom_steps(episodes: Episodes) -> Iterator[str]:
    gold = episodes.gold_reward
    for task in episodes.tasks:
        hit = episodes.zoom(task)
        if not any_overlap(hit.span_s, task.evidence):
            continue  # Not annotated.
        last = episodes.run(task, [hit], EpisodeKind.ZOOM_STEP)[-1]
        if last.status == Status.ZOOMED and not math.isclose(last.reward, gold):
            yield f"{hit} hits the evidence of task {task.task_id!r} and is worth {last.reward:g}, not {gold:g}."
        misses: list[Action] = [_JUNK, Answer(gold_answer(task))]
        misses += [ZoomIn(span_s) for span_s in episodes.spans_beside_evidence(task)]
        for action in misses:
            worth = episodes.run(task, [action], EpisodeKind.ZOOM_STEP)[-1].reward
            if worth >= gold:
                yield f"{action} misses the evidence of task {task.task_id!r} and is worth {worth:g}."


def _statuses(episodes: Episodes) -> Iterator[str]:
    """Every status can be reached, by what should lead to it, and has its flags."""
    task = episodes.tasks[0]
    missing = replace(task, task_id="missing", video=Path(task.video).with_name("there is no such video.mp4"))
    multi_step, zoom_step = EpisodeKind.MULTI_STEP, EpisodeKind.ZOOM_STEP
    ways: list[tuple[str, Task, list[Action], EpisodeKind, tuple[Status, ...]]] = [
        ("an answer", task, [Answer(gold_answer(task))], multi_step, (Status.ANSWERED,)),
        ("steps without an answer", task, [_JUNK] * 50, multi_step, (Status.NO_ANSWER, Status.MALFORMED)),
        ("a valid zoom in a zoom_step episode", task, [episodes.zoom(task)], zoom_step, (Status.ZOOMED,)),
        ("junk in a zoom_step episode", task, [_JUNK], zoom_step, (Status.MALFORMED,)),
        ("a video that does not exist", missing, [_JUNK], multi_step, (Status.ERROR_DECODE,)),
    ]
    for name, shown, actions, kind, expected in ways:
        last = episodes.run(shown, actions, kind)[-1]
        if last.status not in expected:
            yield f"{name} must end with status {' or '.join(expected)}, not {last.status}: set info['status']."
        flags = (last.status != Status.NO_ANSWER, last.status == Status.NO_ANSWER)
        if last.status in expected and (last.terminated, last.truncated) != flags:
            yield f"status {last.status} goes with terminated={flags[0]}, truncated={flags[1]}, not with " + (
                f"terminated={last.terminated}, truncated={last.truncated}."
            )


def _spans(episodes: Episodes) -> Iterator[str]:
    for task in episodes.tasks:
        yield from _accepted_zooms(episodes, task)
        yield from _refused_zooms(episodes, task)


def _accepted_zooms(episodes: Episodes, task: Task) -> Iterator[str]:
    zooms = [ZoomIn(span_s) for span_s in (*reversed(episodes.spans_beside_evidence(task)), episodes.zoom(task).span_s)]
    results = episodes.run(task, zooms, max_steps=len(zooms) + 1)
    accepted: list[Span] = []
    for taken in results[1:]:
        clips = taken.observation["clips"]
        if isinstance(taken.action, ZoomIn):
            accepted.append(taken.action.span_s)
        if sorted(clip.span_s for clip in clips) != sorted(accepted):
            yield (
                f"after accepted zooms {accepted} the clips show {[clip.span_s for clip in clips]}: each accepted zoom "
                "adds one clip of its span, a refused one adds none."
            )
            return
        if [clip.span_s for clip in clips] != sorted(clip.span_s for clip in clips):
            yield "clips must be sorted by start."
    yield from (problem for clip in results[-1].observation["clips"] if (problem := _strange_times(clip)))
    if not accepted:
        yield f"no zoom into task {task.task_id!r} was accepted, not even {zooms[0]}: look at the span rules."


def _strange_times(clip: Any) -> str | None:
    """Return what is wrong with a clip's times; the first frame may be the one that is on screen at the start."""
    start_s, end_s = clip.span_s
    if not len(clip.times_s) or clip.times_s[-1] > end_s + _SLACK_S or (clip.times_s[1:] < start_s - _SLACK_S).any():
        shown = f"from {clip.times_s[0]:g} to {clip.times_s[-1]:g} s" if len(clip.times_s) else "none"
        return f"the clip of {clip.span_s} has frames {shown}: show the frames of the span."
    return None


def _refused_zooms(episodes: Episodes, task: Task) -> Iterator[str]:
    duration_s = episodes.run(task, [])[0].observation["fast_view"].span_s.end_s
    nowhere = [Span(duration_s + 100.0, duration_s + 104.0), Span(-200.0, -100.0), Span(math.nan, 4.0)]
    for span_s in nowhere:
        before, after = episodes.run(task, [ZoomIn(span_s)], max_steps=2)
        if isinstance(after.action, ZoomIn):
            yield f"{ZoomIn(span_s)} is outside the video and was taken as {after.action}: it is Malformed."
        kept = ("fast_view", "clips", "question", "options")
        if not all(data_equivalence(before.observation[name], after.observation[name]) for name in kept):
            yield f"{ZoomIn(span_s)} was refused and changed the observation: a refused zoom costs a step, no more."


def _repeatability(episodes: Episodes) -> Iterator[str]:
    task = episodes.tasks[0]
    actions: list[Any] = [episodes.zoom(task), Answer(gold_answer(task))]
    first, again = episodes.run(task, actions), episodes.run(task, actions)
    for one, other in zip(first, again, strict=False):
        if not data_equivalence(one.observation, other.observation, exact=True):
            part = next(name for name in one.observation if one.observation[name] != other.observation[name])
            yield f"the same actions give another observation[{part!r}] the second time: draw only in reset()."
            return
    drawn = [[episodes.env.reset(seed=3)[1]["task_id"], *(_drawn(episodes) for _ in range(5))] for _ in range(2)]
    if drawn[0] != drawn[1]:
        yield "reset(seed=3) and what follows draw other tasks the second time: draw with self.np_random alone."


def _drawn(episodes: Episodes) -> str:
    return str(episodes.env.reset()[1]["task_id"])


def _branching(episodes: Episodes) -> Iterator[str]:
    env: Any = episodes.env
    if not (callable(getattr(env, "snapshot", None)) and callable(getattr(env, "restore", None))):
        yield "there is no snapshot() and restore(episode): derive from QuestionEnv, or add them."
        return
    task = episodes.tasks[0]
    episodes.run(task, [episodes.zoom(task)])
    kept = env.snapshot()
    first = Taken.of(env.step(Answer(gold_answer(task))))
    for _ in range(2):
        env.restore(kept)
        again = Taken.of(env.step(Answer(gold_answer(task))))
        if not data_equivalence(first.observation, again.observation, exact=True) or first.reward != again.reward:
            yield "an episode goes on otherwise after restore(): a snapshot must hold all its state, and never change."
            return
