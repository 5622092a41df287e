"""Programs of the running kernel as `Program` values: the xlated image with maps, functions, source lines, symbols, machine code.

    read_program(12)            # opens the id, reads everything in two calls of BPF_OBJ_GET_INFO_BY_FD, closes it

The image is what the verifier left (contexts rewritten, helpers inlined, map ids in place of descriptors): the loaded instructions are not
kept by the kernel, only their tag. Helper and kfunc calls are distances from __bpf_call_base, resolved here through kallsyms. What the
kernel keeps back from this process is said in `loaded.notes`, never guessed.
"""

from __future__ import annotations

import os
import sys
import time
from array import array

from bpflens.errors import BpflensError, KernelError, NotFound, NotPermitted
from bpflens.kernel.maps.maps import read_map_info
from bpflens.kernel.programs.prog_info import ProgDump, open_prog, prog_dump, prog_ids, prog_info, prog_info_by_fd
from bpflens.program import Function, Isa, Jited, Loaded, Map, Origin, ProgInfo, Program, SourceLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("ProgInfo", "loaded_at", "prog_ids", "prog_info", "prog_info_by_fd", "read_program", "read_program_fd", "resolve_symbols")

TAIL_CALL = 12  # BPF_FUNC_tail_call: the one helper whose id stands in an image
_HELPER_IDS = 512  # an imm below is the id of a helper that the JIT inlines (arm64, riscv), not a distance
# The JIT reaches kfuncs anywhere there, so their calls keep the BTF id (bpf_jit_supports_far_kfunc_call()).
_FAR_KFUNC = frozenset({"aarch64", "s390x", "loongarch64"})
_ERRNO_VALUES = 0xFFFF_FFFF_FFFF_0000  # from here on a constant is a small negative number


def read_program(id: int, jited: bool = False) -> Program:
    """Program `id`, with its machine code if `jited`. NotFound where it is gone, NotPermitted where it may not be read."""
    with open_prog(id) as fd:
        return read_program_fd(fd, f"id:{id}", jited=jited)


def read_program_fd(fd: int, where: str, jited: bool = False) -> Program:
    """The program behind a descriptor; `where` names it in messages."""
    dump = prog_dump(fd, where, jited=jited, tags=True)
    info = dump.info
    notes: list[str] = []
    if "xlated" in dump.hidden:
        why = "constants are blinded and kernel addresses may not be seen" if info.xlated_len else "needs CAP_BPF"
        raise NotPermitted(f"id:{info.id}", f"the kernel does not show its instructions: {why}", 'run "bpflens doctor"')
    btf = _btf(info.btf_id, notes)
    functions = _functions(dump, btf, notes)
    symbols = resolve_symbols(dump.xlated, notes)
    name = info.name
    if functions and functions[0].name.startswith(name) and len(name) == 15:
        name = functions[0].name  # the kernel keeps 15 characters
    maps, lines = _maps(dump.map_ids, notes), _lines(dump, btf, notes)
    machine_code = _jited(dump, functions, notes) if jited else ()
    return Program(
        isa=Isa.EXTENDED,
        code=dump.xlated,
        origin=Origin("kernel", where, note="; ".join(notes) or None, arch=os.uname().machine),
        name=name,
        type=info.type,
        xlated=True,
        id=info.id,
        tag=info.tag,
        maps=maps,
        functions=functions,
        lines=lines,
        symbols=symbols,
        btf=btf,
        loaded=Loaded(info, loaded_at(info.load_time), _memlock(fd), dump.map_ids, dump.prog_tags, tuple(notes)),
        jited=machine_code,
    )


def loaded_at(load_time: int) -> float:
    """Wall clock of bpf_prog_info.load_time (ns since boot, suspended time included), in seconds since 1970."""
    return time.time() - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - load_time) / 1e9


def resolve_symbols(xlated: bytes, notes: list[str] | None = None) -> dict[int, str]:
    """Slot -> kernel symbol: targets of helper and kfunc calls, and kernel addresses in ld_imm64.

    A slot that is missing was not resolved; the reason is appended to `notes` where it is privilege.
    """
    from bpflens.kernel.sys.kallsyms import kallsyms

    words = array("Q")
    words.frombytes(xlated)
    if sys.byteorder == "big":
        words.byteswap()
    opcodes = xlated[::8] if sys.byteorder == "little" else bytes(word & 0xFF for word in words)
    calls: dict[int, int] = {}  # slot -> distance from the call base
    constants: dict[int, int] = {}
    symbols: dict[int, str] = {}
    hidden = False
    symbols_from = 0xFFFF_FFFF_8000_0000 if os.uname().machine == "x86_64" else 0xFFFF_8000_0000_0000  # the kernel image and modules
    slot = opcodes.find(0x85)
    while slot >= 0:
        word = words[slot]
        source, imm = word >> 12 & 0xF, word >> 32
        imm -= (imm & 0x8000_0000) << 1
        if source == 1 or (source == 0 and imm == TAIL_CALL):
            pass
        elif imm == 0:
            hidden = True
        elif source == 2 and imm > 0 and os.uname().machine in _FAR_KFUNC and not word >> 16 & 0xFFFF:
            name = _kfunc(imm)
            if name:
                symbols[slot] = name
        elif not (source == 0 and 0 < imm < _HELPER_IDS):
            calls[slot] = imm
        slot = opcodes.find(0x85, slot + 1)
    slot = opcodes.find(0x18)
    while 0 <= slot < len(words) - 1:
        word = words[slot]
        value = words[slot + 1] & 0xFFFF_FFFF_0000_0000 | word >> 32
        if not word >> 12 & 0xF and symbols_from <= value < _ERRNO_VALUES:
            constants[slot] = value
        slot = opcodes.find(0x18, slot + 2)
    if hidden and notes is not None:
        notes.append("call targets are hidden by the kernel: needs CAP_SYSLOG (see kernel.kptr_restrict)")
    if calls or constants:
        table = kallsyms()
        base = table.call_base() if calls else None
        if base is None and calls and notes is not None:
            notes.append("call targets have no names: /proc/kallsyms shows no addresses to this process (needs CAP_SYSLOG)")
        targets = {at: base + distance for at, distance in calls.items()} if base is not None else {}
        targets.update(constants)
        names = table.names(targets.values())
        symbols.update({at: names[address] for at, address in targets.items() if address in names})
    return symbols


