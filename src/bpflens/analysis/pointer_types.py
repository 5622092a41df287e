"""What each register and each stack slot points to, at every instruction of extended code.

    0: r6 = r1                    r1, r6: context
    1: r2 = *(u64*)(r6+168)       r2: sock_common       (skb->sk)
    2: *(u64*)(r10-8) = r2        slot -8: sock_common

A forward may-analysis: a value keeps its type where paths meet even if one of them knows nothing, because the verifier lets no
instruction see two different convertible pointers. Where two kinds do meet (`v = lookup(); if (!v) v = &fallback;`, imprecision of this
analysis, a hand-made dump) the type is a conflict that remembers them. Stack slots of other functions, reached through pointers, are
tracked without regard to order; so are the results of functions.

Algorithm: worklist over blocks in order of address; the lattice has few steps per register and slot (absent, exact, any offset, any
object, conflicts of more and more kinds), so that the cost is linear in the code for programs as compilers make them. Works on code as
loaded; with `Facts.member` (types of the kernel) also on xlated images.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.contexts import SOCKET_KINDS, context_struct, field_at
from bpflens.isa.extended.helpers import helper_id
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import MapType
from bpflens.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Result = TypeVar("Result")

__all__ = ("ANY", "CTX", "Facts", "Flow", "Pointer", "State", "call_effect", "callbacks", "entry_state", "join", "may_be", "step")


class Pointer(NamedTuple):
    """`kind`: ctx, sock_common, sock, tcp_sock, xdp_sock, packet, packet_meta, packet_end, map, map_value, mem, stack, func, arena,
    struct, flow_keys, conflict. `what`: map id, first slot of the function whose frame it is (stack) or that it names (func), BTF
    type id (struct); of a conflict the kinds that met, a bit for each of `_KINDS`. `offset`: bytes from the start of the object, None
    where it varies.
    """

    kind: str
    what: int = 0
    offset: int | None = 0


# Registers by number, slots of the own frame by their (negative) offset.
State = dict[int, Pointer]

CTX = Pointer("ctx")
_KINDS = (
    "ctx", "sock_common", "sock", "tcp_sock", "xdp_sock", "packet", "packet_meta", "packet_end", "map", "map_value", "mem", "stack", "func",
    "arena", "struct", "flow_keys",
)  # fmt: skip
_BITS = {kind: 1 << bit for bit, kind in enumerate(_KINDS)}
ANY = Pointer("conflict", (1 << len(_KINDS)) - 1, None)  # any kind of pointer

def _by_number(results: dict[str, Result]) -> dict[int, Result]:
    """Names of helpers without "bpf_" -> their numbers."""
    return {helper_id(f"bpf_{name}") or 0: result for name, result in results.items()}


_HELPER_RESULT = _by_number({
    "sk_lookup_tcp": Pointer("sock"), "sk_lookup_udp": Pointer("sock"), "sk_fullsock": Pointer("sock"),
    "get_listener_sock": Pointer("sock"), "skc_lookup_tcp": Pointer("sock_common"),
    "tcp_sock": Pointer("tcp_sock"), "get_local_storage": Pointer("map_value"),
    "sk_storage_get": Pointer("map_value"), "inode_storage_get": Pointer("map_value"), "task_storage_get": Pointer("map_value"),
    "cgrp_storage_get": Pointer("map_value"), "map_lookup_percpu_elem": Pointer("map_value"), "ringbuf_reserve": Pointer("mem"),
})  # fmt: skip
_STRUCT_RESULT = _by_number({
    "skc_to_tcp6_sock": "tcp6_sock", "skc_to_tcp_sock": "tcp_sock", "skc_to_tcp_timewait_sock": "tcp_timewait_sock",
    "skc_to_tcp_request_sock": "tcp_request_sock", "skc_to_udp6_sock": "udp6_sock", "get_current_task_btf": "task_struct",
    "sock_from_file": "socket", "task_pt_regs": "pt_regs", "skc_to_unix_sock": "unix_sock", "skc_to_mptcp_sock": "mptcp_sock",
})  # fmt: skip
# helper with a callback -> (argument of the helper that holds it, registers of the callback that get an argument of the helper)
_CALLBACKS: dict[int, tuple[int, dict[int, int]]] = _by_number({
    "loop": (2, {2: 3}), "for_each_map_elem": (2, {1: 1, 4: 3}), "timer_set_callback": (2, {}), "find_vma": (3, {1: 1, 3: 4}),
    "user_ringbuf_drain": (2, {2: 3}),
})  # fmt: skip
_MAP_LOOKUP_ELEM, _FOR_EACH_MAP_ELEM = _by_number({"map_lookup_elem": None, "for_each_map_elem": None})


class Facts:
    """What the analysis knows of a program beyond its code.

    `map_types`: enum bpf_map_type by the imm of ld_imm64. `member(type id, offset, size)` and `struct(name)` look up kernel types.
    `context` replaces the context of the program's type (xlated images: the kernel's struct). `spilled`: pointers ever stored in a
    frame, by (function, offset); `foreign`: whether any code reads another function's frame.
    """

    def __init__(
        self,
        prog_type: int,
        map_types: dict[int, int],
        member: Callable[[int, int, int], Pointer | None] | None = None,
        struct: Callable[[str], int | None] | None = None,
    ) -> None:
        self.prog_type = prog_type
        self.map_types = map_types
        self.member = member
        self.struct = struct
        self.context = CTX
        self.context_struct = context_struct(prog_type)
        self.spilled: dict[tuple[int, int], Pointer] = {}
        self.spilled_changed = False
        self.foreign = False


def entry_state(facts: Facts, function: int) -> State:
    """The state at the program's first instruction."""
    return {1: facts.context, 10: Pointer("stack", function, 0)}


