"""What a search is made of: primitives of the expression language that may be part of the answer, and the tests that a program makes."""

from __future__ import annotations

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.term import Load, Op, Term, leaves
from bpflens.lean import NamedTuple

__all__ = ("Candidate", "Test", "load_constants", "load_of", "tests_of")


class Candidate(NamedTuple):
    """A primitive: `prefix` and `value` are its text ("host" "10.0.0.1"); values of one prefix can be listed. `cost` in characters."""

    prefix: str
    value: str
    cost: int

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.prefix} {self.value}" if self.value else self.prefix


class Test(NamedTuple):
    """A conditional jump that the program makes: `op` (jeq, jgt, jge, jset) between two terms."""

    op: str
    a: Term
    b: Term


def tests_of(store: Store) -> list[Test]:
    """The tests of all programs that were run in the store so far."""
    return [Test(*key) for key in store.conditions if isinstance(key, tuple) and len(key) == 3]


def load_of(term: Term) -> Load | None:
    """The load of a term that is one, or one with a mask."""
    if type(term) is Load:
        return term
    if type(term) is Op and term.op == "and" and type(term.a) is Load and type(term.b) is int:
        return term.a
    return None


def load_constants(test: Test) -> list[Load]:
    """The loads that a test reads."""
    return [leaf for term in (test.a, test.b) for leaf in leaves(term) if type(leaf) is Load]
