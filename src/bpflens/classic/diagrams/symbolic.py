"""Symbolic execution: a classic program as a decision diagram.

    run(insns, KERNEL) -> Diagram        run(insns, SECCOMP) -> Diagram over struct seccomp_data

Jumps only go forward, so the reachable states (pc, A, X, M[]) are found in one pass over the instructions and the diagrams are built in
one pass back. States that agree on what is still read are one state, so shared code is executed once.

Two machines, as measured on Linux 6.18 and libpcap 1.10.3:

| case | KERNEL (net/core/filter.c) | LIBPCAP (bpf_filter.c) |
|---|---|---|
| `[x + k]` beyond 2^32 | wraps | returns 0 |
| `[x + k]` from 2^31 on | counts from the network or link header, else returns 0 | returns 0 |
| SKF_AD_IFINDEX, SKF_AD_HATYPE without a device | returns what A holds | returns 0 |
| SKF_AD_OFF, SKF_NET_OFF, SKF_LL_OFF | work | return 0 |
| shift by X >= 32 | X & 31 | 0 |
| division by X = 0, load past the end | return 0 | return 0 |

A computed load whose address X + k provably stays below 2^31 is a byte at a distance from the rest of the sum, so that loads at
[x + 2] and [x + 4] know of each other. Any other sum may wrap or turn negative between the two: its bytes are variables of that address
alone, which no other load shares.

With `bounds` a load also tests that the packet reaches that far (the variable of region "room"); without, the diagram speaks about
packets that are long enough for every load that the program makes ("not cut short").
"""

from __future__ import annotations

from collections.abc import Sequence

from bpflens.classic.diagrams import condition
from bpflens.classic.diagrams.diagram import Diagram, Store
from bpflens.classic.diagrams.fields import Base
from bpflens.classic.diagrams.liveness import RETURNS_A, liveness
from bpflens.classic.diagrams.nodes import FALSE, TooComplex, terminal
from bpflens.classic.diagrams.term import ANCILLARY_BYTES, LEN, MASK, Load, Term, a_term, add, binary, is_larger, linear, scale, upper_bound
from bpflens.errors import InputError
from bpflens.isa.classic.table import BY_CODE, SKF_AD_OFF, SKF_LL_OFF, SKF_NET_OFF, Ad
from bpflens.lean import frozen, replace

__all__ = ("KERNEL", "LIBPCAP", "SECCOMP", "Loop", "Machine", "loops", "run", "run_in", "value_terms")

_POSITIVE = 1 << 31  # offsets below are bytes of the packet, those from here on are negative for the kernel
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_ALU = {0x00: "add", 0x10: "sub", 0x20: "mul", 0x30: "div", 0x40: "or", 0x50: "and", 0x60: "lsh", 0x70: "rsh", 0x90: "mod", 0xA0: "xor"}
_JUMPS = {0x10: "jeq", 0x20: "jgt", 0x30: "jge", 0x40: "jset"}
_MAX_TERM = 400
_UNKNOWN_VALUE = 1 << 33  # terminals from here on stand for return values that are terms


def loops(insns: Sequence[Sequence[int]]) -> bool:
    """Whether a program jumps backward, as libpcap's protochain does."""
    return any(insn[0] == 0x05 and insn[3] >= 1 << 31 for insn in insns)


class Loop(Exception):
    """The program jumps backward (libpcap's protochain): it has no finite diagram, and no kernel loads it."""

    def __init__(self, pc: int) -> None:
        super().__init__(f"instruction {pc} jumps backward: the program loops")
        self.pc = pc


@frozen
class Machine:
    """How the program is run. `network_offset`: taken as the place of SKF_NET_OFF in the packet (14 on Ethernet), None: kept apart."""

    name: str
    network_offset: int | None = None

    def at_network_offset(self, offset: int) -> Machine:
        """This machine with SKF_NET_OFF at a fixed place (an assumption) and SKF_LL_OFF at 0."""
        return replace(self, network_offset=offset)


KERNEL = Machine("kernel")
LIBPCAP = Machine("libpcap")
SECCOMP = Machine("seccomp")

_State = tuple[Term | None, Term | None, tuple[tuple[int, Term], ...]]


