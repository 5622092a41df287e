"""What memory accesses of an extended program mean: context fields by name, fields of kernel structures, fields of map values.

    r2 = *(u32 *)(r1 +16)      ──►  ["skb->protocol"]        code as loaded
    r2 = *(u64 *)(r1 +16)      ──►  ["sk_buff->dev"]         xlated image, with the kernel's BTF
    r2 = *(u32 *)(r2 +224)     ──►  ["net_device->ifindex"]
    r3 = *(u64 *)(r0 +8)       ──►  ["value->bytes"]         map value with BTF

By the types of pointers (pointer_types.py): what is not known gets no note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bpflens.analysis.pointer_types import CTX, Facts, Pointer
from bpflens.analysis.typed_walk import typed_walk
from bpflens.errors import BpflensError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.contexts import SOCKET_KINDS, access_name, context_struct
from bpflens.isa.extended.insn import Insn, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf
    from bpflens.program import Program

__all__ = ("annotate",)

# What the context of a program type is in the kernel (include/linux/bpf_types.h: the second type of BPF_PROG_TYPE).
_KERNEL_CONTEXT = {
    **dict.fromkeys((1, 3, 4, 8, 10, 11, 12, 14, 19), "sk_buff"), 6: "xdp_buff", 7: "bpf_perf_event_data_kern", 9: "sock",
    13: "bpf_sock_ops_kern", 16: "sk_msg", 18: "bpf_sock_addr_kern", 21: "sk_reuseport_kern", 22: "bpf_flow_dissector",
    23: "bpf_sysctl_kern", 25: "bpf_sockopt_kern", 30: "bpf_sk_lookup_kern", 2: "pt_regs", 32: "bpf_nf_ctx",
}  # fmt: skip
_ARGUMENTS = (26, 29, 27, 17, 24)  # TRACING, LSM, STRUCT_OPS, RAW_TRACEPOINT: an array of the function's arguments


def annotate(program: Program) -> dict[int, list[str]]:
    """Notes by slot, for code as loaded and for xlated images of the running kernel."""
    kernel = _kernel_btf(program)
    names = _Names(program, kernel)
    facts = Facts(program.type or 0, {m.id: m.type for m in program.maps if m.id is not None}, names.member, names.struct)
    facts.context = names.context()
    notes: dict[int, list[str]] = {}
    functions = [function.start for function in program.functions]
    helper_of = names.helper_of if program.xlated else None
    for slot, insn, state in typed_walk(_insns(program), facts, functions, program.xlated, helper_of):
        kind = insn.code & 7
        if kind not in (op.LDX, op.ST, op.STX) or (insn.code & 0xE0 == op.NOSPEC and kind == op.ST):
            continue
        pointer = state.get(insn.src if kind == op.LDX else insn.dst)
        if pointer is None or pointer.offset is None:
            continue
        text = names.access(pointer, pointer.offset + insn.off, op.SIZE_BYTES[insn.code & 0x18])
        if text:
            notes[slot] = [text]
    return notes


def _insns(program: Program) -> Sequence[Insn]:
    """The instructions; calls that a linker would fill in are calls of nothing known."""
    insns = list(decode(program.code))
    for relocation in program.relocations:
        slot = relocation.off_insns
        if slot < len(insns) and insns[slot].code == op.CALL_CODE:
            insns[slot] = Insn.make(op.CALL_CODE)
    return insns


@dataclass(slots=True)
class _Names:
    """Look-ups in the kernel's types and the program's own; each answer is kept."""

    program: Program
    kernel: Btf | None
    fields: dict[tuple[int, int, int], tuple[str, Pointer | None]] = field(default_factory=dict)

    def context(self) -> Pointer:
        """What r1 points to at the start."""
        program = self.program
        if self.kernel is None or not program.xlated:
            return CTX
        if program.type in _ARGUMENTS:
            return CTX
        type_id = self.struct(_KERNEL_CONTEXT.get(program.type or 0, ""))
        return Pointer("struct", type_id) if type_id else CTX

    def struct(self, name: str) -> int | None:
        """Id of a kernel structure."""
        from bpflens.btf.btf import Kind

        return self.kernel.find(name, Kind.STRUCT) if self.kernel is not None and name else None

    def helper_of(self, slot: int, insn: Insn) -> int:
        """The helper that a call of an image is, by the name of its target."""
        from bpflens.isa.extended.helpers import helper_id

        name = self.program.symbols.get(slot, "")
        return (helper_id(name) or 0) if insn.src == 0 and name else insn.imm if 0 < insn.imm < 512 and insn.src == 0 else 0

    def member(self, type_id: int, offset: int, size: int) -> Pointer | None:
        """What a pointer member of a kernel structure points to."""
        return self.field(type_id, offset, size)[1]

    def field(self, type_id: int, offset: int, size: int) -> tuple[str, Pointer | None]:
        """(path of the member, what it points to)."""
        key = (type_id, offset, size)
        if key not in self.fields:
            self.fields[key] = self._field(*key)
        return self.fields[key]

    def _field(self, type_id: int, offset: int, size: int) -> tuple[str, Pointer | None]:
        from bpflens.btf.btf import Kind
        from bpflens.btf.fields import field_at

        btf = self.kernel
        if btf is None or offset < 0:
            return "", None
        try:
            found = field_at(btf, type_id, offset, size)
            if found is None:
                return "", None
            end = btf.skip_modifiers(found.type_id)
            target = None
            if btf.kind(end) is Kind.PTR:
                pointee = btf.skip_modifiers(btf.type(end).ref)
                if btf.kind(pointee) in (Kind.STRUCT, Kind.UNION):
                    target = Pointer("struct", pointee)
            return found.path, target
        except BpflensError:
            return "", None

    def access(self, pointer: Pointer, offset: int, size: int) -> str:
        """A memory access in words, "" where nothing is known of it."""
        program = self.program
        if pointer.kind == "ctx":
            return access_name(context_struct(program.type or 0), offset, size) if not program.xlated or self.kernel is None else ""
        if pointer.kind in SOCKET_KINDS:
            return access_name(SOCKET_KINDS[pointer.kind], offset, size) if not program.xlated else ""
        if pointer.kind == "flow_keys":
            return access_name("bpf_flow_keys", offset, size)
        if pointer.kind == "struct" and self.kernel is not None:
            path = self.field(pointer.what, offset, size)[0]
            return f"{self.kernel.name(pointer.what)}->{path}" if path else ""
        if pointer.kind == "map_value":
            return self._map_value(pointer.what, offset, size)
        return ""

    def _map_value(self, id: int, offset: int, size: int) -> str:
        from bpflens.btf.fields import member_at

        btf = self.program.btf
        found = next((m for m in self.program.maps if m.id == id), None)
        if btf is None or found is None or not found.value_type_id or found.datasec:
            return ""
        try:
            path = member_at(btf, found.value_type_id, offset, size)
        except BpflensError:
            return ""
        return f"value->{path}" if path else ""


def _kernel_btf(program: Program) -> Btf | None:
    """The running kernel's types, for images that it made."""
    if not program.xlated or program.origin.source != "kernel":
        return None
    from bpflens.kernel.btf import vmlinux

    try:
        return vmlinux()
    except BpflensError:
        return None
