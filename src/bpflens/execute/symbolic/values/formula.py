"""Terms as formulas of z3, over bit vectors only.

What is no arithmetic (inputs, results of calls) is a variable of its own, and a memory that no one wrote is a function from addresses to
bytes: a formula that has no solution with variables and functions that may be anything has none for what they stand for. So an "unsat"
is a proof; a "sat" says nothing. Results of calls that were proved equal are the same variable.
"""

from __future__ import annotations

from typing import Any

from bpflens.errors import NotSupported
from bpflens.execute.symbolic.values.bits import zext
from bpflens.execute.symbolic.values.terms import BOOL, Term, count

__all__ = ("Formulas",)

READS = 24  # writes that a read looks through before it becomes a variable
LENGTH_BITS = 31  # a packet's linear part is smaller than 2 GiB (struct sk_buff, xdp_buff)


class Formulas:
    """The formulas of terms; `same` maps terms to those that were proved equal to them. `facts` hold for the variables in use."""

    def __init__(self) -> None:
        try:
            import z3
        except ImportError:
            reason = "the Python module z3 is not installed: extended programs are compared by running them only"
            raise NotSupported("z3", reason, "pip install z3-solver") from None
        self.z3 = z3
        self.known: dict[Term, Any] = {}
        self.facts: list[Any] = []
        self.same: dict[Term, Term] = {}
        self.variables: dict[Any, Any] = {}

    def identify(self, a: Term, b: Term) -> None:
        """`b` was proved equal to `a` for all inputs."""
        if a not in self.known and b in self.known:
            a, b = b, a
        if b not in self.known and self.root(b) is not self.root(a):
            self.same[self.root(b)] = self.root(a)

    def root(self, term: Term) -> Term:
        """The term that stands for this one."""
        while term in self.same:
            term = self.same[term]
        return term

    def __call__(self, term: Term) -> Any:
        """The formula of a value or a condition."""
        term = self.root(term)
        known = self.known.get(term)
        if known is None:
            count("formulas")
            known = self.known[term] = self._formula(term)
        return known

    def _formula(self, term: Term) -> Any:
        z3, op, args = self.z3, term.op, term.args
        if op == "k":
            return z3.BitVecVal(args, term.width)
        if op == "bool":
            return z3.BoolVal(args)
        if op == "ite":
            return z3.If(self.atom(args[0]), self(args[1]), self(args[2]))
        if op == "gite":
            return z3.If(self(args[0]), self(args[1]), self(args[2]))
        if op == "cat":
            return z3.Concat(*[self(part) for part in reversed(args)])
        if op == "ext":
            return z3.Extract(args[1] + term.width - 1, args[1], self(args[0]))
        if op == "sext":
            return z3.SignExt(term.width - args[0].width, self(args[0]))
        if op == "add":
            total = z3.BitVecVal(args[0], term.width)
            for x, k in args[1]:
                total = total + self(x) * z3.BitVecVal(k, term.width) if k != 1 else total + self(x)
            return total
        if op in ("shl", "lshr", "ashr"):
            return self._shift(op, self(args[0]), self(zext(args[1], term.width)))
        if op in ("mul", "and", "or", "xor", "udiv", "urem", "sdiv", "srem"):
            return self._binary(op, self(args[0]), self(args[1]), term.width)
        if op == "sel":
            address = self(args[1]) + z3.BitVecVal(args[2], 64) if args[1] is not None else z3.BitVecVal(args[2], 64)
            return self._read(args[0], address, READS)
        return self._variable(term)

    def read(self, memory: Term, address: Any) -> Any:
        """The byte of a memory at an address of 64 bits, a formula."""
        return self._read(memory, address, 4 * READS)

    def _read(self, memory: Term, address: Any, left: int) -> Any:
        z3 = self.z3
        memory = self.root(memory)
        count("formulas")
        if memory.op == "ite" and left > 0:
            test, then, other = memory.args
            return z3.If(self.atom(test), self._read(then, address, left // 2), self._read(other, address, left // 2))
        if memory.op == "upd" and len(memory.args[2]) <= left:
            below, anchor, written = memory.args
            result = self._read(below, address, left - len(written))
            start = self(anchor) if anchor is not None else z3.BitVecVal(0, 64)
            for offset, byte in written:
                result = z3.If(address == start + z3.BitVecVal(offset, 64), self(byte), result)
            return result
        return z3.Function(f"m{self._name(memory)}", z3.BitVecSort(64), z3.BitVecSort(8))(address)

    def _name(self, term: Term) -> Any:
        """A number that terms share which have the same operator on parts that were proved equal."""
        parts = term.args if isinstance(term.args, tuple) else (term.args,)
        key = (term.op, *(self.root(part).id if isinstance(part, Term) else repr(part) for part in parts))
        if term.op not in ("ret", "out", "base", "pktbase", "pktlen", "pktmeta", "tailed"):
            key = (term.id,)
        return self.variables.setdefault(key, term.id)

    def _shift(self, op: str, a: Any, by: Any) -> Any:
        return a << by if op == "shl" else self.z3.LShR(a, by) if op == "lshr" else a >> by

    def _binary(self, op: str, a: Any, b: Any, width: int) -> Any:
        z3 = self.z3
        simple = {"mul": lambda: a * b, "and": lambda: a & b, "or": lambda: a | b, "xor": lambda: a ^ b}
        if op in simple:
            return simple[op]()
        zero = z3.BitVecVal(0, width)
        quotient = {"udiv": z3.UDiv, "urem": z3.URem, "sdiv": lambda x, y: x / y, "srem": z3.SRem}[op](a, b)
        return z3.If(b == zero, zero if op.endswith("div") else a, quotient)

    def _variable(self, term: Term) -> Any:
        """Something that may have any value, but for what is true of the start and the length of a packet."""
        z3 = self.z3
        name = self._name(term)
        variable = z3.Bool(f"t{name}") if term.width == BOOL else z3.BitVec(f"t{name}", term.width)
        if term.op == "pktlen" or (term.op == "sym" and term.args[0] == "length"):
            self.facts.append(z3.ULT(variable, 1 << LENGTH_BITS))
        elif term.op == "pktbase" or (term.op == "sym" and term.args[0] == "packet"):
            self.facts.append(z3.And(z3.UGE(variable, 4096), z3.ULT(variable, (1 << 64) - (1 << 42))))
        return variable

    def atom(self, atom: Term) -> Any:
        """The formula of an atom of a diagram."""
        known = self.known.get(atom)
        if known is None:
            count("formulas")
            if atom.op == "batom":
                known = self(atom.args[0])
            else:
                a, b = self(atom.args[0]), self(atom.args[1])
                known = a == b if atom.op == "eq" else self.z3.ULT(a, b) if atom.op == "ult" else a < b
            self.known[atom] = known
        return known
