"""What the passes work on: expressions, statements and blocks.

    0: r2 = *(u32 *)(r1 +4)      ──►   Assign(Var(2), Load(4, False, Var(1) + 4), slots=(0,))
    1: w2 += 1                   ──►   Assign(Var(2), Binary("+", Var(2), Const(1), 32), slots=(1,))

Every expression is a number of 64 bits, unsigned. An operation of width 32 takes the low halves of its operands and extends its result
with zeros, as the instructions do; so no expression needs a type to have a meaning. Statements (and nodes of tree.py) carry `slots`: the
instructions that they came from, in ascending order; expressions belong to the statement that they are in.

Expressions and statements are immutable and are shared freely. A `Block` is mutable: passes replace its lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

__all__ = (
    "And", "Asm", "Assign", "Atomic", "Binary", "Block", "Call", "Compare", "Const", "CoreRef", "DataRef", "Expr", "FrameRef", "FuncRef",
    "Load", "MapRef", "Negate", "Not", "Or", "Place", "Sext", "Slots", "StackRef", "Statement", "Store", "Swap", "SymRef", "Var", "Zext",
    "children", "inputs", "join_slots", "rebuild", "size_of", "variables_of",
)  # fmt: skip

Slots: TypeAlias = tuple[int, ...]
MASK64 = (1 << 64) - 1


class Place(NamedTuple):
    """What the address of a memory access points into, where the region analysis knows it: `kind` is ctx, frame, packet, value (of map
    `what`), data (section `what`), mem or ""; `offset` in bytes from its start, None where it varies.
    """

    kind: str = ""
    what: str = ""
    offset: int | None = None


NOWHERE = Place()

# --- expressions ---


@dataclass(frozen=True, slots=True)
class Const:
    """A number, 0 to 2**64 - 1."""

    value: int


@dataclass(frozen=True, slots=True)
class Var:
    """A variable: after lifting register 0 to 10 or a promoted stack slot, after SSA an index into `Function.variables`."""

    id: int


@dataclass(frozen=True, slots=True)
class Binary:
    """`op` of + - * / % s/ s% & | ^ << >> s>> at `width` 32 or 64. Division by 0 gives 0, modulo 0 the dividend; shifts count modulo
    width.
    """

    op: str
    left: Expr
    right: Expr
    width: int


@dataclass(frozen=True, slots=True)
class Negate:
    """-operand at `width`."""

    operand: Expr
    width: int


@dataclass(frozen=True, slots=True)
class Zext:
    """The low `bits` of the operand."""

    bits: int
    operand: Expr


@dataclass(frozen=True, slots=True)
class Sext:
    """The low `bits` of the operand, sign extended to 64."""

    bits: int
    operand: Expr


@dataclass(frozen=True, slots=True)
class Swap:
    """The low `bits` of the operand with their bytes in reverse order."""

    bits: int
    operand: Expr


@dataclass(frozen=True, slots=True)
class Load:
    """`size` bytes of memory at `address`, zero extended or, where `signed`, sign extended. `slot` is the instruction that loads."""

    size: int
    signed: bool
    address: Expr
    place: Place = NOWHERE
    slot: int = -1


@dataclass(frozen=True, slots=True)
class MapRef:
    """The address of a map."""

    name: str


@dataclass(frozen=True, slots=True)
class DataRef:
    """The address of byte `offset` of a section of global data."""

    section: str
    offset: int


@dataclass(frozen=True, slots=True)
class FuncRef:
    """The address of a function of the program."""

    name: str


@dataclass(frozen=True, slots=True)
class SymRef:
    """The address of something outside of the program: a kernel variable or a kconfig value."""

    name: str


@dataclass(frozen=True, slots=True)
class FrameRef:
    """The top of the stack frame plus `offset` (negative)."""

    offset: int


@dataclass(frozen=True, slots=True)
class StackRef:
    """The address of byte `offset` of the stack object that starts at `start` of the frame."""

    start: int
    offset: int


@dataclass(frozen=True, slots=True)
class CoreRef:
    """A number that the loader takes from the running kernel's types (CO-RE): `kind` as in enum bpf_core_relo_kind, BTF type id, access
    string ("0:1:2"); `value` is what the compiler's types say.
    """

    kind: int
    type_id: int
    access: str
    value: int


@dataclass(frozen=True, slots=True)
class Compare:
    """`op` of == != < <= > >= & (any common bit) at `width`; the result is 0 or 1."""

    op: str
    left: Expr
    right: Expr
    signed: bool
    width: int


@dataclass(frozen=True, slots=True)
class Not:
    """A condition negated."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class And:
    """Both conditions, the right one evaluated only if the left one holds."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Or:
    """Either condition, the right one evaluated only if the left one does not hold."""

    left: Expr
    right: Expr


Expr: TypeAlias = (
    Const | Var | Binary | Negate | Zext | Sext | Swap | Load | MapRef | DataRef | FuncRef | SymRef | FrameRef | StackRef | CoreRef
    | Compare | Not | And | Or
)  # fmt: skip

_LEAVES = frozenset((Const, Var, MapRef, DataRef, FuncRef, SymRef, FrameRef, StackRef, CoreRef))


def children(expr: Expr) -> tuple[Expr, ...]:
    """The operands of an expression."""
    if type(expr) in _LEAVES:
        return ()
    if isinstance(expr, (Binary, Compare, And, Or)):
        return expr.left, expr.right
    if isinstance(expr, Load):
        return (expr.address,)
    if isinstance(expr, (Zext, Sext, Swap, Negate, Not)):
        return (expr.operand,)
    return ()


def rebuild(expr: Expr, operands: tuple[Expr, ...]) -> Expr:
    """The same operation on other operands."""
    if isinstance(expr, Binary):
        return Binary(expr.op, operands[0], operands[1], expr.width)
    if isinstance(expr, Compare):
        return Compare(expr.op, operands[0], operands[1], expr.signed, expr.width)
    if isinstance(expr, Load):
        return Load(expr.size, expr.signed, operands[0], expr.place, expr.slot)
    if isinstance(expr, Negate):
        return Negate(operands[0], expr.width)
    if isinstance(expr, (Zext, Sext, Swap)):
        return type(expr)(expr.bits, operands[0])
    if isinstance(expr, Not):
        return Not(operands[0])
    if isinstance(expr, (And, Or)):
        return type(expr)(operands[0], operands[1])
    return expr


def size_of(expr: Expr) -> int:
    """Number of nodes."""
    count, pending = 0, [expr]
    while pending:
        node = pending.pop()
        count += 1
        if type(node) not in _LEAVES:
            pending.extend(children(node))
    return count


def variables_of(expr: Expr) -> list[int]:
    """The variables that an expression reads, each as often as it does."""
    if type(expr) is Var:
        return [expr.id]
    out, pending = [], [expr]
    while pending:
        node = pending.pop()
        if isinstance(node, Var):
            out.append(node.id)
        elif type(node) not in _LEAVES:
            pending.extend(children(node))
    return out


# --- statements ---


@dataclass(frozen=True, slots=True)
class Assign:
    """`var` = `value`."""

    var: int
    value: Expr
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Store:
    """The low `size` bytes of `value` to memory at `address`."""

    size: int
    address: Expr
    value: Expr
    place: Place = NOWHERE
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Call:
    """`var` = `kind` function `name` (`number`: of a helper) of `args`. Kinds: helper, function (of the program), kfunc, packet
    (LD_ABS and LD_IND: `number` bytes; leaves the program where the packet is too short), tail.
    """

    var: int | None
    kind: str
    name: str
    number: int
    args: tuple[Expr, ...]
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Atomic:
    """`var` = the old value of memory at `address` (None: not fetched); `op` of + & | ^ xchg cmpxchg load_acquire store_release."""

    var: int | None
    op: str
    size: int
    address: Expr
    value: Expr
    expected: Expr | None = None
    place: Place = NOWHERE
    slots: Slots = ()


@dataclass(frozen=True, slots=True)
class Asm:
    """One instruction that C cannot say: its text in LLVM's syntax, with %0 for the output and %1 on for inputs."""

    var: int | None
    text: str
    args: tuple[Expr, ...]
    slots: Slots = ()


