"""Programs in JSON: one value or JSON Lines.

* `bpftool -j prog dump xlated`: a list of {"disasm": "(b7) r0 = 0", "opcodes": {...}}, or programs with such a list as "insns"
* `tc -j filter show`: "bytecode": {"insns": [{"code": 40, "jt": 0, "jf": 0, "k": 12}, ...]}
* lists of [code, jt, jf, k] (classic) or [code, dst_reg, src_reg, off, imm] (extended), alone or as "insns" or "filter" of an object
* seccomp profiles of containers: OCI's `linux.seccomp`, Docker's default.json
* bpflens's own lines: those of `dis`, `show` and `ls` (own_lines.py), and hex strings as "insns" (`original`)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bpflens.errors import InputError
from bpflens.formats.dumps.listings.extended_listing import assemble_line, called_name, jited_calls, source_line
from bpflens.formats.dumps.source_text import SourceText
from bpflens.formats.dumps.tools.own_lines import read_lines
from bpflens.formats.dumps.tools.raw_code import from_bytes
from bpflens.isa.classic.insn import encode
from bpflens.program import Function, Isa, Origin, Program, SourceLine

__all__ = ("read",)

_LISTS = ("insns", "filter", "instructions", "bytecode")


def read(text: SourceText) -> list[Program]:
    """Every program in a text that is JSON as a whole; [] where it is not JSON or holds none."""
    body = text.body.strip()
    if body[:1] not in ("[", "{"):
        return []
    values = _values(body, text.where)
    if values is None:
        return []
    origin = text.origin("json", len(text.body) - len(text.body.lstrip()), len(text.body.rstrip()))
    origin = Origin("json", text.where, None, origin.lineno)
    own = read_lines(values, origin)
    programs = own or [program for value in values for program in _programs(value, origin)]
    if programs:
        text.take([(0, len(text.body))])
    if len(programs) > 1 and not own:  # "x.json#2", which also selects it
        programs = [
            replace(program, origin=replace(program.origin, where=f"{text.where}#{number}", lineno=None))
            for number, program in enumerate(programs, 1)
        ]
    return programs


def _values(body: str, where: str) -> list[Any] | None:
    try:
        return [json.loads(body)]
    except RecursionError:
        raise InputError(where, "is JSON nested too deeply") from None
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in body.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        return None


def _programs(value: Any, origin: Origin) -> Iterator[Program]:
    """Depth-first search, without recursion, for what is a program; `context` is the enclosing object."""
    stack: list[tuple[Any, dict[str, Any]]] = [(value, {})]
    while stack:
        value, context = stack.pop()
        if isinstance(value, list):
            program = _from_list(value, context, origin)
            if program is not None:
                yield program
            else:
                stack += [(item, context) for item in reversed(value)]
        elif isinstance(value, dict) and "defaultAction" in value and (program := _from_profile(value, origin)) is not None:
            yield program
        elif isinstance(value, dict):
            for key in _LISTS:
                if isinstance(value.get(key), str) and (program := _from_hex(value[key], value, origin)) is not None:
                    yield program
                    break
            inner = {**context, **value} if "options" in value or "bytecode" in value else value
            stack += [(item, inner) for item in reversed(value.values()) if isinstance(item, list | dict)]


def _from_profile(value: dict[str, Any], origin: Origin) -> Program | None:
    from bpflens.formats.dumps.seccomp.oci_profile import is_profile, read

    return read(value, origin) if is_profile(value) else None


def _from_list(items: list[Any], context: dict[str, Any], origin: Origin) -> Program | None:
    """A list of instructions in any of the spellings; None where it is something else."""
    if not items:
        return None
    first = items[0]
    if isinstance(first, dict) and "disasm" in first:
        return _from_bpftool(items, context, origin)
    if isinstance(first, dict) and {"code", "k"} <= first.keys():
        quad = ("code", "jt", "jf", "k")
        items = [[item.get(field, 0) for field in quad] if isinstance(item, dict) else item for item in items]
        first = items[0]
    if not isinstance(first, list) or len(first) not in (4, 5):
        return None
    if not all(isinstance(item, list) and len(item) == len(first) for item in items):
        return None
    if not all(type(number) is int for item in items for number in item):
        return None
    name = context.get("name") if isinstance(context.get("name"), str) else ""
    linktype = context.get("linktype") if isinstance(context.get("linktype"), str) else None
    at = Origin(origin.source, origin.where, None, origin.lineno, linktype)
    if len(first) == 5:
        return Program(Isa.EXTENDED, _extended(items, origin), at, name=name or "")
    for number, (code, jt, jf, k) in enumerate(items):
        if not (0 <= code < 1 << 16 and 0 <= jt < 256 and 0 <= jf < 256 and -(1 << 31) <= k < 1 << 32):
            raise InputError(origin.where, f"insn {number}: {[code, jt, jf, k]} does not fit struct sock_filter")
    return Program(Isa.CLASSIC, encode((code, jt, jf, k & 0xFFFFFFFF) for code, jt, jf, k in items), at, name=name or "")


def _extended(items: list[list[int]], origin: Origin) -> bytes:
    from bpflens.isa.extended.insn import Insn
    from bpflens.isa.extended.insn import encode as encode_extended

    insns = []
    for number, (code, dst, src, off, imm) in enumerate(items):
        if not (0 <= code < 256 and 0 <= dst < 16 and 0 <= src < 16 and -(1 << 15) <= off < 1 << 16 and -(1 << 31) <= imm < 1 << 32):
            raise InputError(origin.where, f"insn {number}: {[code, dst, src, off, imm]} does not fit struct bpf_insn")
        insns.append(Insn.make(code, dst, src, off, imm))
    return encode_extended(insns)


def _from_bpftool(items: list[Any], context: dict[str, Any], origin: Origin) -> Program:
    """The list that `bpftool -j prog dump xlated` prints; with `opcodes` the bytes are exact."""
    code = bytearray()
    functions: list[Function] = []
    lines: list[SourceLine] = []
    texts: dict[int, str] = {}  # of slots that have no bytes
    symbols: dict[int, str] = {}
    for number, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("disasm"), str):
            raise InputError(origin.where, f"insn {number} has no disasm")
        slot = len(code) // 8
        called = called_name(item["disasm"].split(") ", 1)[-1])
        if called:
            symbols[slot] = called
        proto, source = item.get("proto"), item.get("src")
        if isinstance(proto, str) and proto:
            functions.append(Function(slot, proto.partition("(")[0].split(" ")[-1].lstrip("*"), proto))
        if isinstance(source, str) and source:
            lines.append(_source_line(slot, source, item))
        opcodes = item.get("opcodes")
        try:
            if isinstance(opcodes, dict):
                code += _from_opcodes(opcodes)
            else:
                disasm = item["disasm"]
                opcode = int(disasm[1:3], 16) if disasm[:1] == "(" and disasm[3:4] == ")" else None
                texts[slot] = disasm[4:].strip() if opcode is not None else disasm
                code += assemble_line(texts[slot], opcode)
        except (ValueError, TypeError, KeyError, IndexError):
            raise InputError(origin.where, f"insn {number}: cannot read {str(item)[:80]}") from None
        except InputError as error:
            raise InputError(origin.where, f"insn {number}: {error.reason}", error.hint) from None
    for slot, call in jited_calls(texts, functions).items():
        code[slot * 8 : slot * 8 + 8] = call
    note = "assembled from the listing's text; a dump with opcodes is exact" if texts else None
    name = context.get("name")
    return Program(
        Isa.EXTENDED,
        bytes(code),
        Origin("bpftool", origin.where, None, origin.lineno, note=note),
        name=name if isinstance(name, str) else functions[0].name if functions else "",
        id=context["id"] if type(context.get("id")) is int else None,
        tag=context["tag"] if isinstance(context.get("tag"), str) else None,
        xlated=True,
        functions=tuple(functions),
        lines=tuple(lines),
        symbols=symbols,
    )


def _source_line(slot: int, text: str, item: dict[str, Any]) -> SourceLine:
    line, col = item.get("line_num"), item.get("line_col")
    if type(line) is int and isinstance(item.get("file"), str):
        return SourceLine(slot, item["file"], line, col if type(col) is int else 0, text)
    return source_line(slot, text)


def _from_opcodes(opcodes: dict[str, Any]) -> bytes:
    """{"code": "0xbf", "src_reg": "0x1", "dst_reg": "0x6", "off": ["0x00", "0x00"], "imm": [...]}: 4 bytes of imm, or 12 for two slots."""
    head = (int(opcodes["code"], 16), int(opcodes["src_reg"], 16) << 4 | int(opcodes["dst_reg"], 16))
    code = bytes((*head, *(int(byte, 16) for field in ("off", "imm") for byte in opcodes[field])))
    if len(code) not in (8, 16):
        raise ValueError(len(code))
    return code


def _from_hex(digits: str, context: dict[str, Any], origin: Origin) -> Program | None:
    try:
        code = bytes.fromhex(digits)
    except ValueError:
        return None
    if not code or len(code) % 8:
        return None
    isa = context.get("isa")
    kind = Isa(isa) if isa in ("classic", "extended") else None
    if kind is None and "classic" in context:
        kind = Isa.CLASSIC if context["classic"] else Isa.EXTENDED
    return from_bytes(code, origin, kind)
