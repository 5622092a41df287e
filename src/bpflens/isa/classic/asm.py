"""Assembler for classic code: bpf_asm's syntax (tools/bpf/bpf_exp.y of the kernel) and the listing of `tcpdump -d`.

    start:  ldh [12]            ; or (000) ldh      [12]
            jne #0x800, drop    ;    (001) jeq      #0x800           jt 2\tjf 3
            ret #-1
    drop:   ret #0

Free form as in bpf_asm: newlines are blanks, comments are `;` to the end of the line, `/* */`, and lines that begin with `#`. More than
bpf_asm takes: `.insn code, jt, jf, k` for any word at all, `;! k=0x5` for fields without meaning, both branches on jne, jlt and jle, a
number after `ja` (bpf_dbg and tcpdump print the target's index), tcpdump's names for ancillary loads, `#pktlen`, and a bare `ret`.
One pass over tokens, one over labels.
"""

from __future__ import annotations

import re

from bpflens.errors import InputError
from bpflens.isa.classic.insn import SockFilter
from bpflens.isa.classic.table import ANCILLARY_BY_ASM_NAME, ROWS, SKF_AD_OFF, Form, Row
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ("MNEMONICS", "assemble")

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\f\v]+) | (?P<newline>\n) | ;!(?P<unused>[^;\n]*) | (?P<comment>;[^\n]*|/\*.*?\*/)
      | (?P<number>(?:0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)(?![A-Za-z0-9_]))
      | (?P<word>[A-Za-z_.][A-Za-z0-9_.]*) | (?P<punct>[][:,()+*&\#%-])""",
    re.VERBOSE | re.DOTALL,
)
_UNUSED = re.compile(r"(jt|jf|k)=0x([0-9a-f]{1,8})\Z")
_HASH_LINE = re.compile(r"^#.*$", re.MULTILINE)

_OPERAND_OF_FORM = {
    Form.ABS: "[k]",
    Form.IND: "[x + k]",
    Form.MSH: "4*([k]&0xf)",
    Form.IMM: "#k",
    Form.LEN: "#len",
    Form.MEM: "M[k]",
    Form.ALU_K: "#k",
    Form.ALU_X: "x",
    Form.NEG: "nothing",
    Form.JA: "label",
    Form.JUMP_K: "#k",
    Form.JUMP_X: "x",
    Form.RET_K: "#k",
    Form.MISC: "nothing",
}


def _kind(row: Row) -> str:
    return row.operand if row.form is Form.RET_REG else _OPERAND_OF_FORM[row.form]


_FORMS: dict[str, dict[str, Row]] = {}
for _row in ROWS:
    _FORMS.setdefault(_row.mnemonic, {})[_kind(_row)] = _row
_FORMS["ldx"]["4*([k]&0xf)"] = _FORMS["ldxb"]["4*([k]&0xf)"]
_FORMS["ret"]["nothing"] = _FORMS["ret"]["a"]  # tcpdump's spelling
_FORMS["ja"]["number"] = _FORMS["ja"]["label"]  # bpf_dbg's and tcpdump's spelling: the target's index
_FORMS["jmp"] = _FORMS["ja"]
_FORMS["ldi"] = dict.fromkeys(("#k", "number"), _FORMS["ld"]["#k"])  # ldi 5 is ldi #5
_FORMS["ldxi"] = dict.fromkeys(("#k", "number"), _FORMS["ldx"]["#k"])
_INVERTED = {"jne": "jeq", "jneq": "jeq", "jlt": "jge", "jle": "jgt"}
for _alias, _base in _INVERTED.items():
    _FORMS[_alias] = _FORMS[_base]

MNEMONICS: frozenset[str] = frozenset(_FORMS) | {".insn"}
"""Every word that may begin an instruction."""


class _Token(NamedTuple):
    kind: str  # "number", "word", "punct", "unused", "end"
    text: str
    line: int


class _Branch(NamedTuple):
    """A label that insn `pc` refers to through `field` ("jt", "jf", "k"); `target` is a label's name or an absolute index."""

    pc: int
    field: str
    target: str | int
    line: int


class _Operand(NamedTuple):
    kind: str
    k: int = 0
    label: str | int | None = None


def assemble(text: str, where: str = "", first_line: int = 1) -> tuple[SockFilter, ...]:
    """Instructions of a text in bpf_asm's or tcpdump -d's syntax; InputError "WHERE:LINE: reason" for anything else."""
    return _Assembler(text, where, first_line).run()


class _Assembler:
    def __init__(self, text: str, where: str, first_line: int) -> None:
        self.where = where
        self.first_line = first_line
        self.tokens = self._tokenize(text)
        self.at = 0
        self.insns: list[list[int]] = []
        self.labels: dict[str, int] = {}
        self.branches: list[_Branch] = []
        self.next_index: int | None = None  # the number that a tcpdump line must have

    def _fail(self, line: int, reason: str) -> NoReturn:
        raise InputError(f"{self.where}:{line}" if self.where else f"line {line}", reason)

    def _tokenize(self, text: str) -> list[_Token]:
        if "#" in text:
            text = _HASH_LINE.sub("", text)
        tokens: list[_Token] = []
        line, at, match = self.first_line, 0, _TOKEN.match
        while at < len(text):
            found = match(text, at)
            if found is None:
                if text.startswith("/*", at):
                    self._fail(line, "comment /* without */")
                word = re.match(r"\S{1,20}", text[at : at + 20])
                self._fail(line, f"cannot read {word[0] if word else text[at]!a}")
            kind = found.lastgroup or ""
            if kind in ("number", "word", "punct", "unused"):
                tokens.append(_Token(kind, found[kind], line))
            elif kind != "blank":
                line += found[0].count("\n")
            at = found.end()
        tokens.append(_Token("end", "the end of the text", line))
        return tokens

    # one token of look-ahead

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def _take(self) -> _Token:
        token = self.tokens[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def _accept(self, text: str) -> bool:
        if self.token.text.lower() == text and self.token.kind != "end":
            self.at += 1
            return True
        return False

    def _expect(self, *texts: str) -> None:
        for text in texts:
            if not self._accept(text):
                self._fail(self.token.line, f"expected {text!r}, found {self._seen()}")

    def _seen(self) -> str:
        return self.token.text if self.token.kind == "end" else repr(self.token.text[:40])

    def _number(self) -> int:
        """A 32-bit number with any signs, in C's notation; returned modulo 2^32."""
        negative = False
        while self.token.text in ("+", "-") and self.token.kind == "punct":
            negative ^= self._take().text == "-"
        token = self.token
        if token.kind != "number":
            self._fail(token.line, f"expected a number, found {self._seen()}")
        self.at += 1
        value = self._value(token)
        if value > (0x80000000 if negative else 0xFFFFFFFF):
            self._fail(token.line, f"{token.text} does not fit in 32 bits")
        return -value & 0xFFFFFFFF if negative else value

    def _value(self, token: _Token) -> int:
        digits = token.text.lower()
        if len(digits) > 40:
            self._fail(token.line, "number is too long")
        if digits.startswith(("0x", "0b")):
            return int(digits, 0)
        if len(digits) > 1 and digits[0] == "0":
            if not set(digits) <= set("01234567"):
                self._fail(token.line, f"{token.text} is not an octal number")
            return int(digits, 8)
        return int(digits)

    # grammar

    def run(self) -> tuple[SockFilter, ...]:
        while self.token.kind != "end":
            self._statement()
        if not self.insns:
            self._fail(self.token.line, "no instructions")
        for branch in self.branches:
            self._resolve(branch)
        return tuple(SockFilter(*insn) for insn in self.insns)

    def _statement(self) -> None:
        token = self._take()
        if token.text == "(":
            self._listing_index(token.line)
            token = self._take()
        elif token.kind == "unused":
            self._unused_fields(token)
            return
        elif token.kind == "word" and self.token.text == ":":
            self.at += 1
            if token.text in self.labels:
                self._fail(token.line, f"label {token.text!r} is already insn {self.labels[token.text]}")
            self.labels[token.text] = len(self.insns)
            return
        if token.kind != "word":
            self._fail(token.line, f"expected an instruction, found {token.text[:40]!r}")
        mnemonic = token.text.lower()
        if mnemonic == ".insn":
            self.insns.append(self._directive())
            return
        forms = _FORMS.get(mnemonic)
        if forms is None:
            self._unknown(token)
        operand = self._operand(token.line, mnemonic)
        row = forms.get(operand.kind)
        if row is None:
            self._fail(token.line, f"{mnemonic} does not take {operand.kind}; it takes {', '.join(forms)}")
        pc = len(self.insns)
        insn = [row.code, 0, 0, operand.k]
        self.insns.append(insn)
        if row.form is Form.JA and operand.label is not None:
            self.branches.append(_Branch(pc, "k", operand.label, token.line))
        elif row.form in (Form.JUMP_K, Form.JUMP_X):
            self._targets(insn, pc, mnemonic in _INVERTED, token.line)

    def _unused_fields(self, token: _Token) -> None:
        """`;! jt=0x1 k=0x5` behind an instruction."""
        fields = [_UNUSED.match(word) for word in token.text.split()]
        if not self.insns or not all(fields):
            self._fail(token.line, f"cannot read ;!{token.text[:40]}; it is for unused fields, as in: tax ;! k=0x5")
        for field in filter(None, fields):
            index = ("code", "jt", "jf", "k").index(field[1])
            self.insns[-1][index] = int(field[2], 16) & (0xFFFFFFFF if field[1] == "k" else 0xFF)

    def _listing_index(self, line: int) -> None:
        token = self._take()
        if token.kind != "number" or not token.text.isdigit() or len(token.text) > 9:
            self._fail(token.line, f"expected an instruction's number after (, found {token.text[:40]!r}")
        index = int(token.text)  # decimal, with leading zeros
        self._expect(")")
        if self.next_index is not None and index != self.next_index:
            self._fail(line, f"instruction ({index:03d}) where ({self.next_index:03d}) is expected")
        self.next_index = index + 1

    def _unknown(self, token: _Token) -> NoReturn:
        if token.text == "unimp":
            self._fail(token.line, "tcpdump prints unknown code as unimp and leaves out its jt, jf and k; use -dd or -ddd")
        from difflib import get_close_matches

        near = get_close_matches(token.text[:20].lower(), MNEMONICS, 1)
        self._fail(token.line, f"no instruction {token.text[:40]!r}" + (f"; did you mean {near[0]}?" if near else ""))

    def _directive(self) -> list[int]:
        fields: list[int] = []
        for name, bits in (("code", 16), ("jt", 8), ("jf", 8), ("k", 32)):
            if fields:
                self._accept(",")
            line = self.token.line
            value = self._number()
            if value >> bits:
                self._fail(line, f".insn: {name} {value:#x} does not fit in {bits} bits")
            fields.append(value)
        return fields

    def _operand(self, line: int, mnemonic: str) -> _Operand:
        """The operand of an instruction that began on `line`."""
        token = self.token
        if set(_FORMS[mnemonic]) == {"nothing"} or token.kind == "end":
            return _Operand("nothing")
        if mnemonic == "ret" and token.line != line:
            return _Operand("nothing")
        if token.kind == "number" or token.text in ("+", "-"):
            return self._scaled_or_index(mnemonic)
        if self._accept("#"):
            if self.token.kind == "word":
                return self._named(self._take())
            return _Operand("#k", self._number())
        if self._accept("["):
            return self._address()
        if self._accept("%"):
            token = self._take()
            if token.text.lower() not in ("a", "x"):
                self._fail(token.line, f"expected register a or x after %, found {token.text[:40]!r}")
            return _Operand(token.text.lower())
        if token.kind == "word":
            if mnemonic in ("ja", "jmp"):
                return _Operand("label", label=self._take().text)
            if token.text.lower() in ("a", "x"):
                return _Operand(self._take().text.lower())
            if token.text in ("m", "M"):
                self.at += 1
                self._expect("[")
                k = self._number()
                self._expect("]")
                return _Operand("M[k]", k)
            if mnemonic.startswith("ld"):
                return self._named(self._take())
        if mnemonic == "ret":
            return _Operand("nothing")
        return self._fail(token.line, f"expected the operand of {mnemonic}, found {self._seen()}")

    def _scaled_or_index(self, mnemonic: str) -> _Operand:
        """`4*([k]&0xf)`, or the absolute index after `ja`, or the value of ldi and ldxi."""
        line = self.token.line
        value = self._number()
        if not self._accept("*"):
            return _Operand("number", value, value if value < 0x80000000 else value - 0x100000000)
        self._expect("(", "[")
        k = self._number()
        self._expect("]", "&")
        mask = self._number()
        self._expect(")")
        if value != 4 or mask != 0xF:
            self._fail(line, f"{mnemonic} computes 4*([k]&0xf) and nothing else")
        return _Operand("4*([k]&0xf)", k)

    def _address(self) -> _Operand:
        """The rest of `[k]`, `[x + k]`, `[%x + k]` or `[name]`."""
        token = self.token
        self._accept("%")
        if self._accept("x"):
            k = 0 if self.token.text == "]" else self._number()
            self._expect("]")
            return _Operand("[x + k]", k)
        if token.kind == "word":
            operand = self._named(self._take())
        else:
            operand = _Operand("[k]", self._number())
        self._expect("]")
        return operand

    def _named(self, token: _Token) -> _Operand:
        name = token.text.lower()
        if name in ("len", "pktlen"):
            return _Operand("#len")
        ancillary = ANCILLARY_BY_ASM_NAME.get(name)
        if ancillary is None:
            names = ", ".join(sorted(ANCILLARY_BY_ASM_NAME))
            self._fail(token.line, f"no extension {token.text[:40]!r}; there are len, {names}")
        return _Operand("[k]", SKF_AD_OFF + ancillary.offset)

    def _targets(self, insn: list[int], pc: int, inverted: bool, line: int) -> None:
        """`, lt, lf` or `, lt` or tcpdump's `jt N jf N`."""
        first, second = ("jf", "jt") if inverted else ("jt", "jf")
        if self._accept("jt"):
            self._index_target(insn, pc, 1)
            self._expect("jf")
            self._index_target(insn, pc, 2)
            return
        self._expect(",")
        self.branches.append(_Branch(pc, first, self._label(), line))
        if self._accept(","):
            self.branches.append(_Branch(pc, second, self._label(), line))

    def _index_target(self, insn: list[int], pc: int, field: int) -> None:
        line = self.token.line
        target = self._number()
        skip = target - (self.next_index or pc + 1)
        if not 0 <= skip <= 255:
            self._fail(line, f"target {target} is not 0 to 255 instructions ahead")
        insn[field] = skip

    def _label(self) -> str:
        token = self._take()
        if token.kind != "word":
            self._fail(token.line, f"expected a label, found {token.text[:40]!r}")
        return token.text

    def _resolve(self, branch: _Branch) -> None:
        if isinstance(branch.target, int):
            base = 0 if self.next_index is None else self.next_index - len(self.insns)
            self.insns[branch.pc][3] = (branch.target - base - branch.pc - 1) & 0xFFFFFFFF
            return
        target = self.labels.get(branch.target)
        if target is None:
            self._fail(branch.line, f"no label {branch.target[:40]!r}")
        skip = target - branch.pc - 1
        if branch.field == "k":
            self.insns[branch.pc][3] = skip & 0xFFFFFFFF
            return
        if not 0 <= skip <= 255:
            self._fail(branch.line, f"label {branch.target[:40]!r} is {skip} instructions ahead; a branch spans 0 to 255")
        self.insns[branch.pc][1 if branch.field == "jt" else 2] = skip