Statement: TypeAlias = Assign | Store | Call | Atomic | Asm


def inputs(statement: Statement) -> tuple[Expr, ...]:
    """The expressions that a statement reads."""
    if isinstance(statement, Assign):
        return (statement.value,)
    if isinstance(statement, Store):
        return statement.address, statement.value
    if isinstance(statement, Atomic):
        pair = (statement.address, statement.value)
        return pair if statement.expected is None else (*pair, statement.expected)
    return statement.args


def join_slots(a: Slots, b: Slots) -> Slots:
    """The instructions of two things that became one: the first 1,024 where it is more, so that long folded chains stay linear."""
    if not b or a is b or len(a) >= _MAX_SLOTS:
        return a
    if not a:
        return b
    return tuple(sorted({*a, *b}))


_MAX_SLOTS = 1024


class Block:
    """A basic block: `successors` is () after a return, (next,) or (next where `condition` is false, next where it is true)."""

    __slots__ = ("condition", "end_slots", "id", "predecessors", "result", "start", "statements", "successors")

    def __init__(self, id: int, start: int) -> None:
        self.id = id
        self.start = start
        self.statements: list[Statement] = []
        self.successors: list[int] = []
        self.predecessors: list[int] = []
        self.condition: Expr | None = None
        self.result: Expr | None = None
        self.end_slots: Slots = ()
