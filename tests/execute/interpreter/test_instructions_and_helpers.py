"""Instructions as Python, helpers on memory and packets, the machine, and runs that are recorded."""

from __future__ import annotations

import pytest

from bpflens.execute.inputs.packets import checksum
from bpflens.execute.interpreter import memory_helpers, packet
from bpflens.execute.interpreter.blocks import END, compile_block, namespace, sdiv, smod, swap2, swap4, swap8
from bpflens.execute.interpreter.helpers import call_helper, call_kfunc, load_packet
from bpflens.execute.interpreter.machine import Budget, Machine
from bpflens.execute.interpreter.memory import EFAULT, Fault
from bpflens.execute.interpreter.recorded import Chosen, RecordedProgram
from bpflens.execute.interpreter.semantics import condition, statement
from bpflens.execute.result import Input, Scene
from bpflens.execute.subject import Subject
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import Insn, words
from bpflens.isa.extended.table import lookup
from bpflens.program import Map

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
XDP, TC, CGROUP_SKB, SYSCALL = 6, 3, 8, 31
EINVAL = -22 & M64


def insn(text):
    return Insn(words(assemble(text))[0])


def python(text):
    made = insn(text)
    row = lookup(made.word)
    return condition(row, made) if text.startswith("if") else statement(row, made)


# --- semantics ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r1 = r2", "r1 = r2"),
        ("w1 = w2", f"r1 = (r2 & {M32})"),
        ("r1 += -1", f"r1 = ((r1 + {M64})) & {M64}"),
        ("r1 = *(u16 *)(r7 + 12)", f"r1 = load2(r7 + 12 & {M64})"),
        ("r1 = *(s8 *)(r7 + 0)", f"r1 = ((load1(r7) ^ 128) - 128) & {M64}"),
        ("*(u32 *)(r7 - 4) = -1", f"store4(r7 + -4 & {M64}, {M32})"),
        ("if r1 s> -1 goto +0", "(((r1 ^ 9223372036854775808) - 9223372036854775808) > "
                                "((18446744073709551615 ^ 9223372036854775808) - 9223372036854775808))"),
        ("exit", None),
        ("call 5", None),
    ],
)  # fmt: skip
def test_the_python_of_an_instruction(text, expected):
    assert python(text) == expected


def run(text, registers=(), **names):
    """Registers after a block that ends with exit."""
    code = words(assemble(f"{text}\nexit"))
    r = [*registers, *[0] * (11 - len(registers))]
    given = {"leave": lambda r: END, **names}
    block, count, _ = compile_block(code, 0, frozenset(), {}, namespace(given))
    assert block(r) == END and count == len(text.strip().splitlines()) + 1
    return r


@pytest.mark.parametrize(
    ("text", "a", "b", "result"),
    [
        ("r1 s/= r2", -9 & M64, 4, -2 & M64),
        ("r1 s%= r2", -9 & M64, 4, -1 & M64),
        ("r1 s/= r2", 1 << 63, M64, 1 << 63),
        ("w1 s%= w2", 1 << 31, M32, 0),
        ("r1 /= r2", 7, 0, 0),
        ("w1 %= w2", 7 << 32 | 5, 1 << 32, 5),
        ("r1 <<= r2", 1, 65, 2),
        ("w1 >>= w2", 1 << 40 | 8, 35, 1),
        ("w1 s>>= w2", 1 << 31, 4, 0xF8000000),
        ("r1 = -r1", 5, 0, -5 & M64),
        ("w1 = -w1", 5, 0, -5 & M32),
        ("r1 = (s16)r2", 0, 0x8000, -0x8000 & M64),
        ("w1 = (s8)w2", 0, 0x80, 0xFFFFFF80),
        ("r1 = be16 r1", 0x11223344, 0, 0x4433),
        ("r1 = bswap32 r1", 0x1122334455667788, 0, 0x88776655),
        ("w1 *= w2", M32, M32, 1),
        ("r1 ^= r2", M64, 5, M64 - 5),
    ],
)
def test_arithmetic_at_the_corners(text, a, b, result):
    assert run(text, (0, a, b))[1] == result


def test_signed_division_and_swaps():
    assert [(sdiv(a, b), smod(a, b)) for a, b in ((7, -2), (-7, 2), (-7, -2), (7, 0))] == [(-3, 1), (-3, -1), (3, -1), (0, 7)]
    assert (swap2(0x1122), swap4(0x11223344), swap8(1)) == (0x2211, 0x44332211, 1 << 56)


