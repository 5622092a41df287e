"""The running kernel's BTF: bpftool must say the same of every type, and the index must be quick."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from bpflens.btf.btf import Btf, Kind
from bpflens.btf.fields import member_offset

VMLINUX = Path("/sys/kernel/btf/vmlinux")
ENCODINGS = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}
LINKAGES = ("static", "global", "extern")


@pytest.fixture(scope="module")
def raw() -> bytes:
    needs.kernel_feature(VMLINUX.exists(), "BTF of its own")
    return VMLINUX.read_bytes()


def as_bpftool(btf: Btf, id: int) -> Iterator[str]:
    """A type as `bpftool btf dump format raw` writes it."""
    type = btf.type(id)
    kind, head = type.kind, f"[{id}] {type.kind.name} '{type.name or '(anon)'}'"
    if kind is Kind.INT:
        encoding, offset, bits = btf.int_encoding(id)
        yield f"{head} size={type.size} bits_offset={offset} nr_bits={bits} encoding={ENCODINGS[encoding]}"
    elif kind in (Kind.STRUCT, Kind.UNION):
        yield f"{head} size={type.size} vlen={type.vlen}"
        for name, member, offset, bits in btf.members(id):
            yield f"\t'{name or '(anon)'}' type_id={member} bits_offset={offset}" + (f" bitfield_size={bits}" if bits else "")
    elif kind in (Kind.ENUM, Kind.ENUM64):
        yield f"{head} encoding={'SIGNED' if type.kind_flag else 'UNSIGNED'} size={type.size} vlen={type.vlen}"
        suffix = "" if kind is Kind.ENUM else "LL" if type.kind_flag else "ULL"
        for name, value in btf.enumerators(id):
            yield f"\t'{name}' val={value}{suffix}"
    elif kind is Kind.ARRAY:
        element, index, count = btf.array(id)
        yield f"{head} type_id={element} index_type_id={index} nr_elems={count}"
    elif kind is Kind.FWD:
        yield f"{head} fwd_kind={'union' if type.kind_flag else 'struct'}"
    elif kind is Kind.FUNC:
        yield f"{head} type_id={type.ref} linkage={LINKAGES[type.vlen]}"
    elif kind is Kind.FUNC_PROTO:
        yield f"{head} ret_type_id={type.ref} vlen={type.vlen}"
        for name, param in btf.params(id):
            yield f"\t'{name or '(anon)'}' type_id={param}"
    elif kind is Kind.VAR:
        yield f"{head} type_id={type.ref}, linkage={LINKAGES[btf.linkage(id)]}"
    elif kind is Kind.DATASEC:
        yield f"{head} size={type.size} vlen={type.vlen}"
        for variable, offset, size in btf.variables(id):
            yield f"\ttype_id={variable} offset={offset} size={size} ({btf.kind(variable).name} '{btf.name(variable)}')"
    elif kind is Kind.FLOAT:
        yield f"{head} size={type.size}"
    elif kind is Kind.DECL_TAG:
        yield f"{head} type_id={type.ref} component_idx={btf.decl_tag(id)[2]}"
    else:
        yield f"{head} type_id={type.ref}"


def test_every_type_as_bpftool_says_it(raw: bytes) -> None:
    """All of some hundred thousand types, line by line."""
    bpftool = needs.tool("bpftool")
    dump = subprocess.run([bpftool, "btf", "dump", "file", str(VMLINUX), "format", "raw"], capture_output=True, text=True, timeout=100)
    theirs = dump.stdout.split("\n[")
    btf = Btf.parse(raw)
    assert len(theirs) == len(btf) - 1
    for id in range(1, len(btf)):
        ours = "\n".join(as_bpftool(btf, id))
        assert ours[1:] == (theirs[id - 1].removeprefix("[").rstrip("\n")), id


def test_index_is_quick(raw: bytes) -> None:
    """From bytes to the offset of a member, without a table of names: a bound far above what it takes, and far below reading all."""
    times = []
    for _ in range(3):
        start = time.process_time()
        assert member_offset(Btf.parse(raw), "sk_buff", "len") > 0
        times.append(time.process_time() - start)
    assert min(times) < 0.1
