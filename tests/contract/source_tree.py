"""The source files the contract tests look at."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("envs", "experiments", "policies", "rewards", "rollout")


def python_files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders or PACKAGES for file in (ROOT / folder).rglob("*.py"))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(("videozoom", *(part for part in parts if part != "__init__")))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # `from videozoom.envs import tasks` names a module in the second half.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
