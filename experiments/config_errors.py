"""What is wrong with a configuration, as one sentence that names the key, the file and what is allowed."""

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from videozoom.experiments.config import Config

Tree = dict[str, Any]
Layer = tuple[str, Tree]
"""Where settings came from (a file, the overrides), and the settings."""

ANY_NAME = "*"
"""Stands for a name of the user's choice, or for a position in a list."""


def sentence(errors: Sequence[ErrorDetails], layers: Sequence[Layer]) -> str:
    """Return the first error as one sentence; a key that does not exist may explain the others, so it comes first.

    Example:
        >>> from pydantic import ValidationError
        >>> try:
        ...     Config.model_validate({"seed": -1})
        ... except ValidationError as error:
        ...     sentence(error.errors(), [("try.yaml", {"seed": -1})])
        'seed must be greater than or equal to 0, got -1, in try.yaml'
    """
    # The default of one setting may wait for another: that is no second mistake.
    errors = [error for error in errors if error["type"] != "default_factory_not_called"]
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")
    location = [str(key) for key in first["loc"]]
    # A wrong name in a mapping is the key itself, not a part of it.
    path, place = ".".join(location).removesuffix(".[key]"), _place(location, layers)
    more = f" ({len(errors) - 1} more wrong)" if len(errors) > 1 else ""
    match first["type"]:
        case "extra_forbidden":
            unknown = [*location, *_first_leaf(first["input"])]
            return f"Unknown key {'.'.join(unknown)!r} in {place}; {_advice(unknown)}{more}"
        case "value_error":
            return f"{path}: {str(first['ctx']['error']).rstrip('.')}, in {place}{more}".removeprefix(": ")
        case "missing":
            return f"{path} is missing in {place}{more}"
    message = re.sub(r"^[A-Z]\w* should ", "must ", first["msg"]).replace("an object", "a mapping")
    message = message.replace("array", "list").replace(" after validation, not 0", "")
    return f"{path} {message}, got {json.dumps(first['input'])}, in {place}{more}"


def _place(location: Sequence[str], layers: Sequence[Layer]) -> str:
    """Return the name of the last layer that holds the longest part of `location`."""
    depths = {name: _depth(tree, location) for name, tree in layers if tree}
    return max(reversed(depths), key=depths.__getitem__, default="the defaults")


def _depth(node: Any, location: Sequence[str]) -> int:
    """Return how many keys of `location` exist in `node`."""
    for depth, key in enumerate(location):
        if isinstance(node, list) and key.isdigit():
            # Lists are replaced as a whole, so what is missing in one is this layer's affair.
            if int(key) >= len(node):
                return len(location)
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            return depth
    return len(location)


def _first_leaf(value: Any) -> Iterator[str]:
    while isinstance(value, dict) and value:
        key, value = next(iter(value.items()))
        yield str(key)


def _advice(unknown: Sequence[str]) -> str:
    """Return the nearest key that exists, or the keys that are allowed in its place."""
    parents: list[str] = []
    keys = _keys(parents)
    while unknown[len(parents)] in keys or ANY_NAME in keys:
        parents.append(unknown[len(parents)])
        keys = _keys(parents)
    wrong, rest = unknown[len(parents)], unknown[len(parents) + 1 :]
    elsewhere = [path for path in _PATHS if path[-1] == unknown[-1] and ANY_NAME not in path]
    if close := get_close_matches(wrong, keys, n=1):
        suggested = [*parents, close[0], *rest]
        known = suggested if rest and rest[-1] in _keys(suggested[:-1]) else suggested[: len(parents) + 1]
        return f"did you mean {'.'.join(known)!r}?"
    if len(elsewhere) == 1:
        return f"did you mean {'.'.join(elsewhere[0])!r}?"
    leaves = {path[-1]: path for path in _PATHS if ANY_NAME not in path}
    unique = [leaf for leaf in leaves if sum(path[-1] == leaf for path in _PATHS) == 1]
    if close := get_close_matches(unknown[-1], unique, n=1, cutoff=0.8):
        return f"did you mean {'.'.join(leaves[close[0]])!r}?"
    return f"allowed there: {', '.join(keys)}"


def _keys(parents: Sequence[str]) -> list[str]:
    """Return the keys that may follow `parents`, names of the user's own choice included."""
    return [
        path[-1]
        for path in _PATHS
        if len(path) == len(parents) + 1 and all(a in (b, ANY_NAME) for a, b in zip(path, parents, strict=False))
    ]


def _paths(model: type[BaseModel], parents: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to every setting, from the outside in."""
    for name, field in model.model_fields.items():
        path = (*parents, name)
        yield path
        annotation = field.annotation
        models = [
            it for it in (annotation, *get_args(annotation)) if isinstance(it, type) and issubclass(it, BaseModel)
        ]
        if models and get_origin(annotation) in (dict, tuple):
            path = (*path, ANY_NAME)
            yield path
        for inner in models:
            yield from _paths(inner, path)


_PATHS = tuple(_paths(Config))
