"""BPF objects: what clang built is read, whole or in parts; llvm-readelf agrees; what is no object is refused with its reason."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

import needs
import objects
from bpflens.analysis.slot_notes import slot_notes
from bpflens.btf.btf import Btf, Kind
from bpflens.errors import InputError
from bpflens.formats.elf.embedded import find_embedded
from bpflens.formats.elf.file import ElfFile, Section
from bpflens.formats.elf.programs import read_object
from bpflens.formats.elf.sections import SECTIONS, Sec, section_type
from bpflens.program import Function, Isa, Map, Program

# gcc-bpf 12.2 -O2 -gbtf, of this source:
#   struct bpf_map_def { unsigned int type, key_size, value_size, max_entries, map_flags; };
#   struct bpf_map_def counts __attribute__((section("maps"), used)) = { 1, 4, 8, 16, 0 };
#   int limit = 7;
#   static void *(*lookup)(void *, const void *) = (void *)1;
#   static __attribute__((noinline)) int helper(int x) { return x * limit + 1; }
#   __attribute__((section("socket"), used)) int entry(void *ctx) {
#     int k = 1; int *v = lookup(&counts, &k); if (v) return helper(*v) + 3; return helper(2); }
#   char _license[] __attribute__((section("license"), used)) = "GPL";
GCC_OBJECT = Path(__file__).with_name("gcc_bpf.o.hex")


def maps_by_name(programs: list[Program]) -> dict[str, Map]:
    return {map.name: map for map in programs[0].maps}


@pytest.mark.parametrize("flags", ["-mcpu=v1", "-mcpu=v2", "-mcpu=v3"])
def test_object_with_everything(flags: str) -> None:
    """Sections, functions, maps, global data, calls, callbacks, lines."""
    text, xdp = read_object(objects.compiled(objects.MAPS_AND_CALLS, flags), "x.o")
    assert (text.section, xdp.section) == (".text", "xdp")
    assert (text.type, xdp.type, xdp.expected_attach_type) == (None, 6, 37)
    assert xdp.isa is Isa.EXTENDED
    assert xdp.origin.where == "x.o#xdp"
    assert xdp.license == "GPL"
    assert [f.name for f in text.functions] == ["global_fn", "helper", "cb"]
    assert [f.proto for f in xdp.functions] == ["int entry(struct xdp_md *ctx)", "int second(struct xdp_md *ctx)"]
    assert {(r.kind, r.symbol, r.section) for r in xdp.relocations} == {
        ("map", "counts", ".maps"), ("map", "jumps", ".maps"), ("map", "outer", ".maps"), ("func", "cb", ".text"),
        ("call", "global_fn", ".text"), ("call", "helper", ".text"), ("data", "version_of", ".data.custom"),
        ("data", "entry.____fmt", ".rodata"),
    }  # fmt: skip
    for program in (text, xdp):
        for relocation in program.relocations:
            assert program.code[8 * relocation.off_insns] == (0x85 if relocation.kind == "call" else 0x18)
    assert any(line.text.startswith("bpf_printk") and line.line for line in xdp.lines)


def test_maps_of_an_object() -> None:
    """Each kind of definition, with C types, inner maps, initial values, flags; global data with its variables."""
    maps = maps_by_name(read_object(objects.compiled(objects.MAPS_AND_CALLS), "x.o"))
    counts, outer, jumps = maps["counts"], maps["outer"], maps["jumps"]
    assert (counts.type, counts.key_size, counts.value_size, counts.max_entries, counts.flags) == (1, 8, 16, 64, 1)
    assert (counts.key, counts.value) == ("struct key", "struct val")
    assert outer.fields["values"] == {0: "in1", 2: "in2"}
    assert (outer.fields["inner"].type, outer.fields["inner"].max_entries, outer.value_size) == (2, 5, 4)
    assert (jumps.type, jumps.key_size, jumps.value_size, jumps.max_entries) == (3, 4, 4, 3)
    assert maps[".rodata"].datasec == {0: ("limit", 4, "const volatile __u32"), 4: ("entry.____fmt", 9, "const char[9]")}
    assert maps[".rodata"].data == b"\7\0\0\0hello %d\0"
    assert maps[".data"].datasec == {0: ("seen", 32, "__u64[4]")}
    assert maps[".bss"].data == bytes(4)
    assert maps[".data.custom"].data == b"\5\0\0\0"


def test_big_endian_is_the_same_program() -> None:
    """The code of an object of the other byte order is brought into one order."""
    little = read_object(objects.compiled(objects.MAPS_AND_CALLS), "x.o")
    big = read_object(objects.compiled(objects.MAPS_AND_CALLS, target="bpfeb"), "x.o")
    assert big[0].declared.byte_order == "big"
    assert [p.code for p in big] == [p.code for p in little]
    assert [p.relocations for p in big] == [p.relocations for p in little]
    assert [p.functions for p in big] == [p.functions for p in little]
    assert [list(p.lines) for p in big] == [list(p.lines) for p in little]
    assert maps_by_name(big).keys() == maps_by_name(little).keys()


def test_legacy_maps_and_no_debug_information() -> None:
    """struct bpf_map_def, no BTF: names, numbers, version and license are there all the same."""
    (program,) = read_object(objects.compiled(objects.LEGACY_MAPS, "-g0"), "x.o")
    assert program.btf is None
    assert program.functions == (Function(0, "entry"),)
    assert [(m.name, m.type, m.key_size, m.value_size, m.max_entries, m.flags) for m in program.maps] == [
        ("first", 1, 4, 8, 16, 1), ("second", 2, 4, 2, 3, 0),
    ]  # fmt: skip
    assert [(r.kind, r.symbol) for r in program.relocations] == [("map", "second"), ("map", "first")]
    assert (program.license, program.declared.version) == ("Dual BSD/GPL", 0x50607)


def test_data_without_btf_has_symbols() -> None:
    """Names of variables come from the symbol table where there is no BTF."""
    programs = read_object(objects.compiled(objects.MAPS_AND_CALLS, "-g0"), "x.o")
    maps = maps_by_name(programs)
    assert maps[".bss"].datasec == {0: ("zeroed", 4, "")}
    assert maps["counts"].type == 0
    assert ("data", "limit") in {(r.kind, r.symbol) for r in programs[0].relocations}
    assert ("map", "counts") in {(r.kind, r.symbol) for r in programs[1].relocations}


def test_externs() -> None:
    """Kfuncs, ksyms and kconfig, with the declarations that BTF has."""
    (program,) = read_object(objects.compiled(objects.EXTERNS), "x.o")
    assert [(r.kind, r.symbol, r.text) for r in program.relocations] == [
        ("kfunc", "bpf_task_acquire", "kfunc struct task_struct *bpf_task_acquire(struct task_struct *)"),
        ("kfunc", "bpf_task_release", "kfunc void bpf_task_release(struct task_struct *)"),
        ("ksym", "init_task", "ksym const void init_task"),
        ("extern", "LINUX_KERNEL_VERSION", "kconfig LINUX_KERNEL_VERSION"),
        ("extern", "CONFIG_BPF", "kconfig CONFIG_BPF"),
    ]


def test_core_in_words() -> None:
    """All kinds of CO-RE relocation that clang 14 makes."""
    (program,) = read_object(objects.compiled(objects.CORE), "x.o")
    texts = [r.text for r in program.relocations if r.kind == "core"]
    assert set(texts) == {
        "CO-RE field byte offset of struct task_struct { .pid }",
        "CO-RE field byte offset of struct task_struct { .tgid }",
        "CO-RE field byte offset of struct task_struct { .list[2].x }",
        "CO-RE field byte offset of struct task_struct { .more }",
        "CO-RE field byte size of struct task_struct { .more }",
        "CO-RE field left shift of struct task_struct { .more }",
        "CO-RE field signedness of struct task_struct { .more }",
        "CO-RE field right shift of struct task_struct { .more }",
        "CO-RE field existence of struct task_struct { .b }",
        "CO-RE field byte size of struct task_struct { .list }",
        "CO-RE local type id of struct in_addr_t",
        "CO-RE enum value existence of enum colours { BLUE = 5 }",
        "CO-RE enum value of enum colours { RED = 1 }",
        "CO-RE type existence of struct task_struct",
        "CO-RE type size of anon_t",
        "CO-RE target type id of struct task_struct",
    }


def test_gcc_object() -> None:
    """gcc-bpf: other section symbols, other relocation numbers, BTF without func_info."""
    text, socket = read_object(bytes.fromhex(GCC_OBJECT.read_text()), "g.o")
    assert text.functions[0].proto == "int helper(int x)"
    assert socket.functions[0].proto == "int entry(void *ctx)"
    assert [(r.kind, r.symbol, r.section) for r in socket.relocations] == [
        ("map", "counts", "maps"), ("call", "helper", ".text"), ("call", "helper", ".text"),
    ]  # fmt: skip
    assert [(r.kind, r.symbol) for r in text.relocations] == [("data", "limit")]
    assert maps_by_name([text])["counts"].max_entries == 16


def test_parts() -> None:
    """A section; a function, whose slots then start at 0; neither."""
    blob = objects.compiled(objects.MAPS_AND_CALLS)
    whole = read_object(blob, "x.o")
    assert read_object(blob, "x.o", "xdp")[0].functions == whole[1].functions
    (helper,) = read_object(blob, "x.o", "helper")
    start = whole[0].functions[1].start
    (function,) = helper.functions
    assert (function.start, function.name, function.proto) == (0, "helper", "int helper(struct xdp_md *ctx, int x)")
    assert helper.code == whole[0].code[8 * start : 8 * whole[0].functions[2].start]
    assert [(r.off_insns + start, r.symbol) for r in helper.relocations] == [(14, "seen")]
    assert helper.origin.where == "x.o#helper"
    assert min(line.off_insns for line in helper.lines) == 0
    with pytest.raises(InputError, match="no section or function 'nowhere'") as caught:
        read_object(blob, "x.o", "nowhere")
    assert caught.value.hint == "sections: .text, xdp; functions: global_fn, helper, cb, entry, second"


@pytest.mark.parametrize("source", ["MAPS_AND_CALLS", "LEGACY_MAPS", "EXTERNS"])
def test_llvm_readelf_agrees(source: str) -> None:
    """Sections and relocations, line by line."""
    blob = objects.compiled(getattr(objects, source))
    elf = ElfFile.parse(blob, "x.o")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.o"
        path.write_bytes(blob)
        said = subprocess.run(
            [needs.tool("llvm-readelf"), "-S", "-r", "--elf-output-style=GNU", str(path)], capture_output=True, text=True, timeout=60
        ).stdout
    rows = re.findall(r"^ *\[ *(\d+)\] (\S*) +(\w+) +[0-9a-f]{16} ([0-9a-f]{6}) ([0-9a-f]{6}) ([0-9a-f]{2})", said, re.M)
    assert [(int(i), name, int(off, 16), int(size, 16)) for i, name, _, off, size, _ in rows[1:]] == [
        (s.index, s.name, s.offset, s.size) for s in elf.sections[1:]
    ]
    for section in elf.sections:
        block = re.search(rf"Relocation section '\.rela?{re.escape(section.name)}' .*?\n\n", said + "\n\n", re.S)
        theirs = re.findall(r"^([0-9a-f]{16}) +[0-9a-f]{16} \S+ +[0-9a-f]{16} (\S+)", block[0] if block else "", re.M)
        ours = [(r.offset, elf.name_of(elf.symbol(r.symbol))) for r in elf.relocations(section)]
        assert [(int(off, 16), name) for off, name in theirs] == ours


def test_embedded_objects() -> None:
    """Executables of libbpf-tools have their objects inside, whole."""
    path = next(path for path in objects.package_files("libbpf-tools") if path.name == "opensnoop")
    data = path.read_bytes()
    ((offset, blob),) = find_embedded(data)
    assert data[offset:].startswith(blob)
    programs = read_object(data, "opensnoop")
    assert {p.section for p in programs} >= {"tracepoint/syscalls/sys_enter_open", "tracepoint/syscalls/sys_exit_openat"}
    assert programs[0].origin.where.startswith(f"opensnoop@{offset:#x}#")
    assert [p.code for p in programs] == [p.code for p in read_object(blob, "x.o")]
    assert ElfFile.parse(blob, "x.o").sections[-1].offset < len(blob)


def test_damaged_object_among_others() -> None:
    """The sound ones are read, and it is said that one was not."""
    blob = bytearray(objects.compiled(objects.CORE))
    section = section_named(blob, "raw_tp")
    struct.pack_into("<Q", blob, struct.unpack_from("<Q", blob, 40)[0] + 64 * section.index + 24, 1 << 40)
    (program,) = read_object(b"container" + bytes(blob) + objects.compiled(objects.LEGACY_MAPS), "many")
    assert program.section == "socket"
    assert program.origin.note is not None
    assert "section 'raw_tp'" in program.origin.note


def test_archive() -> None:
    """A static library is a file with objects inside."""
    one, two = objects.compiled(objects.LEGACY_MAPS), objects.compiled(objects.CORE)
    member = "{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n"
    archive = b"!<arch>\n"
    for name, blob in (("one.o/", one), ("two.o/", two)):
        archive += member.format(name, 0, 0, 0, 644, len(blob)).encode() + blob + b"\n" * (len(blob) % 2)
    assert [p.section for p in read_object(archive, "lib.a")] == ["socket", "raw_tp"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: b"", "not an ELF file, and no BPF object is inside"),
        (lambda b: b[:18], "an ELF file of only 18 bytes"),
        (lambda b: b[:40], "40 bytes are too few for an ELF header"),
        (lambda b: b[:2000], "section table .* goes past the end of the 2000 bytes"),
        (lambda b: b[:18] + b"\x3e\0" + b[20:], "an ELF file for x86-64, and no BPF object is inside"),
        (lambda b: b[:4] + b"\1" + b[5:], "a 32-bit ELF file"),
        (lambda b: b[:5] + b"\7" + b[6:], "unknown byte order 7"),
        (lambda b: b[:62] + b"\xf0\0" + b[64:], "section 240, which should hold the section names, does not exist"),
        (lambda b: b[:40] + bytes(8) + b[48:], "without sections"),
    ],
)
def test_what_is_no_object(change, reason: str) -> None:
    """Each refusal says why."""
    with pytest.raises(InputError, match=reason):
        read_object(change(objects.compiled(objects.MAPS_AND_CALLS)), "x.o")


def test_section_beyond_the_file() -> None:
    """The section that is cut off is named."""
    blob = bytearray(objects.compiled(objects.LEGACY_MAPS))
    section = section_named(blob, "socket")
    table = struct.unpack_from("<Q", blob, 40)[0]
    struct.pack_into("<Q", blob, table + 64 * section.index + 24, len(blob) - 8)
    with pytest.raises(InputError, match=r"section 'socket' .* goes past the end of the file"):
        read_object(bytes(blob), "x.o")


def test_overlapping_sections_are_refused() -> None:
    """A small file must not be able to stand for a large one."""
    blob = bytearray(objects.compiled(objects.LEGACY_MAPS))
    table, count = struct.unpack_from("<Q", blob, 40)[0], struct.unpack_from("<H", blob, 60)[0]
    for index in range(1, count):
        struct.pack_into("<QQ", blob, table + 64 * index + 24, 0, len(blob))
    with pytest.raises(InputError):
        read_object(bytes(blob), "x.o")


def section_named(blob: bytes | bytearray, name: str) -> Section:
    found = ElfFile.parse(bytes(blob), "x.o").section(name)
    assert found is not None
    return found


# --- section names ---


@pytest.mark.parametrize(
    ("name", "prog_type", "attach_type"),
    [
        ("xdp", 6, 37), ("xdp/devmap", 6, 33), ("xdp.frags/cpumap", 6, 35), ("tc", 3, None), ("tcx/egress", 3, 47), ("usdt", 2, None),
        ("kprobe/do_sys_open", 2, None), ("?kprobe.multi/x*", 2, 42), ("fentry.s/f", 26, 24), ("lsm_cgroup/bind", 29, 43),
        ("struct_ops.s/init", 27, None), ("sk_skb/stream_parser", 14, 4), ("xdp_drop_all", 6, 37), ("cgroup_skb/egress", 8, 1),
        ("cgroup/connect6", 18, 11), ("classifier/foo", 3, None),
    ],
)  # fmt: skip
def test_section_names(name: str, prog_type: int, attach_type: int | None) -> None:
    """Names as libbpf knows them, and as objects from before libbpf 1.0 have them."""
    row = section_type(name)
    assert row is not None
    assert (row.prog_type, row.attach_type) == (prog_type, attach_type)


@pytest.mark.parametrize("name", [".text", "maps", "foo", ""])
def test_names_that_say_nothing(name: str) -> None:
    """No guess for other names."""
    assert section_type(name) is None


def test_section_table_against_the_kernel() -> None:
    """The numbers of the table are those of the kernel's enums."""
    vmlinux = Path("/sys/kernel/btf/vmlinux")
    needs.kernel_feature(vmlinux.exists(), "BTF of its own")
    btf = Btf.parse(vmlinux.read_bytes())
    enums = [btf.find(name, Kind.ENUM) or 0 for name in ("bpf_prog_type", "bpf_attach_type")]
    prog_types, attach_types = ({value: name for name, value in btf.enumerators(id)} for id in enums)
    expected = {
        "xdp": ("XDP", "XDP"), "kprobe.session+": ("KPROBE", "TRACE_KPROBE_SESSION"),
        "uprobe.session+": ("KPROBE", "TRACE_UPROBE_SESSION"),
        "netkit/peer": ("SCHED_CLS", "NETKIT_PEER"), "cgroup/getsockname_unix": ("CGROUP_SOCK_ADDR", "CGROUP_UNIX_GETSOCKNAME"),
        "netfilter": ("NETFILTER", "NETFILTER"), "sk_lookup": ("SK_LOOKUP", "SK_LOOKUP"), "syscall": ("SYSCALL", None),
        "sk_reuseport/migrate": ("SK_REUSEPORT", "SK_REUSEPORT_SELECT_OR_MIGRATE"), "lsm.s+": ("LSM", "LSM_MAC"),
        "raw_tp.w+": ("RAW_TRACEPOINT_WRITABLE", None), "cgroup/dev": ("CGROUP_DEVICE", "CGROUP_DEVICE"), "freplace+": ("EXT", None),
        "cgroup/sysctl": ("CGROUP_SYSCTL", "CGROUP_SYSCTL"), "cgroup/sendmsg6": ("CGROUP_SOCK_ADDR", "CGROUP_UDP6_SENDMSG"),
    }  # fmt: skip
    for row in SECTIONS:
        assert row.prog_type in prog_types
        known = row.attach_type is None or row.attach_type in attach_types
        assert known or row.name.startswith("fsession")  # newer than Linux 6.18
        if row.name in expected:
            prog, attach = expected.pop(row.name)
            assert prog_types[row.prog_type] == f"BPF_PROG_TYPE_{prog}"
            assert (row.attach_type is None) == (attach is None)
            assert attach is None or attach_types[row.attach_type or 0] == f"BPF_{attach}"
    assert not expected