def _kfunc(type_id: int) -> str | None:
    from bpflens.kernel.btf import vmlinux

    try:
        return vmlinux().name(type_id) or None
    except BpflensError:
        return None


def _btf(btf_id: int, notes: list[str]) -> Btf | None:
    if not btf_id:
        return None
    from bpflens.kernel.btf import btf_by_id

    try:
        return btf_by_id(btf_id)
    except NotPermitted:
        notes.append("its type information may not be looked at: needs CAP_SYS_ADMIN")
    except BpflensError as error:
        notes.append(f"type information is missing: {error}")
    return None


def _functions(dump: ProgDump, btf: Btf | None, notes: list[str]) -> tuple[Function, ...]:
    from bpflens.btf.c_text import declaration

    if btf is None or not dump.func_info:
        return (Function(0, dump.info.name),) if dump.info.name else ()
    functions = []
    for start, type_id in dump.func_info:
        try:
            functions.append(Function(start, btf.name(type_id), declaration(btf, type_id), type_id))
        except BpflensError as error:
            notes.append(f"function at {start}: {error}")
            functions.append(Function(start, "", None, type_id))
    return tuple(functions)


def _lines(dump: ProgDump, btf: Btf | None, notes: list[str]) -> tuple[SourceLine, ...]:
    if btf is None or not dump.line_info:
        return ()
    strings: dict[int, str] = {}
    try:
        for offset in {offset for record in dump.line_info for offset in record[1:3]}:
            strings[offset] = btf.string(offset)
    except BpflensError as error:
        notes.append(f"source lines are missing: {error}")
        return ()
    return tuple(
        SourceLine(insn_off, strings[file_off], line_col >> 10, line_col & 0x3FF, strings[line_off])
        for insn_off, file_off, line_off, line_col in dump.line_info
    )


def _maps(ids: tuple[int, ...], notes: list[str]) -> tuple[Map, ...]:
    maps = []
    for id in ids:
        try:
            maps.append(read_map_info(id))
        except NotFound:
            continue  # only while a program is being unloaded
        except NotPermitted:
            notes.append("its maps may not be looked at: needs CAP_SYS_ADMIN")
            break
        except KernelError as error:
            notes.append(str(error))
    return tuple(maps)


def _jited(dump: ProgDump, functions: tuple[Function, ...], notes: list[str]) -> tuple[Jited, ...]:
    if "jited" in dump.hidden:
        notes.append("machine code is hidden by the kernel: needs CAP_SYSLOG (see kernel.kptr_restrict)")
        return ()
    if not dump.jited:
        notes.append("there is no machine code: the program runs in the interpreter (net.core.bpf_jit_enable)")
        return ()
    lens = dump.func_lens or (len(dump.jited),)
    names: dict[int, str] = {}
    if len(functions) < len(lens) and dump.ksyms:
        from bpflens.kernel.sys.kallsyms import kallsyms

        names = kallsyms().names(dump.ksyms)
    out, start = [], 0
    for index, size in enumerate(lens):
        address = dump.ksyms[index] if index < len(dump.ksyms) else 0
        name = functions[index].name if len(functions) == len(lens) else names.get(address, "")
        lines: tuple[tuple[int, int], ...] = ()
        if address:
            lines = tuple((at - address, number) for number, at in enumerate(dump.jited_lines) if address <= at < address + size)
        out.append(Jited(name or f"func#{index}", address, dump.jited[start : start + size], lines))
        start += size
    if not dump.ksyms:
        notes.append("addresses of machine code are hidden by the kernel: needs CAP_SYSLOG (see kernel.kptr_restrict)")
    return tuple(out)


def _memlock(fd: int) -> int | None:
    """Bytes of kernel memory of a program (bpf_prog_show_fdinfo())."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as stream:
            found = stream.read().partition(b"memlock:\t")[2]
        return int(found.split(b"\n", 1)[0])
    except (OSError, ValueError):
        return None

