"""Rewriting rules of one kernel in a file, for dumps of its programs that are inverted elsewhere.

    there:  bpflens original --export-templates kernel.json
    here:   bpflens original --templates kernel.json dump.json

The file has what the kernel makes of context accesses, per program type, and the distances of kernel functions from __bpf_call_base
with the BTF ids of kfuncs: all that LiveKernel would ask the running kernel for. Plain JSON, schema templates/1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from bpflens.errors import InputError
from bpflens.formats.whole_file import write_whole
from bpflens.isa.extended.contexts import CONTEXT, IDENTITY, SOCKET_KINDS, context_struct
from bpflens.original.image.image import Image
from bpflens.original.image.tag import ALGORITHMS
from bpflens.original.kernels.running import SPECIALISED, LiveKernel, live_kernel, pack, static_templates, unpack
from bpflens.original.rewrites.ctx_access import Row
from bpflens.original.rewrites.helper_symbols import helper_ids, may_be_helper
from bpflens.original.rewrites.kernel_protocol import Kernel
from bpflens.original.rewrites.pattern import parse
from bpflens.original.rewrites.template import TemplateSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpflens.btf.btf import Btf

__all__ = ("SCHEMA", "Exported", "export_templates", "kernel_of")

SCHEMA = "templates/1"


def export_templates(path: str) -> int:
    """Write the running kernel's rules; the number of rules. Asks the kernel about every program type (half a second)."""
    kernel = live_kernel()
    contexts = {str(t): pack(kernel.context_rows(t, None)) for t in sorted(CONTEXT) if t not in IDENTITY}
    sockets = {kind: pack(rows) for kind, rows in kernel.socket_rows().items()}
    imms = _functions(kernel)
    ids = _kfunc_ids(imms)
    kernel.save()
    uname = os.uname()
    record = {
        "schema": SCHEMA,
        "kernel": {"release": uname.release, "version": uname.version, "machine": uname.machine},
        "contexts": contexts,
        "sockets": sockets,
        "functions": imms,
        "btf_ids": ids,
        "algorithm": kernel.algorithm(),
    }
    write_whole(path, json.dumps(record, separators=(",", ":")))
    return sum(len(rows) for rows in (*contexts.values(), *sockets.values())) + len(static_templates())


def _functions(kernel: LiveKernel) -> dict[str, int]:
    """Distance of every function that a program of this kernel may call."""
    from bpflens.kernel.sys.kallsyms import kallsyms

    table = kallsyms()
    base = table.call_base()
    if base is None:
        raise InputError("/proc/kallsyms", "shows no addresses to this process", "needs CAP_SYSLOG (see kernel.kptr_restrict)")
    names: dict[str, int] = {}
    for address, name in table.functions():
        if may_be_helper(name):
            names.setdefault(name, address - base)
    for template in static_templates():
        for slot in parse(template.image):
            if slot.symbol and (imm := kernel.imm_of(slot.symbol)) is not None:
                names[slot.symbol] = imm
    return names


def _kfunc_ids(functions: Mapping[str, int]) -> dict[str, int]:
    """BTF ids of the functions that programs may call by them."""
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import vmlinux

    btf = vmlinux()
    return {name: id for id in btf.ids(Kind.FUNC) if (name := btf.name(id)).startswith("bpf_") and name in functions}


def kernel_of(templates: str | None, btf: str | None, image: Image) -> Kernel:
    """The kernel whose rules or whose BTF is in a file; the running one without either."""
    if templates is not None:
        return Exported(templates)
    if btf is None:
        return live_kernel()
    from bpflens.btf.btf import Btf
    from bpflens.original.kernels.from_btf import DescribedKernel

    try:
        with open(btf, "rb") as stream:
            return DescribedKernel(Btf.parse(stream.read(), where=btf), image)
    except OSError as error:
        raise InputError(btf, error.strerror or str(error)) from None


class Exported:
    """A kernel that is known from a file."""

    def __init__(self, path: str) -> None:
        try:
            with open(path, encoding="ascii") as stream:
                record = json.load(stream)
        except OSError as error:
            raise InputError(path, error.strerror or str(error)) from None
        except ValueError:
            raise InputError(path, "is no JSON", 'it is written by "bpflens original --export-templates"') from None
        if not isinstance(record, dict) or record.get("schema") != SCHEMA:
            raise InputError(path, f"does not have the schema {SCHEMA}")
        try:
            self._imms = {str(name): int(imm) for name, imm in record["functions"].items()}
            self._ids = {str(name): int(id) for name, id in record["btf_ids"].items()}
            self._contexts = {int(t): _rows(rows, path) for t, rows in record["contexts"].items()}
            self._algorithm = str(record.get("algorithm", ""))
            if self._algorithm not in ("", *ALGORITHMS):
                raise ValueError
            self._sockets = {str(kind): _rows(rows, path) for kind, rows in record["sockets"].items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError(path, "is malformed") from None
        self._names = {imm: name for name, imm in reversed(self._imms.items())}
        self._sets: dict[int, TemplateSet] = {}

    def helpers(self, imm: int, prog_type: int) -> tuple[int, ...]:
        """See rewrites/kernel_protocol.py."""
        name = self._names.get(imm)
        return helper_ids(name, prog_type) if name else ()

    def kfunc(self, imm: int) -> int | None:
        """See rewrites/kernel_protocol.py."""
        name = self._names.get(imm, "")
        return self.kfunc_id(SPECIALISED.get(name, name))

    def kfunc_id(self, name: str) -> int | None:
        """See rewrites/kernel_protocol.py."""
        return self._ids.get(name)

    def ksyms(self, address: int) -> tuple[int, ...]:
        """Addresses are of one boot, so a file has none."""
        return ()

    def imm_of(self, name: str) -> int | None:
        """See rewrites/kernel_protocol.py."""
        return self._imms.get(name)

    def types(self) -> Btf | None:
        """The file does not have them."""
        return None

    def algorithm(self) -> str:
        """See rewrites/kernel_protocol.py."""
        return self._algorithm

    def templates(self, prog_type: int, attach_type: int | None) -> TemplateSet:
        """See rewrites/kernel_protocol.py."""
        if prog_type not in self._sets:
            accesses: dict[tuple[str, str], Sequence[Row]] = {
                (kind, SOCKET_KINDS[kind]): rows for kind, rows in self._sockets.items() if kind in SOCKET_KINDS
            }
            if prog_type in self._contexts:
                accesses["ctx", context_struct(prog_type)] = self._contexts[prog_type]
            self._sets[prog_type] = TemplateSet(static_templates(), self, accesses)
        return self._sets[prog_type]


def _rows(packed: Any, path: str) -> Sequence[Row]:
    rows = unpack(packed)
    if rows is None:
        raise InputError(path, "is malformed")
    return rows
