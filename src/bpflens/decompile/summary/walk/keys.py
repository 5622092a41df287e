"""What a map call is asked for: the bytes of its key, and words for them."""

from __future__ import annotations

from collections.abc import Iterator

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.bits import read_bits, runs_of
from bpflens.decompile.summary.walk.claims import KeyPart
from bpflens.decompile.summary.walk.sources import Content, Filled, Scope
from bpflens.decompile.summary.words.naming import STRINGS, Namer

__all__ = ("compared_text", "key_parts", "key_phrase")


def key_parts(call: ir.Call, scope: Scope, argument: int = 1) -> tuple[KeyPart, ...]:
    """The bytes of the key of a map call, as far as they are known."""
    pointer = scope.resolved(call.args[argument]) if len(call.args) > argument else ir.Const(0)
    map_ref = scope.resolved(call.args[0]) if call.args else None
    map = scope.unit.maps.get(map_ref.name) if isinstance(map_ref, ir.MapRef) else None
    if not isinstance(pointer, ir.StackRef) or map is None:
        return ()
    start = pointer.start + pointer.offset
    parts = []
    for (at, size), content in scope.frame.cells.items():
        if start <= at and at + size <= start + map.key_size:
            if isinstance(content, Filled):
                parts += [KeyPart(at - start + n, 1, read_bits(content.source, content.byte + n, 1)) for n in range(size)]
            elif (bits := scope.bits(content)) is not None:
                parts.append(KeyPart(at - start, size, bits))
    return tuple(parts)


def key_phrase(call: ir.Call, scope: Scope, namer: Namer, argument: int = 1) -> str:
    """What the key of a map call is: "TCP destination port", "source address and TCP destination port", a number, or "a computed key"."""
    pointer = scope.resolved(call.args[argument]) if len(call.args) > argument else ir.Const(0)
    map_ref = scope.resolved(call.args[0]) if call.args else None
    map = scope.unit.maps.get(map_ref.name) if isinstance(map_ref, ir.MapRef) else None
    if not isinstance(pointer, ir.StackRef) or map is None:
        return "key at a computed place"
    start = pointer.start + pointer.offset
    parts: list[str] = []
    for (at, size), content in sorted(scope.frame.cells.items(), key=lambda cell: cell[0]):
        if start <= at and at + size <= start + map.key_size:
            parts += _part(content, size, scope, namer)
    if not parts:
        return "computed key"
    return " and ".join(dict.fromkeys(parts))


def _part(content: Content, size: int, scope: Scope, namer: Namer) -> Iterator[str]:
    if isinstance(content, Filled):
        yield namer.name_bytes(content.source, content.byte, size, namer.layers).text
        return
    value = scope.constant(content)
    if value is not None:
        if value or size == 4:
            yield str(value & ((1 << 8 * size) - 1))
        return
    bits = scope.bits(content)
    runs = runs_of(bits[: 8 * size]) if bits is not None else None
    if not runs:
        yield "computed value"
        return
    for source, byte, length in runs:
        yield namer.name_bytes(source, byte, length, namer.layers).text


def compared_text(call: ir.Call, scope: Scope) -> str:
    """ "the process name is {}"evil"" of a comparison of strings, with a place for "not "; "" where one of them has no words."""
    buffer, data = scope.resolved(call.args[0]), call.args[2]
    at = buffer.start + buffer.offset if isinstance(buffer, ir.StackRef) else None
    content = next((each for (start, _), each in scope.frame.cells.items() if start == at), None)
    map = scope.unit.maps.get(data.section) if isinstance(data, ir.DataRef) else None
    if not isinstance(content, Filled) or content.source.kind != "buffer":
        return ""
    if not isinstance(data, ir.DataRef) or map is None or not map.data:
        return ""
    text = map.data[data.offset :].split(b"\0")[0].decode("utf-8", "backslashreplace").replace("{", "{{").replace("}", "}}")
    return f'the {STRINGS.get(content.source.what, "memory that was read")} is {{}}"{text}"'
