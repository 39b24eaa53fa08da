"""Which package may import which, and how heavy an import may be."""

import subprocess
import sys

import pytest
from source_tree import PACKAGES, imported_modules, module_name, parsed, python_files

# `rewards` sees the words of the world (tasks, actions, answers, observations), not the world itself.
WORLD_WORDS = (
    "videozoom.envs.tasks",
    "videozoom.envs.actions",
    "videozoom.envs.answer_texts",
    "videozoom.envs.observation",
)
ALLOWED = {
    "rewards": ("videozoom.rewards", *WORLD_WORDS),
    "envs": ("videozoom.envs", "videozoom.rewards"),
    "policies": ("videozoom.policies", "videozoom.envs", "videozoom.rewards"),
    "rollout": ("videozoom.rollout", "videozoom.envs", "videozoom.policies", "videozoom.rewards"),
    "experiments": tuple(f"videozoom.{package}" for package in PACKAGES),
}
HEAVY = ("torch", "ray", "transformers", "wandb", "av", "pandas", "scipy", "pydantic", "gymnasium", "numpy", "rich")


def foreign_imports(package: str, modules: list[str]) -> list[str]:
    def is_allowed(module: str) -> bool:
        # `from videozoom import envs` would hide what is used.
        return any(module == prefix or module.startswith(f"{prefix}.") for prefix in ALLOWED[package])

    return [module for module in modules if module.split(".")[0] == "videozoom" and not is_allowed(module)]


def modules_loaded_by(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(*sys.modules, sep=chr(10))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_stands_below_them(package: str) -> None:
    found = {
        module_name(file): bad
        for file in python_files(package)
        if (bad := foreign_imports(package, list(imported_modules(parsed(file)))))
    }
    assert found == {}


def test_foreign_imports_are_noticed() -> None:
    assert foreign_imports("rewards", ["numpy", "videozoom.envs.tasks", "videozoom.envs.tasks.Task"]) == []
    assert foreign_imports("rewards", ["videozoom.envs.video_zoom"]) == ["videozoom.envs.video_zoom"]
    assert foreign_imports("rollout", ["videozoom.experiments.config"]) == ["videozoom.experiments.config"]


def test_folders_are_imported_only_under_the_namespace() -> None:
    bare = [
        (module_name(file), module)
        for file in python_files()
        for module in imported_modules(parsed(file))
        if module.split(".")[0] in PACKAGES
    ]
    assert bare == []


def test_importing_the_world_loads_no_learning_library() -> None:
    code = "import videozoom.envs, gymnasium; assert 'VideoZoom-v0' in gymnasium.registry; videozoom.envs.VideoZoomEnv"
    loaded = modules_loaded_by(code)
    assert "videozoom.envs.video_zoom" in loaded
    assert loaded.isdisjoint({"torch", "ray", "transformers", "wandb"})


def test_help_loads_nothing_heavy() -> None:
    code = "import contextlib\nwith contextlib.suppress(SystemExit):\n from videozoom.experiments.cli import main\n "
    loaded = modules_loaded_by(f"{code}main(['--help'])")
    assert "videozoom.experiments.cli" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_reading_a_configuration_loads_no_learning_library() -> None:
    loaded = modules_loaded_by("from videozoom.experiments.config_files import load_config; load_config('demo')")
    assert loaded.isdisjoint({"torch", "ray", "transformers", "wandb"})
