"""Programs loaded without CAP_PERFMON have guards against speculation: they come back too. And what a reader without rights is told."""

from __future__ import annotations

import os

import pytest

from bpflens.isa.extended.asm import assemble
from bpflens.kernel.programs.load import create_map, load_program
from bpflens.original.image.tag import blanked
from bpflens.original.recover import recover
from original.privilege import CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN, drop_all_but, held_by_child

pytestmark = pytest.mark.live

LOOK_UP = """
r6 = r1
r2 = r10
r2 += -4
*(u32 *)(r10 -4) = 0
r1 = map[fd:{map}]
call bpf_map_lookup_elem
if r0 == 0 goto out
r7 = *(u32 *)(r6 +0)
r7 &= 7
"""
PROGRAMS = {
    "pointer plus register": LOOK_UP + "r0 += r7\nr1 = *(u8 *)(r0 +0)\nout:\nr0 = 0\nexit\n",
    "register plus pointer": LOOK_UP + "r7 += r0\nr1 = *(u8 *)(r7 +0)\nout:\nr0 = 0\nexit\n",
    "pointer minus register": LOOK_UP + "r8 = r7\nr8 |= 8\nr0 += r8\nr0 -= r7\nr1 = *(u8 *)(r0 +0)\nout:\nr0 = 0\nexit\n",
    "negative register": LOOK_UP + "r8 = r7\nr8 |= 16\nr7 |= 8\nr7 *= -1\nr0 += r8\nr0 += r7\nr1 = *(u8 *)(r0 +0)\nout:\nr0 = 0\nexit\n",
    "minus a negative register": LOOK_UP + "r7 |= 8\nr7 *= -1\nr0 -= r7\nr1 = *(u8 *)(r0 +0)\nout:\nr0 = 0\nexit\n",
    "minus a constant register": LOOK_UP + "r8 = 4\nr0 += r7\nr0 += 8\nr0 -= r8\nr1 = *(u8 *)(r0 +0)\nout:\nr0 = 0\nexit\n",
    "constant register": LOOK_UP + "r8 = 4\nr0 += r8\nr1 = *(u8 *)(r0 +0)\nout:\nr0 = 0\nexit\n",
    "map look-up with a mask": LOOK_UP + "r1 = *(u8 *)(r0 +0)\nout:\nr0 = 0\nexit\n",
    "spilled pointer": LOOK_UP + "*(u64 *)(r10 -16) = r0\nr1 = *(u64 *)(r10 -16)\nr2 = *(u8 *)(r1 +0)\nout:\nr0 = 0\nexit\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("map_type", (2, 1), ids=("array", "hash"))
def test_guards_come_off(name, map_type):
    made = []

    def load():
        made.append(create_map(map_type, 4, 64, 8))  # made without CAP_PERFMON: an array masks its index
        return load_program(assemble(PROGRAMS[name].replace("{map}", str(made[0])), "kernel"), 3)

    with held_by_child(load, (CAP_BPF, CAP_NET_ADMIN)) as program:
        original = recover(program)

    assert original.grade == "exact", original.reason
    expected = [int.from_bytes(code, "little") for code in _slots(assemble(PROGRAMS[name].replace("{map}", "3"), "kernel"))]
    assert list(blanked(original.layout.words)) == list(blanked(expected))


def _slots(code):
    return [code[at : at + 8] for at in range(0, len(code), 8)]


def recovered_by_child(text, kept):
    """What a process with only the capabilities `kept` says of a program: "GRADE REASON"."""
    map = create_map(1, 4, 8, 16)
    fd = load_program(assemble(text.replace("{map}", str(map)), "kernel"), 3)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            drop_all_but(*kept)
            from bpflens.kernel.programs.prog_info import prog_info_by_fd

            original = recover(prog_info_by_fd(fd).id)
            said = f"{original.grade} hidden={original.image.calls_hidden} {original.reason} {original.code.hex()}"
            os.write(writing, said.encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        return os.read(reading, 4096).decode()
    finally:
        os.close(reading)
        os.close(fd)
        os.close(map)
        os.waitpid(pid, 0)


HIDDEN = (CAP_BPF, CAP_SYS_ADMIN)


def test_one_hidden_call_is_told_by_the_tag():
    """Without CAP_SYSLOG the kernel shows calls with imm 0."""
    said = recovered_by_child("call bpf_ktime_get_ns\nr0 = 0\nexit\n", HIDDEN)

    assert said.startswith("exact hidden=True "), said


def test_hidden_calls_of_inlined_look_ups_are_told_by_their_shape():
    said = recovered_by_child(LOOK_UP + "out:\nr0 = 0\nexit\n", HIDDEN)

    assert said.startswith("exact hidden=True "), said


def test_many_hidden_calls_are_said_to_be_hidden_and_never_proved():
    said = recovered_by_child("r6 = r1\n" + "call bpf_get_cgroup_classid\nr1 = r6\n" * 6 + "r0 = 0\nexit\n", HIDDEN)

    assert said.startswith("unproven hidden=True "), said
    assert "CAP_SYSLOG" in said
    assert said.split()[-1].count("8500000000000000") == 6, "a guess stands where the image has a hidden call"


def test_hidden_calls_prove_nothing_by_reload():
    """A call of another function has the same image where calls are hidden: here it looks like an inlined look-up."""
    said = recovered_by_child(
        "*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr1 = map[fd:{map}]\ncall bpf_map_delete_elem\nif r0 == 0 goto skip\nr0 += 56\nskip:\n"
        "r6 = 0\nif r6 != 0 goto dead\nr0 = 0\nexit\ndead:\nr0 = 7\nexit\n",
        HIDDEN,
    )

    assert said.startswith("unproven hidden=True "), said