def join(a: Pointer, b: Pointer) -> Pointer:
    """The least type that covers both."""
    if a == b:
        return a
    if a.kind != b.kind:
        return Pointer("conflict", _kinds(a) | _kinds(b), None)
    if a.kind == "conflict":
        return Pointer("conflict", a.what | b.what, None)
    return Pointer(a.kind, a.what if a.what == b.what else 0, a.offset if a.offset == b.offset else None)


def _kinds(pointer: Pointer) -> int:
    return pointer.what if pointer.kind == "conflict" else _BITS[pointer.kind]


def may_be(pointer: Pointer, kind: str) -> bool:
    """Whether a pointer is of this kind, on some path at least."""
    return pointer.kind == kind or (pointer.kind == "conflict" and pointer.what & _BITS[kind] != 0)


class Flow:
    """The worklist: states at heads of blocks, lowest address first. `results`: what functions return, by their first slot."""

    __slots__ = ("_callers", "_head", "_heap", "_queued", "results", "states")

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        self.results: dict[int, Pointer] = {}
        self._heap: list[int] = []
        self._queued: set[int] = set()
        self._callers: dict[int, set[int]] = {}
        self._head = 0

    def push(self, head: int, state: State) -> None:
        """Join `state` (kept, not copied, where the head is new) into that of `head`; queue the head where it changed."""
        old = self.states.get(head)
        if old is None:
            self.states[head] = state
        else:
            changed = False
            for key, pointer in state.items():
                known = old.get(key)
                if known is None:
                    old[key] = pointer
                    changed = True
                elif known != pointer:
                    joined = join(known, pointer)
                    if joined != known:
                        old[key] = joined
                        changed = True
            if not changed:
                return
        self.queue(head)

    def queue(self, head: int) -> None:
        """Visit `head` (again)."""
        if head not in self._queued:
            self._queued.add(head)
            heapq.heappush(self._heap, head)

    def pop(self) -> tuple[int, State] | None:
        """The next head and a copy of its state; None at the fixed point."""
        if not self._heap:
            return None
        self._head = head = heapq.heappop(self._heap)
        self._queued.discard(head)
        return head, dict(self.states[head])

    def call(self, function: int, state: State) -> Pointer | None:
        """A call of a function of the program from the block at work: what is known of its result so far."""
        entry = {register: state[register] for register in range(1, 6) if register in state}
        entry[10] = Pointer("stack", function, 0)
        self.push(function, entry)
        self._callers.setdefault(function, set()).add(self._head)
        return self.results.get(function)

    def leave(self, state: State) -> None:
        """An `exit` of the function whose frame is in `state`; visit its callers again where its result is news."""
        frame, result = state.get(10), state.get(0)
        if frame is None or not frame.what or result is None:
            return
        known = self.results.get(frame.what)
        joined = result if known is None else join(known, result)
        if joined != known:
            self.results[frame.what] = joined
            for head in self._callers.get(frame.what, ()):
                self.queue(head)


def step(state: State, insn: Insn, following: Insn | None, facts: Facts, target: int = -1) -> None:
    """The effect of one instruction that is no call; `target` is the function that a PSEUDO_FUNC names."""
    _EFFECTS[insn.code & 7](state, insn, following, facts, target)


def call_effect(state: State, helper: int, facts: Facts, result: Pointer | None = None) -> None:
    """The effect of a call of helper `helper` (0: of anything else, which returns `result`) on the caller's state."""
    if helper == _MAP_LOOKUP_ELEM:
        result = _lookup_result(state.get(1), facts)
    elif helper:
        result = _HELPER_RESULT.get(helper)
        if result is None and helper in _STRUCT_RESULT and facts.struct:
            type_id = facts.struct(_STRUCT_RESULT[helper])
            result = Pointer("struct", type_id) if type_id else None
    for register in range(6):
        state.pop(register, None)
    if result is not None:
        state[0] = result


def callbacks(state: State, helper: int) -> tuple[int, State] | None:
    """(first slot, state) of the function that a helper calls back, before `call_effect` of the call."""
    row = _CALLBACKS.get(helper)
    if row is None:
        return None
    register, passed = row
    function = state.get(register)
    if function is None or function.kind != "func":
        return None
    entry = {10: Pointer("stack", function.what, 0)}
    for to, source in passed.items():
        if source in state:
            entry[to] = state[source]
    if helper == _FOR_EACH_MAP_ELEM:
        entry[3] = Pointer("map_value", state[1].what if 1 in state else 0)
    return function.what, entry


