"""Configuration files: YAML with one level of `extends`, dotted overrides, and errors that name the place."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from videozoom.experiments.config import Config
from videozoom.experiments.config_errors import Layer, Tree, sentence
from videozoom.experiments.config_yaml import dump_yaml, parse_yaml, read_yaml
from videozoom.experiments.errors import UserError
from videozoom.experiments.love_r1_presets import with_preset

BUILT_IN = Path(__file__).parent / "configs"
"""Folder of the configurations that are installed with the package."""


def load_config(source: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of a YAML file (a path or the name of a built-in one) with `overrides` applied.

    A file may name another one in `extends`, relative to itself, or a built-in one: mappings are merged, everything
    else is replaced. An override is `key.sub=value`, its value read as YAML; numbers index lists. `None` starts from
    the defaults. What a preset sets (`protocol.preset`) stands between the defaults and all of this.

    Raises:
        UserError: the file is missing or no YAML, a key does not exist, or a value is not allowed.

    Example:
        >>> load_config(overrides=["rollout.group_size=4"]).rollout.group_size
        4
    """
    layers: list[Layer] = []
    if source is not None:
        path = find_config(source)
        own = read_yaml(path)
        base_name = own.pop("extends", None)
        if base_name is not None:
            layers.append(_read_base(path, base_name))
        layers.append((str(path), own))
    values: Tree = {}
    for _, layer in layers:
        values = _merge(values, layer)
    given: Tree = {}
    for override in overrides:
        keys, value = _parse_override(override)
        values = _replace(_with_default_lists(values, keys), keys, value, override)
        given = _merge(given, _nest(keys, value))
    layers.append(("the overrides", given))
    try:
        # Through JSON, because its strict mode still reads lists as tuples and strings as paths.
        return Config.model_validate_json(json.dumps(with_preset(values)), strict=True)
    except ValidationError as error:
        raise UserError(sentence(error.errors(), layers)) from None


def dump_config(config: Config) -> str:
    """Return `config` as YAML, every setting written out, that `load_config` reads as the same configuration."""
    return dump_yaml(config.model_dump(mode="json"))


def find_config(source: str | Path) -> Path:
    """Return the path of a configuration given as a path or as the name of a built-in one.

    Raises:
        UserError: there is neither.
    """
    path = Path(source)
    if path.is_file():
        return path
    built_in = BUILT_IN / f"{source}.yaml"
    if path.name == str(source) and built_in.is_file():
        return built_in
    names = ", ".join(_built_in_names())
    raise UserError(f"No configuration file {str(source)!r}; give the path of a YAML file or one of: {names}")


def _built_in_names() -> list[str]:
    return sorted(file.stem for file in BUILT_IN.glob("*.yaml"))


def _read_base(path: Path, base_name: Any) -> tuple[str, Tree]:
    if not isinstance(base_name, str):
        raise UserError(f"{path}: extends must be the name of one file, got {base_name!r}")
    base_path = path.parent / base_name
    if not base_path.is_file() and base_name in _built_in_names():
        base_path = BUILT_IN / f"{base_name}.yaml"
    if not base_path.is_file():
        raise UserError(
            f"{path} extends {base_name!r}, but there is no {base_path}; give a path relative to the file or one of: "
            f"{', '.join(_built_in_names())}"
        )
    base = read_yaml(base_path)
    if "extends" in base:
        raise UserError(f"{path} extends {base_path}, which extends another file itself; only one level is allowed")
    return str(base_path), base


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files or names among the arguments of a command, and the settings, which hold an `=`."""
    named = [argument for argument in arguments if "=" not in argument]
    return named, [argument for argument in arguments if "=" in argument]


def _parse_override(override: str) -> tuple[list[str], Any]:
    key, equals, text = override.partition("=")
    keys = key.split(".")
    if not equals or not all(keys):
        raise UserError(f"Override {override!r} is not of the form key.sub=value, for example rollout.group_size=4")
    try:
        return keys, parse_yaml(text)
    except ValueError as error:
        raise UserError(f"The value of override {override!r} is not YAML: {error}") from None


def _merge(base: Tree, top: Mapping[str, Any]) -> Tree:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _with_default_lists(values: Tree, keys: Sequence[str]) -> Tree:
    """Return `values` with the default of the list that `keys` index, if it is not there: entries need the others."""
    number = next((index for index, key in enumerate(keys) if key.isdigit()), 0)
    default: Any = Config().model_dump(mode="json") if number else None
    for key in keys[:number]:
        default = default.get(key) if isinstance(default, dict) else None
    return _merge(_nest(keys[:number], default), values) if isinstance(default, list) else values


def _replace(node: Any, keys: Sequence[str], value: Any, override: str) -> Any:
    """Return `node` with the entry at `keys` replaced by `value`; a mapping is merged into a mapping."""
    if not keys:
        return _merge(node, value) if isinstance(node, dict) and isinstance(value, dict) else value
    first, rest = keys[0], keys[1:]
    if isinstance(node, list):
        if not first.isdigit() or int(first) >= len(node):
            allowed = f"0 to {len(node) - 1}" if node else "none, the list is empty"
            raise UserError(f"Override {override!r}: {first!r} is no entry of the list; allowed: {allowed}")
        index = int(first)
        return [*node[:index], _replace(node[index], rest, value, override), *node[index + 1 :]]
    tree = node if isinstance(node, dict) else {}
    return {**tree, first: _replace(tree.get(first), rest, value, override)}


def _nest(keys: Sequence[str], value: Any) -> Tree:
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    return value
