import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from videozoom.experiments.cli import USER_ERRORS, main
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import dump_config, load_config
from videozoom.experiments.progress import console


class Calls:
    """Stands in for the commands and records how they were called."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Config, dict[str, Any]]] = []
        self.error: BaseException | None = None

    def command(self, name: str) -> Any:
        def run(config: Config, *values: Any, **options: Any) -> dict[str, float]:
            self.made.append((name, config, options | ({"seeds": values[0]} if values else {})))
            if self.error:
                raise self.error
            return {"accuracy": 0.5}

        return run


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    commands = (("demo", "run_demo"), ("seeds", "run_seeds"), ("train", "run_train"), ("evaluate", "run_eval"))
    for module, function in commands:
        name = f"videozoom.experiments.{module}"
        stub = ModuleType(name)
        setattr(stub, function, calls.command(module))
        monkeypatch.setitem(sys.modules, name, stub)
    monkeypatch.setattr(console, "quiet", False)
    return calls


def test_demo_runs_the_built_in_configuration_with_overrides(calls: Calls) -> None:
    assert main(["demo", "seed=7"]) == 0
    assert calls.made == [("demo", load_config("demo", ["seed=7"]), {"resume": None, "overwrite": False})]


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "smoke", "seed=7", "--overwrite", "--quiet"],
        ["train", "--quiet", "--overwrite", "smoke", "seed=7"],
        ["train", "smoke", "--overwrite", "seed=7", "--quiet"],
    ],
)
def test_overrides_may_stand_anywhere(arguments: list[str], calls: Calls) -> None:
    assert main(arguments) == 0
    assert calls.made == [("train", load_config("smoke", ["seed=7"]), {"resume": None, "overwrite": True})]
    assert console.quiet


def test_a_run_is_resumed_with_its_own_configuration(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(load_config("smoke", ["seed=9"])), encoding="utf-8")
    assert main(["train", "--resume", str(tmp_path), "grpo.num_iterations=5"]) == 0
    ((_, config, options),) = calls.made
    assert (config.seed, config.grpo.num_iterations, config.run_dir) == (9, 5, tmp_path)
    assert options["resume"] == tmp_path


def test_an_evaluation_goes_on_in_its_folder(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(load_config("smoke", ["seed=9"])), encoding="utf-8")
    assert main(["eval", "--resume", str(tmp_path)]) == 0
    assert main(["eval", "smoke", "--overwrite"]) == 0
    (_, resumed, how), (_, _, other_how) = calls.made
    assert (resumed.seed, resumed.run_dir) == (9, tmp_path)
    assert (how, other_how) == ({"resume": True, "overwrite": False}, {"resume": False, "overwrite": True})


def test_the_demo_runs_several_seeds(calls: Calls) -> None:
    assert main(["demo", "grpo.lr=1e-4", "--seeds", "3,5", "--overwrite"]) == 0
    assert calls.made == [("seeds", load_config("demo", ["grpo.lr=1e-4"]), {"overwrite": True, "seeds": [3, 5]})]


def test_json_is_all_that_eval_prints_on_stdout(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "smoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"accuracy": 0.5}


def test_a_dry_run_prints_a_configuration_that_runs(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "smoke", "--dry-run", "seed=7"]) == 0
    assert calls.made == []
    (tmp_path / "resolved.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_config(tmp_path / "resolved.yaml") == load_config("smoke", ["seed=7"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train"], "needs a configuration"),
        (["train", "smoke", "demo"], "Expected one configuration, got smoke, demo"),
        (["train", "smoke", "rolout.group_size=2"], "did you mean 'rollout.group_size'?"),
        (["eval", "no_such.yaml"], "No configuration file 'no_such.yaml'"),
        (["train", "--resume", "no_such_folder"], "no_such_folder is no run folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert len(captured.err.splitlines()) == 1
    assert calls.made == []


@pytest.mark.parametrize("name", sorted(USER_ERRORS))
def test_a_mistake_found_below_is_one_sentence_too(name: str, calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    module, _, kind = name.rpartition(".")
    calls.error = getattr(import_module(module), kind)("what is wrong,\nand where")
    assert main(["train", "smoke"]) == 2
    assert capsys.readouterr().err == "videozoom: what is wrong, and where\n"


def test_our_own_mistake_keeps_its_traceback(calls: Calls) -> None:
    calls.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        main(["train", "smoke"])


def test_ctrl_c_exits_with_130(calls: Calls) -> None:
    calls.error = KeyboardInterrupt()
    assert main(["train", "smoke"]) == 130


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_and_version_exit_with_0(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 0


@pytest.mark.parametrize("arguments", [[], ["trian"], ["train", "smoke", "--overwrit3"]])
def test_an_unknown_command_or_option_exits_with_2(arguments: list[str], calls: Calls) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert calls.made == []
