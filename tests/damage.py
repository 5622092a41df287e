"""Dumps as they arrive: with pieces cut out, put in, doubled and changed."""

from __future__ import annotations

from hypothesis import strategies as st

_INSERTS = st.text("{}[]()\":,;0x9\n \t#.-~", min_size=1, max_size=4)


@st.composite
def damaged(draw: st.DrawFn, texts: list[str]) -> bytes:
    """One of the texts after one to four random edits."""
    data = bytearray(draw(st.sampled_from(texts)).encode())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["change", "cut", "insert", "double"])):
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "insert":
                data[at:at] = draw(_INSERTS).encode()
            case "double":
                other = draw(st.integers(0, len(data)))
                data[at:at] = data[other : other + draw(st.integers(1, 60))]
    return bytes(data)
