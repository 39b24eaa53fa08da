from collections.abc import Sequence
from pathlib import Path

import pytest

from videozoom.envs.actions import Answer, GetCaption
from videozoom.envs.caption_tree_env import CaptionTreeEnv
from videozoom.envs.captions.tree import WidthRule
from videozoom.envs.generated.plan import plan_video, tasks_of
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.protocols.longvideo_r1 import LongVideoR1Protocol
from videozoom.envs.tasks import EpisodeKind, Task
from videozoom.policies.base import Completion, Request
from videozoom.policies.scripted import ZoomRule
from videozoom.policies.scripted_reading import ScriptedReader
from videozoom.rollout.runner import EpisodeSpec, run_episodes
from videozoom.rollout.types import Trajectory

PROTOCOL = LongVideoR1Protocol("longvideo_r1_compact")
WIDTH_RULE = WidthRule(leaf_s=4.0)
RECIPE = VideoRecipe(num_videos=40, length_s=256.0, fps=0.5, num_events=6)
TASKS = [task for i in range(40) for task in tasks_of(plan_video(RECIPE, i), Path(f"{i}.mp4"), RECIPE)]


def reader(rule: ZoomRule, **settings: object) -> ScriptedReader:
    return ScriptedReader(rule, PROTOCOL, width_rule=WIDTH_RULE, **settings)  # type: ignore[arg-type]


def trajectories(policy: ScriptedReader) -> list[Trajectory]:
    specs = [
        EpisodeSpec(task, EpisodeKind.MULTI_STEP, 0, (7, index), policy.num_steps(task))
        for index, task in enumerate(TASKS)
    ]
    return run_episodes(
        specs, make_env=lambda: CaptionTreeEnv(TASKS, width_rule=WIDTH_RULE), protocol=PROTOCOL, policy=policy
    )


def test_the_oracle_reads_what_is_worth_most_and_answers_right() -> None:
    for trajectory in trajectories(reader(ZoomRule.ORACLE)):
        assert trajectory.reward.total == 2.0
        assert len(trajectory.steps) == 2


@pytest.mark.parametrize(("rule", "num_visits"), [(ZoomRule.NEVER, 0), (ZoomRule.RANDOM, 1), (ZoomRule.UNIFORM, 5)])
def test_the_others_read_as_many_captions_as_their_rule_says_and_guess(rule: ZoomRule, num_visits: int) -> None:
    done = trajectories(reader(rule, max_visits=5))
    assert {len(trajectory.steps) for trajectory in done} == {num_visits + 1}
    right = sum(trajectory.reward.parts["outcome"] for trajectory in done) / len(done)
    # A guess among four.
    assert 0.05 < right < 0.5
    assert {step.action.node for it in done for step in it.steps[:-1] if isinstance(step.action, GetCaption)} != {()}


def test_uniform_visits_are_spread_over_the_video() -> None:
    [trajectory, *_] = trajectories(reader(ZoomRule.UNIFORM, max_visits=4))
    # The middles of the four quarters of 256 s, in spans of 4 s.
    assert [span.start_s for span in trajectory.spans_s] == [32.0, 96.0, 160.0, 224.0]


def test_random_visits_differ_between_episodes_but_not_between_runs() -> None:
    first, second = (trajectories(reader(ZoomRule.RANDOM)) for _ in range(2))
    assert [it.spans_s for it in first] == [it.spans_s for it in second]
    assert len({it.spans_s for it in first}) > 10


def test_an_answerer_sees_what_the_rule_has_read() -> None:
    class Answerer:
        def act(self, requests: Sequence[Request]) -> list[Completion]:
            return [Completion(self.read(request)) for request in requests]

        def read(self, request: Request) -> str:
            last = "".join(part.text for part in request.prompt.messages[-1].content)  # type: ignore[union-attr]
            shown = [letter for letter, option in zip("ABCD", request.task.options, strict=True) if option in last]
            return PROTOCOL.write(Answer(shown[0] if shown else "A"), "I read it.", request.observation)

    done = trajectories(reader(ZoomRule.ORACLE, answerer=Answerer()))
    assert {trajectory.reward.total for trajectory in done} == {2.0}


def test_without_evidence_the_oracle_answers_at_once() -> None:
    task = Task("t", Path("v.mp4"), 64.0, "Who?", ("bars", "lines"), "B")
    assert reader(ZoomRule.ORACLE).num_steps(task) == 1