def run(
    insns: Sequence[Sequence[int]],
    machine: Machine = KERNEL,
    *,
    store: Store | None = None,
    bounds: bool = True,
    max_states: int = 200_000,
) -> Diagram:
    """The diagram of a program's return value.

    Raises InputError for a program that jumps or runs past its end or has an unknown instruction, Loop for one that jumps backward,
    TooComplex where it has more than `max_states` states or exceeds the store's budget.
    """
    store = store or Store()
    return Diagram(store, run_in(store, insns, machine, bounds=bounds, max_states=max_states))


def value_terms(store: Store) -> dict[int, Term]:
    """Return values that are terms (`ret a` of a value that has too many cases): terminal value -> term."""
    return {value: a_term(term) for term, value in store.values.items()}


def run_in(
    store: Store,
    insns: Sequence[Sequence[int]],
    machine: Machine = KERNEL,
    *,
    bounds: bool = True,
    accept: bool = False,
    terms: bool = False,
    max_states: int = 200_000,
) -> int:
    """As `run`, in an existing store; returns the node. With `accept` the terminals are TRUE (nonzero return) and FALSE only.

    With `terms` a computed return value is one terminal, however many values it has (see value_terms).
    """
    return _Run(store, insns, machine, bounds, accept, terms, max_states).result()


