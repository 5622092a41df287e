"""What registers point to, instruction by instruction, in small programs."""

from __future__ import annotations

import pytest

from bpflens.analysis.pointer_types import ANY, CTX, Facts, Pointer
from bpflens.analysis.typed_walk import typed_walk
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.helpers import helper_id
from bpflens.isa.extended.insn import Insn, words
from bpflens.isa.extended.uapi import MapType, ProgType

HASH = 7  # the descriptor of a map


def walked(
    text: str, prog_type: int = ProgType.SOCKET_FILTER, functions: tuple[int, ...] = (), **more: object
) -> dict[int, dict[int, Pointer]]:
    """Slot -> state before it."""
    insns = [Insn(word) for word in words(assemble(text))]
    facts = Facts(prog_type, {HASH: MapType.HASH})
    return {slot: dict(state) for slot, insn, state in typed_walk(insns, facts, functions, **more)}  # type: ignore[arg-type]


def test_entry_copies_and_loads() -> None:
    found = walked("r6 = r1\nr2 = *(u64 *)(r6 +168)\nr3 = 5\nexit")
    assert (found[0][1], found[0][10]) == (CTX, Pointer("stack", 0, 0))
    assert found[1][6] == CTX and found[2][2].kind == "sock_common" and 3 not in found[3]  # __sk_buff.sk; a number points nowhere


def test_packets_of_xdp() -> None:
    """Data, its end, and a step into it."""
    found = walked("r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 14\nexit", ProgType.XDP)
    assert (found[4][2], found[4][3].kind, found[4][4]) == (Pointer("packet", 0, 0), "packet_end", Pointer("packet", 0, 14))


def test_spilled_pointers_come_back() -> None:
    found = walked("*(u64 *)(r10 -8) = r1\nr1 = 0\nr2 = *(u64 *)(r10 -8)\nexit")
    assert found[1][-8] == CTX and 1 not in found[2] and found[3][2] == CTX


def test_results_of_helpers_and_maps() -> None:
    """A call forgets r1 to r5, and gives what its helper gives; `helper_of` may tell another one."""
    text = f"r1 = map[fd:{HASH}]\nr2 = r10\ncall bpf_map_lookup_elem#1\nr6 = r0\nexit"
    found = walked(text)
    assert found[2][1].kind == "map" and found[4][0].kind == "map_value" and not {1, 2, 3, 4, 5} & found[4].keys()
    other = walked(text, helper_of=lambda slot, insn: 0)
    assert other[4].get(0, ANY).kind != "map_value"


@pytest.mark.parametrize(
    ("helper", "kind"),
    [("get_local_storage", "map_value"), ("sk_storage_get", "map_value"), ("sk_lookup_udp", "sock"), ("ringbuf_reserve", "mem"),
     ("msg_pop_data", None), ("skc_lookup_tcp", "sock_common"), ("ktime_get_ns", None)],
)  # fmt: skip
def test_what_helpers_give(helper: str, kind: str | None) -> None:
    """Those whose result is no pointer give none."""
    found = walked(f"call bpf_{helper}#{helper_id(f'bpf_{helper}')}\nexit")
    assert (found[1][0].kind if 0 in found[1] else None) == kind


def test_paths_that_meet() -> None:
    """One that knows nothing loses nothing; two kinds are a conflict that remembers them, and unreachable code has no state."""
    found = walked("r2 = 0\nif r1 == 0 goto pc+1\nr2 = r1\nr3 = r2\nexit")
    assert found[3][2] == CTX
    found = walked("r2 = r10\nif r1 == 0 goto pc+1\nr2 = r1\nr3 = r2\nexit")
    assert found[3][2].kind == "conflict" and found[3][2].what.bit_count() == 2
    assert set(walked("goto pc+1\nr1 = 1\nexit")) == {0, 2}


def test_loops_reach_a_fixed_point() -> None:
    """An offset that grows is any offset."""
    found = walked("r2 = *(u32 *)(r1 +0)\nr2 += 1\nif r1 != 0 goto pc-2\nexit", ProgType.XDP)
    assert found[3][2] == Pointer("packet", 0, None)


@pytest.mark.parametrize("argument", ["r1 = r1", "r1 = r10"])
def test_functions_get_their_callers_arguments(argument: str) -> None:
    """And give back what they return; ld_imm64 takes two slots."""
    found = walked(f"{argument}\ncall pc+4\nr6 = r0\nr7 = 0x1 ll\nexit\nr0 = r1\nexit", functions=(0, 6))
    given = CTX if argument == "r1 = r1" else Pointer("stack", 0, 0)
    assert found[6][1] == given and found[2][0] == given and found[6][10] == Pointer("stack", 6, 0)
    assert 4 not in found and 5 in found
