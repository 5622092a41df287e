"""Conditions on terms as diagram nodes.

    (packet[14:4] & 0xff000000) in {0x0a000000}   ──►   packet[14] ─ 10 ─► TRUE, else FALSE

`term in a set of intervals` is pulled back through the term: constants shift the set, powers of two scale it, masks and loads end in
byte-wise comparison. Terms over at most two bytes are enumerated. What is left (two fields compared with each other, sums of
fields) becomes an *atom*: a variable of its own, named by the normal form of the condition. Atoms are treated as independent of
everything else, so equality of diagrams proves equality of programs, but a difference that involves an atom needs confirmation.
"""

from __future__ import annotations

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.fields import LENGTH, Base
from bpflens.classic.diagrams.nodes import FALSE, TRUE
from bpflens.classic.diagrams.term import MASK, Length, Linear, Load, Op, Term, add, binary, leaves, linear, mask, scale, upper_bound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("Ranges", "compare", "evaluate", "looks_at", "member", "test", "with_word")

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint, inclusive intervals of unsigned 32-bit values."""


def test(store: Store, op: str, a: Term, b: Term) -> int:
    """The node of the conditional jump `op` (jeq, jgt, jge, jset) between A and K or X."""
    key = (op, a, b)
    node = store.conditions.get(key)
    if node is None:
        node = store.conditions[key] = compare(store, op, a, b)
    return node


def compare(store: Store, op: str, a: Term, b: Term) -> int:
    """As `test`, not cached."""
    if type(a) is int and type(b) is int:
        return TRUE if {"jeq": a == b, "jgt": a > b, "jge": a >= b, "jset": a & b != 0}[op] else FALSE
    if op == "jset":
        if type(a) is int:
            a, b = b, a
        if type(b) is int:
            return store.negate(member(store, mask(a, b), ((0, 0),)))
        return store.negate(member(store, Op("and", *sorted((a, b), key=repr)), ((0, 0),)))
    if op == "jeq":
        return member(store, add(a, b, -1), ((0, 0),)) if type(b) is not int else member(store, a, ((b, b),))
    if op == "jge":
        if type(b) is int:
            return member(store, a, ((b, MASK),))
        return store.negate(compare(store, "jgt", b, a))
    if type(b) is int:  # jgt
        return member(store, a, ((b + 1, MASK),)) if b < MASK else FALSE
    if type(a) is int:
        return member(store, b, ((0, a - 1),)) if a > 0 else FALSE
    return _atom(store, ("gt", a, b), (a, b))


def member(store: Store, term: Term, ranges: Ranges) -> int:
    """The node of "term lies in one of the ranges"."""
    bound = upper_bound(term)
    ranges = tuple((low, min(high, bound)) for low, high in ranges if low <= bound)
    if not ranges:
        return FALSE
    if ranges == ((0, bound),):
        return TRUE
    if type(term) is int:
        return TRUE if any(low <= term <= high for low, high in ranges) else FALSE
    if type(term) is Load:
        if ranges[-1][1] == bound:  # values beyond the largest do not occur: what holds for it may hold for them, and tests stay short
            ranges = (*ranges[:-1], (ranges[-1][0], (1 << 8 * term.size) - 1))
        return _masked_member(store, term, MASK, ranges)
    if type(term) is Length:
        return store.intervals(store.variable(LENGTH.base, 0), ranges, 32)
    if type(term) is Linear:
        node = _linear_member(store, term, ranges)
        if node is not None:
            return node
    elif type(term) is Op and type(term.b) is int:
        k = term.b
        if term.op == "and":
            if type(term.a) is Load:
                return _masked_member(store, term.a, k, ranges)
            if k & (k + 1) == 0 and upper_bound(term.a) <= MASK:  # low bits of a sum: unroll while that stays short
                top = upper_bound(term.a) // (k + 1)
                if top < 16:
                    steps = [i * (k + 1) for i in range(top + 1)]
                    return member(store, term.a, tuple((low + i, high + i) for i in steps for low, high in ranges))
        elif term.op in ("rsh", "div"):
            step = 1 << k if term.op == "rsh" else k
            return member(store, term.a, tuple((low * step, min(MASK, high * step + step - 1)) for low, high in ranges))
        elif term.op in ("or", "xor") and len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
            value = ranges[0][0]
            if term.op == "xor":
                return member(store, term.a, ((value ^ k, value ^ k),))
            return member(store, mask(term.a, ~k & MASK), ((value & ~k, value & ~k),)) if value & k == k else FALSE
    node = _enumerate(store, term, ranges)
    if node is not None:
        return node
    if ranges == ((0, 0),):
        return _zero_atom(store, term)
    if len(ranges) == 1 and ranges[0][0] == 0:
        return store.negate(_atom(store, ("gt", term, ranges[0][1]), (term,)))
    if len(ranges) == 1 and ranges[0][1] == bound:
        return _atom(store, ("gt", term, ranges[0][0] - 1), (term,))
    if all(low == high for low, high in ranges) and len(ranges) <= 16:
        return store.any(_zero_atom(store, add(term, low, -1)) for low, _ in ranges)
    return store.any(
        store.diff(member(store, term, ((low, MASK),)), member(store, term, ((high + 1, MASK),)) if high < MASK else FALSE)
        for low, high in ranges
    )


def _zero_atom(store: Store, term: Term) -> int:
    """term = 0; the sign of a sum does not matter."""
    if type(term) is Linear:
        other = scale(term, MASK)
        term = min(term, other, key=repr)
    return _atom(store, ("zero", term), (term,))


def _atom(store: Store, condition: tuple[object, ...], terms: tuple[Term, ...]) -> int:
    """The variable of a condition that no single field decides."""
    return store.intervals(store.variable(Base("atom", condition), 0), ((1, 1),), 1)


def _linear_member(store: Store, term: Linear, ranges: Ranges) -> int | None:
    constant, parts = linear(term)
    if constant:
        return member(store, add(term, constant, -1), _rotate(ranges, -constant))
    if len(parts) != 1:
        return None
    ((inner, coefficient),) = parts.items()
    if coefficient == MASK:  # -t
        mirrored = sorted(piece for low, high in ranges for piece in _mirror(low, high))
        return member(store, inner, tuple(mirrored))
    if coefficient & (coefficient - 1) == 0:
        inner = mask(inner, MASK >> coefficient.bit_length() - 1)
    elif all(low == high for low, high in ranges) and len(ranges) <= _MOST_SOLVED:
        return _solved(store, inner, coefficient, [low for low, _ in ranges])
    elif upper_bound(inner) * coefficient > MASK:
        return None
    divided = ((-(-low // coefficient), high // coefficient) for low, high in ranges)
    return member(store, inner, tuple((low, high) for low, high in divided if low <= high))


_MOST_SOLVED = 64


def _solved(store: Store, term: Term, coefficient: int, values: list[int]) -> int:
    """term * coefficient is one of the values, modulo 2^32: an odd factor has an inverse, a power of two leaves high bits free."""
    shift = (coefficient & -coefficient).bit_length() - 1
    left = MASK >> shift
    inverse = pow(coefficient >> shift, -1, left + 1)
    solutions = {(value >> shift) * inverse & left for value in values if value & ((1 << shift) - 1) == 0}
    return member(store, mask(term, left), tuple((value, value) for value in sorted(solutions)))


def _rotate(ranges: Ranges, by: int) -> Ranges:
    """Every value + by, modulo 2^32."""
    pieces: list[tuple[int, int]] = []
    for low, high in ranges:
        low, high = (low + by) & MASK, (high + by) & MASK
        pieces += [(low, high)] if low <= high else [(0, high), (low, MASK)]
    return _merge(pieces)


def _merge(pieces: list[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pieces):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _mirror(low: int, high: int) -> list[tuple[int, int]]:
    pieces = []
    if low == 0:
        pieces.append((0, 0))
        low = 1
    if low <= high:
        pieces.append(((1 << 32) - high, (1 << 32) - low))
    return pieces


def _masked_member(store: Store, load: Load, k: int, ranges: Ranges) -> int:
    """(load & k) in ranges, byte by byte."""
    size = load.size
    full = (1 << 8 * size) - 1
    k &= full
    field_vars = [store.variable(load.base, load.offset + i) for i in range(size)]
    masks = [k >> 8 * (size - 1 - i) & 255 for i in range(size)]
    memo: dict[tuple[int, Ranges], int] = {}

    def walk(i: int, pieces: Ranges) -> int:
        """Bytes i.. as a number (masked) in `pieces`."""
        width = 8 * (size - i)
        if not pieces:
            return FALSE
        if pieces == ((0, (1 << width) - 1),) or i == size:
            return TRUE
        key = (i, pieces)
        found = memo.get(key)
        if found is None:
            found = memo[key] = byte_node(i, pieces, width - 8)
        return found

    def byte_node(i: int, pieces: Ranges, low_bits: int) -> int:
        tail = (1 << low_bits) - 1

        def kid(masked: int) -> int:
            base = masked << low_bits
            return walk(
                i + 1,
                tuple((max(low - base, 0), min(high - base, tail)) for low, high in pieces if low <= base + tail and high >= base),
            )

        if masks[i] == 255:  # constant between the bytes at which an interval starts or ends
            cuts = {0}
            for low, high in pieces:
                cuts |= {low >> low_bits, (low >> low_bits) + 1, high >> low_bits, (high >> low_bits) + 1}
            starts: list[int] = []
            kids: list[int] = []
            for cut in sorted(cuts):
                if cut < 256:
                    node = kid(cut)
                    if not kids or node != kids[-1]:
                        starts.append(cut)
                        kids.append(node)
            return store.node(field_vars[i], starts, kids)
        by_byte = {value: kid(value) for value in {v & masks[i] for v in range(256)}}
        return store.byte_table(field_vars[i], [by_byte[value & masks[i]] for value in range(256)])

    return walk(0, _merge(list(ranges)))


def evaluate(term: Term, values: dict[Load | Length, int]) -> int:
    """The term's value for given leaves; division by 0 gives 0."""
    if type(term) is int:
        return term
    if type(term) is Load or type(term) is Length:
        return values[term]
    if type(term) is Linear:
        return (term.constant + sum(c * evaluate(t, values) for t, c in term.parts)) & MASK
    assert type(term) is Op
    a, b = evaluate(term.a, values), evaluate(term.b, values)
    op = term.op
    if op == "and":
        return a & b
    if op == "or":
        return a | b
    if op == "xor":
        return a ^ b
    if op == "mul":
        return a * b & MASK
    if op == "lsh":
        return a << b & MASK if b < 32 else 0
    if op == "rsh":
        return a >> b if b < 32 else 0
    if b == 0:
        return 0
    return a // b if op == "div" else a % b


