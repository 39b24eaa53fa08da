"""What `videozoom parity` reports: one row per step and one for all, as numbers, as a table and as a sentence."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from videozoom.experiments.parity_comparison import Comparison

if TYPE_CHECKING:
    from videozoom.policies.rendering import Renderer

Row = dict[str, Any]


def parity_rows(comparisons: Sequence[Comparison]) -> list[Row]:
    """Return a row per step number and a last one, `all`."""
    numbers = sorted({it.step for it in comparisons})
    rows = [_row(str(number), [it for it in comparisons if it.step == number]) for number in numbers]
    return [*rows, _row("all", comparisons)]


def _row(step: str, comparisons: Sequence[Comparison]) -> Row:
    gaps = np.concatenate([it.gaps for it in comparisons])
    return {
        "step": step,
        "num_completions": len(comparisons),
        "num_prompt_tokens": sum(it.num_prompt_tokens for it in comparisons),
        "num_visual_tokens": sum(it.num_visual_tokens for it in comparisons),
        "num_sampled_tokens": sum(len(it.token_ids) for it in comparisons),
        "token_mismatches": sum(it.num_other_tokens for it in comparisons),
        "position_mismatches": sum(it.num_other_positions for it in comparisons),
        "visual_mismatches": sum(it.num_other_visual for it in comparisons),
        "logprob_max_abs": float(gaps.max()),
        "logprob_mean_abs": float(gaps.mean()),
        "learner_max_abs": float(max(it.learner_gaps.max() for it in comparisons)),
    }


def worst(comparisons: Sequence[Comparison], renderer: "Renderer") -> Row:
    """Return where the sampler's log-probability is farthest from the learner's."""
    where = max(comparisons, key=lambda it: it.gaps.max())
    index = int(where.gaps.argmax())
    return {
        "task_id": where.task_id,
        "kind": str(where.kind),
        "member": where.member,
        "step": where.step,
        "token_index": index,
        "token": str(renderer.tokenizer.decode(where.token_ids[index : index + 1].tolist())),
        "sampler_logprob": float(where.sampled[index]),
        "learner_logprob": float(where.learned[index]),
        "plain_logprob": float(where.plain[index]),
    }


def verdict(rows: Sequence[Row], tolerance: float) -> tuple[bool, str]:
    """Return whether sampler and learner agree, and what that means or what to do."""
    total = rows[-1]
    kinds = {"token": "tokens", "position": "positions", "visual": "visual tokens"}
    differing = {name: total[f"{key}_mismatches"] for key, name in kinds.items() if total[f"{key}_mismatches"]}
    if differing:
        words = ", ".join(f"{count} {name}" for name, count in differing.items())
        return False, (
            f"Sampler and learner were not given the same: {words} differ. No setting mends that; do not train with "
            "this code before it is found out why."
        )
    # A log-probability that is not a number is no agreement.
    if not total["logprob_max_abs"] <= tolerance:
        return False, (
            f"The sampler's log-probabilities differ from the learner's by up to {total['logprob_max_abs']:.1e}, more "
            f"than {tolerance:g}. If policy.text_attention=reference mends that, it is the attention kernels, and if "
            "policy.dtype=float32 does, rounding; --tolerance N accepts more."
        )
    if not total["learner_max_abs"] <= tolerance:
        return False, (
            f"The learner on the token tree differs from the plain one by up to {total['learner_max_abs']:.1e}, more "
            f"than {tolerance:g}. If policy.text_attention=reference mends that, it is the attention kernels; "
            "--tolerance N accepts more."
        )
    return True, f"What is trained is what was sampled, to {tolerance:g}."


_COLUMNS = {
    "step": "step",
    "num_completions": "compl.",
    "num_prompt_tokens": "prompt\ntokens",
    "num_visual_tokens": "visual\ntokens",
    "num_sampled_tokens": "sampled\ntokens",
    "token_mismatches": "other\ntoken",
    "position_mismatches": "other\nplace",
    "visual_mismatches": "visual\ndiff",
    "logprob_max_abs": "logprob\nmax diff",
    "logprob_mean_abs": "\nmean",
    "learner_max_abs": "learners\nmax diff",
}


def print_parity(report: Mapping[str, Any], console: Console) -> None:
    """Print a report for people."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for header in _COLUMNS.values():
        table.add_column(header, justify="right", no_wrap=True)
    for row in report["rows"]:
        table.add_row(*(f"{row[it]:.1e}" if isinstance(row[it], float) else str(row[it]) for it in _COLUMNS))
    console.print(table)
    place = report["worst"]
    lines = [
        f"{report['num_groups']} groups of {report['group_size']}, {report['dtype']}, attention: "
        f"{report['attention']}. Completions that are no action were taken as zooms, so that there are clips: "
        f"{report['num_made_up_zooms']}.",
        "logprob: sampler from learner; learners: the token tree from each completion by itself; other token, other "
        "place: what sampler or tree was not given as in a plain forward pass.",
        f"Largest: task {place['task_id']}, {place['kind']}, member {place['member']}, step {place['step']}, token "
        f"{place['token_index']} {place['token']!r}: {place['sampler_logprob']:.7f} sampled, "
        f"{place['learner_logprob']:.7f} learned.",
        report["verdict"],
    ]
    for line in lines:
        console.print(escape(line), soft_wrap=True)
