"""JSON schemas of the YAML files people write, for editors: keys complete themselves, mistakes are underlined."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from videozoom.experiments.config import Config

Schema = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> Schema:
    """Return the schema of configuration files.

    A file may leave out what its base, a preset or the command line gives, so no key of a section is required; entries
    of lists are replaced as a whole and keep theirs.

    Example:
        >>> config_schema()["properties"]["rollout"]["$ref"]
        '#/$defs/Rollout'
    """
    schema = _schema_of(Config)
    extends = {
        "type": "string",
        "description": "Configuration that this one changes: a file, relative to this one. Mappings are merged, "
        "everything else is replaced. One level: a file that extends another cannot be extended.",
    }
    return {**schema, "properties": {"extends": extends, **schema["properties"]}}


def study_schema() -> Schema:
    """Return the schema of study files, for `videozoom sweep`."""
    from videozoom.experiments.study import Study

    return {"$schema": _DIALECT, **_untitled(Study.model_json_schema())}


def _schema_of(model: type[BaseModel]) -> Schema:
    schema = _inlined({"$schema": _DIALECT, **_untitled(model.model_json_schema())})
    in_lists = _below(schema, {name for node in _nodes(schema) for name in _entries(node)})
    for name, definition in [("", schema), *schema["$defs"].items()]:
        if name not in in_lists:
            definition.pop("required", None)
    return schema


def _untitled(node: Any) -> Any:
    """Return a schema without the titles that pydantic makes of names, which editors show in place of descriptions."""
    if isinstance(node, dict):
        return {
            key: {name: _untitled(it) for name, it in value.items()}
            if key in ("properties", "$defs")
            else _untitled(value)
            for key, value in node.items()
            if key != "title"
        }
    return [_untitled(it) for it in node] if isinstance(node, list) else node


def _inlined(schema: Schema) -> Schema:
    """Return a schema in which definitions that are no models, such as enumerations, stand where they are used."""
    plain = {name: it for name, it in schema["$defs"].items() if "properties" not in it}

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(it) for it in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).rsplit("/", 1)[-1]
        if name in plain:
            return resolved({**plain[name], **{key: it for key, it in node.items() if key != "$ref"}})
        return {key: resolved(it) for key, it in node.items() if not (key in plain and it is plain[key])}

    inlined: Schema = resolved(schema)
    return inlined


def _nodes(node: Any) -> Iterator[Schema]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)


def _entries(node: Schema) -> list[str]:
    """Return the names of the models that are entries of a list."""
    items = node.get("items")
    return [items["$ref"].rsplit("/", 1)[-1]] if isinstance(items, dict) and "$ref" in items else []


def _below(schema: Schema, names: set[str]) -> set[str]:
    """Return `names` and those of all models inside them."""
    inner = {
        str(node["$ref"]).rsplit("/", 1)[-1]
        for name in names
        for node in _nodes(schema["$defs"][name])
        if "$ref" in node
    }
    return names if inner <= names else _below(schema, names | inner)
