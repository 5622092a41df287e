"""Which parts of a C text the preprocessor keeps: #if, #ifdef, #elif, #else, for one architecture.

    #ifdef __NR_lstat64                    on x86_64: there is none, so that the line is left out
    #if __BYTE_ORDER == __LITTLE_ENDIAN    by the architecture
    #ifdef SANDBOX_DEBUG                   nobody defines it here: left out, and said where instructions depend on it

What the headers define is defined, and so is what the text itself has defined above.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bpflens.formats.dumps.languages.c_constants import constant
from bpflens.formats.dumps.languages.c_expression import NotAnItem, evaluate
from bpflens.formats.dumps.languages.c_preprocess import DIRECTIVE, blank, tokenize
from bpflens.isa.classic.syscalls import find_arch

__all__ = ("Kept", "kept")

_PARTS = re.compile(r"\s*#\s*([a-z]+)\s*(.*)\Z", re.DOTALL)
_DEFINED = re.compile(r"\bdefined\s*(?:\(\s*(\w+)\s*\)|(\w+))")
_INSTRUCTIONS = re.compile(r"BPF_|__NR_|SECCOMP_|SC_|\bALLOW|\bDENY|\{\s*0x")
_LOOKED_AT = 4000  # characters of a part that are searched for instructions
_DEPTH = 100  # names that stand for each other
_PREDEFINED = {
    "x86_64": "__x86_64__ __x86_64 __amd64__ __amd64 __LP64__ _LP64",
    "x32": "__x86_64__ __x86_64 __ILP32__",
    "i386": "__i386__ __i386 i386 __ILP32__",
    "arm64": "__aarch64__ __LP64__ _LP64",
    "arm": "__arm__ __ARM_EABI__",
    "riscv64": "__riscv __riscv_xlen __LP64__",
    "s390x": "__s390__ __s390x__ __LP64__",
    "ppc64le": "__powerpc__ __powerpc64__ __PPC64__ __LP64__",
    "ppc64": "__powerpc__ __powerpc64__ __PPC64__ __LP64__",
    "loongarch64": "__loongarch__ __loongarch64 __LP64__",
    "mips": "__mips__ __mips",
    "mipsel": "__mips__ __mips",
}
_ALWAYS = frozenset(("__linux__", "__linux", "linux", "__GNUC__", "__STDC__", "__unix__"))
_ORDERS = (
    ("__BYTE_ORDER", "__LITTLE_ENDIAN", "__BIG_ENDIAN"),
    ("BYTE_ORDER", "LITTLE_ENDIAN", "BIG_ENDIAN"),
    ("__BYTE_ORDER__", "__ORDER_LITTLE_ENDIAN__", "__ORDER_BIG_ENDIAN__"),
)
_MARKS = ("__LITTLE_ENDIAN__", "__BIG_ENDIAN__", "__LITTLE_ENDIAN_BITFIELD", "__BIG_ENDIAN_BITFIELD", "__ARMEB__")


class Kept(NamedTuple):
    """`body`: the text with what is left out blanked. `assumed`: names that instructions depend on and nobody here defines."""

    body: str
    assumed: tuple[str, ...]


class _Branch:
    """One #if with what became of it: `taken` once a part of it holds, `on` while the part that is read does."""

    def __init__(self, on: bool, holds: bool, doubts: set[str], at: int) -> None:
        self.outer, self.on, self.taken, self.doubts, self.at = on, on and holds, holds, doubts, at


