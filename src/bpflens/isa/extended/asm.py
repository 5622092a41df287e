"""The assembler of extended code: reads both dialects of text.py, and whole listings as `dis`, llvm-objdump and bpftool print them.

    start:
        r0 = 0                  ; kernel dialect: decimal is mov, 0x.. is ld_imm64
        if r1 == 0x5 goto done
        call bpf_get_prandom_u32
        goto start
    done:
        exit

A line may begin with a slot number ("12:"), arrows, raw bytes and an opcode ("(b7)"), which are checked or skipped. Comments begin
with ";" or "//", or with "#" at the start of a line. Two passes: forms and slots first, then labels.
"""

from __future__ import annotations

import re
from functools import cache

from bpflens.errors import InputError
from bpflens.isa.extended.fields import FIELDS
from bpflens.isa.extended.forms import Token, skeleton, skeletons, tokens
from bpflens.isa.extended.helpers import helper_id
from bpflens.isa.extended.table import ROWS, Row
from bpflens.lean import NamedTuple

__all__ = ("assemble", "detect_dialect")

_ARROWS = "│┌└├─┼┬┴▸|"

_LONGEST_NUMBER = 80  # digits, with a sign; 64 bits in base 2 fit
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_COMMENT = re.compile(r"(?:;|//|^\s*#).*")
_SLOT = re.compile(r"\s*(\d{1,9}):(?!\S*:)\s?")
_ADDRESS_LABEL = re.compile(r"\s*[0-9a-f]{8,16}\s+<([^>]+)>:\s*$")
_LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*):(?!:)\s*")
_BYTES = re.compile(r"\s*[0-9a-f]{2}(?: [0-9a-f]{2}){7}(?: [0-9a-f]{2}(?: [0-9a-f]{2}){7})?(?:\s+|$)")
_CODE = re.compile(r"\s*\(([0-9a-f]{2})\)\s*")
_ANNOTATION = re.compile(r"\s<[\w.$+@-]+>\s*$")
_HEADER = re.compile(r"\s*(?:Disassembly of section .*|.*\sfile format elf64-bpf\s*|[A-Za-z_][\w \t*,.\[\]()]*\)\s*:\s*)$")
_INITIALISER = re.compile(r"\s*\{([^{}]*)\}\s*,?\s*$")
_QUAD = re.compile(r"\s*\.(?:quad|8byte|dword)\s+(\S+)\s*$")
_CALL = re.compile(
    r"call\s+(?:(?P<kfunc>kfunc\s+(?:(?P<kname>[\w.$]+)#)?|kernel-function#)(?P<kimm>-?\w+)(?:\s+module_btf#(?P<module>-?\w+))?"
    r"|(?P<name>[A-Za-z_.$][\w.$]*)(?:#(?P<imm>-?\w+))?|(?P<number>\w+)\s*$)\s*$"
)
_TARGET_WORDS = ("goto", "gotol", "may_goto", "call", "call_args")

_LLVM_SIGN = re.compile(r"\bll\s*$|goto \+?-?0x|\([rw]\d+ [+-] (?:0x)?[0-9a-f]+\)|[-+*/%&|^<>=]= -?0x|\bld_pseudo\b|^\s*w\d+ = -?0x")
_KERNEL_SIGN = re.compile(r"\bpc[+-]\d|\(r\d+ [+-]\d|\bcall [A-Za-z_][\w.-]*#-?\d|\((?:[0-9a-f]{2})\)\s*\S")


