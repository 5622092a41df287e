"""Assemble: text of any dialect that "bpflens dis" prints, in, code out.

Extended text is that of the verifier log and bpftool, r0 = *(u32 *)(r1 +4), or of llvm-objdump, r0 = *(u32 *)(r1 + 0x4). Classic text is
that of bpf_asm (ldh [12]) or of `tcpdump -d`, or numbers. Labels, comments and whole listings are read. The text shows which instruction
set it is.

In Python: bpflens.asm("r0 = 1\\nexit") gives a Program.
"""

from __future__ import annotations

import argparse
import re
import sys

from bpflens.cli.settings import Settings
from bpflens.errors import InputError, UsageError
from bpflens.targets.open import read_input

EXAMPLES = (
    "printf 'r0 = 1\\nexit\\n' | bpflens asm - --format hex",
    "bpflens dis x.o#xdp | bpflens asm - -o xdp.bin",
    "printf 'ldh [12]\\njne #0x800, drop\\nret #-1\\ndrop: ret #0\\n' | bpflens asm - --format ddd",
)

_FORMATS = {
    "raw": "the bytes of the array of struct bpf_insn or sock_filter, little-endian",
    "hex": "one line of hex digits per instruction slot",
    "c": "an initialiser of a C array",
    "ss": "classic: as ss -0 -b prints it",
    "dd": "classic: as tcpdump -dd",
    "ddd": "classic: as tcpdump -ddd",
    "xt_bpf": "classic: for iptables -m bpf and tc bytecode",
}

_NUMBERS = ("ss", "c-classic", "tcpdump-ddd", "numbers", "bytecode")
"""Sources (Origin.source) that spell classic instructions in numbers."""

_CLASSIC_LINE = re.compile(
    r"^\s*(?:\(\d+\)\s+|[A-Za-z_]\w*:\s*)?"
    r"(?:ldb|ldh|ldi?|ldxb?|ldxi|stx?|jmp|ja|j(?:eq|ne|neq|lt|le|gt|ge|set)|add|sub|mul|div|mod|neg|and|x?or|lsh|rsh|ret|tax|txa|\.insn)\b",
    re.MULTILINE,
)
_EXTENDED_LINE = re.compile(
    r"(?:^|[\s)])(?:[rw](?:10|11|\d)\s*(?:s?>>=|<<=|[-+*/%&|^s]?=|=)|goto\b|exit\b|call\b|\.quad\b|lock\s|\*\([us]\d+ )", re.MULTILINE
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("file", metavar="FILE", help='the text; "-" is standard input')
    parser.add_argument("--isa", choices=("auto", "classic", "extended"), default="auto", help="default: what the text shows")
    parser.add_argument(
        "--dialect", choices=("auto", "kernel", "llvm"), default="auto",
        help='extended: what "r1 = 0x5" is: ld_imm64 in the kernel\'s dialect, mov in LLVM\'s; every other form of both is always read',
    )  # fmt: skip
    listed = "; ".join(f"{name}: {what}" for name, what in _FORMATS.items())
    parser.add_argument("--format", choices=tuple(_FORMATS), default=None, help=f"{listed} (default: raw into a file, else hex)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to this file instead of standard output")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Assemble one text."""
    raw = read_input(args.file)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(args.file, f"not a text: byte {error.start} is not UTF-8", "binary code is read by dis") from None
    isa = args.isa if args.isa != "auto" else _isa_of(text)
    try:
        code = _classic(text, args.file) if isa == "classic" else _extended(text, args)
    except InputError:
        numbers = b"" if args.isa == "extended" else _numbers(raw, args.file)
        if not numbers:
            raise
        code, isa = numbers, "classic"
    if not code:
        raise InputError(args.file, "no instructions in the text")
    form = args.format or ("raw" if args.output or settings.json else "hex")
    if settings.json:
        import json

        from bpflens.records.asm import record

        content = json.dumps(record(code, isa)).encode() + b"\n"
    else:
        content = _formatted(code, isa, form)
    if args.output:
        from bpflens.formats.whole_file import write_whole

        write_whole(args.output, content)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    return 0


def _isa_of(text: str) -> str:
    body = re.sub(r"(?:;|//).*", "", text)
    return "classic" if _CLASSIC_LINE.search(body) and not _EXTENDED_LINE.search(body) else "extended"


def _classic(text: str, where: str) -> bytes:
    from bpflens.isa.classic.asm import assemble
    from bpflens.isa.classic.insn import encode

    try:
        return encode(assemble(text))
    except InputError as error:
        if where not in error.object:
            error.object = f"{where}: {error.object}" if error.object else where
        raise


def _numbers(raw: bytes, where: str) -> bytes:
    """The code of a classic program that is spelled in numbers, as dis prints it with --dialect ss, dd, ddd and xt_bpf."""
    from bpflens.formats.dumps.detect import read_programs

    try:
        programs = read_programs(raw, where)
    except InputError:
        return b""
    return programs[0].code if len(programs) == 1 and programs[0].origin.source in _NUMBERS else b""


def _extended(text: str, args: argparse.Namespace) -> bytes:
    from bpflens.isa.extended.asm import assemble

    return assemble(text, None if args.dialect == "auto" else args.dialect, args.file)


def _formatted(code: bytes, isa: str, form: str) -> bytes:
    if form == "raw":
        return code
    slots = [code[at : at + 8] for at in range(0, len(code), 8)]
    if form == "hex":
        return "".join(f"{slot.hex()}\n" for slot in slots).encode()
    if isa == "classic":
        from bpflens.isa.classic.insn import decode
        from bpflens.isa.classic.text import format_program

        insns = decode(code)
        if form == "c":
            body = "\n".join(f"\t{line}" for line in format_program(insns, "dd").splitlines())
            return f"struct sock_filter code[] = {{\n{body}\n}};\n".encode()
        return (format_program(insns, form) + "\n").encode()
    if form == "c":
        from bpflens.isa.extended.text import format_word

        body = "\n".join("\t" + format_word(int.from_bytes(slot, "little"), None, "raw") for slot in slots)
        return f"struct bpf_insn insns[] = {{\n{body}\n}};\n".encode()
    raise UsageError("--format", f"{form} is a format of classic code", "extended code has raw, hex and c")
