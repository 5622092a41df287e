"""A policy's parts one by one: names of constants, conditions in words, groups, halves of registers, what is restricted, sets of values."""

from __future__ import annotations

import functools
import itertools
import mmap
import os
import signal
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.classic.diagrams.condition import test as condition
from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import FALSE, TRUE, terminal
from bpflens.classic.diagrams.term import Load
from bpflens.classic.seccomp import conditions, constants
from bpflens.classic.seccomp.grouped import MANY, Condition
from bpflens.classic.seccomp.grouped import conditions as grouped_conditions
from bpflens.classic.seccomp.halves import passed_denials
from bpflens.classic.seccomp.policy import restrict, rules
from bpflens.classic.seccomp.policy.policy import Policy, policy
from bpflens.classic.seccomp.policy.restrict import for_arch, for_number, numbers_of, pieces_of, without_names
from bpflens.classic.seccomp.policy.rules import Arm
from bpflens.classic.seccomp.policy.stack import stack_node
from bpflens.classic.seccomp.policy.values import DATA, FULL, LOW, Place, Values, cases, describe
from bpflens.classic.seccomp.words import policy_in_short, policy_of, policy_words
from bpflens.isa.classic.asm import assemble
from bpflens.isa.classic.syscalls import OTHER_ARCHES, X32_BIT, find_arch, syscall_names

X86_64, I386, ARM64, S390X, X32 = (find_arch(name) for name in ("x86_64", "i386", "arm64", "s390x", "x32"))
ALLOW, EPERM, KILL = 0x7FFF0000, 0x50001, 0x80000000

# --- constants ---


@pytest.mark.parametrize(
    ("syscall", "argument", "value", "text"),
    [
        ("socket", "family", socket.AF_INET6, "AF_INET6"),
        ("socket", "type", socket.SOCK_STREAM | socket.SOCK_CLOEXEC, "SOCK_STREAM|SOCK_CLOEXEC"),
        ("clone", "clone_flags", 0x10020011, "CLONE_NEWNS|CLONE_NEWUSER|17"),
        ("mmap", "prot", mmap.PROT_READ | mmap.PROT_EXEC, "PROT_READ|PROT_EXEC"),
        ("open", "flags", os.O_RDWR | os.O_CREAT, "O_RDWR|O_CREAT"),
        ("open", "flags", 0, "O_RDONLY"),
        ("kill", "sig", signal.SIGKILL, "SIGKILL"),
        ("ioctl", "cmd", 0x5412, "TIOCSTI"),
        ("ioctl", "cmd", 0x12345678, "0x12345678"),
        ("read", "count", 4095, "4095"),
        ("read", "count", (1 << 64) - 1, "-1"),
        (None, "family", 2, "2"),
    ],
)
def test_values_by_name(syscall: str | None, argument: str, value: int, text: str) -> None:
    assert constants.value_text(syscall, argument, value) == text


@pytest.mark.parametrize(("syscall", "argument"), [("clone", "clone_flags"), ("open", "flags"), ("socket", "type"), ("mmap", "flags")])
@given(st.integers(0, 0xFFFFFF))
def test_names_mean_their_value(syscall: str, argument: str, value: int) -> None:
    """What is printed of any value reads back as that value."""
    for arch in ("x86_64", "arm64"):
        assert constants.values_of(syscall, argument, constants.value_text(syscall, argument, value, arch), arch) == value


def test_names_that_nobody_knows() -> None:
    assert constants.values_of("socket", "family", "AF_INET|AF_NOBODY") is None
    assert constants.values_of("read", "count", "0x10 | 1") == 17


def test_architectures_with_other_values() -> None:
    """O_DIRECTORY is another bit on arm; mips has no name for what differs there."""
    told = [constants.value_text("open", "flags", 0x4000, arch) for arch in ("x86_64", "arm64", "mips")]
    assert told == ["O_DIRECT", "O_DIRECTORY", "0x4000"]
    assert constants.group_of("socket", "type", "mips") is None and constants.group_of("socket", "family", "mips") is not None


# --- conditions ---


def test(argument: int, mask: int, *ranges: tuple[int, int], negated: bool = False) -> rules.Test:
    return rules.Test(argument, Values(mask, ranges, negated))