def assemble(text: str, dialect: str | None = None, where: str = "text") -> bytes:
    """Little-endian struct bpf_insn bytes of an assembler text.

    `dialect` is "kernel", "llvm" or None: then the text shows which. It decides only what "r1 = 0x5" is (kernel: ld_imm64, llvm:
    mov); every other form of both is always read. InputError names the line ("where:3") and the reason.
    """
    lines = _COLOR.sub("", text).splitlines()
    dialect = dialect or detect_dialect(lines)
    labels: dict[str, int] = {}
    items: list[_Item | bytes] = []
    known: dict[tuple[str, str], bytes] = {}  # lines that name no label; programs repeat them
    slot, base = 0, None
    for number, line in enumerate(lines, 1):
        place = f"{where}:{number}"
        body = _COMMENT.sub("", line)
        if not body.strip() or _HEADER.match(body):
            continue
        named = _ADDRESS_LABEL.match(body)
        if named:
            _define(labels, named[1], slot, place)
            continue
        numbered = _SLOT.match(body)
        body = body[numbered.end() :] if numbered else body
        while (label := _LABEL.match(body)) is not None:
            _define(labels, label[1], slot, place)
            body = body[label.end() :]
        body = body.lstrip(_ARROWS + " \t")
        bytes_column = _BYTES.match(body)
        body = body[bytes_column.end() :] if bytes_column else body
        code = _CODE.match(body)
        body = _ANNOTATION.sub("", body[code.end() :] if code else body).strip()
        if not body:
            continue
        if numbered:
            base = int(numbered[1]) - slot if base is None else base
            if int(numbered[1]) - slot != base:
                raise InputError(place, _gap(int(numbered[1]), slot + base))
        key = (body, code[1] if code else "")
        done = known.get(key)
        if done is None:
            item = _form(body, slot, place, dialect, int(code[1], 16) if code else None)
            if item.label:
                items.append(item)
                slot += item.slots
                continue
            done = _encode(item, labels)
            if len(known) < _CACHED_LINES:
                known[key] = done
        items.append(done)
        slot += len(done) // 8
    return b"".join(item if isinstance(item, bytes) else _encode(item, labels) for item in items)


def detect_dialect(lines: list[str]) -> str:
    """ "llvm" where the text shows signs of it and none of the kernel's dialect, else "kernel".

    Listings of the kernel's dialect have slot numbers and an opcode column, those of LLVM's have numbers only.
    """
    llvm = False
    for line in lines:
        body = _COMMENT.sub("", line)
        if _KERNEL_SIGN.search(body):
            return "kernel"
        llvm = llvm or bool(_LLVM_SIGN.search(body) or _SLOT.match(body))
    return "llvm" if llvm else "kernel"


_CACHED_LINES = 1 << 15
_QUOTED = 80  # characters of a line in a message


class _Item(NamedTuple):
    """A recognised line: its row with the operands' tokens, or finished words in `data`; `label` is what `target` refers to."""

    place: str
    slot: int
    slots: int
    row: Row | None
    operands: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    data: bytes = b""
    label: str = ""


def _form(body: str, slot: int, place: str, dialect: str, code: int | None) -> _Item:
    quad = _QUAD.match(body)
    if quad:
        return _Item(place, slot, 1, None, data=(_number(quad[1], place) & (1 << 64) - 1).to_bytes(8, "little"))
    initialiser = _INITIALISER.match(body)
    if initialiser:
        return _Item(place, slot, 1, None, data=_from_initialiser(initialiser[1], place))
    call = _CALL.match(body)
    if call:
        return _call(call, slot, place)
    line = tokens(body)
    if line is None:
        raise InputError(place, f"cannot read {_quoted(body)}")
    line, label = _take_target(line)
    form = skeleton(line)
    candidates = _forms()[dialect].get(form) or _forms()["llvm" if dialect == "kernel" else "kernel"].get(form) or []
    if code is not None:
        candidates = [c for c in candidates if c[0].value & 0xFF == code] or candidates
    if not candidates:
        raise InputError(place, f"no instruction has the form {_quoted(body)}", _suggest(body))
    values = tuple(token.text for token in line if token.kind)
    if len(candidates) > 1:  # ld_pseudo: the number says which
        candidates = [c for c in candidates if _literals_fit(c[1], values, place)] or candidates
    if len(candidates) > 1 and code is None:
        # kernel dialect, "r1 = 5" and "r1 = 0x5"
        wide = values[-1].lower().startswith("0x")
        candidates = [c for c in candidates if (c[0].slots == 2) == wide] or candidates
    row, operands = candidates[0]
    return _Item(place, slot, row.slots, row, operands, values, label=label)