class _Run:
    def __init__(
        self, store: Store, insns: Sequence[Sequence[int]], machine: Machine, bounds: bool, accept: bool, terms: bool, max_states: int
    ) -> None:
        self.store = store
        self.insns = insns
        self.machine = machine
        self.bounds = bounds
        self.accept = accept
        self.terms = terms
        self.max_states = max_states
        self.kernel = machine.name != "libpcap"
        self.live = liveness(insns)

    def result(self) -> int:
        insns = self.insns
        if not insns:
            raise InputError("program", "has no instructions")
        # Forward: the states at each pc, and what each does.
        states: list[dict[_State, int]] = [{} for _ in insns]
        start = self._trim(0, 0, 0, ())
        states[0][start] = 0
        order: list[tuple[int, _State]] = []
        for pc in range(len(insns)):
            for state in list(states[pc]):
                order.append((pc, state))
                if len(order) > self.max_states:
                    raise TooComplex(f"more than {self.max_states} states")
                for target, successor in self._successors(pc, state):
                    states[target].setdefault(successor, 0)
        # Backward: their diagrams.
        for pc, state in reversed(order):
            states[pc][state] = self._node(pc, state, states)
        return states[0][start]

    def _trim(self, pc: int, a: Term | None, x: Term | None, m: tuple[tuple[int, Term], ...]) -> _State:
        """Forget what is not read from `pc` on."""
        live_a, live_x, live_m = self.live[pc]
        if m:
            m = tuple((slot, value) for slot, value in m if live_m >> slot & 1)
        return (a if live_a else None, x if live_x else None, m)

    def _successors(self, pc: int, state: _State) -> list[tuple[int, _State]]:
        code, jt, jf, k = self.insns[pc]
        kind = code & 7
        if code not in BY_CODE:
            raise InputError("program", f"instruction {pc} has the unknown code {code:#x}")
        if kind == 6:
            return []
        a, x, m = state
        if kind == 5:
            if code & 0xF0 == 0:
                targets = [pc + 1 + k]
                if k >= 1 << 31:
                    raise Loop(pc)
            else:
                targets = self._decided(pc, state) or [pc + 1 + jt, pc + 1 + jf]
            return [(self._checked(pc, t), self._trim(t, a, x, m)) for t in targets]
        effect = self._effect(pc, state)
        if effect is None:
            return []
        target = self._checked(pc, pc + 1)
        return [(target, self._trim(target, *effect))]

    def _checked(self, pc: int, target: int) -> int:
        if target >= len(self.insns):
            raise InputError("program", f"instruction {pc} goes on to {target}, past the end ({len(self.insns)} instructions)")
        return target

    def _decided(self, pc: int, state: _State) -> list[int] | None:
        """The one target of a conditional jump whose outcome is known or does not matter."""
        code, jt, jf, k = self.insns[pc]
        if jt == jf:
            return [pc + 1 + jt]
        a = state[0]
        b = state[1] if code & 8 else k
        if type(a) is int and type(b) is int:
            taken = condition.test(self.store, _JUMPS[code & 0xF0], a, b)
            return [pc + 1 + (jf if taken == FALSE else jt)]
        return None

    def _effect(self, pc: int, state: _State) -> tuple[Term | None, Term | None, tuple[tuple[int, Term], ...]] | None:
        """A, X, M[] after a load, store, ALU or MISC instruction; None where it always returns 0."""
        code, _jt, _jf, k = self.insns[pc]
        a, x, m = state
        kind = code & 7
        if kind in (0, 1):
            value = self._value(pc, state)
            if value is None:
                return None
            if type(value) is Load and value.base.term is not None and is_larger(value, _MAX_TERM):
                raise TooComplex(f"instruction {pc} reads at an offset computed in more than {_MAX_TERM} steps")
            return (value, x, m) if kind == 0 else (a, value, m)
        if kind in (2, 3):
            value = a if kind == 2 else x
            slots = dict(m)
            if value is not None:
                slots[k & 15] = value
            return a, x, tuple(sorted(slots.items()))
        if kind == 7:
            return (x, x, m) if code & 0x80 else (a, a, m)
        if a is None:
            return a, x, m
        operation = code & 0xF0
        if operation == 0x80:
            return scale(a, MASK), x, m
        op = _ALU.get(operation)
        if op is None:
            raise InputError("program", f"instruction {pc} has the unknown code {code:#x}")
        b = x if code & 8 else k
        assert b is not None
        if type(b) is int:
            if op in ("lsh", "rsh") and b > 31:
                if not self.kernel and code & 8:
                    return 0, x, m
                b &= 31
            if op in ("div", "mod") and b == 0:
                return None
        elif op in ("lsh", "rsh") and self.kernel and upper_bound(b) > 31:
            b = binary("and", b, 31)
        result = binary(op, a, b)
        if type(b) is not int and is_larger(result, _MAX_TERM):
            raise TooComplex(f"instruction {pc} computes from more than {_MAX_TERM} values")
        return result, x, m

    def _value(self, pc: int, state: _State) -> Term | None:
        """What a load loads; None where it always fails."""
        code, _jt, _jf, k = self.insns[pc]
        mode = code & 0xE0
        if mode == 0x00:
            return k
        if mode == 0x80:
            return 64 if self.machine.name == "seccomp" else LEN
        if mode == 0x60:
            return dict(state[2]).get(k, 0)
        place = self._place(pc, state)
        if place is None:
            return None
        base, offset, size = place
        if mode == 0xA0:
            return scale(binary("and", Load(base, offset, 1), 15), 4)
        if base.region == "ancillary" and offset == 4 * Ad.ALU_XOR_X:
            assert state[0] is not None and state[1] is not None
            return binary("xor", state[0], state[1])
        if base.region == "ancillary":
            width = ANCILLARY_BYTES.get(offset // 4, 4)
            return Load(base, offset + 4 - width, width)
        return Load(base, offset, size)

    def _place(self, pc: int, state: _State) -> tuple[Base, int, int] | None:
        """(base, offset, size) of a load from the packet; None where it always fails. Not for other loads."""
        code, _jt, _jf, k = self.insns[pc]
        mode = code & 0xE0
        size = 1 if mode == 0xA0 else _SIZES.get(code & 0x18)
        if mode not in (0x20, 0x40, 0xA0) or size is None:
            raise InputError("program", f"instruction {pc} has the unknown code {code:#x}")
        if self.machine.name == "seccomp":
            return Base("data"), k, size
        index: Term = 0
        if mode == 0x40:
            assert state[1] is not None
            index = state[1]
        if not self.kernel:
            if k >= 1 << 31:
                return None
            constant, parts = linear(index)
            if not parts:
                return (Base("packet"), constant + k, size) if constant + k + size <= MASK else None
            if constant and upper_bound(index) + k >= MASK:
                return Base("packet", index), k, size
            offset, rest = constant + k, add(index, constant, -1)
            return Base("packet", rest), offset, size
        address = add(index, k)
        constant, parts = linear(address)
        if parts:
            rest = add(address, constant, -1)
            if upper_bound(rest) + constant + size <= _POSITIVE:
                return Base("packet", rest), constant, size
            # The sum may wrap or be negative, where it means other bytes: an address of its own, next to no other.
            return Base("packet", address), 0, size
        region, offset = _region(constant)
        if region == "ancillary":
            if mode == 0x20:
                source: object = None
                if offset in (Ad.NLATTR, Ad.NLATTR_NEST):
                    source = (state[0], state[1])
                elif offset == Ad.RANDOM:
                    source = pc  # every load draws anew
                return Base("ancillary", source), 4 * offset, 4
            region, offset = "net", constant - SKF_NET_OFF  # only absolute loads are ancillary
        if region == "packet" and offset >= _POSITIVE:
            return None
        if self.machine.network_offset is not None and region in ("net", "link"):
            offset += self.machine.network_offset if region == "net" else 0
            region = "packet"
        return Base(region), offset, size

    def _node(self, pc: int, state: _State, states: list[dict[_State, int]]) -> int:
        code, _jt, _jf, k = self.insns[pc]
        kind = code & 7
        store = self.store
        if kind == 6:
            return self._return(code, k, state[0])
        if kind == 5:
            nexts = [states[target][successor] for target, successor in self._successors(pc, state)]
            if len(nexts) == 1:
                return nexts[0]
            b: Term | None = state[1] if code & 8 else k
            op = _JUMPS.get(code & 0xF0)
            if op is None:
                raise InputError("program", f"instruction {pc} has the unknown code {code:#x}")
            assert state[0] is not None and b is not None
            return store.ite(condition.test(store, op, state[0], b), nexts[0], nexts[1])
        if self._effect(pc, state) is None:
            return FALSE
        ((target, successor),) = self._successors(pc, state)
        node = states[target][successor]
        if kind == 4 and code & 8 and code & 0xF0 in (0x30, 0x90) and state[1] is not None and state[0] is not None:
            return store.ite(condition.test(store, "jeq", state[1], 0), FALSE, node)
        if kind in (0, 1) and self.bounds and code & 0xE0 in (0x20, 0x40, 0xA0) and self.machine.name != "seccomp":
            place = self._place(pc, state)
            assert place is not None
            if place[0].region == "ancillary":
                return self._ancillary(k - SKF_AD_OFF, state[0], node)
            return store.ite(self._reaches(*place), node, FALSE)
        return node

    def _reaches(self, base: Base, offset: int, size: int) -> int:
        """The node of "the packet has these bytes"."""
        if offset + size > MASK:
            return FALSE
        return self.store.intervals(self.store.variable(Base("room", base), 0), ((offset + size, MASK),), 32)

    def _ancillary(self, number: int, a: Term | None, node: int) -> int:
        """`node`, or what a packet without a device gets from a load of its device's properties: the program ends with what A holds."""
        if number not in RETURNS_A:
            return node
        device = self.store.intervals(self.store.variable(Base("atom", ("device",)), 0), ((1, 1),), 1)
        return self.store.ite(device, node, self._return(0x16, 0, a))

    def _return(self, code: int, k: int, a: Term | None) -> int:
        if code & 0x18 == 0x10:
            assert a is not None
            if type(a) is not int:
                if self.accept:
                    return self.store.negate(condition.test(self.store, "jeq", a, 0))
                node = None if self.terms else condition.table(self.store, a, terminal)
                if node is not None:
                    return node
                known = self.store.values
                value = known.setdefault(a, _UNKNOWN_VALUE + len(known))
                # zero is told apart from the rest, whatever the rest is
                return self.store.ite(condition.test(self.store, "jeq", a, 0), FALSE, terminal(value))
            k = a
        elif code & 0x18 == 0x08:
            raise InputError("program", "returns X, which no machine does")
        return terminal(int(k != 0)) if self.accept else terminal(k)


def _region(offset: int) -> tuple[str, int]:
    """The region of a load in the kernel, and the offset in it."""
    if offset >= SKF_AD_OFF:
        return "ancillary", offset - SKF_AD_OFF
    if offset >= SKF_NET_OFF:
        return "net", offset - SKF_NET_OFF
    if offset >= SKF_LL_OFF:
        return "link", offset - SKF_LL_OFF
    return "packet", offset
