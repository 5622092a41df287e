"""Terms as formulas of z3, over bit vectors only.

What is no arithmetic (inputs, bytes of memory, results of calls) is a variable of its own: a formula that has no solution with variables
that may be anything has none for the values that they stand for. So an "unsat" is a proof; a "sat" says nothing.
"""

from __future__ import annotations

from typing import Any

from bpflens.execute.symbolic.bits import zext
from bpflens.execute.symbolic.terms import BOOL, Term, count

__all__ = ("Formulas",)

LENGTH_BITS = 31  # a packet's linear part is smaller than 2 GiB (struct sk_buff, xdp_buff)


class Formulas:
    """The formulas of terms; `same` maps terms to those that were proved equal to them. `facts` hold for the variables in use."""

    def __init__(self) -> None:
        import z3

        self.z3 = z3
        self.known: dict[Term, Any] = {}
        self.facts: list[Any] = []
        self.same: dict[Term, Term] = {}

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
        return self._variable(term)

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
        variable = z3.Bool(f"t{term.id}") if term.width == BOOL else z3.BitVec(f"t{term.id}", term.width)
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