test.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("syscall", "one", "text"),
    [
        ("socket", test(0, LOW, (40, 40), negated=True), "family != AF_VSOCK"),
        ("socket", test(0, FULL, (40, 40), negated=True), "(u64)family != AF_VSOCK"),
        ("lseek", test(1, FULL, (0, 4096)), "offset <= 0x1000"),
        ("lseek", test(1, LOW, (5, 5)), "(u32)offset == 5"),
        ("lseek", test(1, FULL ^ LOW, (1 << 32, 2 << 32)), "1 <= (offset >> 32) <= 2"),
        ("clone", test(0, 0x10020000, (0, 0)), "clone_flags & (CLONE_NEWNS|CLONE_NEWUSER) == 0"),
        ("clone", test(0, 0x10000000, (0, 0), negated=True), "clone_flags & CLONE_NEWUSER != 0"),
        ("ioctl", test(1, LOW, (0x5401, 0x5401), (0x5412, 0x5413)), "cmd in {TCGETS, TIOCSTI..TIOCGWINSZ}"),
        ("read", test(2, FULL, (5, FULL)), "count >= 5"),
        ("read", test(2, FULL, (5, 9), negated=True), "count < 5 or count > 9"),
        (None, test(3, FULL, (7, 7)), "args[3] == 7"),
        (None, test(-1, FULL, (0, 0xFFFF)), "instruction_pointer <= 0xffff"),
        ("read", rules.Test(-2, Values(0, ((0, 0),)), "args[0][0] > args[1][0]"), "args[0][0] > args[1][0]"),
    ],
)
def test_conditions_in_c(syscall: str | None, one: rules.Test, text: str) -> None:
    assert conditions.test_text(one, X86_64, syscall) == text


def test_long_and_shapeless_sets() -> None:
    many = test(2, FULL, *((10 * n, 10 * n) for n in range(30)))
    assert conditions.test_text(many, X86_64, "read").endswith(", 230, ... 6 more}")
    shapeless = rules.Test(2, Values(FULL, None, example=7))
    assert conditions.test_text(shapeless, X86_64, "read") == "count in a set of values that has no short form (for example 7)"
    assert conditions.arm_text(Arm((), ALLOW), X86_64, "read") == "always"
    both = Arm((test(0, LOW, (1, 1)), test(2, FULL, (0, 9))), ALLOW)
    assert conditions.arm_text(both, X86_64, "read") == "fd == 1 and count <= 9"


@pytest.mark.parametrize(
    ("mask", "which"), [(FULL, "all 64 bits"), (0xFF, "the low half"), (1 << 40, "the high half"), (1 << 40 | 1, "both halves")]
)
def test_which_bits_are_looked_at(mask: int, which: str) -> None:
    told = conditions.looked_at(test(0, mask, (0, 0)), X86_64, "socket")
    assert (told["looks_at"], told["name"], told["kernel_takes_bits"]) == (which, "family", 32)
    assert conditions.looked_at(test(1, mask, (0, 0)), X86_64, "lseek")["kernel_takes_bits"] == 64
    assert conditions.looked_at(test(0, mask, (0, 0)), X86_64, None)["kernel_takes_bits"] is None


# --- policies made of text ---


@functools.cache
def of(text: str) -> Policy:
    return policy([assemble(text)], [X86_64])


def on_x86_64(rest: str) -> str:
    return f"ld [4]\njne #0xc000003e, kill\nld [0]\n{rest}\nkill: ret #0x80000000\n"


WRITE_TO_1 = on_x86_64("jne #1, deny\nld [16]\njne #1, deny\nld [20]\njne #0, deny\nret #0x7fff0000\ndeny: ret #0x50001")
MOST = on_x86_64("jeq #0, kill\nld [20]\njne #0, deny\nret #0x7fff0000\ndeny: ret #0x50001")

# --- grouped ---


def test_a_condition_of_few_calls_is_said_for_each() -> None:
    found = list(grouped_conditions(of(WRITE_TO_1).of(X86_64)))
    assert [(c.action, c.names, c.where, c.text) for c in found] == [
        (ALLOW, ("write",), "(u64)fd == 1", "write where (u64)fd == 1"),
    ]  # fmt: skip


def test_a_condition_of_many_calls_is_said_once() -> None:
    """`read` is spoken of by itself, so the others are everything else."""
    found = list(grouped_conditions(of(MOST).of(X86_64)))
    assert len(found) == 1 and found[0].everything == "everything else" and len(found[0].names) > MANY
    assert found[0].text == "everything else where (args[0] >> 32) == 0"
    unsaid = list(grouped_conditions(of(MOST.replace("jeq #0, kill", "jeq #0, deny")).of(X86_64)))
    assert unsaid[0].everything == "" and unsaid[0].names == found[0].names  # read gets what others get by default
    assert Condition(ALLOW, ("a", "b"), "", "").text == "a, b otherwise"


