"""What gets installed, and that settings agree with what they set."""

import inspect
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from source_tree import PACKAGES, ROOT

from videozoom.envs.generated.recipe import VideoRecipe
from videozoom.envs.span_rules import SpanRules
from videozoom.envs.video_store import VideoStore
from videozoom.experiments import config_data, config_env, config_policy, config_reward
from videozoom.experiments.config import Config
from videozoom.experiments.config_files import BUILT_IN, load_config
from videozoom.policies.tiny import TinySize
from videozoom.rewards.rubric import REWARDS, RewardRules

DATA_SUFFIXES = (".css", ".html", ".js", ".json", ".txt", ".yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def package_folders() -> dict[str, str]:
    inits = [init for package in PACKAGES for init in (ROOT / package).rglob("__init__.py")]
    folders = sorted(init.parent.relative_to(ROOT).as_posix() for init in inits)
    return {f"videozoom.{folder.replace('/', '.')}": folder for folder in folders}


def test_every_folder_is_packaged_and_mapped() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(package_folders())
    assert SETUPTOOLS["package-dir"] == package_folders()


def test_every_folder_is_typed() -> None:
    assert [folder for folder in package_folders().values() if not (ROOT / folder / "py.typed").is_file()] == []


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {line.partition("==")[0].lower().replace("_", "-") for line in lines if not line.startswith("#")}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *extras["dev"]]
    names = {re.split(r"[\[<>=!~ ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names - pins == set()
    assert "torch==2.13.0" in lines


def test_every_pin_is_inside_the_range_it_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    extras = PROJECT["project"]["optional-dependencies"]
    for text in (*PROJECT["project"]["dependencies"], *extras["dev"], *PROJECT["build-system"]["requires"]):
        requirement = Requirement(text)
        pin = pins[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(pin), f"{requirement} does not admit {pin}"


def test_wheel_holds_only_the_namespace(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    # The build backend alone: no isolated environment, hence no download.
    program = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"videozoom"}
    shipped = {name.removeprefix("videozoom/") for name in names}
    data = {file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.suffix in DATA_SUFFIXES}
    assert {file.suffix for file in data} >= {".yaml", ".txt", ".css", ".js"}
    assert {file.relative_to(ROOT).as_posix() for file in data} <= shipped


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path: Path) -> None:
    loaded = load_config(path)
    assert loaded.name == path.stem
    assert load_config(path.stem) == loaded


@pytest.mark.parametrize(
    ("section", "target"),
    [
        (config_data.GeneratedVideos, VideoRecipe),
        (config_env.SpanRules, SpanRules),
        (config_reward.RewardRules, RewardRules),
        (config_policy.TinyModel, TinySize),
    ],
)
def test_a_section_has_the_fields_of_what_it_sets(section: type[config_data.Section], target: type) -> None:
    assert set(section.model_fields) == {field.name for field in fields(target)}


def test_video_settings_are_those_of_the_store() -> None:
    wanted = {name for name in inspect.signature(VideoStore.__init__).parameters if name != "self"}
    in_bytes = {"cache_mib": "memory_bytes", "cache_gib": "disk_bytes", "cold_cache_gib": "cold_bytes"}
    assert {in_bytes.get(name, name) for name in config_env.Video.model_fields} == wanted


def test_every_reward_has_a_weight() -> None:
    assert set(config_reward.Reward.model_fields) == set(REWARDS)


def test_every_setting_is_described_or_speaks_for_itself() -> None:
    def subclasses(cls: type) -> list[type]:
        return [inner for it in cls.__subclasses__() for inner in (it, *subclasses(it))]

    sections = [it for it in subclasses(config_data.Section) if it.__module__.startswith("videozoom.")]
    assert Config in sections
    assert [it.__name__ for it in sections if not it.__doc__] == []
