"""No episode on a caption tree is worth more than the gold one, whatever a model writes in it."""

from collections import Counter
from pathlib import Path
from random import Random

from output_fuzzer import fuzzed

from videozoom.envs.actions import Answer, AskVideo, GetCaption
from videozoom.envs.caption_tree_env import CaptionTreeEnv
from videozoom.envs.captions.gold import gold_visits
from videozoom.envs.captions.tree import Level, WidthRule
from videozoom.envs.generated.captions import TruthCaptioner, TruthVideoQA, events_by_video
from videozoom.envs.generated.plan import plan_video, tasks_of
from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.protocols.longvideo_r1 import LongVideoR1Protocol
from videozoom.envs.tasks import Status, Task

NUM_EPISODES = 400
PROTOCOL = LongVideoR1Protocol()
RECIPE = VideoRecipe(num_videos=4, length_s=32.0, fps=0.5, num_events=3, evidence_events=2, num_options=4)
TASKS = [task for i in range(4) for task in tasks_of(plan_video(RECIPE, i), Path(f"{i}.mp4"), RECIPE)]


def make() -> CaptionTreeEnv:
    events = events_by_video(TASKS)
    rule = WidthRule(leaf_s=4.0, least=2)
    return CaptionTreeEnv(TASKS, TruthCaptioner(events), TruthVideoQA(events), width_rule=rule, max_steps=6)


def gold_reward(env: CaptionTreeEnv, task: Task) -> float:
    env.reset(options={"task": task})
    for node in gold_visits(env.tree(task), task.evidence, max_visits=5):
        env.step(GetCaption(node))
    return env.step(Answer(task.answer))[1]


def test_no_fuzzed_episode_is_worth_more_than_the_gold_one() -> None:
    env, rng = make(), Random(5)
    highest = {task.task_id: gold_reward(env, task) for task in TASKS}
    assert set(highest.values()) == {2.0}
    ends: Counter[Status] = Counter()
    best = 0.0
    for episode in range(NUM_EPISODES):
        task = rng.choice(TASKS)
        observation, info = env.reset(seed=episode, options={"task": task})
        nodes = [*env.tree(task).nodes(Level.MEDIUM), *env.tree(task).nodes(Level.LOW)]
        looks = [GetCaption(rng.choice(nodes)) for _ in range(4)]
        looks += [GetCaption(node) for node in gold_visits(env.tree(task), task.evidence, max_visits=5)]
        actions = [*looks, AskVideo((1, 1, 2), "Red?"), Answer(rng.choice("ABCD")), Answer(task.answer)]
        valid = [PROTOCOL.write(action, "", observation) for action in actions]
        texts = fuzzed(valid, 20, seed=episode)
        is_over = False
        while not is_over:
            text = next(texts) if rng.random() < 0.3 else rng.choice(valid)
            observation, reward, terminated, truncated, info = env.step(PROTOCOL.parse(text, observation))
            is_over = terminated or truncated
        assert reward <= highest[task.task_id] + 1e-9
        assert reward == info["reward_breakdown"].total
        ends[info["status"]] += 1
        best = max(best, reward)
    # The fuzzer ends episodes in both ways, and comes near the gold ones.
    assert ends[Status.ANSWERED] > NUM_EPISODES // 4
    assert ends[Status.NO_ANSWER] + ends[Status.MALFORMED] > 0
    assert best > 1.5
