"""Frozen records <-> JSON, with checks; and the JSON Schema that says the same to others.

    @dataclass class Pin: path: str; inode: int = 0
    build(Pin, {"path": "/x"}, "pins[0]")  ->  Pin("/x", 0)
    build(Pin, {"path": 7}, "pins[0]")     ->  InputError "pins[0].path: is a number, not text"

Keys that a class does not know are passed over: a later version may add some. Types: int (of 64 bits, with a sign or without), bool, str,
`X | None`, tuple[X, ...], dict[str, X], other records, and Any (plain JSON).
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

from bpflens.errors import InputError

__all__ = ("build", "json_schema", "plain")

Record = TypeVar("Record")

_TEXT_LIMIT = 1 << 16
_DEPTH = 8


def plain(value: Any) -> Any:
    """A record as JSON values. Fields that have their default are left out: what is absent was not there."""
    if is_dataclass(value) and not isinstance(value, type):
        out = {}
        for item in fields(value):
            content = getattr(value, item.name)
            default = item.default_factory() if item.default_factory is not MISSING else item.default
            if content != default:
                out[item.name] = plain(content)
        return out
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (int, str, bool, float)) or value is None:
        return value
    return str(value)


def build(cls: type[Record], value: Any, where: str) -> Record:
    """The record that JSON stands for; InputError naming the place where it does not fit."""
    return cast(Record, _build(cls, value, where, 0))


@lru_cache(maxsize=64)
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _build(hint: Any, value: Any, where: str, depth: int) -> Any:
    if hint is Any:
        if depth > _DEPTH * 2:
            raise InputError(where, "is nested too deeply")
        if isinstance(value, dict):
            return {key: _build(Any, item, f"{where}.{key[:40]}", depth + 1) for key, item in value.items()}
        return [_build(Any, item, where, depth + 1) for item in value] if isinstance(value, list) else value
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _build(options[0], value, where, depth)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        item = typing.get_args(hint)[0]
        return tuple(_build(item, each, f"{where}[{index}]", depth + 1) for index, each in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        item = typing.get_args(hint)[1]
        return {key: _build(item, each, f"{where}.{key[:80]}", depth + 1) for key, each in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return _record(hint, value, where, depth)
    return _scalar(hint, value, where)


def _record(cls: type, value: Any, where: str, depth: int) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object")
    hints = _hints(cls)
    content = {}
    for item in fields(cls):
        if item.name in value:
            content[item.name] = _build(hints[item.name], value[item.name], f"{where}.{item.name}" if where else item.name, depth + 1)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise InputError(where or "manifest", f'has no "{item.name}"')
    return cls(**content)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is bool:
        if not isinstance(value, bool):
            raise _wrong(where, value, "true or false")
    elif hint is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(where, value, "a whole number")
        if not -(1 << 63) <= value < 1 << 64:
            raise InputError(where, "does not fit 64 bits")
    elif hint is str:
        if not isinstance(value, str):
            raise _wrong(where, value, "text")
        if len(value) > _TEXT_LIMIT or "\0" in value:
            raise InputError(where, "is longer than any text of a snapshot, or has zero bytes")
    return value


_WORDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a fraction", type(None): "null"}


def _wrong(where: str, value: Any, wanted: str) -> InputError:
    return InputError(where or "manifest", f"is {_WORDS.get(type(value), 'something else')}, not {wanted}")


def json_schema(cls: type, id: str = "") -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a record and of those in it."""
    definitions: dict[str, Any] = {}
    _define(cls, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **({"$id": id} if id else {}),
        "$ref": f"#/$defs/{cls.__name__}",
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


def _define(cls: type, definitions: dict[str, Any]) -> None:
    if cls.__name__ in definitions:
        return
    definitions[cls.__name__] = {}
    hints = _hints(cls)
    definitions[cls.__name__] = {
        "type": "object",
        "description": " ".join((cls.__doc__ or "").split()),
        "properties": {item.name: _describe(hints[item.name], definitions) for item in fields(cls)},
        "required": [item.name for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING],
    }


def _describe(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        option = next(item for item in typing.get_args(hint) if item is not type(None))
        return {"anyOf": [_describe(option, definitions), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _describe(typing.get_args(hint)[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(typing.get_args(hint)[1], definitions)}
    if isinstance(hint, type) and is_dataclass(hint):
        _define(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    names = {int: "integer", bool: "boolean", str: "string"}
    return {"type": names[hint]} if hint in names else {}