# --- halves ---


def test_a_denial_that_the_other_half_passes() -> None:
    """socket(AF_VSOCK) denied by all 64 bits: with a bit in the high half it is allowed, and the kernel takes an int."""
    by_all = on_x86_64("jne #41, ok\nld [16]\njne #40, ok\nld [20]\njne #0, ok\nret #0x50001\nok: ret #0x7fff0000")
    found = list(passed_denials(of(by_all), of(by_all).of(X86_64)))
    assert [(p.syscall, p.argument, p.name, p.bits, p.narrow, p.denied, p.instead) for p in found] == [
        ("socket", 0, "family", 32, True, 40, EPERM),
    ]  # fmt: skip
    assert found[0].allowed & LOW == 40 and found[0].allowed > LOW and "is allowed and does the same" in found[0].text()
    by_low = on_x86_64("jne #41, ok\nld [16]\njne #40, ok\nret #0x50001\nok: ret #0x7fff0000")
    assert list(passed_denials(of(by_low), of(by_low).of(X86_64))) == []
    offset = on_x86_64("jne #8, ok\nld [24]\njgt #4096, deny, ok\ndeny: ret #0x50001\nok: ret #0x7fff0000")
    (wide,) = passed_denials(of(offset), of(offset).of(X86_64))
    assert (wide.syscall, wide.name, wide.bits, wide.narrow) == ("lseek", "offset", 64, False)
    assert "the low half, and the kernel takes all 64 bits" in wide.text()


# --- words ---


def test_a_policy_in_sentences() -> None:
    words = policy_words(of(WRITE_TO_1))
    assert words[0] == "x86_64: ALLOW for write where (u64)fd == 1; else ERRNO(EPERM)."
    assert words[-1] == "Every other architecture: KILL_PROCESS."
    assert policy_in_short(of(WRITE_TO_1)) == "allows 1 call by arguments, else EPERM"
    everywhere = policy_of(assemble("ld [0]\njeq #1, deny\nret #0x7fff0000\ndeny: ret #0x50001"))
    assert policy_words(everywhere)[0] == "The architecture is not looked at: numbers mean the same on every one."
    assert policy_in_short(everywhere) == "denies 1 call: EPERM"


# --- restrict ---


def test_what_remains_for_an_architecture_and_a_number() -> None:
    store = Store()
    node = stack_node(store, [assemble(WRITE_TO_1)])
    assert for_arch(store, node, ARM64) == terminal(KILL) == restrict.for_other(store, node)
    own = for_arch(store, node, X86_64)
    assert for_number(store, own, 0) == terminal(EPERM) and for_number(store, own, 1) >= 0
    assert for_arch(store, node, X32) == own  # the same AUDIT_ARCH_ value


def test_other_architectures() -> None:
    """The listed ones are cut out; each action has an architecture for which it occurs, by name where one has it."""
    listed_only = assemble("ld [4]\njeq #0xc000003e, ok\nret #0x80000000\nok: ret #0x7fff0000")
    store = Store()
    found = restrict.elsewhere(store, stack_node(store, [listed_only]))
    assert found.node == terminal(KILL) and set(found.actions) == {KILL} and found.actions[KILL] in OTHER_ARCHES
    odd = assemble("ld [4]\njeq #0xdead, ok\nret #0x80000000\nok: ret #0x7fff0000")
    found = restrict.elsewhere(store, stack_node(store, [odd]))
    assert found.node is None and found.actions[ALLOW] == 0xDEAD
    assert restrict.cut_out(store, terminal(KILL)) != terminal(KILL)


def test_numbers_of_architectures() -> None:
    assert numbers_of(X32) == ((X32_BIT, 2 * X32_BIT - 1),) and numbers_of(ARM64) == ((0, 0xFFFFFFFF),)
    assert sum(last - first + 1 for first, last in (*numbers_of(X86_64), *numbers_of(X32))) == 1 << 32
    store = Store()
    node = for_arch(store, stack_node(store, [assemble(on_x86_64("jge #100, kill\nret #0x7fff0000"))]), X86_64)
    assert pieces_of(store, node, [(0, 200)]) == [(0, 99, terminal(ALLOW)), (100, 200, terminal(KILL))]


