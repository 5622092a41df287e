"""What is known of a kernel: which function a call's distance means, which ids kfuncs and ksyms have, what accesses become.

`LiveKernel` asks the running kernel and keeps the answers on disk (cache.py); `Exported` has those of another machine, from a file
that `bpflens original --templates` wrote there.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.isa.extended.contexts import SOCKET_KINDS, context_struct
from bpflens.kernel.sys import fact_cache
from bpflens.original.rewrites.ctx_access import Row
from bpflens.original.rewrites.helper_symbols import helper_ids
from bpflens.original.rewrites.pattern import parse
from bpflens.original.rewrites.template import Rewrite, TemplateSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.btf.btf import Btf

__all__ = ("SPECIALISED", "LiveKernel", "live_kernel", "pack", "static_templates", "unpack")

# Specialised implementations of kfuncs (specialize_kfunc, kernel/bpf/verifier.c): symbol -> the kfunc that the program called.
SPECIALISED = {
    "bpf_dynptr_from_skb_rdonly": "bpf_dynptr_from_skb", "bpf_set_dentry_xattr_locked": "bpf_set_dentry_xattr",
    "bpf_remove_dentry_xattr_locked": "bpf_remove_dentry_xattr", "bpf_arena_alloc_pages_sleepable": "bpf_arena_alloc_pages",
    "bpf_arena_free_pages_sleepable": "bpf_arena_free_pages", "bpf_dynptr_from_file_sleepable": "bpf_dynptr_from_file",
    "bpf_arena_alloc_pages_non_sleepable": "bpf_arena_alloc_pages", "bpf_arena_free_pages_non_sleepable": "bpf_arena_free_pages",
}  # fmt: skip
_FUNC, _VAR = 12, 14
_CORE_TEXT = 1 << 26


def static_templates() -> tuple[Rewrite, ...]:
    """The rewrites that do not depend on offsets in kernel structures."""
    from bpflens.original.rewrites import alu, calls, maps

    return (*maps.TEMPLATES, *calls.TEMPLATES, *alu.TEMPLATES)


def _functions() -> set[str]:
    """The functions that images of the static rewrites call."""
    return {slot.symbol for rewrite in static_templates() for slot in parse(rewrite.image) if slot.symbol}


class LiveKernel:
    """The running kernel. Answers are read from the cache, then asked for; `save` writes new ones back."""

    def __init__(self) -> None:
        known = fact_cache.load("symbols") or {}
        self._imms: dict[str, int | None] = known.get("imms", {})
        self._names: dict[str, str] = known.get("names", {})
        self._ids: dict[str, int | None] = known.get("ids", {})
        self._changed = False
        self._sets: dict[tuple[int, int | None], TemplateSet] = {}

    def save(self) -> None:
        """Keep what was learnt."""
        if self._changed:
            fact_cache.store("symbols", {"imms": self._imms, "names": self._names, "ids": self._ids})
            self._changed = False

    def types(self) -> Btf | None:
        """Those of vmlinux."""
        from bpflens.errors import BpflensError

        try:
            return self._vmlinux()
        except BpflensError:
            return None

    def algorithm(self) -> str:
        """The hash that this kernel makes tags with: SHA-1 up to v6.17, SHA-256 from v6.18; "" where no program can be loaded."""
        if "algorithm" not in self._names:
            from bpflens.original.kernels.probe import learn_algorithm

            found = learn_algorithm()
            if not found:
                return ""
            self._names["algorithm"] = found
            self._changed = True
        return self._names["algorithm"]

    def symbol(self, imm: int) -> str:
        """Name of the function that a call with this imm names; "" where it is unknown."""
        key = str(imm)
        name = self._names.get(key)
        if name is None:
            from bpflens.kernel.sys.kallsyms import kallsyms

            base = kallsyms().call_base()
            name = (kallsyms().name(base + imm) or "") if base is not None else ""
            if name and abs(imm) < _CORE_TEXT:  # modules lie elsewhere after each boot
                self._names[key] = name
                self._changed = True
        return name

    def imm_of(self, name: str) -> int | None:
        """Address of a kernel function less __bpf_call_base; None where it does not exist or addresses are hidden."""
        if name not in self._imms:
            from bpflens.kernel.sys.kallsyms import kallsyms

            base = kallsyms().call_base()
            if base is None:
                return None
            for wanted in {name, *_functions()} - set(self._imms):  # the symbols of the kernel are read once, not for each of them
                address = kallsyms().address(wanted)
                self._imms[wanted] = address - base if address is not None else None
            self._changed = True
        return self._imms[name]

    def helpers(self, imm: int, prog_type: int) -> tuple[int, ...]:
        """Ids of the helpers that a call may be, likeliest first."""
        name = self.symbol(imm)
        return helper_ids(name, prog_type) if name else ()

    def kfunc(self, imm: int) -> int | None:
        """BTF id of the kfunc that a call names."""
        name = self.symbol(imm)
        return self.kfunc_id(SPECIALISED.get(name, name)) if name else None

    def kfunc_id(self, name: str) -> int | None:
        """BTF id of a function by name, in vmlinux or in the module that has it."""
        return self._btf_id(name, _FUNC)

    def ksym_id(self, name: str) -> int | None:
        """BTF id of a variable or function of the kernel by name."""
        found = self._btf_id(name, _VAR)
        return found if found is not None else self._btf_id(name, _FUNC)

    def ksyms(self, address: int) -> tuple[int, ...]:
        """BTF ids of variables and functions at a kernel address."""
        from bpflens.kernel.sys.kallsyms import kallsyms

        name = kallsyms().name(address)
        if not name:
            return ()
        ids = (self._btf_id(name, _VAR), self._btf_id(name, _FUNC))
        return tuple(id for id in ids if id is not None)

    def _btf_id(self, name: str, kind: int) -> int | None:
        """The id; that vmlinux does not have a name is remembered too, for reading its types takes longer than all else."""
        key = f"{kind} {name}"
        if key not in self._ids:
            from bpflens.btf.btf import Kind

            self._ids[key] = self._vmlinux().find(name, Kind(kind))
            self._changed = True
        found = self._ids[key]
        return found if found is not None else self._module_btf_id(name, kind)

    def _module_btf_id(self, name: str, kind: int) -> int | None:
        import os

        from bpflens.btf.btf import Kind
        from bpflens.errors import BpflensError
        from bpflens.kernel.btf import module

        try:
            modules = [entry for entry in os.listdir("/sys/kernel/btf") if entry != "vmlinux"]
        except OSError:
            return None
        for entry in modules:
            try:
                btf = module(entry)
                found = btf.find(name, Kind(kind))
            except BpflensError:
                continue
            if found is not None and found >= btf.first_id:
                return found
        return None

    def _vmlinux(self) -> Btf:
        from bpflens.kernel.btf import vmlinux

        return vmlinux()

    def templates(self, prog_type: int, attach_type: int | None) -> TemplateSet:
        """The templates for images of a program type; context accesses are learnt (and kept) at the first question."""
        key = (prog_type, attach_type)
        if key not in self._sets:
            struct_name = context_struct(prog_type)
            accesses: dict[tuple[str, str], Sequence[Row]] = {}
            if struct_name:
                accesses["ctx", struct_name] = self.context_rows(prog_type, attach_type)
            for kind, rows in self.socket_rows().items():
                accesses[kind, SOCKET_KINDS[kind]] = rows
            self._sets[key] = TemplateSet(static_templates(), self, accesses)
        return self._sets[key]

    def context_rows(self, prog_type: int, attach_type: int | None) -> Sequence[Row]:
        """Rows of the context of a program type (learn.py)."""
        name = f"context-{prog_type}-{'any' if attach_type is None else attach_type}"
        rows = unpack(fact_cache.load(name))
        if rows is None:
            from bpflens.original.kernels.probe import learn_context

            rows = learn_context(prog_type, attach_type)
            fact_cache.store(name, pack(rows))
        return rows

    def socket_rows(self) -> dict[str, Sequence[Row]]:
        """Rows of the sockets that helpers hand out."""
        known = fact_cache.load("sockets")
        if isinstance(known, dict):
            rows = {kind: unpack(packed) for kind, packed in known.items() if kind in SOCKET_KINDS}
            if all(value is not None for value in rows.values()):
                return {kind: value for kind, value in rows.items() if value is not None}
        from bpflens.original.kernels.probe import learn_sockets

        learnt = learn_sockets()
        fact_cache.store("sockets", {kind: pack(rows) for kind, rows in learnt.items()})
        return dict(learnt)


def pack(rows: Sequence[Row]) -> list[Any]:
    """Rows as JSON."""
    return [[row.form, row.offset, row.size, int(row.same), *row.image] for row in rows]


def unpack(packed: Any) -> Sequence[Row] | None:
    """Rows from JSON; None where they are malformed."""
    if not isinstance(packed, list):
        return None
    rows = []
    for row in packed:
        if not isinstance(row, list) or len(row) < 4 or set(map(type, row[1:])) != {int}:
            return None
        form, offset, size, same, *image = row
        if min(row[1:]) < 0 or (image and max(image) >= 1 << 64):
            return None
        if form not in ("R", "W", "I") or size not in (1, 2, 4, 8) or offset >= 1 << 15:
            return None
        rows.append(Row(form, offset, size, bool(same), tuple(image)))
    return tuple(rows)


_live: LiveKernel | None = None


def live_kernel() -> LiveKernel:
    """The running kernel, one per process."""
    global _live
    if _live is None:
        _live = LiveKernel()
    return _live
