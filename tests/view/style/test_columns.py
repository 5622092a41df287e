"""Tables fitted to a width: nothing is wider, a warning is whole, the end of a path stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bpflens.view.style.columns import Cell, Column, columns, folded

HEAD = (
    Column("KIND", least=8), Column("OBJECT", least=12, middle=True), Column("NETNS", least=5, optional=True), Column("PROGRAM", least=20),
)  # fmt: skip
TEXT = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), max_size=90)


def test_no_terminal_cuts_nothing() -> None:
    lines = list(columns(HEAD, [[Cell("xdp"), Cell("dev:" + "x" * 80), Cell("own"), Cell("y" * 90)]], None, False))
    assert "x" * 80 in lines[1] and lines[1].endswith("y" * 90)


def test_long_cells_are_cut_with_a_mark() -> None:
    row = [Cell("xdp/native"), Cell("cgroup:/system.slice/" + "a" * 40 + "/end.service"), Cell("own"), Cell("p" * 60)]
    (_, line) = columns(HEAD, [row], 70, False)
    assert len(line) <= 70 and line.count("…") == 2 and ".service" in line


def test_columns_that_find_no_room_are_told_of() -> None:
    """Not those that have nothing to say, nor where all is shown."""
    for netns, width, told in (("own", 40, ["NETNS"]), ("", 40, []), ("own", None, []), ("own", 200, [])):
        left_out: list[str] = []
        cells = [Cell("xdp/native"), Cell("dev:" + "x" * 40), Cell(netns), Cell("p" * 60)]
        list(columns(HEAD, [cells], width, False, left_out=left_out))
        assert left_out == told


def test_a_warning_is_whole() -> None:
    """It goes on in lines of its own, between words; what follows it is cut."""
    warning = "WARNING: a magic-packet backdoor: the trigger values of BPFDoor, if Ethernet"
    cell = Cell(f"{warning} (classic 30 insns): tcp[(tcp[12]&0xf0)>>2:2] = 0x5293 or more", keep=len(warning), style="1;31")
    lines = list(columns(HEAD, [[Cell("socket/packet"), Cell("sock:8812"), Cell("own"), cell]], 60, False))
    assert all(len(line) <= 60 for line in lines)
    told = " ".join(word for line in lines[1:] for word in line.split())
    assert warning in told.removeprefix("socket/packet sock:8812 own ")


@given(st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=5), st.integers(50, 120))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    for line in columns(HEAD, [[Cell(text) for text in row] for row in rows], width, False):
        assert len(line) <= width


def test_colours_and_lines_below() -> None:
    rows = [[Cell("a"), Cell("b"), Cell("c"), Cell("d", style="33")]]
    lines = list(columns(HEAD, rows, None, True, below=[["    rm x"]]))
    assert lines[0].startswith("\033[1mKIND\033[0m") and "\033[33md\033[0m" in lines[1] and lines[2] == "    rm x"


@given(TEXT.map(lambda text: text.replace(".", " ")), st.integers(30, 90))
def test_folded_lines_keep_every_word(text: str, width: int) -> None:
    line = f"  {'label':13}{text}".rstrip()
    pieces = folded(line, width, 15)
    assert " ".join(pieces).split() == line.split()
    assert all(len(piece) <= width or " " not in piece.strip() or " " not in piece[15:].strip() for piece in pieces)