def _call(call: re.Match[str], slot: int, place: str) -> _Item:
    rows = _rows()
    if call["kfunc"]:
        if call["module"]:
            return _Item(place, slot, 1, rows["call_kfunc_module"], ("imm", "soff"), (call["kimm"], call["module"]))
        return _Item(place, slot, 1, rows["call_kfunc"], ("imm",), (call["kimm"],))
    if call["number"]:
        return _Item(place, slot, 1, rows["call_helper"], ("imm",), (call["number"],))
    name, imm = call["name"], call["imm"]
    if imm is not None:
        return _Item(place, slot, 1, rows["call_helper"], ("imm",), (imm,))
    return _Item(place, slot, 1, rows["call_subprog"], ("jumpl",), ("",), label=name)


def _take_target(line: list[Token]) -> tuple[list[Token], str]:
    """Number or name after a jump becomes the kind "@"; the name of a label is returned as well."""
    out, label = [], ""
    for i, token in enumerate(line):
        before = line[i - 1].text if i else ""
        if before in _TARGET_WORDS and not line[i - 1].kind:
            if token.kind == "N":
                token = Token("@", token.text)
            elif not token.kind:
                label, token = token.text, Token("@", "")
        elif before == "[" and i > 1 and line[i - 2].text == "subprog" and not token.kind:
            label, token = token.text, Token("N", "")
        out.append(token)
    return out, label


def _encode(item: _Item, labels: dict[str, int]) -> bytes:
    row = item.row
    if row is None:
        return item.data
    word, following = row.value, 0
    seen: dict[str, int] = {}
    for operand, text in zip(item.operands, item.values, strict=True):
        if operand[0] == "=":
            if _number(text, item.place) != int(operand[1:], 0):
                raise InputError(item.place, f"{row.name} has {operand[1:]} where {text} stands")
            continue
        sets = FIELDS[operand].sets
        if text == "" and item.label:
            target = labels.get(item.label)
            if target is None:
                helper = helper_id(item.label) if row.name == "call_subprog" else None
                if helper is None:
                    if row.name != "call_subprog":
                        raise InputError(item.place, f"no label {_quoted(item.label)}")
                    hint = "kfuncs are called by number: call kfunc NAME#BTF_ID"
                    raise InputError(item.place, f"no label and no helper {_quoted(item.label)}", hint)
                return _encode(item._replace(row=_rows()["call_helper"], operands=("imm",), values=(str(helper),), label=""), labels)
            value = target - item.slot - 1
        else:
            value = _number(text, item.place)
        if seen.setdefault(sets, value) != value:
            raise InputError(item.place, f"{row.name} has one {sets}, here are two")
    for sets, value in seen.items():
        shift, bits, low, high = _PLACES[sets]
        if not low <= value <= high:
            reason = f"{value} does not fit the {bits}-bit field {sets}"
            raise InputError(item.place, reason, "gotol reaches further" if sets == "off" and row.control else None)
        if sets == "next":
            following = (value & 0xFFFFFFFF) << 32
        elif sets == "imm64":
            word |= (value & 0xFFFFFFFF) << 32
            following = value >> 32 << 32 & (1 << 64) - 1
        else:
            word |= (value & (1 << bits) - 1) << shift
    if row.nonzero and not word & row.nonzero:
        raise InputError(item.place, f"the offset of {row.name} must not be 0")
    return word.to_bytes(8, "little") + (following.to_bytes(8, "little") if row.slots == 2 else b"")


