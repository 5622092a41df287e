"""From the characters of C, Rust and Go to numbers: tokens, macros, expressions, constants, what a text defines, conditional parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.formats.dumps.languages.c_conditions import Kept, kept
from bpflens.formats.dumps.languages.c_constants import constant, size_of
from bpflens.formats.dumps.languages.c_expression import NotAnItem, arguments_of, evaluate
from bpflens.formats.dumps.languages.c_preprocess import Token, blank, preprocess, text_at, tokenize, without_comments
from bpflens.formats.dumps.languages.definitions import Definitions, makers, without_other_architectures


def texts(tokens: list[Token]) -> str:
    return " ".join(token.text for token in tokens)


def value(text: str, arch: str | None = None, **values: int) -> int:
    return evaluate(tokenize(text), values, arch)


# --- tokens and macros ---


def test_tokens_have_kinds_and_places() -> None:
    """A suffix is not part of a number; what is neither number nor word stays together."""
    assert tokenize('x 0x1FuL <<= "a b"') == [
        Token("word", "x", 0), Token("number", "0x1F", 2), Token("op", "<<", 9), Token("op", "=", 11), Token("string", '"a b"', 13),
    ]  # fmt: skip
    assert [(token.kind, token.text) for token in tokenize("12u16 1_000usize 3px")] == [
        ("number", "12"), ("number", "1_000"), ("other", "3px"),
    ]  # fmt: skip
    assert text_at(tokenize("a b"), 1) == "b" and text_at([], 0) == ""


@given(st.text(alphabet="ab \n/*'#\\", max_size=40))
def test_blanking_keeps_places(text: str) -> None:
    """Comments and directives leave as many characters and the same line ends."""
    for changed in (without_comments(text), blank(text), preprocess(text)[0]):
        assert [len(line) for line in changed.split("\n")] == [len(line) for line in text.split("\n")]
    assert not blank(text).strip()


def test_macros() -> None:
    """Objects, functions, pasted names, variable arguments, nested uses, continuation lines; a macro within itself stays."""
    body, tokens = preprocess("#define NR(n) __NR_##n\n#define TWO(a, b) a, NR(b)\n#define SELF SELF + 1\nTWO(x, read); SELF; NR")
    assert texts(tokens) == "x , __NR_read ; SELF + 1 ; NR"
    assert body.endswith("TWO(x, read); SELF; NR") and "define" not in body
    assert texts(preprocess("#define ALL(...) f(__VA_ARGS__)\nALL(1, (2, 3))")[1]) == "f ( 1 , ( 2 , 3 ) )"
    assert texts(preprocess("#define LONG 1 \\\n  + 2\nLONG")[1]) == "1 + 2"


def test_a_token_of_a_macro_stands_where_the_macro_is_used() -> None:
    text = "#define P 1 + 2\n  P"
    assert {token.at for token in preprocess(text)[1]} == {text.index("P", 15)}


def test_macros_that_grow_without_end_are_cut() -> None:
    """2 ** 30 tokens are asked for; some hundred thousand come."""
    doubling = "".join(f"#define M{n} M{n + 1} M{n + 1}\n" for n in range(30))
    assert 1 < len(preprocess(doubling + "M0")[1]) < 1_000_000


# --- expressions ---

OPERATORS = ["|", "^", "&", "+", "-", "==", "!=", "<", ">", "<=", ">="]


@given(st.recursive(
    st.integers(0, 1000).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=8,
))  # fmt: skip
def test_operators_as_python_has_them(text: str) -> None:
    """In brackets, so that only the operators count, which mean the same in both languages."""
    assert value(text) == int(eval(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 | 2 ^ 3 & 5", 1 | (2 ^ (3 & 5))),
        ("1 + 2 << 3", 24),
        ("1 < 2 == 1", 1),
        ("10 - 3 - 2", 5),
        ("017 + 08", 23),
        ("(u_int)-1", 0xFFFFFFFF),
        ("(unsigned char)0x1ff", 0xFF),
        ("(unsigned)-1", 0xFFFFFFFF),
        ("(int)-1", -1),
        ("(const unsigned int)-2", 0xFFFFFFFE),
        ("(BPF_LD | BPF_H | BPF_ABS) as u16", 0x28),
        ("libc::BPF_RET as u16 | unix.BPF_K", 6),
        ("u32::MAX", 0xFFFFFFFF),
        ("uint16(0x12345)", 0x2345),
        ("!0xff & 0xffff", 0xFF00),
        ("7 / 2 + 7 % 4", 6),
        ("2 && 0 || 1", 1),
        ("sizeof(struct ethhdr) + offsetof(struct iphdr, protocol)", 23),
        ("BPF_CLASS(BPF_JMP)", 5),
    ],
)
def test_values(text: str, expected: int) -> None:
    """C's precedence and casts, Rust's and Go's spellings."""
    assert value(text) == expected