def test_atomics_give_the_old_value():
    memory = {8: 5}
    names = {"load8": memory.__getitem__, "store8": memory.__setitem__}
    assert run("r3 = atomic_fetch_add((u64 *)(r2 + 0), r3)", (0, 0, 8, 7), **names)[3] == 5 and memory == {8: 12}
    assert run("r0 = cmpxchg_64(r2 + 0, r0, r3)", (12, 0, 8, 1), **names)[0] == 12 and memory == {8: 1}
    assert run("r0 = cmpxchg_64(r2 + 0, r0, r3)", (12, 0, 8, 9), **names)[0] == 1 and memory == {8: 1}


def test_blocks_end_at_heads_and_jumps():
    code = words(assemble("r1 = 1\nr2 = 2\nif r1 == r2 goto +1\nexit\nexit"))
    block, count, slots = compile_block(code, 0, {1}, {}, namespace({}))
    assert block([0] * 11) == 1 and count == 1 and slots == [-1, -1, 0, 1]
    block, _, _ = compile_block(code, 1, {1}, {}, namespace({}))
    assert block([0, 2, *[0] * 9]) == 4 and block([0, 1, *[0] * 9]) == 3


def test_conditions_are_seen_and_blocks_are_watched():
    code = words(assemble("call 5\nif r0 > 3 goto +0\nexit"))
    told = []
    names = {"helper": lambda *args: 9, "calling": lambda slot: told.append(("call", slot)), "running": lambda slot: told.append(slot),
             "seen": told.append}  # fmt: skip
    block, _, _ = compile_block(code, 0, set(), {}, namespace(names), trace=True, watched=True)
    assert block([0] * 11) == 2 and told == [0, ("call", 0), (1, 9, 3)]


@pytest.mark.parametrize("code", [(0,), (0x18,), (words(assemble("r0 = 1"))[0],)])
def test_what_is_no_code_faults(code):
    with pytest.raises(Fault):
        compile_block(code, 0, set(), {}, namespace({}))


# --- the machine ---


def machine(text, prog_type=SYSCALL, steps=1000, **maps):
    return Machine(Subject(tuple(words(assemble(text))), prog_type, maps=maps), steps=steps)


def test_functions_have_frames_and_keep_registers():
    m = machine("r6 = 5\n*(u64 *)(r10 - 8) = r6\nr1 = 2\ncall pc+3\nr0 += r6\nr1 = *(u64 *)(r10 - 8)\nexit\n"
                "r6 = 9\n*(u64 *)(r10 - 8) = r6\nr0 = r1\nexit")  # fmt: skip
    assert m.start(0) == 7
    assert m.frames == []


def test_recursion_and_loops_end():
    with pytest.raises(Fault, match="too many frames"):
        machine("call pc-1\nexit").start(0)
    with pytest.raises(Budget):
        machine("goto -1").start(0)


# --- helpers ---


def helper(m, number, *arguments):
    return memory_helpers.MEMORY_HELPERS[number](m, (*arguments, 0, 0, 0, 0, 0)[:5])


def put(m, data):
    return m.memory.add(bytearray(data))


STRTOL, STRTOUL = 105, 106


@pytest.mark.parametrize(
    ("text", "number", "base", "consumed", "value"),
    [
        (b"12\0", STRTOL, 0, 2, 12),
        (b" -12x", STRTOL, 10, 4, -12 & M64),
        (b"0x1fg", STRTOL, 0, 4, 31),
        (b"0x1f", STRTOL, 16, 4, 31),
        (b"017", STRTOL, 0, 3, 15),
        (b"089", STRTOL, 0, 1, 0),
        (b"0xg", STRTOL, 0, 1, 0),
        (b"7", STRTOUL, 8, 1, 7),
        (b"18446744073709551615", STRTOUL, 10, 20, M64),
        (b"9223372036854775807", STRTOL, 10, 19, (1 << 63) - 1),
        (b"-9223372036854775808", STRTOL, 10, 20, 1 << 63),
    ],
)
def test_numbers_in_texts(text, number, base, consumed, value):
    m = machine("exit")
    out = put(m, bytes(8))
    assert helper(m, number, put(m, text), len(text), base, out) == consumed
    assert int.from_bytes(m.memory.read(out, 8), "little") == value


ERANGE = -34 & M64


@pytest.mark.parametrize(
    ("text", "number", "base", "error"),
    [
        (b"x", STRTOL, 0, EINVAL),
        (b"   ", STRTOL, 0, EINVAL),
        (b"-", STRTOL, 0, EINVAL),
        (b"-1", STRTOUL, 0, EINVAL),
        (b"1", STRTOL, 7, EINVAL),
        (b"1", STRTOL, 32, EINVAL),
        (b"0xg", STRTOL, 16, EINVAL),
        (b"9223372036854775808", STRTOL, 0, ERANGE),
        (b"-9223372036854775809", STRTOL, 0, ERANGE),
        (b"18446744073709551616", STRTOUL, 0, ERANGE),
    ],
)
def test_texts_that_are_no_numbers_give_zero(text, number, base, error):
    m = machine("exit")
    out = put(m, b"\xff" * 8)
    assert helper(m, number, put(m, text), len(text), base, out) == error
    assert m.memory.read(out, 8) == bytes(8)


