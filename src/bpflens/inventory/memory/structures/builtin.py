"""The kernel's own classic program (row 45): the PTP classifier, made at boot in every kernel with CONFIG_NET_PTP_CLASSIFY.

net/core/ptp_classifier.c keeps it in a static variable, ptp_insns. Kernels that list data symbols (CONFIG_KALLSYMS_ALL) tell where that is;
on others the code of ptp_classify_raw() does, which loads the variable first: each address that its first instructions load from is tried,
and taken only if what it points to is a classic program's converted image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bpflens.inventory.facts.context import Context
from bpflens.inventory.facts.records import InventoryRow
from bpflens.inventory.memory.images import image_at
from bpflens.inventory.memory.structures.sockets import row
from bpflens.kernel.memory.reader import Reader

__all__ = ("converted", "find", "loads")

_CODE_BYTES = 96
_CONVERTED = b"\xac\x00"  # w0 ^= w0: the first instruction of every converted program


def find(ctx: Context, reader: Reader) -> Iterable[InventoryRow]:
    """The PTP classifier, where it can be found."""
    if not reader.can_read_memory:
        return
    from bpflens.kernel.sys.kallsyms import kallsyms

    table = kallsyms()
    variable = table.address("ptp_insns")
    function = table.address("ptp_classify_raw")
    candidates = [variable] if variable else list(loads(reader, function)) if function else []
    for candidate in candidates:
        try:
            address = reader.u64(candidate)
            if address < 1 << 63:
                continue
            image = image_at(reader, address)
        except OSError:
            continue
        if image is not None and image.image is not None and converted(image.image):
            yield row("ptp_classifier", "kernel", None, image, linktype="EN10MB")
            return


def converted(image: bytes) -> bool:
    """Whether an image is what the kernel makes of a classic program (net/core/filter.c, bpf_convert_filter)."""
    return image.startswith(_CONVERTED) and image[8:9] == b"\xac" and image[16:17] == b"\xbf"


def loads(reader: Reader, function: int, size: int = _CODE_BYTES) -> Iterator[int]:
    """The fixed addresses that the first instructions of a function refer to (x86-64 and others that capstone reads; none elsewhere)."""
    import platform

    if platform.machine() != "x86_64":
        return
    try:
        import capstone
        from capstone.x86 import X86_OP_MEM, X86_REG_RIP
    except ImportError:  # an extra: nothing is read then, as on other machines
        return

    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    machine.detail = True
    try:
        code = reader.read(function, size)
    except OSError:
        return
    for insn in machine.disasm(code, function):
        for operand in insn.operands:
            if operand.type != X86_OP_MEM:
                continue
            if operand.mem.base == X86_REG_RIP:
                yield insn.address + insn.size + operand.mem.disp
            elif not operand.mem.base and not operand.mem.index:
                yield operand.mem.disp & 0xFFFFFFFFFFFFFFFF
