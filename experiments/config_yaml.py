"""YAML as configurations read and write it: numbers, words, lists and mappings, nothing that surprises."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from videozoom.experiments.errors import UserError

_RESOLVED_BY_US = (":float", ":int", ":bool", ":timestamp", ":merge")


class _Loader(yaml.SafeLoader):
    """Reads `1e-3` as a number, leaves dates, `010`, `1:30`, yes and no as text, and refuses a key written twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(_RESOLVED_BY_US)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is written twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_INT = re.compile(r"^[-+]?(0|[1-9]\d*)$")
_FLOAT = re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$|^[-+]?\.inf$|^\.nan$")
_BOOL = re.compile(r"^(true|false)$", re.IGNORECASE)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


class _Dumper(yaml.SafeDumper):
    """Writes lists of plain values on one line."""


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    is_plain = not any(isinstance(value, (dict, list)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_plain)


_Dumper.add_representer(list, _represent_list)


def parse_yaml(text: str) -> Any:
    """Return what a text says: only what JSON could say as well.

    Raises:
        ValueError: It is no YAML, or says something else; tells what and where on one line.

    Example:
        >>> parse_yaml("{lr: 1e-3, name: 010, on: yes}")
        {'lr': 0.001, 'name': '010', 'on': 'yes'}
    """
    try:
        value = yaml.load(text, _Loader)
        json.dumps(value)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()).replace('"<unicode string>", ', "")) from None
    return value


def dump_yaml(value: Any) -> str:
    """Return plain data as text that `parse_yaml` reads as the same."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping of a YAML file; an empty file holds none.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path} must hold `key: value` lines with text keys")
    return values
