"""What the README and the pages behind it say is there is there."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT

from videozoom.experiments.cli import main

README = ROOT / "README.md"
DOCS = ROOT / "experiments" / "docs"
PAGES = {path: path.read_text(encoding="utf-8") for path in (README, *sorted(DOCS.glob("*.md")))}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [block for page in PAGES.values() for found, block in BLOCK.findall(page) if found == language]


def command_lines() -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [list(line) for line in dict.fromkeys(map(tuple, lines)) if line]


def commands(program: str) -> list[list[str]]:
    return [line[1:] for line in command_lines() if line[0] == program]


def links(path: Path) -> list[tuple[str, str]]:
    """The relative links of a page, as file and heading."""
    found = re.findall(r"\]\(([^)#]*)#?([^)]*)\)", BLOCK.sub("", PAGES[path]))
    return [(target, anchor) for target, anchor in found if "://" not in target]


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", PAGES[path]), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_files() -> None:
    targets = [path.parent / target for path in PAGES for target, _ in links(path)]
    assert len(targets) > 80
    assert [target for target in targets if not target.exists()] == []


def test_links_to_headings_lead_to_headings() -> None:
    wanted = [
        ((path.parent / target).resolve() if target else path, anchor)
        for path in PAGES
        for target, anchor in links(path)
        if anchor
    ]
    assert wanted
    assert [(target.name, anchor) for target, anchor in wanted if anchor not in anchors(target)] == []


def test_the_readme_leads_to_every_page() -> None:
    linked = {(ROOT / target).resolve() for target, _ in links(README)}
    assert [path.name for path in PAGES if path != README and path not in linked] == []


def test_every_block_is_looked_at() -> None:
    languages = {path: {language for language, _ in BLOCK.findall(page)} for path, page in PAGES.items()}
    assert languages.pop(README) == {"python", "sh"}
    assert set().union(*languages.values()) == {"sh"}
    assert [path.name for path, page in PAGES.items() if "```" in BLOCK.sub("", page)] == []
    assert {line[0] for line in command_lines()} == {"make", "python", "videozoom"}


def test_the_examples_run_one_after_the_other(tmp_path: Path) -> None:
    program = "\nprint('---')\n".join(blocks("python"))
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{program}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "Warn" not in run.stderr
    first, text, arrays = run.stdout.split("---")
    assert first.splitlines()[-1] == "answered 1.0"
    assert text.splitlines()[-1].startswith("Answer(text='A'")
    assert "'clip_frames': (2, 4, 56, 56, 3)" in arrays
    assert len(list(tmp_path.glob("runs/my_agent/*.jsonl"))) == 1


def test_the_modules_it_runs_are_there() -> None:
    modules = [arguments[1] for arguments in commands("python") if arguments[0] == "-m"]
    modules += [module for page in PAGES.values() for module in re.findall(r"`python -m ([\w.]+)`", page)]
    assert len(modules) >= 3
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


@pytest.mark.parametrize("arguments", commands("videozoom"), ids=" ".join)
def test_commands_are_understood(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    # A run folder that does not exist yet stands for one that a command before has made.
    arguments = ["smoke" if argument.startswith("runs/") else argument for argument in arguments]
    arguments = [argument for argument in arguments if argument != "--resume"]
    if arguments[0] == "data":
        assert main(arguments) == 2
        assert "cannot read the task file" in capsys.readouterr().err
        return
    if arguments[0] in ("report", "probe", "replay", "export"):
        # There is no such run here; what comes first is that there is none, or no model in the configuration.
        assert main(arguments) == 2
        assert re.search(r"is no (run )?folder|policy\.checkpoint is not set", capsys.readouterr().err)
        return
    if arguments[0] == "dashboard" or arguments[:2] == ["config", "schema"]:
        assert main(arguments) == 0
        assert capsys.readouterr().out.startswith("{")
        return
    if arguments[:2] == ["bench", "logging"]:
        assert main(arguments) == 2
        assert "is no run folder" in capsys.readouterr().err
        return
    if arguments[0] == "bench" and arguments[1] != "video":
        # Measuring takes minutes; what comes first is that there is such a scenario.
        assert main([*arguments, "--scenario", "none"]) == 2
        assert "there is no scenario 'none'" in capsys.readouterr().err
        return
    if arguments[0] == "bench":
        # Measuring takes minutes; a video that is not there stands for the one to be measured.
        video = [] if arguments[-1].endswith(".mp4") else ["none.mp4"]
        assert main([*arguments, *video]) == 2
        assert "No such file or directory" in capsys.readouterr().err
        return
    assert main([*arguments, "--dry-run"]) == 0
    start = f"{arguments[1]}: " if arguments[0] == "sweep" else "name: "
    assert capsys.readouterr().out.startswith(start)


def test_make_has_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {target for (target,) in commands("make")} <= set(re.findall(r"^(\w+):", makefile, flags=re.MULTILINE))
