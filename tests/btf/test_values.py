"""Values by their types: a clang object's variables against the bytes that clang wrote, and hostile types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpflens.btf.values import decode, to_text
from bpflens.errors import InputError


class Types:
    """A BTF blob made by hand: `add` gives each type its id."""

    def __init__(self) -> None:
        self.types = b""
        self.strings = b"\0"
        self.count = 0

    def name(self, text: str) -> int:
        offset = len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset if text else 0

    def add(self, name: str, kind: int, vlen: int, size: int, *tail: int, flag: bool = False) -> int:
        words = (self.name(name) if name else 0, flag << 31 | kind << 24 | vlen, size, *tail)
        self.types += b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words)
        self.count += 1
        return self.count

    def btf(self):  # type: ignore[no-untyped-def]
        from bpflens.btf.btf import Btf

        head = (24).to_bytes(4, "little") + b"".join(
            number.to_bytes(4, "little") for number in (0, len(self.types), len(self.types), len(self.strings))
        )
        return Btf.parse(b"\x9f\xeb\x01\x00" + head + self.types + self.strings)


INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF = 1, 2, 3, 4, 5, 6, 8


@pytest.fixture
def types() -> Types:
    made = Types()
    made.add("int", INT, 0, 4, 1 << 24 | 32)  # 1
    made.add("unsigned char", INT, 0, 1, 8)  # 2
    made.add("char", INT, 0, 1, 1 << 24 | 8)  # 3
    made.add("_Bool", INT, 0, 1, 4 << 24 | 8)  # 4
    made.add("", ARRAY, 0, 0, 3, 1, 8)  # 5: char[8]
    made.add("", PTR, 0, 1)  # 6: int *
    made.add("color", ENUM, 2, 4, made.name("RED"), 1, made.name("BLUE"), 7)  # 7
    return made


def test_scalars(types: Types) -> None:
    btf = types.btf()

    assert decode(btf, 1, b"\xff\xff\xff\xff") == -1
    assert decode(btf, 2, b"\xff") == 255
    assert decode(btf, 4, b"\x01") is True
    assert decode(btf, 4, b"\x02") == 2
    assert decode(btf, 5, b"bash\0\0\0\0") == "bash"
    assert decode(btf, 5, b"ba\0sh\0\0\0") == [98, 97, 0, 115, 104, 0, 0, 0]
    assert decode(btf, 6, bytes(7) + b"\x80") == "0x8000000000000000"
    assert decode(btf, 7, b"\x07\0\0\0") == "BLUE"
    assert decode(btf, 7, b"\x09\0\0\0") == 9


def test_struct_with_bitfields_and_anonymous_union(types: Types) -> None:
    union = types.add("", UNION, 2, 4, types.name("number"), 1, 0, types.name("bytes"), 2, 0)
    members = ((types.name("pid"), 1, 0), (types.name("a"), 1, 3 << 24 | 32), (types.name("b"), 1, 5 << 24 | 35), (0, union, 64))
    struct = types.add("event", STRUCT, 4, 12, *(word for member in members for word in member), flag=True)
    data = (12).to_bytes(4, "little") + bytes([0b11110_101, 0, 0, 0]) + (300).to_bytes(4, "little")

    value = decode(types.btf(), struct, data)

    assert value == {"pid": 12, "a": -3, "b": -2, "number": 300, "bytes": 44}
    assert to_text(value) == "{ .pid = 12, .a = -3, .b = -2, .number = 300, .bytes = 44 }"


def test_text_of_values() -> None:
    assert to_text([0] * 5 + [1, 1]) == "{ [0 ... 4] = 0, 1, 1 }"
    assert to_text('say "hi"\n') == '"say \\"hi\\"\\n"'
    assert to_text(None) == "?"
    assert to_text({}) == "{}"
    assert to_text([True, False]) == "{ true, false }"


def test_too_short_and_too_deep(types: Types) -> None:
    with pytest.raises(InputError):
        decode(types.btf(), 1, b"\0\0")
    inner = 1
    for _ in range(40):
        inner = types.add("", STRUCT, 1, 4, types.name("x"), inner, 0)
    with pytest.raises(InputError):
        decode(types.btf(), inner, bytes(4))
    bomb = 1
    for _ in range(8):
        bomb = types.add("", ARRAY, 0, 0, bomb, 1, 0 if bomb == 1 else 1000)
    with pytest.raises(InputError):
        decode(types.btf(), bomb, b"")


@given(st.binary(max_size=200), st.integers(0, 12), st.binary(max_size=64))
def test_hostile_types_give_an_error_and_no_traceback(blob: bytes, type_id: int, data: bytes) -> None:
    from bpflens.btf.btf import Btf

    head = (24).to_bytes(4, "little") + b"".join(n.to_bytes(4, "little") for n in (0, len(blob) & ~3, len(blob) & ~3, 1))
    try:
        btf = Btf.parse(b"\x9f\xeb\x01\x00" + head + blob[: len(blob) & ~3] + b"\0")
        to_text(decode(btf, type_id, data))
    except InputError:
        pass