def kept(body: str, arch: str) -> Kept:
    """The text that remains for an architecture; `body` has no comments."""
    if "#" not in body or not re.search(r"^[ \t]*#[ \t]*if", body, re.MULTILINE):
        return Kept(body, ())
    known = _Names(arch)
    stack: list[_Branch] = []
    pieces: list[str] = []
    assumed: dict[str, None] = {}
    at = 0
    for directive in DIRECTIVE.finditer(body):
        on = stack[-1].on if stack else True
        piece = body[at : directive.start()]
        pieces.append(piece if on else blank(piece))
        at = directive.end()
        parts = _PARTS.match(directive[0].replace("\\\n", " "))
        word, rest = (parts[1], parts[2].strip()) if parts else ("", "")
        if word in ("if", "ifdef", "ifndef"):
            holds, doubts = known.holds(word, rest)
            stack.append(_Branch(on, holds, doubts, directive.end()))
        elif word in ("elif", "else") and stack:
            branch = stack[-1]
            holds, doubts = known.holds("if", rest) if word == "elif" else (True, set())
            branch.doubts |= doubts
            branch.on = branch.outer and holds and not branch.taken
            branch.taken = branch.taken or holds
        elif word == "endif" and stack:
            branch = stack.pop()
            if branch.doubts and branch.outer and _INSTRUCTIONS.search(body, branch.at, min(directive.start(), branch.at + _LOOKED_AT)):
                assumed |= dict.fromkeys(sorted(branch.doubts))
        elif on and word == "define":
            known.define(rest)
        elif on and word == "undef":
            known.own.pop(rest.split()[0] if rest else "", None)
        pieces.append(directive[0] if on and word in ("define", "undef") else blank(directive[0]))
    tail = body[at:]
    pieces.append(tail if not stack or stack[-1].on else blank(tail))
    return Kept("".join(pieces), tuple(assumed))


class _Names:
    """What is defined, and with which value."""

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self.own: dict[str, str] = {}
        big = find_arch(arch).big_endian
        self.set = _ALWAYS | frozenset(_PREDEFINED.get(arch, "").split())
        self.values = dict.fromkeys(self.set, 1)
        for order, little, other in _ORDERS:
            self.values |= {little: 1234, other: 4321, order: 4321 if big else 1234}
        self.absent = frozenset(_MARKS) | frozenset(name for names in _PREDEFINED.values() for name in names.split())

    def define(self, rest: str) -> None:
        found = re.match(r"(\w+)(\(?)(.*)", rest, re.DOTALL)
        if found:
            self.own[found[1]] = "" if found[2] else found[3].strip()

    def defined(self, name: str) -> bool:
        return name in self.own or name in self.values or constant(name, arch=self.arch) is not None

    def doubtful(self, name: str) -> bool:
        """Nobody here can know whether a build defines it."""
        system_call = name.startswith(("__NR_", "SYS_"))
        return not (self.defined(name) or name in self.absent or system_call or name.startswith("__"))

    def holds(self, word: str, rest: str) -> tuple[bool, set[str]]:
        """(whether the condition holds, names in it that are taken as not defined)."""
        doubts: set[str] = set()
        if word != "if":
            name = rest.split()[0] if rest else ""
            if self.doubtful(name):
                doubts.add(name)
            return self.defined(name) is (word == "ifdef"), doubts

        def is_defined(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if self.doubtful(name):
                doubts.add(name)
            return str(int(self.defined(name)))

        tokens = tokenize(_DEFINED.sub(is_defined, rest))
        known: dict[str, int] = {}
        values = {token.text: self.value(token.text, doubts, known) for token in tokens if token.kind == "word"}
        try:
            return evaluate(tokens, values, self.arch, logical=True) != 0, doubts
        except NotAnItem:
            doubts.add(rest[:40])
            return False, doubts

    def value(self, name: str, doubts: set[str], known: dict[str, int], depth: int = 0) -> int:
        """`known`: what was found for the same condition; a name within its own definition is 0."""
        if name in known:
            return known[name]
        if name in self.own:
            known[name] = 0
            known[name] = self.own_value(name, doubts, known, depth)
            return known[name]
        if name in self.values:
            return self.values[name]
        found = constant(name, arch=self.arch)
        if found is None and self.doubtful(name):
            doubts.add(name)
        return found or 0

    def own_value(self, name: str, doubts: set[str], known: dict[str, int], depth: int) -> int:
        """What the text itself has defined, perhaps by other names of its own; a doubt where that is no number."""
        tokens = tokenize(self.own[name])
        words = [token.text for token in tokens if token.kind == "word"]
        try:
            if depth == _DEPTH:
                raise NotAnItem(name)
            values = {word: self.value(word, doubts, known, depth + 1) for word in words}
            return evaluate(tokens, values, self.arch, logical=True)
        except NotAnItem:
            doubts.add(name)
            return 0
