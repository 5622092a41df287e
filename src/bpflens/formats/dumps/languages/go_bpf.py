"""Programs of Go's golang.org/x/net/bpf: the text that its instructions print as, and its typed structures in source.

    0: ld [4]                            bpf.LoadAbsolute{Off: 12, Size: 2},
    1: jneq #3221225534,6                bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x800, SkipTrue: 1},
    2: ret #0                            bpf.RetConstant{Val: 0x40000},

What follows a jump's constant is how many instructions it skips (where true, where false), not a label: bpf_asm's text differs in that.
Raw structures (bpf.RawInstruction{Op: ...}) are read with those of C (c_source.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from bpflens.formats.dumps.languages.c_expression import NotAnItem, evaluate
from bpflens.formats.dumps.languages.c_preprocess import tokenize, without_comments
from bpflens.formats.dumps.languages.definitions import Definitions
from bpflens.formats.dumps.source_text import SourceText
from bpflens.isa.classic.asm import assemble
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.isa.classic.table import SKF_AD_OFF
from bpflens.program import Isa, Program

__all__ = ("read_structs", "read_text")

_ARCH = "x86_64"
_MNEMONIC = r"ldx?[bh]?|stx?|add|sub|mul|div|mod|and|or|xor|lsh|rsh|neg|ja|j(?:n?eq|ne|gt|ge|lt|le|set)|ret|tax|txa"
_LINE = re.compile(rf"^[ \t]*(?:\d+:[ \t]*)?({_MNEMONIC})\b[ \t]*([^\n#;/]*(?:#[-\w]+[^\n#;/]*)?)(?:[ \t]+[#;/][^\n]*)?$", re.MULTILINE)
_JUMP = re.compile(r"(#\S+?|x)[ \t]*,[ \t]*(\d{1,3})(?:[ \t]*,[ \t]*(\d{1,3}))?[ \t]*\Z")
_SKIPS = re.compile(r"^[ \t]*(?:\d+:[ \t]*)?j(?:n?eq|ne|gt|ge|lt|le|set)[ \t]+(?:#\w+|x)[ \t]*,[ \t]*\d", re.MULTILINE)
_EXTENSION = re.compile(r"#(len|proto|type|poff|ifidx|nla|nlan|mark|queue|hatype|rxhash|cpu|vlan_tci|vlan_avail|vlan_tpr|rand)\s*\Z")
_NAMES = {"vlan_tci": "vlan_tci", "vlan_tpr": "vlan_tpid", "poff": "poff", "ifidx": "ifidx"}


def read_text(text: SourceText) -> list[Program]:
    """Every run of printed instructions in which a jump says how many it skips."""
    if not _SKIPS.search(text.body):
        return []
    runs: list[list[re.Match[str]]] = []
    last = None
    for line in _LINE.finditer(text.body):
        gap = text.body[last : line.start()] if last is not None else "\n\n"
        if gap.strip() or gap.count("\n") > 1 or last is None:
            runs.append([])
        runs[-1].append(line)
        last = line.end()
    runs = [run for run in runs if len(run) > 1 and run[-1][1] in ("ret", "ja")]
    programs = []
    for run in runs:
        first = text.line_of(run[0].start())
        source = "\n".join(_as_bpf_asm(text, line, at, len(run)) for at, line in enumerate(run))
        insns = assemble(source, text.where, first)
        programs.append(Program(Isa.CLASSIC, encode(insns), text.origin("go-bpf", run[0].start(), run[-1].end())))
    text.take([(run[0].start(), run[-1].end()) for run in runs])
    return programs


def _as_bpf_asm(text: SourceText, line: re.Match[str], at: int, length: int) -> str:
    """The instruction with labels in place of numbers of instructions."""
    mnemonic, operand = line[1], line[2].strip()
    label = f"L{at}: "
    if mnemonic == "ja":
        operand = f"L{_target(text, line, at, operand, length)}"
    elif jump := _JUMP.match(operand):
        targets = ", ".join(f"L{_target(text, line, at, skip, length)}" for skip in jump.group(2, 3) if skip is not None)
        operand = f"{jump[1]}, {targets}"
    elif extension := _EXTENSION.match(operand):
        operand = f"#{_NAMES.get(extension[1], extension[1])}"
    return f"{label}{mnemonic} {operand}"


def _target(text: SourceText, line: re.Match[str], at: int, skip: str, length: int) -> int:
    if not skip.isdigit() or len(skip) > 9 or at + 1 + int(skip) >= length:
        text.fail(line.start(), f"insn {at} skips {skip[:12]} instructions, but {length - at - 1} follow")
    return at + 1 + int(skip)


# --- typed structures ---

_STRUCT = re.compile(
    r"\bbpf\.(LoadConstant|LoadScratch|LoadAbsolute|LoadIndirect|LoadMemShift|LoadExtension|StoreScratch|ALUOpConstant|ALUOpX|NegateA|JumpIfX"
    r"|JumpIf|Jump|RetA|RetConstant|TXA|TAX)\{([^{}]*)\}"
)
_ALU = {
    "Add": 0x00, "Sub": 0x10, "Mul": 0x20, "Div": 0x30, "Or": 0x40, "And": 0x50, "ShiftLeft": 0x60, "ShiftRight": 0x70, "Mod": 0x90,
    "Xor": 0xA0,
}  # fmt: skip
_CONDITIONS = {
    "JumpEqual": (0x10, False), "JumpNotEqual": (0x10, True), "JumpGreaterThan": (0x20, False), "JumpLessThan": (0x30, True),
    "JumpGreaterOrEqual": (0x30, False), "JumpLessOrEqual": (0x20, True), "JumpBitsSet": (0x40, False), "JumpBitsNotSet": (0x40, True),
}  # fmt: skip
_EXTENSIONS = {
    "ExtProto": 0, "ExtType": 4, "ExtInterfaceIndex": 8, "ExtNetlinkAttr": 12, "ExtNetlinkAttrNested": 16, "ExtMark": 20, "ExtQueue": 24,
    "ExtLinkLayerType": 28, "ExtRXHash": 32, "ExtCPUID": 36, "ExtVLANTag": 44, "ExtVLANTagPresent": 48, "ExtPayloadOffset": 52,
    "ExtRand": 56, "ExtVLANProto": 60,
}  # fmt: skip
_SIZES = {4: 0x00, 2: 0x08, 1: 0x10}


class _Fields:
    """The fields of one structure, by name; what is absent is 0."""

    def __init__(self, body: str, values: Mapping[str, int]) -> None:
        self.values = values
        self.texts: dict[str, str] = {}
        for piece in body.split(","):
            name, colon, value = piece.partition(":")
            if colon:
                self.texts[name.strip()] = value.strip()

    def number(self, name: str) -> int:
        return evaluate(tokenize(self.texts[name]), self.values, _ARCH) & 0xFFFFFFFF if name in self.texts else 0

    def word(self, name: str) -> str:
        return self.texts.get(name, "").removeprefix("bpf.")


def read_structs(text: SourceText) -> list[Program]:
    """Every list of `bpf.LoadAbsolute{...}` and its like."""
    found = list(_STRUCT.finditer(text.body))
    values = Definitions(without_comments(text.body), _ARCH) if found else {}
    programs: list[Program] = []
    taken: list[tuple[int, int]] = []
    at = 0
    while at < len(found):
        end = at + 1
        while end < len(found) and re.fullmatch(r"\s*,(?:\s|//[^\n]*)*", text.body[found[end - 1].end() : found[end].start()]):
            end += 1
        insns = []
        for item in found[at:end]:
            try:
                insns.append(_MAKERS[item[1]](_Fields(re.sub(r"//[^\n]*", "", item[2]), values)))
            except NotAnItem as error:
                text.fail(item.start(), f"bpf.{item[1]}: {error}")
            except KeyError as error:
                text.fail(item.start(), f"bpf.{item[1]}: {error.args[0]} is not known here")
        start, stop = found[at].start(), found[end - 1].end()
        programs.append(Program(Isa.CLASSIC, encode(insns), text.origin("go-bpf", start, stop)))
        taken.append((start, stop))
        at = end
    text.take(taken)
    return programs


def _jump_if(fields: _Fields, source: int) -> SockFilter:
    op, inverted = _CONDITIONS[fields.word("Cond") or "JumpEqual"]
    skips = fields.number("SkipTrue"), fields.number("SkipFalse")
    jt, jf = reversed(skips) if inverted else skips
    return SockFilter(0x05 | op | source, jt & 0xFF, jf & 0xFF, fields.number("Val"))


def _register(fields: _Fields, name: str, a: int, x: int) -> int:
    return x if fields.word(name) == "RegX" else a


def _extension(fields: _Fields) -> SockFilter:
    if fields.word("Num") == "ExtLen":
        return SockFilter(0x80, 0, 0, 0)
    return SockFilter(0x20, 0, 0, (SKF_AD_OFF + _EXTENSIONS[fields.word("Num")]) & 0xFFFFFFFF)


_MAKERS: dict[str, Callable[[_Fields], SockFilter]] = {
    "LoadConstant": lambda f: SockFilter(_register(f, "Dst", 0x00, 0x01), 0, 0, f.number("Val")),
    "LoadScratch": lambda f: SockFilter(_register(f, "Dst", 0x60, 0x61), 0, 0, f.number("N")),
    "LoadAbsolute": lambda f: SockFilter(0x20 | _SIZES[f.number("Size")], 0, 0, f.number("Off")),
    "LoadIndirect": lambda f: SockFilter(0x40 | _SIZES[f.number("Size")], 0, 0, f.number("Off")),
    "LoadMemShift": lambda f: SockFilter(0xB1, 0, 0, f.number("Off")),
    "LoadExtension": _extension,
    "StoreScratch": lambda f: SockFilter(_register(f, "Src", 0x02, 0x03), 0, 0, f.number("N")),
    "ALUOpConstant": lambda f: SockFilter(0x04 | _ALU[f.word("Op").removeprefix("ALUOp")], 0, 0, f.number("Val")),
    "ALUOpX": lambda f: SockFilter(0x0C | _ALU[f.word("Op").removeprefix("ALUOp")], 0, 0, 0),
    "NegateA": lambda f: SockFilter(0x84, 0, 0, 0),
    "Jump": lambda f: SockFilter(0x05, 0, 0, f.number("Skip")),
    "JumpIf": lambda f: _jump_if(f, 0x00),
    "JumpIfX": lambda f: _jump_if(f, 0x08),
    "RetA": lambda f: SockFilter(0x16, 0, 0, 0),
    "RetConstant": lambda f: SockFilter(0x06, 0, 0, f.number("Val")),
    "TXA": lambda f: SockFilter(0x87, 0, 0, 0),
    "TAX": lambda f: SockFilter(0x07, 0, 0, 0),
}
