"""The dashboard of a run, in code: what is drawn together, and what it answers.

One definition for Weights & Biases (`videozoom dashboard --project NAME`), TensorBoard (its custom scalars) and anybody
who reads JSON (`videozoom dashboard`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videozoom.experiments.errors import UserError
from videozoom.rollout.metrics import spec_of

STEP = "progress/iteration"
NAME = "videozoom"


@dataclass(frozen=True, slots=True)
class Panel:
    """Metrics in one chart."""

    title: str
    metrics: tuple[str, ...]

    @property
    def reading(self) -> str:
        """How to read it: what the registry says of each metric."""
        return " ".join(f"{name}: {spec_of(name).caption}" for name in self.metrics)


@dataclass(frozen=True, slots=True)
class Section:
    """Panels that answer one question."""

    title: str
    panels: tuple[Panel, ...]


SECTIONS = (
    Section(
        "Is it learning?",
        (
            Panel(
                "Held-out accuracy, 95 % interval",
                ("eval/held_out/accuracy", "eval/held_out/accuracy_ci95_low", "eval/held_out/accuracy_ci95_high"),
            ),
            Panel("Right answers and overlapping zooms", ("reward/outcome/mean", "reward/overlap/mean")),
            Panel("Reward of all episodes", ("reward/total/mean", "reward/total/min", "reward/total/max")),
            Panel(
                "Groups: too hard, useful, too easy",
                ("group/solved_none/rate", "group/solved_some/rate", "group/solved_all/rate"),
            ),
            Panel("Groups without a signal", ("group/zero_std/rate",)),
            Panel("Form", ("reward/format/mean", "zoom/malformed/rate")),
        ),
    ),
    Section(
        "Is it looking?",
        (
            Panel("Zooms at all, and on the evidence", ("zoom/used/rate", "zoom/hit/rate")),
            Panel("Held-out zooms on the evidence", ("eval/held_out/zoom_hit_rate",)),
            Panel("Overlap with the evidence", ("zoom/iou/mean", "zoom/iou/p90")),
            Panel("Length of zooms", ("zoom/span_s/p10", "zoom/span_s/mean", "zoom/span_s/p90")),
            Panel("Does looking help?", ("zoom/accuracy_with_zoom", "zoom/accuracy_without_zoom")),
            Panel("Answers without the evidence", ("zoom/answered_unseen/rate",)),
            Panel("Steps", ("episode/num_steps/mean", "episode/num_steps/max")),
            Panel("Visual tokens of an episode", ("episode/visual_tokens/mean", "episode/visual_tokens/p90")),
        ),
    ),
    Section(
        "Is it stable?",
        (
            Panel("Entropy", ("policy/entropy/mean",)),
            Panel("Sampler against learner", ("policy/sampler_logprob_gap/mean", "policy/sampler_logprob_gap/max")),
            Panel("Distance from the reference", ("policy/kl_ref/mean",)),
            Panel("Clipped tokens", ("policy/clip_low/rate", "policy/clip_high/rate")),
            Panel("Gradient norm", ("optim/grad_norm",)),
            Panel("Cut by the token limit", ("episode/truncated/rate",)),
            Panel("Left out of training", ("loss/masked_episodes/rate", "video/decode_error/rate")),
        ),
    ),
    Section(
        "Is it fast?",
        (
            Panel(
                "Where the time goes",
                ("time/step_s", "time/rollout_s", "time/update_s", "time/sync_s", "time/eval_s", "time/logging_s"),
            ),
            Panel("Tokens per second", ("perf/generated_tokens_per_s", "perf/trained_tokens_per_s")),
            Panel("Caches", ("video/cache_hit/rate", "video/feature_hit/rate")),
            Panel("Decoding", ("video/decode_s/sum", "video/decodes/sum")),
        ),
    ),
)
"""What every run logs, question by question."""

TABLES = ("rollouts/train", "rollouts/eval")
"""Tables of rollouts with their timelines."""


def dashboard_json() -> dict[str, Any]:
    """Return the dashboard as plain data."""
    return {
        "name": NAME,
        "x": STEP,
        "sections": [
            {
                "title": section.title,
                "panels": [
                    {"title": panel.title, "metrics": list(panel.metrics), "reading": panel.reading}
                    for panel in section.panels
                ],
            }
            for section in SECTIONS
        ],
        "tables": list(TABLES),
    }


def wandb_workspace(project: str, entity: str | None = None) -> Any:
    """Return the dashboard as a workspace of Weights & Biases, not saved yet.

    Raises:
        UserError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise UserError(
            f"a dashboard in Weights & Biases needs wandb-workspaces ({error}); pip install wandb-workspaces, or look "
            "at the JSON of videozoom dashboard without --project"
        ) from None
    sections = [
        workspaces.Section(
            name=section.title,
            panels=[reports.LinePlot(title=panel.title, x=STEP, y=list(panel.metrics)) for panel in section.panels],
            is_open=True,
        )
        for section in SECTIONS
    ]
    rollouts = [reports.WeavePanelSummaryTable(table_name=name) for name in TABLES]
    sections.append(workspaces.Section(name="Rollouts", panels=rollouts, is_open=True))
    where: Mapping[str, str] = {"project": project} | ({"entity": entity} if entity else {})
    return workspaces.Workspace(name=NAME, sections=sections, **where)


def save_to_wandb(project: str, entity: str | None = None) -> str:
    """Write the dashboard into a project and return its address.

    Raises:
        UserError: wandb-workspaces is not installed, or the service cannot be reached or refuses.
    """
    workspace = wandb_workspace(project, entity)
    try:
        workspace.save()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the dashboard was not written to project {project!r}: {reason}; see: wandb login") from error
    return str(workspace.url)