def test_probe_reads():
    m = machine("exit")
    out, source = put(m, b"\xff" * 8), put(m, b"text\0rest")
    assert helper(m, 113, out, 4, source) == 0 and m.memory.read(out, 8) == b"text\xff\xff\xff\xff"
    assert helper(m, 113, out, 4, 16) == EFAULT and m.memory.read(out, 4) == bytes(4)
    assert helper(m, 115, out, 8, source) == 5 and m.memory.read(out, 5) == b"text\0"
    assert helper(m, 115, out, 3, source) == 3 and m.memory.read(out, 3) == b"te\0"
    assert helper(m, 115, out, 0, source) == 0


def test_strings_checksums_and_loops():
    m = machine("exit")
    a, b = put(m, b"abc\0"), put(m, b"abd\0")
    assert [helper(m, 182, x, n, y) for x, n, y in ((a, 4, a), (a, 4, b), (b, 4, a), (a, 2, b))] == [0, M64, 1, 0]
    old, new = put(m, b"\1\0\2\0"), put(m, b"\3\0\4\0")
    assert helper(m, 28, 0, 0, new, 4, 0) == 7
    assert helper(m, 28, old, 4, new, 4, 0) == 4
    assert helper(m, 28, old, 3, new, 4, 0) == EINVAL
    assert helper(m, 181, 1 << 24, 0, 0, 0) == -7 & M64 and helper(m, 181, 1, 0, 0, 1) == EINVAL


def test_loops_call_until_one_is_returned():
    m = machine("r0 = 0\nexit\nr0 = 0\nif r1 != 2 goto +1\nr0 = 1\nexit")
    m.left = 1000
    assert helper(m, 181, 10, 2, 0, 0) == 3 and helper(m, 181, 2, 2, 0, 0) == 2


def test_helpers_that_are_fixed_recorded_or_modelled():
    m = machine("exit")
    assert call_helper(m, 5, 0, 0, 0, 0, 0) == call_helper(m, 5, 0, 0, 0, 0, 0)
    buffer = put(m, bytes(8))
    assert call_helper(m, 29, 0, buffer, 8, 0, 0) == 0 and m.memory.read(buffer, 8) != bytes(8)
    assert "bpf_skb_get_tunnel_opt modelled" in m.modelled
    assert call_kfunc(m, 77, 0, 0, 0, 0, 0) == 0 and len(m.calls) == 2


def test_a_map_that_refuses_gives_its_error():
    m = machine("exit", h=Map("h", 1, 4, 8, 1))
    assert call_helper(m, 3, m.maps["h"].address, put(m, bytes(4)), 0, 0, 0) == -2 & M64


# --- packets ---

FRAME = bytes(12) + b"\x08\0" + bytes(range(1, 51))


def prepared(prog_type=XDP, frame=FRAME, ctx=b""):
    m = machine("exit", prog_type)
    packet.prepare(m, Input(frame, ctx))
    return m


def of_packet(m, number, *arguments):
    return packet.PACKET_HELPERS[number](m, (0, *arguments, 0, 0, 0, 0)[:5])


def test_contexts_point_at_the_packet():
    m = prepared()
    ctx = m.memory.regions[packet.CTX_REGION]
    start, end = (int.from_bytes(ctx[at : at + 4], "little") for at in (0, 4))
    assert m.memory.read(start, end - start) == FRAME and len(ctx) == 24
    m = prepared(CGROUP_SKB)
    ctx = m.memory.regions[packet.CTX_REGION]
    assert int.from_bytes(ctx[:4], "little") == 50 and ctx[16:18] == b"\x08\0"
    assert m.memory.read(int.from_bytes(ctx[76:80], "little"), 50) == FRAME[14:]
    assert packet.packet_after(m) == bytes(14) + FRAME[14:]


@pytest.mark.parametrize(
    ("prog_type", "frame", "ctx"), [(XDP, bytes(13), b""), (TC, FRAME[:20], b""), (XDP, FRAME, bytes(4) + b"\1" + bytes(19))]
)
def test_packets_that_a_test_run_refuses(prog_type, frame, ctx):
    with pytest.raises(ValueError, match="packet"):
        prepared(prog_type, frame, ctx)