def test_what_depends_on_the_machine() -> None:
    assert [value("htons(0x0800)", arch) for arch in ("x86_64", "s390x")] == [8, 0x0800]
    assert value("htonl(0x01020304)", "x86_64") == 0x04030201
    assert [value("__NR_read", arch) for arch in ("x86_64", "arm64", "i386")] == [0, 63, 3]
    with pytest.raises(NotAnItem, match="depends on the machine's byte order"):
        value("htons(1)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not an integer expression"),
        ("1 +", "not an integer expression"),
        ("(1", "no closing"),
        ("1 2", "'2' is not part"),
        ("1 / 0", "division by 0"),
        ("-7 / 2", "division of a negative number"),
        ("~0 % 2", "division of a negative number"),
        ("1 << 64", "shift by 64"),
        ("NOBODY_KNOWS", "value of NOBODY_KNOWS is not known"),
        ("f(1, 2)", r"value of f\(1, 2\) is not known"),
        ('"x"', "is not part"),
        ("(" * 200 + "1" + ")" * 200, "not an integer expression"),
        ("1" * 30, "too long"),
    ],
)
def test_no_values(text: str, said: str) -> None:
    with pytest.raises(NotAnItem, match=said):
        value(text)


def test_arguments() -> None:
    """Up to the bracket that closes; commas within others do not count, a trailing one does not either."""
    tokens = tokenize("a, f(b, c), d[1], } x")
    pieces, behind = arguments_of(tokens, 0, "}")
    assert [texts(piece) for piece in pieces] == ["a", "f ( b , c )", "d [ 1 ]"] and tokens[behind].text == "x"
    assert arguments_of(tokenize(")"), 0, ")") == ([], 1)
    with pytest.raises(NotAnItem, match="no closing"):
        arguments_of(tokenize("a, b; )"), 0, ")")


# --- constants ---


def test_constants() -> None:
    """Of headers, by architecture, of structures."""
    names = ("BPF_ABS", "ETH_P_IPV6", "SECCOMP_RET_ALLOW", "EPERM", "AUDIT_ARCH_X86_64", "BPF_FUNC_map_lookup_elem", "BPF_PSEUDO_CALL")
    assert [constant(name) for name in names] == [0x20, 0x86DD, 0x7FFF0000, 1, 0xC000003E, 1, 1]
    assert constant("offsetof", ("struct seccomp_data", "args[2]")) == 32
    assert constant("offsetof", ("struct seccomp_data", "args[6]")) is None
    assert constant("offsetof", ("struct nobody", "x")) is None
    assert constant("SECCOMP_AUDIT_ARCH", arch="arm64") == 0xC00000B7
    assert constant("SCMP_SYS", ("openat",), "x86_64") == 257
    assert constant("__NR_read") is None and constant("__NR_no_such_call", arch="x86_64") is None
    assert constant("EDEADLK") is None  # 35 here, something else on mips


def test_sizes() -> None:
    assert [size_of(name) for name in ("struct iphdr", "u_int16_t", "unsigned long long", "struct in6_addr", "struct nobody")] == [
        20, 2, 8, 16, None,
    ]  # fmt: skip


# --- what a text defines ---


def test_definitions_of_three_languages() -> None:
    text = """
const JEQ_K: u16 = 0x15;
static const unsigned int port = 60 + 7;
const (
    magic uint32 = 0x2112A442
    doubled = magic << 1 // unused
)
    local := JEQ_K | 1
enum { FIRST, SECOND, TENTH = 10, NEXT };
"""
    known = Definitions(without_comments(text), "x86_64")
    names = ["JEQ_K", "port", "magic", "local", "FIRST", "SECOND", "TENTH", "NEXT"]
    assert [known[name] for name in names] == [0x15, 67, 0x2112A442, 0x15, 0, 1, 10, 11]
    assert known["doubled"] == 0x2112A442 << 1
    assert "nobody" not in known and set(names) <= set(known) and len(known) == len(set(known))
    with pytest.raises(KeyError):
        known["nobody"]


