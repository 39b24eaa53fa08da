import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from source_tree import PACKAGES, ROOT, parsed, python_files

from videozoom.rewards.rubric import REWARDS
from videozoom.rollout.metrics import ANY_DATASET, METRICS, SECTIONS, STATS, Direction, check_names, spec_of

NAME = re.compile(rf"(?:{'|'.join(SECTIONS)})/[a-z0-9_*]+(?:/[a-z0-9_*]+)*")
"""What a metric's name looks like; `*` stands for what an f-string fills in."""

REGISTRY = ("metric_rows.py", "metric_rows_answers.py", "metric_rows_machine.py", "metrics.py")


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the strings of a program that may be names, f-strings with `*` for what they fill in."""
    parts = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(it.value if isinstance(it, ast.Constant) else "*" for it in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


NOUNS = {name.removesuffix(f"/{spec.reducer}") for name, spec in METRICS.items()}
"""Names to which stats are added later."""
KNOWN = {name.replace(ANY_DATASET, "held_out") for name in (*METRICS, *NOUNS)}
BEGINNINGS = {name[:end] for name in KNOWN for end in range(len(name))}
"""What `startswith` and sums of strings name."""
NAMED = KNOWN | BEGINNINGS


def unregistered(source: str | ast.AST) -> list[str]:
    """Return what looks like a metric and is none."""
    tree = ast.parse(source) if isinstance(source, str) else source
    found = [text for text in texts(tree) if NAME.fullmatch(text.rstrip("/_"))]
    return [
        text
        for text in found
        if text not in NAMED and not ("*" in text and any(fnmatchcase(name, text) for name in KNOWN))
    ]


def test_every_name_in_the_code_is_registered() -> None:
    files = [file for file in python_files(*PACKAGES) if file.name not in REGISTRY]
    assert {str(file.relative_to(ROOT)): bad for file in files if (bad := unregistered(parsed(file)))} == {}


def test_the_search_finds_the_names_that_are_logged() -> None:
    learner = parsed(ROOT / "experiments" / "grpo_learner.py")
    assert "optim/grad_norm_clipped/rate" in set(texts(learner))


@pytest.mark.parametrize(
    "program",
    [
        'metrics = {"zoom/hits/rate": 1.0}',
        'log({"loss/sftt": 1.0})',
        'metrics["eval/held_out/acuracy"] = 1.0',
        'f"time/{what}_seconds"',
        '_reduced("zoom/span_second", values, "mean")',
    ],
)
def test_a_name_that_is_not_registered_is_found(program: str) -> None:
    assert len(unregistered(program)) == 1


@pytest.mark.parametrize(
    "program",
    [
        '_reduced("zoom/span_s", values, "mean p90")',
        'f"time/{what}_s"',
        'f"eval/{dataset}/{name}"',
        '"video/mp4 is no metric"',
        'name.startswith("episode/status/")',
    ],
)
def test_names_that_are_put_together_are_understood(program: str) -> None:
    assert unregistered(program) == []


def test_registered_names_follow_the_grammar() -> None:
    for name, spec in METRICS.items():
        assert name == spec.name
        assert name == name.lower()
        assert 2 <= len(name.split("/")) <= 4
        assert spec.section in SECTIONS
        assert spec.unit
    assert {spec.section for spec in METRICS.values()} == SECTIONS.keys()


def test_every_metric_says_what_it_is_and_how_to_read_it() -> None:
    for spec in METRICS.values():
        assert spec.meaning.endswith("."), spec.name
        assert spec.reading.endswith("."), spec.name
        assert spec.caption == f"{spec.meaning} {spec.reading}"


def test_every_reward_has_a_metric() -> None:
    assert {f"reward/{name}/mean" for name in REWARDS} <= METRICS.keys()


def test_a_spec_knows_how_its_values_were_reduced() -> None:
    assert spec_of("zoom/span_s/p90").reducer == "p90"
    assert spec_of("optim/grad_norm").reducer == "value"
    assert {spec.reducer for spec in METRICS.values()} == {"value", *STATS}


def test_evaluations_log_metrics_of_their_own_and_all_others() -> None:
    assert spec_of("eval/held_out/zoom/hit/rate").direction == Direction.UP
    assert spec_of("eval/long/accuracy").name == "eval/long/accuracy"
    assert spec_of("eval/held_out/num_tasks").direction == Direction.NONE
    for name in ("eval/accuracy", "eval/held_out/optimum", "accuracy"):
        with pytest.raises(ValueError, match="not in the registry"):
            spec_of(name)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(ValueError, match=r"'zoom/hits/rate' is not in the registry; the nearest is 'zoom/hit/rate'"):
        check_names(["zoom/hit/rate", "zoom/hits/rate"])
    with pytest.raises(ValueError, match="the nearest is 'eval/<dataset>/accuracy'"):
        check_names(["eval/held_out/acuracy"])