def looks_at(condition: Any, word: Load) -> bool:
    """Whether an atom's condition has `word` in it."""
    return any(leaf == word for term in _terms(condition) for leaf in leaves(term))


def with_word(store: Store, condition: Any, word: Load, value: int) -> int:
    """The node of an atom's condition where `word` has this value."""
    terms = [_with_word(term, word, value) for term in _terms(condition)]
    return compare(store, "jgt", *terms) if len(terms) == 2 else member(store, terms[0], ((0, 0),))


def _terms(condition: Any) -> list[Term]:
    match condition:
        case ("zero", term):
            return [term]
        case ("gt", left, right):
            return [left, right]
    return []


def _with_word(term: Term, word: Load, value: int) -> Term:
    if term == word:
        return value
    if type(term) is Linear:
        total: Term = term.constant
        for inner, coefficient in term.parts:
            total = add(total, scale(_with_word(inner, word, value), coefficient))
        return total
    if type(term) is Op:
        a, b = (_with_word(inner, word, value) for inner in (term.a, term.b))
        if type(b) is int and (b > LAST_SHIFT if term.op in ("lsh", "rsh") else b == 0 and term.op in ("div", "mod")):
            return 0
        return binary(term.op, a, b)
    return term


LAST_SHIFT = 31


def python_source(term: Term, names: dict[Load | Length, str]) -> str:
    """The term as a Python expression over `names`."""
    if type(term) is int:
        return str(term)
    if type(term) is Load or type(term) is Length:
        return names[term]
    if type(term) is Linear:
        parts = "+".join([str(term.constant), *(f"{c}*{python_source(t, names)}" for t, c in term.parts)])
        return f"({parts}&{MASK})"
    assert type(term) is Op
    a, b = python_source(term.a, names), python_source(term.b, names)
    return {
        "and": f"({a}&{b})",
        "or": f"({a}|{b})",
        "xor": f"({a}^{b})",
        "mul": f"({a}*{b}&{MASK})",
        "lsh": f"shl({a},{b})",
        "rsh": f"shr({a},{b})",
        "div": f"div({a},{b})",
        "mod": f"mod({a},{b})",
    }[term.op]