def test_bytes_of_the_packet():
    m = prepared(TC)
    out = put(m, b"\xff" * 4)
    assert of_packet(m, 26, 14, out, 4) == 0 and m.memory.read(out, 4) == b"\1\2\3\4"
    assert of_packet(m, 26, 62, out, 4) == EFAULT and m.memory.read(out, 4) == bytes(4)
    assert of_packet(m, 9, 14, put(m, b"new!"), 4, 0) == 0 and packet.packet_after(m)[14:18] == b"new!"
    assert of_packet(m, 9, 14, out, 4, 4) == EINVAL
    assert load_packet(m, 12, 2, 0) == 0x0800 and load_packet(m, 63, 2, 0) is None
    assert packet.absolute(m, -0x100000 & M32, 1) == b"n"  # from the network header


def test_checksums_are_mended_as_if_made_anew():
    header = bytearray(bytes.fromhex("450000280001000040060000c0000201c0000202"))
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    m = prepared(TC, bytes(12) + b"\x08\0" + bytes(header) + bytes(20))
    old, new = (int.from_bytes(each, "little") for each in (header[12:16], b"\x0a\0\0\1"))
    assert of_packet(m, 9, 26, put(m, b"\x0a\0\0\1"), 4, 0) == 0 and of_packet(m, 10, 24, old, new, 4) == 0
    after = packet.packet_after(m)[14:34]
    total = sum(int.from_bytes(after[at : at + 2], "big") for at in range(0, 20, 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_the_packets_bounds_move():
    m = prepared()
    assert of_packet(m, 44, 14) == 0 and packet.packet_after(m) == FRAME[14:]
    assert of_packet(m, 44, -14 & M32) == 0 and packet.packet_after(m) == FRAME
    assert of_packet(m, 44, 60) == EINVAL and of_packet(m, 44, -300 & M32) == EINVAL
    assert of_packet(m, 65, -4 & M32) == 0 and packet.packet_after(m) == FRAME[:-4]
    assert of_packet(m, 65, 4) == 0 and packet.packet_after(m) == FRAME[:-4] + bytes(4)
    assert of_packet(m, 54, -8 & M32) == 0 and of_packet(m, 54, 3) == EINVAL
    ctx = m.memory.regions[packet.CTX_REGION]
    assert int.from_bytes(ctx[:4], "little") - int.from_bytes(ctx[8:12], "little") == 8
    assert of_packet(prepared(TC), 38, 100, 0) == 0 and of_packet(prepared(TC), 39, 65) == -12 & M64


def test_redirections_are_verdicts():
    assert packet.PACKET_HELPERS[23](prepared(), (5, 0, 0, 0, 0)) == 4 and packet.PACKET_HELPERS[23](prepared(), (5, 1, 0, 0, 0)) == 0
    assert packet.PACKET_HELPERS[23](prepared(TC), (5, 1, 0, 0, 0)) == 7 and packet.PACKET_HELPERS[23](prepared(TC), (5, 2, 0, 0, 0)) == 2


# --- runs that are recorded ---


def test_a_run_with_all_that_it_depended_on():
    text = "r6 = r1\ncall 14\nr7 = r0\nr1 = r10\nr1 += -16\nr2 = 16\ncall 16\nr0 = *(u8 *)(r10 - 16)\nr0 += r7\nexit"
    program = RecordedProgram(Subject(tuple(words(assemble(text))), SYSCALL))
    plain = program.run(Scene((Input(ctx=b"context!"),)))
    assert plain.ctx == b"context!" and [call.helper for call in plain.calls] == [14, 16] and plain.slots == frozenset(range(10))
    assert plain.calls[1].filled.startswith(b"bpflens") and plain.outcome.retval == (plain.calls[0].result + ord("b")) & M32
    chosen = program.run(Scene((Input(ctx=b"context!"),)), Chosen({1: 40}, {6: b"\2"}, {0: 9}))
    assert chosen.outcome.retval == 42 and chosen.calls[0].result == 40 and chosen.ctx[0] == 9
    assert program.spent > 0 and program.modelled()


def test_entries_that_were_found_are_noted_as_they_were():
    text = "r1 = 0 ll\nr2 = r10\nr2 += -4\n*(u32 *)(r10 - 4) = 7\ncall 1\nif r0 == 0 goto +1\n*(u64 *)(r0 + 0) = 1\nr0 = 0\nexit"
    subject = Subject(tuple(words(assemble(text))), SYSCALL, maps={"h": Map("h", 1, 4, 8, 4)}, map_at={0: "h"})
    program = RecordedProgram(subject)
    seven = (7).to_bytes(4, "little")
    (call,) = program.run(Scene((Input(ctx=bytes(8)),), {"h": {seven: b"\5" + bytes(7)}})).calls
    assert (call.map, call.key, call.value) == ("h", seven, b"\5" + bytes(7))
    (call,) = program.run(Scene((Input(ctx=bytes(8)),))).calls
    assert (call.result, call.value) == (0, b"")
