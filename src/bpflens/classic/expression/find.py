"""The search for an expression: literals compiled by libpcap, keywords that move headers, the final text.

    diagram of a program   ──►   tcp port 80 or (vlan 100 and tcp port 80)

`vlan`, `mpls`, `pppoes` and `geneve` change what every later primitive means, so they are *contexts*: inside one, the literals are compiled
as `vlan 100 and P`, and the answer is `A or (vlan 100 and E)` with the context last. Every text that is returned was compiled again and
has the diagram that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.linktypes import PAYLOADS
from bpflens.classic.diagrams.nodes import FALSE, TRUE, TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, Loop, Machine, run_in
from bpflens.classic.expression.candidates.candidate import Candidate, Test
from bpflens.classic.expression.candidates.candidates import candidates
from bpflens.classic.expression.contexts import Context, contexts, following
from bpflens.classic.expression.literals import Literals, cost_of
from bpflens.classic.expression.parse import parse
from bpflens.classic.expression.sequences import Parts, sequence
from bpflens.classic.expression.shorten import clarified, polished
from bpflens.classic.expression.synthesis import Synthesis
from bpflens.classic.expression.tree import FALSITY, TRUTH, Constant, Expression, Literal, Within, arranged, either, text
from bpflens.errors import InputError
from bpflens.lean import NamedTuple

__all__ = ("Compiler", "Found", "find")

OPTIMIZED_UP_TO = 12_000  # characters
_COST_OF_DIRECT = 600  # an answer dearer than this competes with the program's own tests put together
_LONGEST_CHAIN = 10
_NAMED, _NEEDED, _ALL = range(3)  # no index expressions; those for tests without a named primitive; all
_ETHERTYPE_VLAN = {0x8100, 0x88A8, 0x9100}


class Compiler:
    """Texts of the expression language as nodes of one store, by the system's libpcap. Keeps what it has compiled."""

    def __init__(self, store: Store, linktype: str, machine: Machine = KERNEL) -> None:
        from bpflens.formats.pcap import libpcap

        self.store = store
        self.linktype = linktype
        self.machine = machine
        self._library = libpcap.load()
        self._dlt = self._library.dlt_value("RAW" if linktype in PAYLOADS else linktype)
        self._nodes: dict[str, int | None] = {}
        self._programs: dict[str, tuple[tuple[int, int, int, int], ...]] = {}

    def program(self, expression: str) -> tuple[tuple[int, int, int, int], ...]:
        """libpcap's instructions, optimized unless the text is so long that the optimizer would take minutes; InputError if it refuses."""
        found = self._programs.get(expression)
        if found is None:
            found = self._library.compile(expression, self._dlt, len(expression) < OPTIMIZED_UP_TO)
            self._programs[expression] = found
        return found

    def node(self, expression: str) -> int | None:
        """The diagram of "accepted", for packets not cut short; None where libpcap cannot compile it or the code loops."""
        if expression not in self._nodes:
            try:
                self._nodes[expression] = run_in(self.store, self.program(expression), self.machine, bounds=False, accept=True)
            except (InputError, Loop):
                self._nodes[expression] = None
        return self._nodes[expression]


class Found(NamedTuple):
    """An answer: the expression, its text, its node, and whether it has terms of our extension (`@...`)."""

    expression: Expression
    text: str
    node: int
    extended: bool = False


def find(
    compiler: Compiler,
    lower: int,
    upper: int,
    tests: Iterable[Test],
    deadline: float,
    extended: Iterable[tuple[Candidate, int]] = (),
) -> Found | None:
    """The shortest readable expression E with lower ≤ E ≤ upper, for packets not cut short; None where none was found.

    `tests`: the jumps of the program, where constants are taken from. `deadline`: on the store's clock of steps. `extended`: terms of the
    extension that may be used where libpcap has none.
    """
    store = compiler.store
    if lower == FALSE:
        return Found(FALSITY, text(FALSITY), FALSE)
    if upper == TRUE:
        return Found(TRUTH, text(TRUTH), TRUE)
    search = _Search(compiler, lower, upper, list(tests), deadline, list(extended))
    before = store.deadline
    store.deadline = deadline + 2
    try:
        return search.run()
    except TooComplex:
        return search.best
    finally:
        store.deadline = before


