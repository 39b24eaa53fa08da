"""What every file of the project keeps to."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from source_tree import PACKAGES, ROOT, parsed, python_files

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 80
TEXT_SUFFIXES = (".py", ".toml", ".yaml", ".md", ".txt", ".html", ".js", ".css", ".json", ".jsonl", "")

# A place that exists on one machine only. A slash before the name is a deeper folder, not a root.
MACHINE_PATH = re.compile(r"(?<![\w./~}])/(?:home|root|mnt|work|Users|tmp|opt)/\w")
PACKAGE_INDEX = re.compile(r"(?:py" r"pi\.org|python" r"hosted\.org|download\.py" r"torch\.org|--(?:extra-)?index-url)")


def text_files() -> list[Path]:
    """Return what git would commit, or every file of the packages where there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        return python_files(*PACKAGES, "tests")
    files = [ROOT / name for name in listed.stdout.splitlines()]
    return [file for file in files if file.suffix in TEXT_SUFFIXES and file.is_file()]


def matches(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    found = []
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    return found


def function_lines(tree: ast.AST) -> list[tuple[str, int]]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions]


def test_no_file_names_a_place_on_one_machine() -> None:
    assert matches(MACHINE_PATH, text_files()) == []


def test_no_file_names_a_package_index() -> None:
    assert matches(PACKAGE_INDEX, text_files()) == []


@pytest.mark.parametrize(("start", "is_found"), [("path = '", True), ("cd ", True), ("a", False), ("{root}", False)])
def test_paths_of_one_machine_are_noticed(start: str, is_found: bool) -> None:
    assert bool(MACHINE_PATH.search(start + "/".join(("", "home", "me")))) is is_found


def test_files_stay_short() -> None:
    lengths = {str(f.relative_to(ROOT)): len(f.read_text(encoding="utf-8").splitlines()) for f in python_files()}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_functions_stay_short() -> None:
    long = [
        (f"{file.relative_to(ROOT)}:{name}", length)
        for file in python_files()
        for name, length in function_lines(parsed(file))
        if length > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_lines_of_functions_are_counted() -> None:
    assert function_lines(ast.parse("def f():\n    x = 1\n    return x\n")) == [("f", 3)]


def test_every_module_says_what_it_is() -> None:
    assert [str(file.relative_to(ROOT)) for file in python_files() if not ast.get_docstring(parsed(file))] == []
