"""A text as readers see it: cleaned, taken piece by piece, with the way back to the lines that were there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.errors import InputError
from bpflens.formats.dumps.source_text import SourceText, is_text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", True),
        (b"ld [12]\n", True),
        ("größer\t\x1b[1m".encode(), True),
        (b"comm caf\xe9 of a process", True),
        ("ld".encode("utf-16"), True),
        (b"\xff\xfe\x01\x02", False),
        (b"\x95\0\0\0\0\0\0\0", False),
        (b"\xb7\x00", False),
        (bytes(range(200, 256)), False),
        (b"ab\x01\x02\x03", False),
    ],
)
def test_text_or_not(data: bytes, text: bool) -> None:
    assert is_text(data) is text


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        ("> > ret #0", "ret #0"), (">>\tret #0", "ret #0"), ("| ret #0", "ret #0"), ("\x1b[1;31mret\x1b[0m #0", "ret #0"),
        ("\x1b]0;a title\x07ret #0", "ret #0"), ("ret\xa0#0\0", "ret #0"), ("```c", ""), ("  ~~~", ""), ("user@host:~/x$ tcpdump -d", ""),
        ("[root@host ~]$ ss -0b", ""), ("r0 = $1", "r0 = $1"), ("if r0 > 1 goto", "if r0 > 1 goto"),
    ],
)  # fmt: skip
def test_what_terminals_and_mail_put_around_a_line(line: str, cleaned: str) -> None:
    assert SourceText(f"first\n{line}\r\nlast".encode(), "-").body == f"first\n{cleaned}\nlast"


def test_encodings() -> None:
    """A mark, UTF-16, lines of old Macs, bytes that are no UTF-8."""
    assert SourceText(b"\xef\xbb\xbfa\nb", "-").body == "a\nb"
    assert SourceText("a\nb".encode("utf-16"), "-").body == "a\nb"
    assert SourceText(b"a\rb", "-").body == "a\nb"
    assert SourceText(b"a\xffb", "-").body == "a\ufffdb"


def test_the_way_back() -> None:
    """Origins and errors name the original line, whatever was cleaned away."""
    text = SourceText(b"one\n> two \n> three\n", "mail")
    start, end = text.body.index("two"), text.body.index("three") + 5
    origin = text.origin("ss", start, end, "RAW", ("ip",), "note", {"a": "b"}, ("warning",))
    assert (origin.where, origin.lineno, origin.line) == ("mail:2", 2, "> two \n> three")
    assert (origin.source, origin.linktype, origin.given, origin.note, origin.row, origin.warnings) == (
        "ss", "RAW", ("ip",), "note", {"a": "b"}, ("warning",),
    )  # fmt: skip
    with pytest.raises(InputError) as raised:
        text.fail(end, "is cut", "more of it")
    assert (raised.value.object, raised.value.reason, raised.value.hint) == ("mail:3", "is cut", "more of it")


@given(st.text(alphabet="ab\n", max_size=30), st.data())
def test_what_is_taken_is_blank(body: str, data: st.DataObject) -> None:
    """And nothing else; lines stay where they were. Line numbers are those of counting."""
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    text = SourceText(body.encode(), "-")
    text.take([(start, end)])
    assert text.body == body[:start] + "".join("\n" if c == "\n" else " " for c in body[start:end]) + body[end:]
    assert [text.line_of(at) for at in range(len(body))] == [1 + body.count("\n", 0, at) for at in range(len(body))]
