"""The line above a listing that says what the program is, as a comment of the assembler.

    ; id:12: xdp xdp_pass, tag 3b185187f1855c4c, 2 insns, as rewritten by the kernel
"""

from __future__ import annotations

from bpflens.program import Isa, Program
from bpflens.view.style.printable import printable

__all__ = ("heading",)


def heading(program: Program) -> str:
    """What is known of a program in one line, without the comment sign."""
    origin = program.origin
    parts = _extended(program) if program.isa is Isa.EXTENDED else [f"classic {program.name}".rstrip()]
    if program.section and not origin.where.endswith(f"#{program.section}"):
        parts.append(f"section {program.section}")
    if program.tag:
        parts.append(f"tag {program.tag}")
    parts.append(f"{program.insn_count} insn{'' if program.insn_count == 1 else 's'}")
    if program.license:
        parts.append(f"license {program.license}")
    if program.xlated:
        parts.append("as rewritten by the kernel")
    if origin.linktype:
        parts.append(f"link type {origin.linktype}")
    if origin.note:
        parts.append(origin.note)
    lineno = f":{origin.lineno}" if origin.lineno and f":{origin.lineno}" not in origin.where else ""
    return printable(f"{origin.where}{lineno}: " + ", ".join(part for part in parts if part))


def _extended(program: Program) -> list[str]:
    """Type, name and hook."""
    from bpflens.isa.extended.names import ATTACH_TYPES, PROG_TYPES, type_name

    attach_type = program.expected_attach_type
    head = " ".join(filter(None, (type_name(PROG_TYPES, program.type), program.name)))
    return [head, f"attach type {type_name(ATTACH_TYPES, attach_type)}"] if attach_type else [head]