def _lookup_result(of: Pointer | None, facts: Facts) -> Pointer:
    id = of.what if of is not None and of.kind == "map" else 0
    map_type = facts.map_types.get(id, 0)
    if map_type == MapType.XSKMAP:
        return Pointer("xdp_sock")
    if map_type in (MapType.SOCKMAP, MapType.SOCKHASH):
        return Pointer("sock")
    if map_type in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
        return Pointer("map")
    return Pointer("map_value", id)


def _load_constant(state: State, insn: Insn, following: Insn | None, facts: Facts, target: int) -> None:
    dst = insn.dst
    if insn.code != op.LD_IMM64:  # LD_ABS, LD_IND: a call in disguise
        for register in range(6):
            state.pop(register, None)
        return
    if insn.src in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_IDX):
        state[dst] = Pointer("map", insn.imm)
    elif insn.src in (op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX_VALUE):
        state[dst] = Pointer("map_value", insn.imm, following.imm if following is not None else None)
    elif insn.src == op.PSEUDO_FUNC and target >= 0:
        state[dst] = Pointer("func", target)
    else:
        state.pop(dst, None)


def _load(state: State, insn: Insn, following: Insn | None, facts: Facts, target: int) -> None:
    base = state.get(insn.src)
    result = None
    if base is not None and base.offset is not None:
        kind = base.kind
        offset = base.offset + insn.off
        size = op.SIZE_BYTES[insn.code & 0x18]
        if kind == "stack":
            if size == 8:
                if base.what == state[10].what:
                    result = state.get(offset)
                else:
                    facts.foreign = True
                if result is None:
                    result = facts.spilled.get((base.what, offset)) if base.what != state[10].what else None
        elif kind == "ctx":
            known = field_at(facts.context_struct, offset, size)
            if known is not None and known.points_to:
                result = Pointer(known.points_to)
        elif kind == "struct" and facts.member is not None and size == 8:
            result = facts.member(base.what, offset, size)
        elif kind in SOCKET_KINDS:
            result = None
    if result is None:
        state.pop(insn.dst, None)
    else:
        state[insn.dst] = result


def _slot(state: State, base: Pointer | None, offset: int, size: int, value: Pointer | None, facts: Facts) -> None:
    """A store of `size` bytes through `base`."""
    if base is None or base.kind != "stack" or base.offset is None:
        return
    at = base.offset + offset
    if base.what == state[10].what:
        start = at & ~7
        for slot in range(start, at + size, 8):
            state.pop(slot, None)
        if value is not None and size == 8 and at < 0:
            state[at] = value
    if value is not None and size == 8:
        key = (base.what, at)
        known = facts.spilled.get(key)
        joined = value if known is None else join(known, value)
        if joined != known:
            facts.spilled[key] = joined
            facts.spilled_changed = True


def _store_imm(state: State, insn: Insn, following: Insn | None, facts: Facts, target: int) -> None:
    if insn.code & 0xE0 == op.MEM:
        _slot(state, state.get(insn.dst), insn.off, op.SIZE_BYTES[insn.code & 0x18], None, facts)


def _store(state: State, insn: Insn, following: Insn | None, facts: Facts, target: int) -> None:
    if insn.code & 0xE0 == op.MEM:
        _slot(state, state.get(insn.dst), insn.off, op.SIZE_BYTES[insn.code & 0x18], state.get(insn.src), facts)
    elif insn.imm == op.CMPXCHG:
        state.pop(0, None)
    elif insn.imm == op.LOAD_ACQ:
        state.pop(insn.dst, None)
    elif insn.imm & op.FETCH:
        state.pop(insn.src, None)


def _alu64(state: State, insn: Insn, following: Insn | None, facts: Facts, target: int) -> None:
    code, dst = insn.code, insn.dst
    if code == op.ALU64 | op.MOV | op.X:
        source = state.get(insn.src)
        if insn.off == 1 and insn.imm == 1:  # addr_space_cast into the arena
            source = Pointer("arena", 0, None)
        elif insn.off:
            source = None
        if source is None:
            state.pop(dst, None)
        else:
            state[dst] = source
        return
    known = state.get(dst)
    operation = code & 0xF0
    if operation == op.ADD or operation == op.SUB:
        if code & op.X:
            other = state.get(insn.src)
            if known is not None and other is None:
                state[dst] = Pointer(known.kind, known.what, None)
            elif known is None and other is not None and operation == op.ADD:
                state[dst] = Pointer(other.kind, other.what, None)
            else:
                state.pop(dst, None)
        elif known is not None:
            offset = known.offset
            if offset is not None:
                offset += insn.imm if operation == op.ADD else -insn.imm
            state[dst] = Pointer(known.kind, known.what, offset)
    elif known is not None:
        del state[dst]


def _alu32(state: State, insn: Insn, following: Insn | None, facts: Facts, target: int) -> None:
    state.pop(insn.dst, None)


def _jump(state: State, insn: Insn, following: Insn | None, facts: Facts, target: int) -> None:
    return


_EFFECTS = (_load_constant, _load, _store_imm, _store, _alu32, _jump, _jump, _alu64)