STRUCT_OPS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct tcp_congestion_ops { char pad[32]; unsigned (*ssthresh)(void *sk); void (*cong_avoid)(void *sk, unsigned a); char name[16]; };
SEC("struct_ops/thresh") unsigned thresh(unsigned long long *ctx) { return 5; }
SEC("struct_ops/avoid") void avoid(unsigned long long *ctx) { }
SEC(".struct_ops") struct tcp_congestion_ops mine = { .ssthresh = (void *)thresh, .cong_avoid = (void *)avoid, .name = "mine" };
SEC(".struct_ops.link") struct tcp_congestion_ops linked = { .ssthresh = (void *)thresh, .name = "linked" };
SEC("?fentry.s/foo") int asleep(void *ctx) { return 0; }
char _license2[] SEC("license") = "GPL";
"""


def test_struct_ops() -> None:
    """The variables of .struct_ops are maps whose members are programs."""
    programs = read_object(objects.compiled(STRUCT_OPS), "x.o")
    mine, linked = programs[0].maps
    assert (mine.name, mine.type, mine.value, mine.fields) == (
        "mine", 26, "struct tcp_congestion_ops", {"values": {"ssthresh": "thresh", "cong_avoid": "avoid"}},
    )  # fmt: skip
    assert linked.fields == {"values": {"ssthresh": "thresh"}, "link": True}
    assert [p.type for p in programs] == [27, 27, 26]
    said = programs[2].declared
    assert (said.byte_order, said.flags, said.autoload) == ("little", ("sleepable",), False)
    assert read_object(objects.compiled(STRUCT_OPS), "x.o", "fentry.s/foo")[0].name == "asleep"


def test_linked_object() -> None:
    """What `bpftool gen object` links: its BTF has sizes and offsets already, and its functions have moved."""
    bpftool = needs.tool("bpftool")
    parts = [objects.compiled(objects.MAPS_AND_CALLS), objects.compiled(STRUCT_OPS)]
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / name for name in ("one.o", "two.o", "linked.o")]
        for path, blob in zip(paths, parts, strict=False):
            path.write_bytes(blob)
        subprocess.run([bpftool, "gen", "object", paths[2], *paths[:2]], check=True, timeout=60)
        linked = read_object(paths[2].read_bytes(), "x.o")
    one, two = (read_object(part, "x.o") for part in parts)
    assert sorted(str(p.section) for p in linked) == sorted(str(p.section) for p in [*one, *two])
    assert maps_by_name(linked).keys() == maps_by_name(one).keys() | maps_by_name(two).keys()
    for program in [*one, *two]:
        again = next(p for p in linked if p.section == program.section)
        assert [(f.start, f.name, f.proto) for f in again.functions] == [(f.start, f.name, f.proto) for f in program.functions]
        assert [(r.off_insns, r.text) for r in again.relocations] == [(r.off_insns, r.text) for r in program.relocations]
        assert list(again.lines) == list(program.lines)


# What libbpf 1.1 does not have yet.
NEWER = (
    "kprobe.session", "uprobe.multi", "uretprobe.multi", "uprobe.session", "tc/", "tcx/", "netkit/", "struct_ops.s", "cgroup/connect_unix",
    "cgroup/sendmsg_unix", "cgroup/recvmsg_unix", "cgroup/getpeername_unix", "cgroup/getsockname_unix", "netfilter", "usdt.s", "fsession",
    "sk_skb/verdict",
)  # fmt: skip


@pytest.mark.parametrize("row", SECTIONS, ids=lambda row: row.name)
def test_section_table_against_libbpf(row: Sec) -> None:
    """libbpf itself is asked for the types of each name."""
    import ctypes

    try:
        libbpf = ctypes.CDLL("libbpf.so.1")
    except OSError:
        needs.tool("of package libbpf1")
    libbpf.libbpf_set_print(None)
    for name in (row.name.rstrip("+"), row.name.replace("+", "/x")):
        prog_type, attach_type = ctypes.c_int(-1), ctypes.c_int(-1)
        known = libbpf.libbpf_prog_type_by_name(name.encode(), ctypes.byref(prog_type), ctypes.byref(attach_type)) == 0
        if known or not row.name.startswith(NEWER):
            assert (prog_type.value, attach_type.value) == (row.prog_type, row.attach_type or 0)


def test_everything_that_debian_ships() -> None:
    """Each executable of libbpf-tools and xdp-tools and each object: programs with names, types and functions, nothing left unresolved."""
    files = [path for package in ("libbpf-tools", "xdp-tools", "libxdp1") for path in objects.package_files(package)]
    assert len(files) > 70
    kinds = set()
    for path in files:
        programs = read_object(path.read_bytes(), str(path))
        for program in programs:
            assert program.functions, program.origin.where
            assert program.license, program.origin.where
            assert program.type is not None or program.section == ".text", program.origin.where
            assert all(function.proto for function in program.functions)
            assert all(relocation.symbol for relocation in program.relocations if relocation.kind != "core")
            kinds |= {relocation.kind for relocation in program.relocations}
    assert kinds >= {"map", "data", "call", "core"}
    assert "ksym" in kinds or "kfunc" in kinds or "extern" in kinds


def test_targets_of_gotox() -> None:
    """A table of LLVM 22 (a switch of 16 cases, -mcpu=v4): its slots stand at the gotox, each once."""
    data = bytes.fromhex((Path(__file__).parent / "gotox.o.hex").read_text())
    (program,) = read_object(data, "gotox.o")
    notes = slot_notes(program)
    assert notes[4] == ["jump table BPF.JT.0.0"]
    (text,) = notes[8]
    targets = [int(number) for number in text.removeprefix("to ").partition(" by ")[0].split(", ")]
    assert len(targets) == 16 == len(set(targets)) and targets[:3] == [9, 42, 27]

    damaged = bytearray(data)
    where = data.index((9 * 8).to_bytes(8, "little") + (42 * 8).to_bytes(8, "little"))
    damaged[where] = 0x49
    assert 8 not in slot_notes(read_object(bytes(damaged), "gotox.o")[0])