@given(st.integers(0, 30), st.integers(0, 30), st.sets(st.integers(0, 30)))
def test_ranges_without_names(first: int, length: int, named: set[int]) -> None:
    """Exactly the numbers between that have none, in ranges that do not touch."""
    last = first + length
    found = list(without_names(first, last, sorted(named)))
    assert [n for low, high in found for n in range(low, high + 1)] == [n for n in range(first, last + 1) if n not in named]
    assert all(low <= high for low, high in found)
    assert all(one[1] + 1 < two[0] for one, two in itertools.pairwise(found))
    assert max(syscall_names("x86_64")) < X32_BIT


# --- values ---

PLACE = Place.of(16, False)


def half(store: Store, op: str, low: bool, value: int) -> int:
    return condition(store, op, Load(DATA, PLACE.low if low else PLACE.high, 4), value)


def test_places() -> None:
    assert (Place.of(16, False), Place.of(16, True)) == ((16, 20), (20, 16)) and PLACE.end == Place.of(16, True).end == 24


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda s: TRUE, [(Values(0, ((0, 0),)),)]),
        (lambda s: half(s, "jeq", True, 40), [(Values(LOW, ((40, 40),)),)]),
        (lambda s: s.negate(half(s, "jeq", True, 40)), [(Values(LOW, ((40, 40),), True),)]),
        (lambda s: s.conj(half(s, "jeq", True, 40), half(s, "jeq", False, 0)), [(Values(FULL, ((40, 40),)),)]),
        (lambda s: half(s, "jgt", True, 9), [(Values(LOW, ((10, LOW),)),)]),
        (lambda s: half(s, "jset", True, 0x10000000), [(Values(0x10000000, ((0, 0),), True),)]),
        (lambda s: s.negate(half(s, "jset", True, 0x7E020000)), [(Values(0x7E020000, ((0, 0),)),)]),
        (lambda s: half(s, "jeq", False, 3), [(Values(FULL ^ LOW, ((3 << 32, 3 << 32 | 0),)),)]),
        (lambda s: s.disj(half(s, "jeq", True, 3), half(s, "jeq", True, 9)), [(Values(LOW, ((3, 3), (9, 9))),)]),
    ],
)
def test_sets_in_short(make, values: list[tuple[Values, ...]]) -> None:
    store = Store()
    assert describe(store, make(store), PLACE) == values


@settings(max_examples=30)
@given(st.data())
def test_a_set_is_what_is_said_of_it(data: st.DataObject) -> None:
    """Whatever is put together of conditions on the halves: members and others, by the diagram and by the words."""
    store = Store()
    drawn = st.tuples(st.sampled_from(["jeq", "jgt", "jset"]), st.booleans(), st.sampled_from([1, 2, 40, 0x10000]))
    conditions_ = [half(store, *one) for one in data.draw(st.lists(drawn, min_size=1, max_size=3))]
    node = store.any(conditions_) if data.draw(st.booleans()) else functools.reduce(store.conj, conditions_)
    node = node if data.draw(st.booleans()) else store.negate(node)
    if node == FALSE:
        return
    said = describe(store, node, PLACE)
    if any(one.ranges is None for sets in said for one in sets):
        return
    for value in (0, 1, 2, 3, 40, 0x10000, 1 << 32, 2 << 32 | 40, 40 << 32, 0x10000 << 32 | 1, FULL):
        words = value.to_bytes(8, "little")
        data_bytes = bytes(16) + words[3::-1] + words[:3:-1]
        inside = bool(store.evaluate(node, lambda field, data_bytes=data_bytes: data_bytes[field.offset]))
        assert any(all(one.holds(value) for one in sets) for sets in said) == inside


def test_cases_of_an_argument() -> None:
    """What remains below it, each with the values for which it does; together they are all values."""
    store = Store()
    second = condition(store, "jeq", Load(DATA, 24, 4), 7)
    node = store.ite(half(store, "jeq", True, 1), second, FALSE)
    found = dict(cases(store, node, PLACE))
    assert found == {second: half(store, "jeq", True, 1), FALSE: store.negate(half(store, "jeq", True, 1))}
    assert cases(store, second, PLACE) == [(second, TRUE)]


def test_holds() -> None:
    assert Values(0xFF, ((1, 2),)).holds(0x101) is True and Values(0xFF, ((1, 2),), True).holds(0x101) is False
    assert Values(0xFF, None).holds(1) is None
