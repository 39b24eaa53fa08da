"""The reference of all metrics as Markdown, generated from the registry."""

from videozoom.experiments.alarm_words import ADVICE, MEANINGS, WHAT
from videozoom.rollout.metrics import METRICS, SECTIONS, Direction, MetricSpec

INTRODUCTION = """# Metrics

Everything a run logs, and how to read it. Generated from the registry in `rollout/metrics.py` by `make docs`; tests
fail when this page is out of date and when a name in the code is not in the registry.

Each line of `metrics.jsonl` has `progress/iteration`, `phase` and metrics. A phase is a stage of the cold start, whose
iterations are its steps, or a training, such as `decoupled_grpo`. In Weights & Biases and TensorBoard the training that
the configuration is about has plain names, and those of other phases begin with the phase (`cot/loss/sft`). An
evaluation is logged with the iteration whose weights it measured, as `eval/<dataset>/<metric>`, where `<metric>` may
also be any other name of this page. A metric of which there is nothing to tell in an iteration is left out.

Names are `<section>/<noun>[/<stat>]`; `rate` is a share, `p10` and `p90` are percentiles, `sum` is over the iteration.
"up" and "down" say where a metric goes when a run goes well.
"""


def metric_page() -> str:
    """Return the page: one table per section, then the alarms."""
    parts = [INTRODUCTION]
    for section, title in SECTIONS.items():
        rows = [_row(spec) for spec in METRICS.values() if spec.section == section]
        head = ["| metric | unit | good | what it is | how to read it |", "|---|---|---|---|---|"]
        parts += [f"## {title} (`{section}`)\n", "\n".join([*head, *rows]) + "\n"]
    return "\n".join([*parts, _alarms()])


def _row(spec: MetricSpec) -> str:
    good = "" if spec.direction == Direction.NONE else str(spec.direction)
    unit = "" if spec.unit == "1" else spec.unit
    cells = (f"`{spec.name}`", unit, good, spec.meaning, spec.reading)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _alarms() -> str:
    rows = [f"| `{name}` | {WHAT[name]}. | {MEANINGS[name]} | {ADVICE[name]} |" for name in WHAT]
    head = ["| alarm | what | what it may mean | what to try |", "|---|---|---|---|"]
    text = (
        "## Alarms (`alarms.jsonl`)\n\nTold once, on the screen, in the report and by the trackers; limits are the "
        "settings `alarms.*`.\n"
    )
    return "\n".join([text, *head, *rows]) + "\n"