_PLACES = {  # what is set: (shift in the word, bits, least and greatest value)
    "dst": (8, 4, 0, 15),
    "src": (12, 4, 0, 15),
    "off": (16, 16, -0x8000, 0x7FFF),
    "imm": (32, 32, -0x80000000, 0xFFFFFFFF),
    "lo16": (32, 16, 0, 0xFFFF),
    "hi16": (48, 16, 0, 0xFFFF),
    "next": (32, 32, -0x80000000, 0xFFFFFFFF),
    "imm64": (32, 64, -(1 << 63), (1 << 64) - 1),
}


def _literals_fit(operands: tuple[str, ...], values: tuple[str, ...], place: str) -> bool:
    pairs = zip(operands, values, strict=True)
    return all(_number(text, place) == int(operand[1:], 0) for operand, text in pairs if operand[0] == "=")


@cache
def _rows() -> dict[str, Row]:
    return {row.name: row for row in ROWS}


@cache
def _forms() -> dict[str, dict[str, list[tuple[Row, tuple[str, ...]]]]]:
    """For each dialect: skeleton -> rows with that form, and their operands."""
    forms: dict[str, dict[str, list[tuple[Row, tuple[str, ...]]]]] = {"kernel": {}, "llvm": {}}
    for row in ROWS:
        templates = [("kernel", row.kernel), ("llvm", row.llvm)]
        if row.value & 7 in (1, 3) and row.mask >> 32 and row.value >> 32 == 0 and "u64" not in row.llvm and "atomic" not in row.name:
            # LLVM with 32-bit registers (cpu v3) prints loads and stores of up to 32 bits so
            templates.append(("llvm", row.llvm.replace("{dst} =", "{wdst} =").replace("= {src}", "= {wsrc}")))
        for dialect, template in templates:
            for form, operands in skeletons(template):
                entry = forms[dialect].setdefault(form, [])
                if all(known is not row for known, _ in entry):
                    entry.append((row, operands))
    return forms


def _define(labels: dict[str, int], name: str, slot: int, place: str) -> None:
    if labels.setdefault(name, slot) != slot:
        raise InputError(place, f"label {_quoted(name)} is defined twice")


def _number(text: str, place: str) -> int:
    try:
        digits = text.lstrip("+")
        if len(digits) > _LONGEST_NUMBER:
            raise InputError(place, f"{_quoted(text)} is too long for a number")
        return int(digits, 10 if digits.lstrip("-").isdigit() else 0)
    except ValueError:
        raise InputError(place, f"{_quoted(text)} is not a number") from None


def _from_initialiser(text: str, place: str) -> bytes:
    fields = [part.split("=")[-1].strip() for part in text.split(",") if part.strip()]
    if len(fields) != 5:
        raise InputError(place, f"an initialiser of struct bpf_insn has 5 fields, here are {len(fields)}")
    code, dst, src, off, imm = (_number(field, place) for field in fields)
    limits = (
        ("code", code, 0, 0xFF),
        ("dst_reg", dst, 0, 15),
        ("src_reg", src, 0, 15),
        ("off", off, -0x8000, 0xFFFF),
        ("imm", imm, -0x80000000, 0xFFFFFFFF),
    )
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise InputError(place, f"{value} does not fit the field {name}")
    word = code | dst << 8 | src << 12 | (off & 0xFFFF) << 16 | (imm & 0xFFFFFFFF) << 32
    return word.to_bytes(8, "little")


def _quoted(text: str) -> str:
    return repr(text) if len(text) <= _QUOTED else f"{text[:_QUOTED]!r}..."


def _gap(found: int, expected: int) -> str:
    if found == 0:
        return "slot 0 again: a second program starts here; assemble one program at a time (dis FILE#SECTION prints one)"
    return f"slot {found} where slot {expected} is expected"


def _suggest(body: str) -> str | None:
    if re.match(r"(?:ld[bhix]?|ldx[bi]?|stx?|jmp|ja|j[a-z]{2,3}|ret|tax|txa|add|sub|mul|div|mod|and|or|xor|lsh|rsh|neg)\b", body):
        return "this looks like classic code: --isa classic"
    return None
