"""What a text itself calls by a name: constants of C, Rust and Go, and small functions that make one instruction.

    const JEQ_K: u16 = 0x15;          magicCookie = 0x2112A442 (in a Go const block)          enum { PORT = 67 };
    let op = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };   ──►   op(a, b, c, d) is { a, b, c, d }

A constant is evaluated when an instruction uses it. One that is written twice with different values has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bpflens.formats.dumps.languages.c_expression import NotAnItem, evaluate
from bpflens.formats.dumps.languages.c_preprocess import Macro, Token, tokenize

__all__ = ("Definitions", "makers", "without_other_architectures")

_NAMED = re.compile(
    r"\b(?:const|let|static|constexpr|var)\b(?:[ \t]+(?:mut|const|unsigned|int|static|[a-z_0-9]+_t|__?u\d+|u_int|char|long|short|auto))*"
    r"[ \t]+(?P<name>[A-Za-z_]\w*)(?:[ \t]*:[ \t]*[\w:]+|[ \t]+u?int\d*)?[ \t]*:?=[ \t]*(?P<value>[^=;\n{}][^;\n{}]*?)[ \t]*(?:;|$)",
    re.MULTILINE,
)
_GO_BLOCK = re.compile(r"\bconst[ \t]*\(([^()]{0,4000}(?:\([^()]{0,200}\)[^()]{0,4000}){0,40})\)")
_GO_ROW = re.compile(r"^[ \t]*([A-Za-z_]\w*)(?:[ \t]+\w+)?[ \t]*=[ \t]*([^\n]+?)[ \t]*$", re.MULTILINE)
_GO_SHORT = re.compile(r"^[ \t]*([A-Za-z_]\w*)[ \t]*:=[ \t]*([^\n{}]+?)[ \t]*$", re.MULTILINE)
_ENUM = re.compile(r"\benum\b[^{};]{0,80}\{([^{}]{0,8000})\}")
_ENUM_ROW = re.compile(r"([A-Za-z_]\w*)\s*(?:=\s*([^,]+))?(?:,|\Z)")
_CFG = re.compile(r'#\[cfg\(target_arch\s*=\s*"(\w+)"\)\]\s*([^;{}]{0,400};)')
_RUST_ARCH = {"x86_64": "x86_64", "aarch64": "arm64", "arm": "arm", "x86": "i386", "riscv64": "riscv64", "s390x": "s390x"}
_STRUCT = r"(?:[\w:.&*]{0,40}[:.&*])?(?:sock_filter|SockFilter|RawInstruction)"
_MAKER = re.compile(
    rf"(?:\blet\s+(?:mut\s+)?(?P<closure>\w+)\s*=\s*(?:move\s*)?\|(?P<bound>[^|]{{0,300}})\|\s*(?:->\s*{_STRUCT}\s*)?(?:\{{\s*)?"
    rf"|\b(?:fn|func)\s+(?P<function>\w+)\s*\((?P<given>[^()]{{0,300}})\)\s*(?:->\s*)?{_STRUCT}\s*\{{\s*(?:return\s+)?)"
    rf"{_STRUCT}\s*\{{(?P<fields>[^{{}}]{{0,600}})\}}"
)
_FIELDS = ("code", "jt", "jf", "k")


class Definitions(Mapping[str, int]):
    """name -> value of the constants that a text defines; NotAnItem from a look-up where a value cannot be evaluated."""

    def __init__(self, body: str, arch: str) -> None:
        self._arch = arch
        self._texts: dict[str, set[str]] = {}
        self._busy: set[str] = set()
        for found in _NAMED.finditer(body):
            self._add(found["name"], found["value"])
        for block in _GO_BLOCK.finditer(body):
            for row in _GO_ROW.finditer(block[1]):
                self._add(row[1], row[2])
        for row in _GO_SHORT.finditer(body):
            self._add(row[1], row[2])
        self._enums(body)

    def _add(self, name: str, value: str) -> None:
        self._texts.setdefault(name, set()).add(" ".join(value.split()))

    def _enums(self, body: str) -> None:
        for enum in _ENUM.finditer(body):
            before = ""
            for row in _ENUM_ROW.finditer(enum[1]):
                value = row[2].strip() if row[2] else f"{before} + 1" if before else "0"
                self._add(row[1], value)
                before = row[1]

    def __contains__(self, name: object) -> bool:
        return name in self._texts

    def __getitem__(self, name: str) -> int:
        texts = self._texts[name]
        if name in self._busy:
            raise NotAnItem(f"the value of {name[:40]} refers to itself")
        self._busy.add(name)
        try:
            values = {evaluate(tokenize(text), self, self._arch) for text in texts}
        finally:
            self._busy.discard(name)
        if len(values) != 1:
            raise NotAnItem(f"{name[:40]} has several values here")
        return values.pop()

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def without_other_architectures(body: str, arch: str) -> str:
    """Rust's `#[cfg(target_arch = "...")]` in front of a statement: those of other architectures are blanked."""

    def one(match: re.Match[str]) -> str:
        return match[0] if _RUST_ARCH.get(match[1]) == arch else re.sub(r"[^\n]", " ", match[0])

    return _CFG.sub(one, body) if "target_arch" in body else body


def makers(body: str) -> dict[str, Macro]:
    """Functions and closures that do nothing but make one instruction of their parameters, as macros."""
    found: dict[str, Macro] = {}
    if "ilter" not in body and "RawInstruction" not in body:
        return found
    for match in _MAKER.finditer(body):
        parameters = _parameters(match["bound"] if match["closure"] else match["given"])
        fields = _fields(match["fields"])
        if fields:
            tokens: list[Token] = [Token("op", "{", 0)]
            for index, field in enumerate(_FIELDS):
                tokens += [*([Token("op", ",", 0)] if index else []), *tokenize(fields.get(field, "0"))]
            found[match["closure"] or match["function"]] = Macro(parameters, (*tokens, Token("op", "}", 0)))
    return found


def _parameters(text: str) -> tuple[str, ...]:
    """`code: u16, k: u32` of Rust, `code uint16, k uint32` of Go."""
    return tuple(piece.replace("mut ", "").split(":")[0].split()[0] for piece in text.split(",") if piece.strip())


def _fields(text: str) -> dict[str, str]:
    """Field -> expression; Rust writes only the name where both are the same."""
    fields: dict[str, str] = {}
    for piece in text.split(","):
        name, colon, value = piece.partition(":")
        name = name.strip()
        key = "code" if name.lower() == "op" else name.lower()
        if not name:
            continue
        if key not in _FIELDS:
            return {}
        fields[key] = value.strip() if colon else name
    return fields
