"""Symbols: bisection and aliases on text made for it, and the running kernel's own file as the oracle."""

from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from bpflens.kernel.sys.kallsyms import Kallsyms

TEXT = b"""\
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff81000010 T __pfx___bpf_call_base
ffffffff81000020 T __bpf_call_base
ffffffff81000100 t local_helper
ffffffff81000100 T bpf_helper
ffffffff81000200 W weak
ffffffffc0000000 t mod_function\t[module]
ffffffffc0001000 t bpf_prog_0123456789abcdef_main\t[bpf]
"""


def test_names_and_addresses() -> None:
    table = Kallsyms(TEXT)

    assert table.call_base() == 0xFFFFFFFF81000020
    assert table.name(0xFFFFFFFF81000100) == "bpf_helper"
    assert table.name(0xFFFFFFFF81000101) is None
    assert table.name(0xFFFFFFFFC0001000) == "bpf_prog_0123456789abcdef_main"
    assert table.address("mod_function") == 0xFFFFFFFFC0000000
    assert table.address("no_such_symbol") is None
    assert table.names([0xFFFFFFFF81000200, 5]) == {0xFFFFFFFF81000200: "weak"}
    assert table.nearest(0xFFFFFFFF81000130) == ("local_helper", 0x30)
    assert not table.hidden()


def test_hidden_addresses_give_nothing() -> None:
    table = Kallsyms(TEXT.replace(b"ffffffff81", b"0000000000").replace(b"ffffffffc", b"000000000"))
    zeros = Kallsyms(b"".join(b"0" * 16 + line[16:] + b"\n" for line in TEXT.splitlines()))

    assert zeros.hidden()
    assert zeros.call_base() is None
    assert zeros.names([0xFFFFFFFF81000100]) == {}
    assert not table.hidden()


def test_empty_file() -> None:
    table = Kallsyms(b"")

    assert table.hidden()
    assert table.address("x") is None
    assert table.names([1, 2]) == {}


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=60, unique=True), st.data())
def test_bisection_finds_what_is_there(addresses: list[int], data: st.DataObject) -> None:
    addresses.sort()
    table = Kallsyms(b"".join(b"%016x T s%x\n" % (address, address) for address in addresses))
    wanted = data.draw(st.lists(st.one_of(st.sampled_from(addresses), st.integers(0, 1 << 41))))

    assert table.names(wanted) == {address: f"s{address:x}" for address in wanted if address in addresses}


def test_running_kernel_agrees_with_a_plain_reading() -> None:
    plain = defaultdict(set)
    with open("/proc/kallsyms", encoding="ascii") as stream:
        for line in stream:
            fields = line.split()
            if len(fields) == 3:  # modules and BPF programs come and go
                plain[int(fields[0], 16)].add(fields[2])
    table = Kallsyms()
    if table.hidden():
        assert set(plain) == {0}
        return
    plain.pop(0, None)
    sample = random.Random(1).sample(sorted(plain), 300)

    names = table.names(sample)

    assert all(names[address] in plain[address] for address in sample)
    assert table.address("__bpf_call_base") in {address for address, found in plain.items() if "__bpf_call_base" in found}
