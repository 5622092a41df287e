"""C text as tokens, with the macros that the text itself defines put in place.

    #define DENY(nr) BPF_JUMP(BPF_JMP + BPF_JEQ + BPF_K, __NR_##nr, 0, 1), BPF_STMT(BPF_RET + BPF_K, SECCOMP_RET_KILL)
    DENY(ptrace),        ──►   BPF_JUMP ( BPF_JMP + BPF_JEQ + BPF_K , __NR_ptrace , 0 , 1 ) , BPF_STMT ( ... ) ,

Object-like and function-like macros, `##`, nested uses (C11 6.10.3); a macro is not expanded within itself. A token that came out of a
macro stands where the macro was used. Headers are not read: their constants are in c_constants.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ("DIRECTIVE", "Macro", "Token", "blank", "preprocess", "text_at", "tokenize", "without_comments")

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*[a-z](?:[^\n\\]|\\\n|\\.)*+", re.MULTILINE)  # with its continuation lines
_DEFINE = re.compile(r"\s*#\s*define\s+(\w+)(\(([^()]*)\))?(.*)\Z", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<blank>\s+)|(?P<number>0[xX][0-9a-fA-F_]++|[0-9][0-9_]*+)(?:[uUlL]{0,3}|[ui](?:8|16|32|64|size))(?![A-Za-z0-9_])"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<string>\"[^\"\n]*\")|(?P<op><<|>>|->|::|##|==|!=|<=|>=|&&|\|\||\.\.\.|[^\sA-Za-z0-9_])"
    r"|(?P<other>[A-Za-z0-9_]+|.)",
    re.DOTALL,
)
_BUDGET = 200_000  # tokens that the macros of one text may become
_DEPTH = 40


class Token(NamedTuple):
    """`kind`: "number", "word", "string", "op", "other"; `at` is where it stands in the text."""

    kind: str
    text: str
    at: int


class Macro(NamedTuple):
    """`parameters` are None where it is used without brackets."""

    parameters: tuple[str, ...] | None
    body: tuple[Token, ...]


def tokenize(body: str) -> list[Token]:
    """The tokens of C text without comments."""
    return [
        Token(match.lastgroup or "", match[match.lastgroup or 0], match.start())
        for match in _TOKEN.finditer(body)
        if match.lastgroup != "blank"
    ]


def text_at(tokens: Sequence[Token], at: int) -> str:
    """The text of token `at`, "" behind the last."""
    return tokens[at].text if at < len(tokens) else ""


def without_comments(body: str) -> str:
    """The text with comments blanked."""
    return _COMMENT.sub(blank, body)


def preprocess(body: str, more: Mapping[str, Macro] | None = None) -> tuple[str, list[Token]]:
    """(the text with directives blanked, its tokens with the text's own macros expanded); `body` has no comments, `more` are macros that it
    has in other words."""
    macros: dict[str, Macro] = dict(more or {})
    for directive in DIRECTIVE.finditer(body):
        if define := _DEFINE.match(directive[0].replace("\\\n", " ").replace("\\\r\n", " ")):
            parameters = None if define[2] is None else tuple(name.strip() for name in define[3].split(",") if name.strip())
            macros[define[1]] = Macro(parameters, tuple(tokenize(define[4])))
    body = DIRECTIVE.sub(blank, body)
    tokens = tokenize(body)
    if macros and any(token.text in macros for token in tokens):
        tokens = _Expansion(macros).of(tokens)
    return body, tokens


def blank(match: re.Match[str] | str) -> str:
    """As many blanks, with the line ends where they were."""
    return re.sub(r"[^\n]", " ", match if isinstance(match, str) else match[0])


class _Expansion:
    def __init__(self, macros: dict[str, Macro]) -> None:
        self.macros = macros
        self.budget = _BUDGET

    def of(self, tokens: Sequence[Token], within: frozenset[str] = frozenset()) -> list[Token]:
        """`tokens` with macros in place; those `within` whose bodies they stand are left alone."""
        out: list[Token] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            macro = self.macros.get(token.text) if token.kind == "word" and token.text not in within else None
            at += 1
            if macro is None or len(within) >= _DEPTH:
                out.append(token)
                continue
            arguments: list[list[Token]] = []
            if macro.parameters is not None:
                if text_at(tokens, at) != "(":
                    out.append(token)
                    continue
                arguments, at = _arguments(tokens, at + 1)
            body = _substituted(macro, arguments)
            self.budget -= len(body) + 1
            if self.budget < 0:
                return [*out, *tokens[at:]]
            out += self.of([Token(each.kind, each.text, token.at) for each in body], within | {token.text})
        return out


def _arguments(tokens: Sequence[Token], at: int) -> tuple[list[list[Token]], int]:
    """The arguments of a macro from behind its "(", and the index behind the ")"."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    while at < len(tokens):
        text = tokens[at].text
        if depth == 0 and text == ")":
            return arguments, at + 1
        depth += (text in "([{") - (text in ")]}")
        if depth == 0 and text == ",":
            arguments.append([])
        else:
            arguments[-1].append(tokens[at])
        at += 1
    return arguments, at


def _substituted(macro: Macro, arguments: list[list[Token]]) -> list[Token]:
    """The body with arguments for parameters, and the tokens around `##` pasted together."""
    values: dict[str, list[Token]] = {}
    for index, name in enumerate(macro.parameters or ()):
        if name == "...":
            name, given = "__VA_ARGS__", [token for argument in arguments[index:] for token in (*argument, Token("op", ",", 0))][:-1]
        else:
            given = arguments[index] if index < len(arguments) else []
        values[name] = given
    out: list[Token] = []
    paste = False
    for token in macro.body:
        if token.text == "##":
            paste = True
            continue
        piece = values.get(token.text, [token]) if token.kind == "word" else [token]
        if paste and out and piece:
            joined = tokenize(out.pop().text + piece[0].text)
            piece = [*joined, *piece[1:]]
        out += piece
        paste = False
    return out
