"""What people are told with an alarm."""

WHAT = {
    "tool_use_collapse": "The agent stops zooming",
    "entropy_collapse": "The policy becomes sure of itself without getting better",
    "no_variance": "Nearly all groups are without variance, so nothing is learned",
    "sampler_gap": "Sampler and learner drift apart",
    "decode_errors": "Videos cannot be read",
}
"""What happened, by the name of the alarm; the number follows."""

MEANINGS = {
    "tool_use_collapse": "Answering at once may pay as well as looking, or zooms are refused and only cost steps.",
    "entropy_collapse": "It may have settled on one way to act before it found a better one.",
    "no_variance": "Tasks may be too hard or too easy by now (see group/solved_none and group/solved_all), or sampling "
    "may be too cold.",
    "sampler_gap": "Tokens, positions or pixels may differ between the two, or their numerical precision.",
    "decode_errors": "Files may be damaged, missing or slow to open; their episodes are masked, not replaced.",
}
"""What it may mean."""

ADVICE = {
    "tool_use_collapse": "Compare zoom/accuracy_with_zoom with zoom/accuracy_without_zoom; try a larger "
    "rollout.zoom_step_fraction, a longer cold start, or questions that the fast view does not answer.",
    "entropy_collapse": "Try a smaller grpo.lr, a positive grpo.kl_coef, or a higher rollout.temperature.",
    "no_variance": "Try other tasks, a higher rollout.temperature, a larger rollout.group_size, or stop here.",
    "sampler_gap": "Run videozoom parity on the last checkpoint; it says which of them differs.",
    "decode_errors": "Run videozoom data check --decode on the task file; it lists the videos.",
}
"""What to try."""