class _Search:
    def __init__(
        self, compiler: Compiler, lower: int, upper: int, tests: list[Test], deadline: float, extended: list[tuple[Candidate, int]]
    ) -> None:
        self.compiler = compiler
        self.extended = extended
        self.store = compiler.store
        self.lower = lower
        self.upper = upper
        self.tests = tests
        self.deadline = deadline
        self.best: Found | None = None
        self.best_cost = 1 << 40

    def run(self) -> Found | None:
        end, now = self.deadline, self.store.clock()
        self.deadline = now + 0.6 * (end - now)  # what the program tests, put together directly, must get its turn
        try:
            self.named()
        except TooComplex:
            if self.best is None and self.store.clock() > end:
                raise
        self.deadline = end
        if self.best is None or self.best_cost > _COST_OF_DIRECT:
            self.offer(self.direct())
        if self.best is None:
            self.offer(self.plain(self.lower, self.upper, [], _ALL))
        if self.best is None and self.extended:
            literals = [*self.literals("", 0, TRUE, _ALL), *self.extended]
            chosen = Literals(self.store, literals, TRUE, self.lower, self.compiler.node)
            e = Synthesis(chosen, self.deadline).solve(self.lower, self.upper)
            if e is not None:
                e = arranged(polished(chosen, e))
                self.best = Found(e, text(e), chosen.node(e), "@" in text(e))
        return self.best

    def direct(self) -> Expression | None:
        """From the program's own tests and the protocols alone: few literals, so that it is found where the rich search drowns."""
        literals = self.literals("", 0, TRUE, _ALL, own=True)
        return self.synthesize(literals, TRUE, self.lower, self.upper, self.compiler.node)

    def named(self) -> None:
        """The searches with all that may be said."""
        moving = contexts(self.compiler.node, self.compiler.linktype, self.tests)
        for context in moving:
            if self.store.implies(context.node, self.upper):
                self.offer(self.keywords_only(context.text, context.node))
            if self.good():
                return
        if moving:
            self.in_sequence(moving)
            if self.good():
                return
            self.offer(self.plain(self.lower, self.upper, moving, _NAMED))
            if self.best is None or self.best_cost > 40:
                self.in_contexts([c for c in moving if not self.store.disjoint(c.node, self.lower)])
        if self.best is None or "[" in self.best.text:
            self.offer(self.plain(self.lower, self.upper, moving, _NEEDED))

    def in_sequence(self, moving: list[Context]) -> None:
        """Alternatives that each begin with a keyword."""
        keywords = [context.text for context in moving if " and " not in context.text and not context.text.startswith("geneve")]
        if not keywords:
            return
        further = [word for keyword in keywords for word in following(self.tests, keyword)]
        end = min(self.deadline, self.store.clock() + 2)

        def solve(
            literals: list[tuple[Candidate, int]], universe: int, lower: int, compile: Callable[[str], int | None]
        ) -> Expression | None:
            chosen = Literals(self.store, literals, universe, lower, compile)
            return Synthesis(chosen, min(end, self.store.clock() + 0.5)).solve(lower, self.upper, patience=0.05)

        parts = Parts(
            self.store, self.compiler.node, lambda prefix, shift, universe: self.literals(prefix, shift, universe, _NAMED), solve,
            lambda: self.store.clock() < end,
        )  # fmt: skip
        numbered = sorted(dict.fromkeys([*keywords, *further]), key=lambda word: " " not in word)
        shown = sequence(parts, self.lower, self.upper, numbered)
        tree = parse(shown) if shown is not None else None
        node = self.compiler.node(shown) if shown is not None else None
        if shown is not None and tree is not None and node is not None and self.fits(node):
            self.best, self.best_cost = Found(tree, shown, node), len(shown)

    def in_contexts(self, moving: list[Context]) -> None:
        """Try each context until one gives an answer without index expressions; those that can stand before an `or` first."""
        for context in moving:
            self.offer(self.after(context))
            if self.good():
                return
        for context in moving:
            self.offer(self.inside(context))
            if self.good():
                return

    def good(self) -> bool:
        """Whether to stop looking."""
        return (self.best is not None and "[" not in self.best.text) or self.store.clock() > self.deadline

    def offer(self, e: Expression | None) -> None:
        """Keep the expression if its text compiles to what is wanted and it is the cheapest so far."""
        if e is None or cost_of(e) >= self.best_cost:
            return
        e = arranged(e)
        for brief in (True, False):
            shown = text(e, brief)
            node = self.compiler.node(shown)
            if node is not None and self.fits(node):
                self.best, self.best_cost = Found(e, shown, node), cost_of(e)
                return

    def fits(self, node: int) -> bool:
        return self.store.implies(self.lower, node) and self.store.implies(node, self.upper)

    # one level

    def plain(self, lower: int, upper: int, moving: list[Context], indexes: int) -> Expression | None:
        """Without contexts; their keywords may occur as they stand."""
        literals = self.literals("", 0, TRUE, indexes)
        for context in moving:
            if context.text.count(" and ") == 0:
                literals.append((Candidate(context.text, "", len(context.text)), context.node))
        return self.synthesize(literals, TRUE, lower, upper, self.compiler.node)

    def literals(self, prefix: str, shift: int | None, universe: int, indexes: int, own: bool = False) -> list[tuple[Candidate, int]]:
        """Candidates with their nodes; `prefix` is the context with its "and" or "or". `indexes`: _NAMED, _NEEDED or _ALL.

        `own`: only protocols and the program's tests as they stand.
        """
        compiler, store = self.compiler, self.store
        found = []
        for candidate in candidates(store, self.lower, self.tests, compiler.linktype, shift, indexes == _ALL, bool(prefix), own):
            if indexes == _NAMED and "[" in candidate.prefix:
                continue
            node = compiler.node(prefix + candidate.text)
            if node is not None:
                found.append((candidate, store.conj(node, universe)))
        return found

    def synthesize(
        self, literals: list[tuple[Candidate, int]], universe: int, lower: int, upper: int, compile: object
    ) -> Expression | None:
        deadline = self.deadline if self.best is None else min(self.deadline, self.store.clock() + 2)
        chosen = Literals(self.store, literals, universe, self.lower, compile if callable(compile) else None)
        found = Synthesis(chosen, deadline).solve(lower, upper, limit=self.best_cost)
        return None if found is None else clarified(chosen, polished(chosen, found))

    def inside(self, context: Context) -> Expression | None:
        """`A or (context and E)`."""
        store = self.store
        prefix = f"{context.text} and "

        def compile(shown: str) -> int | None:
            return self.compiler.node(prefix + shown)

        lower = store.conj(self.lower, context.node)
        if lower == FALSE:
            return None
        inner: Expression | None = None
        for indexes in (_NAMED, _NEEDED, _ALL):
            literals = self.literals(prefix, context.shift, context.node, indexes)
            inner = self.synthesize(literals, context.node, lower, self.upper, compile)
            if inner is not None:
                break
        if inner is None or inner == FALSITY:
            return None
        within = Within(context.text, "and", inner)
        rest = store.diff(self.lower, context.node)
        if rest == FALSE:
            return within
        before = self.plain(rest, self.upper, [], _NEEDED)
        return None if before is None or isinstance(before, Constant) else either(before, within)

    def keywords_only(self, shown: str, node: int, last: str = "") -> Expression | None:
        """`vlan 2 or vlan 3 or vlan 4 ...`, each read behind the header of the one before."""
        store = self.store
        if store.implies(self.lower, node):
            before = shown.removesuffix(f" or {last}")
            return Within(before, "or", Literal(Candidate(last, "", len(last)))) if last else None
        if shown.count(" or ") >= _LONGEST_CHAIN or " and " in shown or self.store.clock() > self.deadline:
            return None
        for word in following(self.tests, shown):
            longer = self.compiler.node(f"{shown} or {word}")
            if longer is not None and longer != node and store.implies(longer, self.upper):
                found = self.keywords_only(f"{shown} or {word}", longer, word)
                if found is not None:
                    return found
        return None

    def after(self, context: Context) -> Expression | None:
        """`context or E`, with the headers moved for E as well: what libpcap makes of "vlan 100 or vlan 200"."""
        store = self.store
        if " and " in context.text or context.text.count(" or ") > 3 or not store.implies(context.node, self.upper):
            return None
        lower = store.diff(self.lower, context.node)
        if lower == FALSE:
            return None
        prefix = f"{context.text} or "
        universe = store.negate(context.node)

        def compile(shown: str) -> int | None:
            node = self.compiler.node(prefix + shown)
            return None if node is None else store.diff(node, context.node)

        literals = self.literals(prefix, context.shift, universe, _NEEDED)
        longer: list[Context] = []
        for word in following(self.tests, context.text):
            node = compile(word)
            if node is not None:
                literals.append((Candidate(word, "", len(word)), node))
                shift = None if context.shift is None else context.shift + 4
                if not store.disjoint(node, lower):
                    longer.append(Context(prefix + word, shift, store.disj(context.node, node)))
        inner = self.synthesize(literals, universe, lower, self.upper, compile)
        if inner is not None and not isinstance(inner, Constant) and "[" not in text(inner):
            return Within(context.text, "or", inner)
        for further in longer:
            found = self.after(further)
            if found is not None:
                return found
        return None if inner is None or isinstance(inner, Constant) else Within(context.text, "or", inner)
