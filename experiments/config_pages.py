"""The reference of all settings as Markdown, generated from the models that check them."""

import json
from collections.abc import Iterator
from typing import Any

from videozoom.experiments.config_schema import Schema, config_schema

INTRODUCTION = """# Settings

Every key of a configuration, its type, its default and what it means. Generated from the models in
`experiments/config*.py` by `make docs`; a test fails when this page is out of date.

A configuration is a YAML file. `extends: other.yaml` starts from another one, and `key.sub=value` on the command line
replaces a setting. Unknown keys and values that are not allowed are told with the nearest key, the file and what is
allowed. `--dry-run` prints what comes of it all. Times are in seconds (`_s`), sizes in pixels (`_px`), and a frame's
tokens are its pixels divided by 28 x 28.
"""


def config_page() -> str:
    """Return the page: one table per section, in the order of the file; sections of one kind share a table."""
    schema = config_schema()
    top = {name: it for name, it in schema["properties"].items() if not _models(it)}
    parts = [INTRODUCTION, "## Top level\n", _table(top, schema)]
    shown: dict[str, str] = {}
    for path, model in _sections(schema, schema["properties"], ()):
        parts.append(f"## `{path}`\n")
        if model in shown:
            parts.append(f"The same keys as `{shown[model]}`.\n")
            continue
        shown[model] = path
        definition = schema["$defs"][model]
        parts += [f"{_words(definition.get('description', ''))}\n", _table(definition["properties"], schema)]
    return "\n".join(parts)


def _sections(schema: Schema, properties: dict[str, Schema], path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the key of every section and the name of its model, from the outside in."""
    for name, node in properties.items():
        for model in _models(node):
            inner = (*path, name, *(("*",) if "$ref" not in node and not _is_optional(node) else ()))
            yield ".".join(inner), model
            yield from _sections(schema, schema["$defs"][model]["properties"], inner)


def _models(node: Any) -> list[str]:
    """Return the names of the models in a property."""
    if isinstance(node, dict):
        if "$ref" in node:
            return [str(node["$ref"]).rsplit("/", 1)[-1]]
        keys = ("items", "additionalProperties", "anyOf")
        return list(dict.fromkeys(name for key in keys for name in _models(node.get(key))))
    return [name for it in node for name in _models(it)] if isinstance(node, list) else []


def _is_optional(node: Schema) -> bool:
    return "anyOf" in node


def _table(properties: dict[str, Schema], schema: Schema) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, node in properties.items():
        cells = (f"`{name}`", _type_words(node), _default_words(node), _meaning(node, schema))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _meaning(node: Schema, schema: Schema) -> str:
    """Return what a key says of itself, or what its section does."""
    inner = [schema["$defs"][model].get("description", "") for model in _models(node)]
    return _words(node.get("description") or " ".join(inner))


def _type_words(node: Schema) -> str:
    """Return a type in words.

    Example:
        >>> _type_words({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]})
        'integer, at least 1, or null'
    """
    if "anyOf" in node:
        return ", or ".join(_type_words(it) for it in node["anyOf"])
    if "$ref" in node:
        return "section"
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{'null' if value is None else value}`" for value in node["enum"])
    kind = node.get("type")
    if kind == "array":
        return _list_words(node)
    if kind == "object":
        return f"mapping of names to {_plural(node.get('additionalProperties'))}"
    return ", ".join([_KINDS.get(str(kind), "any"), *_bounds(node)])


def _list_words(node: Schema) -> str:
    if "prefixItems" in node:
        parts = [_type_words(it) for it in node["prefixItems"]]
        return (
            f"list of {len(parts)}: {'; '.join(parts)}" if len(set(parts)) > 1 else f"list of {len(parts)}: {parts[0]}"
        )
    return f"list of {_plural(node.get('items'))}{', not empty' if node.get('minItems') else ''}"


def _plural(node: Any) -> str:
    if not isinstance(node, dict) or not node:
        return "values"
    return "sections" if _models(node) else _type_words(node)


_KINDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _bounds(node: Schema) -> list[str]:
    return [f"{words} {node[key]:g}" for key, words in _BOUNDS.items() if key in node]


def _default_words(node: Schema) -> str:
    if "default" not in node:
        return ""
    value = node["default"]
    if isinstance(value, dict) and value:
        return "see below"
    return f"`{json.dumps(value)}`"


def _words(description: str) -> str:
    """Return a docstring on one line, fit for a table."""
    return " ".join(description.split()).replace("|", "\\|")
