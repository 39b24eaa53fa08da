"""What is registered of learning and of the machine: policy, loss, optimizer, videos, speed, time, workers."""

from videozoom.envs.tasks import EpisodeKind
from videozoom.rollout.metric_rows import Row

_TIMES = (
    ("step", "the whole iteration, without evaluation and logging", "Its parts are below; what is left is the rest."),
    ("rollout", "sampling the groups", "Usually the largest part; see `perf/episodes_per_s`."),
    ("update", "the learner's update", "Grows with `loss/trained_tokens`."),
    ("sync", "new weights to the rollout workers", "Next to nothing in one process."),
    ("eval", "evaluation", "Too long: fewer `eval.num_tasks`, or a larger `grpo.eval_every`."),
    (
        "logging",
        "traces of this iteration; metrics, tables and alarms of the one before",
        "Above 3 % of `time/step_s`: log fewer rollouts (`tracking.rollouts_every`).",
    ),
)

MACHINE_ROWS = (
    Row(
        "policy/entropy mean",
        "nats",
        "none",
        "Entropy of the policy per trained token.",
        "Falls as the agent becomes sure; below a third of its start while rewards stand still, it has collapsed.",
    ),
    Row(
        "policy/approx_kl mean",
        "nats",
        "none",
        "Distance of the updated from the sampling policy (k3 estimate).",
        "0 when every batch is used once; above 0.1 steps are too large.",
    ),
    Row(
        "policy/kl_ref mean",
        "nats",
        "none",
        "Distance from the reference policy (k3 estimate).",
        "Grows slowly; a jump means that the agent leaves what it was taught.",
    ),
    Row("policy/ratio mean max", "1", "none", "Importance ratio.", "Exactly 1 when every batch is used once."),
    Row(
        "policy/clip_low rate", "1", "down", "Tokens whose ratio the lower bound clipped.", "Above 0.2: smaller steps."
    ),
    Row(
        "policy/clip_high rate", "1", "down", "Tokens whose ratio the upper bound clipped.", "Above 0.2: smaller steps."
    ),
    Row(
        "policy/advantage mean std min max",
        "1",
        "none",
        "Advantage of the trajectories that are not masked.",
        "The mean is 0 by construction; a large minimum or maximum is a single odd one out in its group.",
    ),
    Row(
        "policy/sampler_logprob_gap mean max",
        "nats",
        "down",
        "Log-probabilities of sampled tokens, learner against sampler.",
        "Above 1e-5 in float32 is a bug (`videozoom parity` says where); in bfloat16 the mean stays below 0.02.",
    ),
    Row("loss/total", "1", "none", "Loss of the update.", "Says little in reinforcement learning; look at rewards."),
    Row("loss/surrogate", "1", "none", "Clipped surrogate, without the KL term.", "Near 0 with one step per batch."),
    Row("loss/kl", "1", "none", "Weighted KL term.", "Larger than the surrogate: `grpo.kl_coef` holds training back."),
    Row(
        "loss/entropy",
        "1",
        "none",
        "Entropy bonus: minus the weighted entropy.",
        "Larger than the surrogate: `grpo.entropy_coef` rewards noise.",
    ),
    *(
        Row(
            f"loss/surrogate_{kind}",
            "1",
            "none",
            f"Share of the surrogate that `{kind}` tokens bring.",
            "One of the two far larger than the other: it decides where the weights go.",
        )
        for kind in EpisodeKind
    ),
    Row(
        "loss/trained_tokens sum",
        "tokens",
        "none",
        "Tokens with an advantage other than 0.",
        "Towards 0 there is nothing left to learn from; see `group/zero_std/rate`.",
    ),
    Row(
        "loss/masked_episodes rate",
        "1",
        "down",
        "Episodes left out of statistics and loss.",
        "Those without a readable answer or video; rising, writing nothing has become a way out of being wrong.",
    ),
    Row(
        "loss/sft",
        "nats",
        "down",
        "Supervised loss per trained token.",
        "Flat for a while and then falling at once is how copying times is learned; flat to the end is too short.",
    ),
    Row("optim/lr", "1", "none", "Learning rate of the update.", "Rises in warmup, falls at the end of a stage."),
    Row(
        "optim/grad_norm",
        "1",
        "none",
        "Gradient norm before clipping.",
        "A jump of ten times is a broken batch or a step that was too large.",
    ),
    Row(
        "optim/grad_norm_clipped rate",
        "1",
        "none",
        "Whether the gradient was clipped.",
        "Always 1: the clip is the real learning rate.",
    ),
    Row("optim/nonfinite sum", "1", "down", "Updates left out, gradient not finite.", "Anything above 0 is a bug."),
    Row(
        "video/decode_error rate",
        "1",
        "down",
        "Episodes, or supervised samples, whose video could not be read.",
        "They are masked, never replaced; `videozoom data check` lists the videos.",
    ),
    Row(
        "video/cache_hit rate",
        "1",
        "up",
        "Clips that did not have to be decoded, among all that were read.",
        "Low after the first epoch: the cache is too small.",
    ),
    Row("video/memory_hit rate", "1", "none", "Clips still in memory, or mapped from the disk.", "These cost nothing."),
    Row("video/disk_hit rate", "1", "none", "Clips taken from the cache on the disk.", "These cost a map."),
    Row("video/cold_hit rate", "1", "none", "Clips taken from its compressed part.", "These cost a decompression."),
    Row(
        "video/cache_bytes",
        "bytes",
        "none",
        "Size of the cache on the disk.",
        "At `video.cache_gib`, the least recently used makes room.",
    ),
    Row("video/decodes sum", "1", "down", "Clips decoded, by all workers.", "Slow clips are new in every iteration."),
    Row(
        "video/decode_s sum",
        "s",
        "down",
        "Wall time of decoding and resizing, of all workers.",
        "Beside `time/step_s`.",
    ),
    Row("video/decoded_frames sum", "frames", "none", "Frames decoded for clips.", "Per second: the decoder's speed."),
    Row("video/decoded_bytes sum", "bytes", "none", "Bytes of those frames, as shown.", "What caches would hold."),
    Row("video/scans sum", "1", "down", "Videos whose packets were listed.", "Each needs it once, ever, with a cache."),
    Row(
        "video/filled_frames sum",
        "frames",
        "down",
        "Frames of clips that could not be decoded and show a neighbour.",
        "0 unless `video.max_filled` allows some.",
    ),
    Row(
        "video/read_errors sum", "1", "down", "Requests for a clip that failed.", "Above 0: run `videozoom data check`."
    ),
    Row(
        "video/feature_hit rate",
        "1",
        "up",
        "Clips whose features were known, among all the model looked at.",
        "0 while the vision tower is trained; otherwise every clip should be computed once.",
    ),
    Row("video/feature_disk_hit rate", "1", "none", "Clips whose features came from the disk.", "Of earlier runs."),
    Row("video/features_computed sum", "1", "down", "Clips the vision tower was run on.", "Of all processes."),
    Row("video/feature_bytes", "bytes", "none", "Size of the cache of features on the disk.", "Bounded by `disk_gib`."),
    Row("perf/episodes_per_s", "1/s", "up", "Episodes per second of sampling.", "Falls as episodes get longer."),
    Row("perf/generated_tokens_per_s", "1/s", "up", "Tokens per second of sampling.", "The sampler's speed."),
    Row("perf/trained_tokens_per_s", "1/s", "up", "Trained tokens per second of updating.", "The learner's speed."),
    *(Row(f"time/{part}_s", "s", "down", f"Wall time: {what}.", reading) for part, what, reading in _TIMES),
    Row(
        "ray/lost_requests sum",
        "1",
        "down",
        "Sampling requests of workers that died; each was sampled again.",
        "Now and then is harmless; in every iteration, a worker runs out of memory.",
    ),
)
