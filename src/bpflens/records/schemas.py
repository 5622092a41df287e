"""JSON Schema of every line that a verb prints with --json: the words to write one, the table of all, and what a line breaks of its own.

    schemas()["dis/1"]                   ──►  {"$schema": "https://json-schema.org/...", "title": "dis/1", "type": "object", ...}
    problems({"schema": "dis/1", ...})   ──►  ["bytes: is missing"]

Each file of records/ that makes a record says what is in it beside the code that makes it, in a function `schemas`. scripts/make-docs
publishes them under docs/schemas/. Keys may be added to a schema of the same version, never renamed or removed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = (
    "ANY", "BOOLEAN", "FILES", "INTEGER", "NUMBER", "TEXT", "Schema", "line", "listing", "mapping", "maybe", "one_of", "problems", "record",
    "schemas",
)  # fmt: skip

Schema = Mapping[str, Any]

FILES = (
    "asm", "audit", "decompile", "diff", "dis", "doctor", "error", "explain", "ls", "map", "original", "packets", "record", "refusal",
    "run", "seccomp", "show", "snapshot", "tree", "watch",
)  # fmt: skip
"""The files of records/ that have a function `schemas`."""

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
ANY: Schema = {}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(*values: str) -> Schema:
    """One of these words."""
    return {"enum": list(values)}


def listing(items: Schema) -> Schema:
    """A list of any length."""
    return {"type": "array", "items": items}


def mapping(values: Schema) -> Schema:
    """An object whose keys are data."""
    return {"type": "object", "additionalProperties": values}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, more: bool = False) -> Schema:
    """An object with these keys; `more`: keys of the kernel's or another source's spelling stand beside them."""
    schema: dict[str, Any] = {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}
    if more:
        schema["additionalProperties"] = True
    return schema


def line(name: str, what: str, required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, more: bool = False) -> Schema:
    """The schema of a whole line; `what` says in a sentence what it is."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "description": what}
    return {**head, **record({"schema": {"const": name}, **required}, optional, more)}


def schemas() -> dict[str, Schema]:
    """Name with version -> JSON Schema, of all lines."""
    found: dict[str, Schema] = {}
    for file in FILES:
        found.update(importlib.import_module(f"bpflens.records.{file}").schemas())
    return dict(sorted(found.items()))


_TYPES = {"string": str, "array": list, "object": dict, "boolean": bool, "null": type(None)}


def problems(value: Any, schema: Schema | None = None, where: str = "") -> list[str]:
    """What of a value is not as its schema says, empty where all is. Without `schema` the value is a line and names its own.

    The part of JSON Schema that `schemas` uses; stricter in one point: a key that the schema does not know is a problem.
    """
    if schema is None:
        name = value.get("schema") if isinstance(value, Mapping) else None
        known = schemas().get(str(name))
        return [f"{name}: no such schema"] if known is None else problems(value, known, str(name))
    return list(_problems(value, schema, where))


def _problems(value: Any, schema: Schema, where: str) -> Iterator[str]:
    if "anyOf" in schema:
        found = [list(_problems(value, each, where)) for each in schema["anyOf"]]
        if all(found):
            yield from min(found, key=len)
        return
    if "const" in schema and value != schema["const"]:
        yield f"{where}: is {value!r}, not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: is {value!r}, none of {schema['enum']}"
    if "type" not in schema:
        return
    if not _is(value, schema["type"]):
        yield f"{where}: is {type(value).__name__}, not {schema['type']}"
    elif schema["type"] == "array":
        for number, item in enumerate(value):
            yield from _problems(item, schema["items"], f"{where}[{number}]")
    elif schema["type"] == "object":
        yield from _of_object(value, schema, where)


def _is(value: Any, type: str) -> bool:
    if type in ("integer", "number"):
        return isinstance(value, int if type == "integer" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, _TYPES[type]) or (type == "array" and isinstance(value, tuple))


def _of_object(value: Mapping[str, Any], schema: Schema, where: str) -> Iterator[str]:
    known = schema.get("properties", {})
    more = schema.get("additionalProperties")
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{where}.{key}: is missing"
    for key, item in value.items():
        if key in known:
            yield from _problems(item, known[key], f"{where}.{key}")
        elif more is None:
            yield f"{where}.{key}: is not in the schema"
        elif more is not True:
            yield from _problems(item, more, f"{where}.{key}")
