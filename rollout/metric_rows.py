"""What is registered of the agent: progress, rewards, groups, episodes, zooms, evaluation.

`metric_rows_machine.py` has the rest; `metrics.py` says what the fields mean.
"""

from typing import NamedTuple

from videozoom.envs.actions import MalformedReason
from videozoom.envs.tasks import EpisodeKind, Status


class Row(NamedTuple):
    """Metrics of one noun."""

    names: str
    """Section and noun, then the stats it comes with."""
    unit: str
    direction: str
    meaning: str
    reading: str


AGENT_ROWS = (
    Row("progress/iteration", "1", "none", "Finished iterations.", "The horizontal axis of every other metric."),
    Row("progress/episodes", "1", "none", "Episodes sampled since the start.", "Compare runs by it, not by iteration."),
    Row("progress/generated_tokens", "tokens", "none", "Tokens sampled since the start.", "What a server would bill."),
    Row(
        "progress/visual_tokens",
        "tokens",
        "none",
        "Visual tokens in the prompts since the start.",
        "Looking more costs here; compare accuracy at equal visual tokens.",
    ),
    Row(
        "progress/cpu_s",
        "s",
        "none",
        "CPU seconds of sampling and learning since the start, all processes.",
        "The fair axis between methods that do different amounts of work per iteration.",
    ),
    Row(
        "reward/total mean std min max",
        "reward",
        "up",
        "Weighted sum of the parts, over all episodes.",
        "The mean mixes both kinds of episodes; `std` near 0 leaves nothing to learn from.",
    ),
    Row(
        "reward/outcome mean",
        "reward",
        "up",
        "Share of right final answers among multi-step episodes.",
        "What training is for; it is sampled with temperature, so evaluation lies above it.",
    ),
    Row(
        "reward/overlap mean",
        "reward",
        "up",
        "Share of single zooms that overlap the evidence.",
        "Rises before `reward/outcome` does; flat while that rises, answers come without looking.",
    ),
    Row(
        "reward/format mean",
        "reward",
        "up",
        "Share of episodes in which every step was a valid action.",
        "Rising alone, without the others, is reward hacking.",
    ),
    Row(
        "reward/evidence_f1 mean",
        "reward",
        "up",
        "F1 of the seconds that an episode looked at against the evidence.",
        "Low with many looks: too much is read; low with few: the wrong parts.",
    ),
    Row(
        "reward/repeat mean",
        "reward",
        "up",
        "Minus the looks at what was seen before.",
        "0 is best; below, it circles.",
    ),
    Row("reward/cost mean", "reward", "up", "Minus the steps before the last.", "Towards 0 the agent answers sooner."),
    Row(
        "reward/zoom_used mean",
        "reward",
        "up",
        "Minus the share of episodes that did not answer at once.",
        "At 0 nobody looks any more; see `zoom/used/rate`.",
    ),
    Row(
        "reward/many_frames mean",
        "reward",
        "up",
        "Minus the share of episodes that were shown many frames.",
        "Below 0 the penalty of `reward_rules.many_frames` is at work.",
    ),
    Row(
        "reward/penalty_factor",
        "1",
        "none",
        "Factor of all penalties in this iteration.",
        "Only with `grpo.penalties`. 0: zooming succeeds more often than `max_success`, or they have faded out.",
    ),
    *(
        Row(
            f"reward/{kind} mean",
            "reward",
            "up",
            f"Weighted reward of `{kind}` episodes.",
            "The two kinds have rewards of their own, so read them apart.",
        )
        for kind in EpisodeKind
    ),
    Row(
        "group/reward_std mean",
        "reward",
        "up",
        "Spread of rewards within a group.",
        "The size of the signal; falls at the end of a training because everybody is right.",
    ),
    Row(
        "group/zero_std rate",
        "1",
        "down",
        "Groups whose members all have the same reward.",
        "They teach nothing: above 0.6 most sampling is wasted; at 1 training stands still.",
    ),
    Row("group/solved_none rate", "1", "down", "Groups in which nobody solved the task.", "High: tasks are too hard."),
    Row(
        "group/solved_some rate",
        "1",
        "up",
        "Groups in which some solved the task and some did not.",
        "What training feeds on.",
    ),
    Row(
        "group/solved_all rate", "1", "none", "Groups in which all solved the task.", "High: tasks are too easy by now."
    ),
    Row(
        "group/sampled sum",
        "1",
        "none",
        "Groups sampled, with those that made room for others.",
        "Only with `rollout.resampling_rounds`. Twice the plan: half of what is sampled teaches nothing.",
    ),
    Row(
        "group/replaced sum",
        "1",
        "down",
        "Groups without a signal that made room for others.",
        "Rising: tasks are getting too easy or are too hard; see `group/solved_all` and `group/solved_none`.",
    ),
    Row(
        "group/valid_members mean",
        "1",
        "up",
        "Members per group that are not masked.",
        "Below the group size, episodes without an answer or with an unreadable video are left out.",
    ),
    Row("episode/num_steps mean max", "1", "none", "Steps until an episode ended.", "At the limit, it never decides."),
    Row(
        "episode/response_tokens mean p90 max",
        "tokens",
        "none",
        "Sampled tokens per episode.",
        "A fast rise or fall means that the way of writing changes; look at rollouts.",
    ),
    Row(
        "episode/prompt_tokens mean max",
        "tokens",
        "none",
        "Prompt tokens per step, visual ones included.",
        "Memory follows the maximum.",
    ),
    Row(
        "episode/visual_tokens mean p90",
        "tokens",
        "none",
        "Visual tokens in the prompts of an episode.",
        "What looking costs.",
    ),
    Row(
        "episode/truncated rate",
        "1",
        "down",
        "Completions cut by the token limit.",
        "Above 0.1 raise `rollout.max_new_tokens`, or the agent has stopped ending its texts.",
    ),
    *(
        Row(
            f"episode/status/{status} rate",
            "1",
            "none",
            f"Episodes that ended as `{status}`.",
            "All statuses add up to 1; a shift between them says how behaviour changes.",
        )
        for status in Status
        if status != Status.RUNNING
    ),
    Row(
        "zoom/calls mean max",
        "1",
        "none",
        "Accepted zooms per multi-step episode.",
        "At the limit of steps the agent zooms because it can; at 0 it stopped looking.",
    ),
    Row(
        "zoom/used rate",
        "1",
        "none",
        "Multi-step episodes with an accepted zoom.",
        "Towards 0 the use of the tool collapses: accuracy then stays at what the fast view gives.",
    ),
    Row(
        "zoom/running_success",
        "1",
        "up",
        "Episodes that were shown a clip, among those that tried; running mean.",
        "Only with `grpo.penalties`, which wait for it.",
    ),
    Row("zoom/valid rate", "1", "up", "Accepted zooms among steps that were no answer.", "Low: see the reasons below."),
    Row("zoom/malformed rate", "1", "down", "Steps whose output was no valid action.", "Should fall to nearly 0."),
    *(
        Row(
            f"zoom/malformed/{reason} rate",
            "1",
            "down",
            f"Steps that were malformed for the reason `{reason}`.",
            "The highest of these reasons is what to fix in prompts, rules or cold start.",
        )
        for reason in MalformedReason
    ),
    Row(
        "zoom/span_s mean p10 p90",
        "s",
        "none",
        "Length of accepted zooms.",
        "Healthy near the length of the evidence; growing towards the video is reward hacking.",
    ),
    Row(
        "zoom/span_fraction mean",
        "1",
        "none",
        "Length of accepted zooms as a share of the video.",
        "Near the largest share allowed, any overlap reward is won by zooming wide.",
    ),
    Row(
        "zoom/hit rate",
        "1",
        "up",
        "Multi-step episodes with a zoom that overlaps the evidence.",
        "Whether it looks where it matters; above accuracy, it sees but does not read.",
    ),
    Row(
        "zoom/iou mean p90",
        "1",
        "up",
        "Best intersection over union of a zoom with an evidence span.",
        "Low beside a high hit rate: zooms are much longer than the evidence.",
    ),
    Row(
        "zoom/first_hit_step mean",
        "1",
        "down",
        "Step of the first zoom on the evidence, from 0, where there was one.",
        "Rising: it finds the place by searching instead of at once.",
    ),
    Row(
        "zoom/answered_unseen rate",
        "1",
        "down",
        "Answered episodes that never zoomed on the evidence.",
        "Their right answers are guesses, or the fast view was enough.",
    ),
    Row(
        "zoom/accuracy_with_zoom",
        "1",
        "up",
        "Accuracy of answered episodes that zoomed.",
        "Should lie well above accuracy without: otherwise looking does not help.",
    ),
    Row(
        "zoom/accuracy_without_zoom",
        "1",
        "none",
        "Accuracy of answered episodes that did not zoom.",
        "What the fast view alone gives, on questions of the agent's own choice.",
    ),
)

EVAL_ROWS = (
    Row(
        "accuracy", "1", "up", "Right answers on held-out tasks.", "The result; greedy, so above `reward/outcome/mean`."
    ),
    Row("accuracy_ci95_low", "1", "up", "Lower end of its 95 % interval.", "Wilson's, over tasks, not over seeds."),
    Row(
        "accuracy_ci95_high", "1", "up", "Upper end of its 95 % interval.", "Runs whose intervals overlap may be equal."
    ),
    Row("num_tasks", "1", "none", "Tasks whose video could be read.", "Fewer than asked for: videos are broken."),
    Row("num_steps/mean", "1", "none", "Steps until an answer.", "At the limit, it only answers when it is forced."),
    Row("zoom_hit_rate", "1", "up", "Episodes with a zoom on the evidence.", "As `zoom/hit/rate`, on held-out tasks."),
)
"""Logged as `eval/<dataset>/<name>`."""
