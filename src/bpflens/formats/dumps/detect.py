"""Bytes of unknown kind -> the programs inside: the content says what it is.

    read_programs(b"20\\n40 0 0 12\\n...", "-")      the output of `tcpdump -ddd`
    read_programs(b"\\x7fELF...", "x.o")            an object file

One reader per format; all but the last few find their programs among other lines, so that a pasted mail with three dumps gives three
programs. To add a format, write a reader and add it to `READERS` or, if it needs the whole text for itself, to `WHOLE_TEXT_READERS`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from bpflens.errors import InputError, NothingThere, SourceWarning
from bpflens.formats.dumps.source_text import SourceText, is_text
from bpflens.lean import replace
from bpflens.program import Isa, Origin, Program

__all__ = ("LIMITS", "READERS", "WHOLE_TEXT_READERS", "limit_of", "read_programs", "select")

_OTHER_FILES = (
    (b"\xd4\xc3\xb2\xa1", "a packet capture (pcap)"),
    (b"\xa1\xb2\xc3\xd4", "a packet capture (pcap)"),
    (b"\x4d\x3c\xb2\xa1", "a packet capture (pcap)"),
    (b"\xa1\xb2\x3c\x4d", "a packet capture (pcap)"),
    (b"\x0a\x0d\x0d\x0a", "a packet capture (pcapng)"),
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"\xfd7zXZ\0", "compressed (xz)"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
    (b"PK\x03\x04", "an archive (zip)"),
    (b"!<arch>\n", "an archive (ar)"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"\x9f\xeb\x01", "BTF without code"),
    (b"\xeb\x9f\x01", "BTF without code"),
)

LIMITS = {"an object file": 1 << 30, "text": 1 << 28, "raw code": 1 << 26}
"""Bytes that are read of each kind: a million instructions take 8 MB raw and 100 MB as text; objects may be executables."""


def limit_of(head: bytes) -> tuple[str, int]:
    """(kind, bytes that are read of it) of an input that begins so."""
    if head.startswith(b"\x7fELF"):
        kind = "an object file"
    elif any(head.startswith(magic) for magic, _ in _OTHER_FILES):
        return "a file of this kind", max(len(head), 1 << 20)
    else:
        kind = "text" if is_text(head) else "raw code"
    return kind, LIMITS[kind]


_LOOKED_FOR = (
    "looked for: ELF objects; raw or hex struct sock_filter and struct bpf_insn; ss -b, tcpdump -d -dd -ddd, tc, iptables-save; "
    "bpf_asm; dumps of seccomp-tools and libseccomp; C arrays; bpftool prog dump xlated and llvm-objdump -d, text or JSON"
)


_WITHOUT_CODE = (
    (
        r"^[ \t]*(?:Netid\b|p_raw\b|p_dgr\b)",
        "an ss table without filters: its sockets have none, or extended ones, or ss ran without -b",
        "`ss -0 -b` shows classic filters of packet sockets; `bpflens ls` finds the others",
    ),
    (
        r"\{len=\d+, filter=(?:0x[0-9a-f]+|NULL)\}",
        "strace shows the address of a filter, not its instructions: they could not be read, or it ran with -e abbrev or raw",
        "run it with -v -e abbrev=none",
    ),
    (
        r"\barch=\S+ syscall=\S+ compat=",
        "an audit line of seccomp, without the filter's code",
        "the rule behind it: bpflens seccomp FILTER --event LINE; the filter of a live process is pid:N",
    ),
    (
        r"\bjited\b[^\n]*\bjit_tag\b|\bdirect-action\b|^\d+: [a-z_]+ [^\n]*\btag [0-9a-f]{16}\b",
        "this list names extended programs, without their code",
        "read a program by its number: bpflens dis id:N",
    ),
    (r"--object-pinned\b", "the rule names a pinned program, without its code", "read it by its path: bpflens dis pin:PATH"),
    (
        r"^bpf_prog_[0-9a-f]{16}|^ *[0-9a-f]+:\t(?:push|mov|nop|endbr64)\b",
        "machine code of a JITed program",
        "`bpftool prog dump xlated` has the instructions; bpflens dis id:N --jited shows both",
    ),
)
"""Dumps that are known but hold no code: sign, reason, what to do."""


def read_programs(data: bytes, where: str, part: str = "", linktype: str | None = None, isa: str | None = None) -> list[Program]:
    """Every program in `data`, at least one; InputError where there is none, or where what is there is damaged.

    `where` names the input in messages. `part` selects: a section or function of an object, a name or a number from 1 in a text with
    several programs. `linktype` (DLT name) overrides what the context says. `isa` ("classic", "extended") decides what raw bytes are.
    What of the source is damaged and was left out is told of by a SourceWarning.
    """
    programs = _read(data, where, part, linktype, isa)
    for said in dict.fromkeys(said for program in programs for said in program.origin.warnings):
        warnings.warn(f"{where}: {said}", SourceWarning, stacklevel=2)
    return programs


def _read(data: bytes, where: str, part: str, linktype: str | None, isa: str | None) -> list[Program]:
    kind = None if isa is None else _isa(isa)
    if data.startswith(b"\x7fELF"):
        from bpflens.formats.elf.programs import read_object

        return read_object(data, where, part=part)
    if not data or not data.strip():
        raise InputError(where, "is empty")
    if is_text(data):
        programs = _read_text(SourceText(data, where), kind)
    else:
        programs = [_read_binary(data, where, kind)]
    if kind is not None and any(program.isa is not kind for program in programs):
        raise InputError(where, f"holds {programs[0].isa.value} code, not {kind.value}")
    if linktype is not None:
        programs = [replace(program, origin=replace(program.origin, linktype=linktype)) for program in programs]
    return select(programs, part, where)


def select(programs: list[Program], part: str, where: str) -> list[Program]:
    """Those of `programs` that `part` names: by name, section or function, or by number from 1; all where it is empty."""
    if not part:
        return programs
    named = [
        program
        for program in programs
        if part in (program.name, program.section) or any(function.name == part for function in program.functions)
    ]
    if named:
        return named
    if part.isascii() and part.isdigit() and 0 < int(part[:9]) <= len(programs) and len(part) < 10:
        return [programs[int(part) - 1]]
    names = sorted({name for program in programs for name in (program.name, program.section) if name})
    there = f"{len(programs)} program{'s' * (len(programs) > 1)}" + (f": {', '.join(names[:20])}" if names else "")
    raise InputError(f"{where}#{part}", f"no such program; {where} holds {there}")


def _isa(name: str) -> Isa:
    try:
        return Isa(name)
    except ValueError:
        raise InputError(f"--isa {name}", "there are classic and extended") from None


def _read_binary(data: bytes, where: str, isa: Isa | None) -> Program:
    from bpflens.formats.dumps.tools.raw_code import from_bytes

    for magic, kind in _OTHER_FILES:
        if data.startswith(magic):
            hint = "run a filter over it with `bpflens run FILTER FILE`" if "capture" in kind else None
            raise InputError(where, f"is {kind}, not a BPF program", hint)
    return from_bytes(data, Origin("raw", where), isa)


def _read_text(text: SourceText, isa: Isa | None) -> list[Program]:
    programs = [program for reader in READERS for program in reader(text)]
    try:
        programs += _quads(text)
    except InputError:  # bare numbers among other things are no reason to refuse these
        if not programs:
            raise
    if programs:
        return sorted(programs, key=lambda program: program.origin.lineno or 0)
    for whole in WHOLE_TEXT_READERS:
        programs = whole(text, isa)
        if programs:
            return programs
    for sign, reason, hint in _WITHOUT_CODE:
        if re.search(sign, text.body, re.MULTILINE):
            raise (NothingThere if reason.startswith("an ss table") else InputError)(text.where, reason, hint)
    raise InputError(text.where, "no BPF program recognised", _LOOKED_FOR)


# Each looks for a cheap sign first: importing a reader costs more than reading a small dump.


def _json(text: SourceText) -> list[Program]:
    if text.body.lstrip()[:1] not in ("[", "{"):
        return []
    from bpflens.formats.dumps.tools.json import read

    return read(text)


def _own_listing(text: SourceText) -> list[Program]:
    if " insn" not in text.body:
        return []
    from bpflens.formats.dumps.listings.own_listing import read

    return read(text)


def _ss(text: SourceText) -> list[Program]:
    if "bpf" not in text.body:
        return []
    from bpflens.formats.dumps.tools.ss import read

    return read(text)


def _tc(text: SourceText) -> list[Program]:
    if "bytecode" not in text.body:
        return []
    from bpflens.formats.dumps.tools.tc import read_tc

    return read_tc(text)


def _iptables(text: SourceText) -> list[Program]:
    if "--bytecode" not in text.body and "match bpf" not in text.body:
        return []
    from bpflens.formats.dumps.tools.tc import read_iptables

    return read_iptables(text)


def _tcpdump(text: SourceText) -> list[Program]:
    if "(000)" not in text.body and not re.search(r"^[ \t]*\(\d{3,7}\)[ \t]", text.body, re.MULTILINE):
        return []
    from bpflens.formats.dumps.listings.classic_listing import read_tcpdump

    return read_tcpdump(text)


def _seccomp_dump(text: SourceText) -> list[Program]:
    if not re.search(r"^[ \t]*L?\d{4,5}: (?:0x)?[0-9a-f]{2} ", text.body, re.MULTILINE):
        return []
    from bpflens.formats.dumps.listings.classic_listing import read_seccomp_dump

    return read_seccomp_dump(text)


def _pfc(text: SourceText) -> list[Program]:
    if "($arch " not in text.body and "($syscall " not in text.body:
        return []
    from bpflens.formats.dumps.seccomp.pfc import read

    return read(text)


def _go_bpf(text: SourceText) -> list[Program]:
    if "bpf." not in text.body and "ret " not in text.body:
        return []
    from bpflens.formats.dumps.languages.go_bpf import read_structs, read_text

    return [*read_structs(text), *read_text(text)]


def _gnu_objdump(text: SourceText) -> list[Program]:
    if "elf64-bpf" not in text.body and "%r" not in text.body:
        return []
    from bpflens.formats.dumps.listings.gnu_objdump import looks_like_gnu_objdump, read

    return read(text) if looks_like_gnu_objdump(text.body) else []


def _llvm_objdump(text: SourceText) -> list[Program]:
    if "Disassembly" not in text.body and not re.search(r"^[ \t]*\d{1,8}:[ \t]+[0-9a-f]{2} |^[0-9a-f]{16} <", text.body, re.MULTILINE):
        return []
    from bpflens.formats.dumps.listings.llvm_objdump import read

    return read(text)


def _bpftool(text: SourceText) -> list[Program]:
    if not re.search(r"\([0-9a-f]{2}\)", text.body):
        return []
    from bpflens.formats.dumps.listings.extended_listing import read_bpftool

    return read_bpftool(text)


def _c_source(text: SourceText) -> list[Program]:
    if "{" not in text.body and "BPF_" not in text.body:
        return []
    from bpflens.formats.dumps.languages.c_source import read

    return read(text)


def _quads(text: SourceText) -> list[Program]:
    from bpflens.formats.dumps.tools.quads import read

    return read(text)


def _hex(text: SourceText, isa: Isa | None) -> list[Program]:
    from bpflens.formats.dumps.tools.raw_code import read_hex

    return read_hex(text, isa)


def _assembler(text: SourceText, isa: Isa | None) -> list[Program]:
    from bpflens.formats.dumps.listings.classic_listing import looks_like_bpf_asm, read_bpf_asm
    from bpflens.formats.dumps.listings.extended_listing import looks_like_assembler, read_assembler

    if isa is not Isa.EXTENDED and looks_like_bpf_asm(text.body):
        return read_bpf_asm(text)
    if isa is not Isa.EXTENDED and "A" in text.body and "=" in text.body:
        from bpflens.formats.dumps.seccomp.seccomp_asm import looks_like_seccomp_asm, read

        if looks_like_seccomp_asm(text.body):
            return read(text)
    return read_assembler(text) if looks_like_assembler(text.body) else []


READERS: tuple[Callable[[SourceText], list[Program]], ...] = (
    _json,
    _own_listing,
    _ss,
    _tc,
    _iptables,
    _tcpdump,
    _seccomp_dump,
    _pfc,
    _go_bpf,
    _gnu_objdump,
    _llvm_objdump,
    _bpftool,
    _c_source,
)
"""Readers that find programs among other lines, most particular first; each sees what the ones before it have not taken. Bare
numbers (quads.py) come after all of them."""

WHOLE_TEXT_READERS: tuple[Callable[[SourceText, Isa | None], list[Program]], ...] = (_hex, _assembler)
"""Readers that need the whole text for themselves, asked where the others found nothing."""