def test_definitions_without_a_value() -> None:
    """Two values, itself, something that is not known."""
    known = Definitions("const A = 1;\nconst A = 2;\nconst B = 1;\nconst B = 0x1;\nconst C = D;\nconst D = C;\nlet e = f(x);", "x86_64")
    assert known["B"] == 1
    for name, said in {"A": "A has several values", "C": "C refers to itself", "e": "value of f"}.items():
        with pytest.raises(NotAnItem, match=said):
            known[name]


def test_makers_are_macros() -> None:
    """A closure of Rust and a function of Go; fields that are missing are 0, and a field of another structure makes it none."""
    rust = "let op = |code: u16, k: u32| libc::sock_filter { code, jt: 0, jf: 0, k };"
    go = "func jump(code uint16, to uint8) unix.SockFilter {\n\treturn unix.SockFilter{Code: code, Jt: to}\n}"
    other = "let op = |code: u16| sock_filter { code, colour: 3 };"
    assert {name: (macro.parameters, texts(list(macro.body))) for name, macro in makers(rust + go).items()} == {
        "op": (("code", "k"), "{ code , 0 , 0 , k }"),
        "jump": (("code", "to"), "{ code , to , 0 , 0 }"),
    }
    assert makers(other) == {} and makers("fn f() {}") == {}


def test_statements_of_other_architectures() -> None:
    text = '#[cfg(target_arch = "x86_64")]\nconst A: u32 = 1;\n#[cfg(target_arch = "aarch64")]\nconst A: u32 = 2;\n'
    here, there = (without_other_architectures(text, arch) for arch in ("x86_64", "arm64"))
    assert ("= 1" in here, "= 2" in here, "= 1" in there, "= 2" in there) == (True, False, False, True)
    assert len(here) == len(there) == len(text)


# --- conditional parts ---


def lines(body: str) -> list[str]:
    return [line.strip() for line in body.split("\n") if line.strip()]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("#ifdef __x86_64__", True), ("#ifdef __aarch64__", False), ("#ifndef __aarch64__", True), ("#ifdef __NR_open", True),
        ("#ifdef __NR_lstat64", False), ("#if __BYTE_ORDER == __LITTLE_ENDIAN", True), ("#if 0", False), ("#if !defined(X)", True),
        ("#define A 2\n#define B A\n#if B == 2", True), ("#define A B\n#define B A\n#if A", False),
        ("#define A 1\n#undef A\n#ifdef A", False),
        ("#define F(x) x\n#ifdef F", True), ("#define A !0\n#if A == 1", True),
    ],
)  # fmt: skip
def test_conditions(condition: str, holds: bool) -> None:
    """Both parts of an #if: exactly one remains."""
    text = f"{condition}\nyes\n#else\nno\n#endif\nrest\n"
    remains = kept(text, "x86_64")
    assert [line for line in lines(remains.body) if not line.startswith("#")] == ["yes" if holds else "no", "rest"]
    assert len(remains.body) == len(text)


def test_only_one_branch_of_several() -> None:
    text = "#if 0\na\n#elif 1\nb\n#elif 1\nc\n#else\nd\n#endif\n#if 0\n#if 1\ne\n#else\nf\n#endif\n#endif\ng\n"
    assert lines(kept(text, "x86_64").body) == ["b", "g"]


def test_what_nobody_defines_is_said_where_instructions_depend_on_it() -> None:
    assert kept("#ifdef SANDBOX_DEBUG\nBPF_STMT(6, 0),\n#endif\n", "x86_64").assumed == ("SANDBOX_DEBUG",)
    assert kept("#ifdef SANDBOX_DEBUG\nprintf();\n#endif\n", "x86_64").assumed == ()
    assert kept("#define LEVEL nobody\n#if LEVEL\nBPF_STMT(6, 0),\n#endif\n", "x86_64").assumed == ("nobody",)
    assert kept("no directives\n", "x86_64") == Kept("no directives\n", ())


def test_many_definitions_of_each_other() -> None:
    """Each value is found once, however many ways lead to it; a chain that is too long is said to be unknown."""
    woven = "".join(f"#define N{n} N{n + 1} + N{n + 2}\n" for n in range(36)) + "#define N36 1\n#define N37 1\n"
    assert "yes" in kept(f"{woven}#if N0 > 1\nyes\n#endif\n", "x86_64").body
    chain = "".join(f"#define N{n} N{n + 1}\n" for n in range(3000))
    assert kept(f"{chain}#if N0\nBPF_STMT(6, 0),\n#endif\n", "x86_64").assumed != ()
