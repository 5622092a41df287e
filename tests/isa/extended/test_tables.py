"""The small tables of extended code: operands, forms, helpers, program types, numbers of the interface. Judge: the kernel's header."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.isa.extended import prog_types
from bpflens.isa.extended.fields import FIELDS, NAMES, compile_template
from bpflens.isa.extended.forms import Token, skeleton, skeletons, tokens
from bpflens.isa.extended.helpers import HELPER_COUNT, helper_id, helper_name, helper_prototype, name_or
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import AttachType, Cmd, LinkType, MapType, ProgType

HEADER = Path("/usr/include/linux/bpf.h")


@functools.cache
def header_enum(name: str) -> dict[str, int]:
    """An enum of the installed header, which may be older than the tables."""
    body = re.sub(r"/\*.*?\*/|//[^\n]*", "", HEADER.read_text(), flags=re.DOTALL)
    found = re.search(rf"enum {name} \{{(.*?)\}}", body, re.DOTALL)
    assert found is not None
    values: dict[str, int] = {}
    following = 0
    for item in filter(None, (part.strip() for part in found[1].split(","))):
        key, _, given = (part.strip() for part in item.partition("="))
        values[key] = values.get(given, following) if given and not given.isdigit() else int(given or following)
        following = values[key] + 1
    return values


# --- uapi ---


@pytest.mark.parametrize(
    ("table", "enum", "prefix"),
    [
        (Cmd, "bpf_cmd", "BPF_"), (ProgType, "bpf_prog_type", "BPF_PROG_TYPE_"), (MapType, "bpf_map_type", "BPF_MAP_TYPE_"),
        (AttachType, "bpf_attach_type", "BPF_"), (LinkType, "bpf_link_type", "BPF_LINK_TYPE_"),
    ],
)  # fmt: skip
def test_numbers_are_those_of_the_header(table: type, enum: str, prefix: str) -> None:
    """Every one that the header has; what the table has besides is newer, and comes behind."""
    theirs = {name.removeprefix(prefix): value for name, value in header_enum(enum).items() if "MAX" not in name}
    ours = {name: value for name, value in vars(table).items() if isinstance(value, int)}
    assert {name: ours.get(name) for name in theirs} == theirs
    newer = {value for name, value in ours.items() if name not in theirs} - set(theirs.values())
    assert all(value > max(theirs.values()) for value in newer)


# --- prog_types ---


def test_a_row_for_each_type() -> None:
    """But the one that means none; an unknown type has the row of one that nothing is known of."""
    numbers = {value for name, value in vars(ProgType).items() if isinstance(value, int)} - {ProgType.UNSPEC}
    assert set(prog_types.ROWS) == numbers
    assert prog_types.row(None) == prog_types.row(9999) == prog_types.Row()
    assert prog_types.row(ProgType.XDP) == ("xdp_md", True, "ethernet", False, False)


def test_contexts_are_structs_of_the_header() -> None:
    """All that are part of the interface; the types whose accesses stay are those without a conversion."""
    text = HEADER.read_text()
    assert {name for name in prog_types.CONTEXT.values() if f"struct {name} {{" not in text} <= {"bpf_nf_ctx", "bpf_perf_event_data"}
    assert {ProgType.KPROBE, ProgType.TRACING, ProgType.LSM} <= prog_types.IDENTITY and ProgType.XDP not in prog_types.IDENTITY
    assert all(one.context == "__sk_buff" for one in prog_types.ROWS.values() if one.skb)


# --- helpers ---


def test_helpers_are_those_of_the_header() -> None:
    numbers = dict(enumerate(re.findall(r"\bFN\((\w+)[,)]", HEADER.read_text())))
    assert len(numbers) > 200
    assert {number: helper_name(number) for number in numbers} == {number: f"bpf_{name}" for number, name in numbers.items()}


def test_helpers_there_and_back() -> None:
    """211, each with the prototype that names it; other numbers and names have nothing."""
    for number in range(HELPER_COUNT + 1):
        name = helper_name(number)
        assert name is not None and helper_id(name) == number and name_or(number, "") == name
        prototype = helper_prototype(number)
        assert prototype is None if number == 0 else f"{name}(" in (prototype or "")
    assert helper_name(HELPER_COUNT + 1) is helper_name(-1) is helper_prototype(HELPER_COUNT + 1) is helper_id("bpf_nobody") is None
    assert name_or(HELPER_COUNT + 1, "unknown") == "unknown"
    assert helper_prototype(1) == "void *bpf_map_lookup_elem(void *map, const void *key)"


# --- fields ---


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


words = st.integers(0, (1 << 64) - 1)


@given(words, words)
def test_fields_are_cut_from_the_word(word: int, high: int) -> None:
    """Each against plain arithmetic on the fields of the instruction."""
    insn, following = Insn(word), Insn(high)
    wide = following.imm % (1 << 32) << 32 | insn.imm % (1 << 32)
    expected = {
        "dst": f"r{insn.dst}", "src": f"r{insn.src}", "wdst": f"w{insn.dst}", "imm": str(insn.imm), "simm": f"{insn.imm:+d}",
        "uimm": hex(insn.imm % (1 << 32)), "hi16": str(insn.imm % (1 << 32) >> 16), "lo16": str(insn.imm & 0xFFFF), "off": f"{insn.off:+d}",
        "xoff": f"- {-insn.off:#x}" if insn.off < 0 else f"+ {insn.off:#x}", "jump": f"pc{insn.off:+d}", "jumpl": f"pc{insn.imm:+d}",
        "imm64": hex(wide), "ximm64": f"{signed(wide, 64):#x}", "nimm": f"{following.imm:+d}", "map": "id",
        "next": f"#{following.imm}" if following.imm else "", "helper": name_or(insn.imm, "unknown"),
    }  # fmt: skip
    assert {name: compile_template(f"{{{name}}}")(word, high, "id") for name in expected} == expected


def test_templates() -> None:
    """What is not a field stands as it is, per cent signs too; every field of the table has a printer."""
    assert compile_template("{dst} s%= {src}")(0x2100, 0, "") == "r1 s%= r2" and compile_template("exit")(0, 0, "") == "exit"
    for name, field in FIELDS.items():
        assert compile_template(f"<{{{name}}}>")(0, 0, "fd").startswith("<") and field.kind in ("R", "W", "N", "@", "M", "I", "N?", "#N?")
    assert NAMES.findall("{dst} += {src}") == ["dst", "src"]


# --- forms ---


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("r1 = *(u32 *)(r2 +8)", "R = * ( u32 * ) ( R N )"),
        ("w3 s>>= 0x1f", "W s>>= N"),
        ("goto pc-3", "goto @"),
        ("r1 = map[fd:3]", "R = map [ id : N ]"),
        ("r0 = *(u16 *)skb[r1 + -5]", "R = * ( u16 * ) skb [ R N ]"),
        ("call bpf_map_lookup_elem#1", "call bpf_map_lookup_elem # N"),
    ],
)
def test_forms_of_lines(line: str, form: str) -> None:
    """Registers, numbers and targets are kinds; all else is itself. A map by descriptor has the form of one by id."""
    found = tokens(line)
    assert found is not None and skeleton(found) == form


def test_tokens_and_what_is_none() -> None:
    assert tokens("r10 += - 0x10") == [Token("R", "10"), Token("", "+="), Token("N", "-0x10")]
    assert tokens("r1 = \x01") is None and tokens("   ") == []


def test_templates_have_the_forms_of_their_lines() -> None:
    """An operand is a field or the literal that stands there; an optional field makes two forms."""
    assert skeletons("{dst} = *(u32 *)({src} {off})") == [("R = * ( u32 * ) ( R N )", ("dst", "src", "off"))]
    assert skeletons("{dst} <<= 32") == [("R <<= N", ("dst", "=32"))]
    both = skeletons("{dst} = {src}{xindex}")
    assert len(both) == 2 and {len(operands) for _, operands in both} == {2, 3}


@given(words)
def test_a_printed_line_has_the_form_of_its_template(word: int) -> None:
    template = "if {dst} s> {imm} goto {jump}"
    line = tokens(compile_template(template)(word, 0, ""))
    assert line is not None and skeleton(line) == skeletons(template)[0][0]