ENVIRONMENT = {
    "shl": lambda a, b: a << b & MASK if b < 32 else 0,
    "shr": lambda a, b: a >> b if b < 32 else 0,
    "div": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
}


def table(store: Store, term: Term, leaf: object) -> int | None:
    """The diagram whose terminals are leaf(value of term), for terms over at most two bytes; None beyond that. `leaf`: int -> node."""
    loads = sorted(set(leaves(term)), key=repr)
    if not all(type(load) is Load for load in loads) or not callable(leaf):
        return None
    bytes_read = {(load.base, load.offset + i) for load in loads if type(load) is Load for i in range(load.size)}
    places = sorted(bytes_read, key=lambda place: store.variable(*place))
    if not 1 <= len(places) <= 2:
        return None
    names: dict[Load | Length, str] = {}
    for load in loads:
        assert type(load) is Load
        bytes_ = [f"b{places.index((load.base, load.offset + i))}" for i in range(load.size)]
        names[load] = bytes_[0] if load.size == 1 else "(" + "|".join(f"{b}<<{8 * (load.size - 1 - i)}" for i, b in enumerate(bytes_)) + ")"
    function = eval(f"lambda b0,b1=0: {python_source(term, names)}", dict(ENVIRONMENT))
    first = store.variable(*places[0])
    if len(places) == 1:
        return store.byte_table(first, [leaf(function(value)) for value in range(256)])
    second = store.variable(*places[1])
    rows: dict[tuple[int, ...], int] = {}
    kids = []
    for high in range(256):
        row = tuple(leaf(function(high, low)) for low in range(256))
        node = rows.get(row)
        if node is None:
            node = rows[row] = store.byte_table(second, row)
        kids.append(node)
    return store.byte_table(first, kids)


def _enumerate(store: Store, term: Term, ranges: Ranges) -> int | None:
    import bisect

    lows = [low for low, _ in ranges]
    highs = [high for _, high in ranges]

    def leaf(value: int) -> int:
        i = bisect.bisect_right(lows, value) - 1
        return TRUE if i >= 0 and value <= highs[i] else FALSE

    return table(store, term, leaf)
