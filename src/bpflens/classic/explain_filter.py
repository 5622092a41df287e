"""One filter on packets explained: the way from its instructions to an expression with its proof.

    1. the program as a decision diagram             diagrams/
    2. an expression with the same diagram           expression/
    3. the expression compiled by libpcap, and both programs proved equal    proof/
    4. the expression in words, and the filter's name                        words/
"""

from __future__ import annotations

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.linktypes import LAYOUTS, PACKET, layout_of
from bpflens.classic.diagrams.nodes import FALSE, TRUE, TooComplex
from bpflens.classic.diagrams.symbolic import KERNEL, LIBPCAP, Loop, Machine, run_in, value_terms
from bpflens.classic.diagrams.term import Term
from bpflens.classic.explanation import Explanation, Outcome, Proof
from bpflens.classic.expression import arithmetic
from bpflens.classic.expression.arithmetic import bases_of
from bpflens.classic.expression.at_terms import extended_literals, marked, needs_extension, term_text
from bpflens.classic.expression.candidates.candidate import Test, load_constants, tests_of
from bpflens.classic.expression.find import Compiler, Found, find
from bpflens.classic.expression.names import named
from bpflens.classic.expression.parse import parse
from bpflens.classic.expression.shifts import Shift, shift_of, within
from bpflens.classic.expression.tree import FALSITY, KEYWORDS, TRUTH, And, Or, orders, text
from bpflens.classic.expression.vlan_offload import find_vlan, looks_at_stripped_tags
from bpflens.classic.hooks import hook_of
from bpflens.classic.proof import equal as prove
from bpflens.classic.refused import why_nothing_runs
from bpflens.classic.words.as_typed import describe_typed
from bpflens.classic.words.known_filters import name_of, pattern_of
from bpflens.classic.words.sentences import describe, returned
from bpflens.classic.words.suspicion import suspicion_of
from bpflens.errors import InputError
from bpflens.isa.classic.insn import SockFilter
from bpflens.lean import replace
from bpflens.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:

    from bpflens.classic.contradiction import Contradiction

__all__ = ("REJECT", "FilterExplainer")

MAX_OUTCOMES = 24
CEILING = 20.0  # real seconds for each second of steps: only a very slow machine gets there, and it is said
REJECT = ((0x06, 0, 0, 0),)
SPELLING = 8  # characters in which a search's answer may be longer and still be what was typed, written more evenly
NO_PACKET = 1 << 24  # the longest that Linux makes of one (BIG TCP) have less than 2^20 bytes
OWN_TEXT_SECONDS = 2.0  # spent on something shorter than what was typed
OFFLOADED_TAG = "a VLAN tag that the kernel took off counts as if it were in the frame, as in a live capture"


class FilterExplainer:
    """Explains one program for the packets of one link type; `run()` does it within `deadline` on the clock of steps of its diagrams."""

    def __init__(
        self,
        program: Program,
        insns: tuple[SockFilter, ...],
        given: tuple[str, ...],
        linktype: str,
        deadline: float,
        steps_before: int = 0,
    ) -> None:
        """`steps_before`: of other searches for the same answer, which count in its `steps`."""
        self.program = program
        self.insns = insns
        self.given = given
        self.linktype = linktype
        self.deadline = deadline
        self.notes: list[str] = []
        self.known: str | None = None
        self.assumptions: list[str] = []
        self.machine: Machine = KERNEL
        self.own: Found | None = None  # what the user has typed, where that is an answer
        self.store = Store(deadline=deadline + 1, ceiling_s=CEILING * deadline)
        self.steps_before = steps_before

    def run(self) -> Explanation:
        from bpflens.isa.classic.check import check

        refusals = check(self.insns, "socket")
        reason = why_nothing_runs(self.insns)
        if reason is not None:
            self.compiler = Compiler(self.store, self.linktype)
            return self.result(None, (f"Not explained: {reason}.",), None, "", self.unproved(reason))
        if refusals:
            self.machine = LIBPCAP
            self.notes.append(f"the kernel would refuse this program: {refusals[0]}; this is what it does in libpcap")
        self.compiler = Compiler(self.store, self.linktype, self.machine)
        try:
            return self.explain()
        except Loop as loop:
            self.notes.clear()
            reason = f"{loop}; libpcap makes such code for protochain, and no kernel loads it"
            return self.result(None, (f"Not explained: {reason}.",), None, "", self.unproved(reason))
        except TooComplex as error:
            reason = f"too complex: {error}"
            if self.own is not None:
                words = (f"No words were found in time: {reason}.",)
                return self.result(self.own, words, self.known, "", self.proved(self.own))
            known = self.known or suspicion_of(self.program.code)
            return self.result(None, (f"Not explained: {reason}.",), known, "", self.unproved(reason))

    def explain(self) -> Explanation:
        store = self.store
        node = run_in(store, self.insns, self.machine, bounds=False, accept=True)
        tests = tests_of(store)
        placed = self.headers(tests)
        if placed:
            # The network header's place is known on this link type: with that assumption the language can speak of it.
            layout = LAYOUTS.get(self.linktype)
            if layout is not None and layout.network is not None:
                self.machine = KERNEL.at_network_offset(layout.network)
                places = {"link": "the link header is at byte 0", "net": f"the network header is at byte {layout.network}"}
                self.assumptions += [places[region] for region in placed]
                self.steps_before += self.store.work
                store = self.store = Store(deadline=self.deadline + 1, ceiling_s=CEILING * self.deadline)
                self.compiler = Compiler(store, self.linktype, self.machine)
                node = run_in(store, self.insns, self.machine, bounds=False, accept=True)
                tests = tests_of(store)
        self.tell_places(tests)
        universe = self.universe()
        lower, upper = store.conj(node, universe), store.disj(node, store.negate(universe))
        literals = extended_literals(store, tests, plain=False) if needs_extension(tests) else []
        values = self.values()
        if looks_at_stripped_tags(tests):
            vlan = find_vlan(self.compiler, node, universe, tests, self.deadline)
            if vlan is not None and vlan.expression == FALSITY:
                return self.nothing(node)
            if vlan is not None:
                self.assumptions.append(OFFLOADED_TAG)
                words = describe(vlan.expression, self.compiler, universe)
                return self.result(vlan, words, None, self.accepts(values), self.confirmed(node))
        known = self.known = name_of(self.compiler, lower, upper, tests)  # before the search, which may take all the time that there is
        typed = self.own = self.typed(lower, upper)
        if typed is not None and self.shifts(typed) is not None:
            return self.as_typed(typed, None, tests, universe)  # the search knows no such text
        end = self.deadline if typed is None else min(self.deadline, store.clock() + OWN_TEXT_SECONDS)
        found = find(self.compiler, lower, upper, tests, end, literals)
        found = self.with_names(found) if found is not None else None
        if typed is not None and (found is None or found.extended or len(found.text) >= len(typed.text)):
            return self.as_typed(typed, found, tests, universe)
        if found is None and self.store.clock() < self.deadline:
            found = find(self.compiler, lower, upper, tests, self.deadline, extended_literals(store, tests, plain=True))
        accepts = self.accepts(values)
        several = len(values) > 1 or any(value >= 1 << 32 for value in values)
        outcomes = self.outcomes(values, tests, universe) if several else ()
        if found is not None and found.expression == FALSITY:
            return self.nothing(node)
        if found is None:
            reason = "no expression was found in time" if self.store.clock() >= self.deadline else "no expression was found"
            known = known or suspicion_of(self.program.code)
            return self.result(None, self.tests_in_words(tests), known, accepts, self.unproved(reason), outcomes)
        found = self.with_names(self.in_best_order(found))
        known = known or pattern_of(found.text) or suspicion_of(self.program.code)
        moves = isinstance(found.expression, (And, Or)) and self.shifts(found) is not None
        words = (describe_typed if moves else describe)(found.expression, self.compiler, universe)
        self.tell_shifts(found)
        return self.result(found, words, known, accepts, self.proved(found), outcomes)

    def typed(self, lower: int, upper: int) -> Found | None:
        """The text that the user has typed, where libpcap compiles it to what is asked for."""
        line = self.program.origin.line if self.program.origin.source == "pcap" else None
        shown = " ".join(line.split()) if line else ""
        node = self.compiler.node(shown) if shown else None
        if node is None or not (self.store.implies(lower, node) and self.store.implies(node, upper)):
            return None
        return Found(parse(shown) or TRUTH, shown, node)

    def as_typed(self, typed: Found, found: Found | None, tests: list[Test], universe: int) -> Explanation:
        """The answer is what was typed: nothing shorter says the same."""
        shift = self.shifts(typed)
        if found is not None and not found.extended and len(text(found.expression)) <= len(typed.text) + SPELLING:
            words = describe(found.expression, self.compiler, universe)
        elif typed.expression != TRUTH:
            tree = typed.expression if shift is not None else within(typed.expression)
            words = (describe if shift is None else describe_typed)(tree, self.compiler, universe)
        elif found is not None and not found.extended:
            words = describe(found.expression, self.compiler, universe)
        else:
            words = self.tests_in_words(tests)
        known = self.known or pattern_of(found.text if found is not None else typed.text) or suspicion_of(self.program.code)
        self.tell_shifts(typed)
        return self.result(typed, words, known, self.accepts(self.values()), self.proved(typed))

    def with_names(self, found: Found) -> Found:
        """With the names that people write, where libpcap makes the same of them."""
        if found.extended:
            return found
        shown = named(found.text)
        return found if shown == found.text or self.compiler.node(shown) != found.node else found._replace(text=shown)

    def shifts(self, found: Found) -> Shift | None:
        """Which keyword moves more of a text than its writer may have meant."""
        tree = parse(found.text) if not found.extended and any(word in found.text for word in KEYWORDS) else None
        return shift_of(tree, self.compiler, found.node) if tree is not None else None

    def tell_shifts(self, found: Found) -> None:
        """A note on that."""
        shift = self.shifts(found)
        if shift is not None:
            meant = f"; probably meant: {shift.meant}" if shift.meant is not None else ""
            self.notes.append(f"{shift.note}{meant}")

    def nothing(self, node: int) -> Explanation:
        """A filter that accepts no packet: libpcap compiles no expression to that, so words have to do."""
        shown = " and ".join(self.given)
        none = f"No packet: under the assumption that every packet satisfies `{shown}`, it accepts nothing."
        why = self.why_nothing()
        if why is not None:
            self.notes.append(f"{why.reason}{f'; instead: {why.instead}' if why.instead else ''}")
        verdict = prove.compare(self.insns, REJECT, self.machine, given=self.assumed())
        proof = self.proof(verdict)
        if verdict.different:  # unless a tag that the kernel took off stands elsewhere than in the frame
            self.assumptions.append(OFFLOADED_TAG)
            proof = self.confirmed(node)
        return self.result(None, (none if shown else "No packet.",), None, "", proof)

    def tell_places(self, tests: list[Test]) -> None:
        """A note where a test reads what no packet has."""
        places = sorted({load.offset for test in tests for load in load_constants(test) if load.base == PACKET})
        beyond = [place for place in places if NO_PACKET <= place < 1 << 31]
        if beyond:
            shown = ", ".join(map(str, beyond[:3]))
            where = f"byte {shown} lies" if len(beyond) == 1 else f"bytes {shown} lie"
            self.notes.append(f"{where} beyond every packet: a program that gets there rejects the packet")

    def why_nothing(self) -> Contradiction | None:
        """The tests that exclude each other in what was typed and assumed."""
        from bpflens.classic.contradiction import why_nothing

        typed = self.program.origin.line if self.program.origin.source == "pcap" else None
        return why_nothing(" and ".join([*(f"({given})" for given in self.given), f"({typed})"]), self.compiler) if typed else None

    def headers(self, tests: list[Test]) -> list[str]:
        """The headers ("link", "net") from which the program reads, wherever they lie."""
        regions = {base.region for test in tests for term in (test.a, test.b) for base in bases_of(term)}
        return sorted(regions & {"net", "link"})

    def universe(self) -> int:
        """The packets that the assumptions leave."""
        universe = TRUE
        for assumption in self.given:
            node = self.compiler.node(assumption)
            if node is None:
                try:
                    self.compiler.program(assumption)
                except InputError as error:  # libpcap's own message
                    raise InputError(f"--given {assumption}", error.reason) from None
                raise InputError(f"--given {assumption}", "loops")
            universe = self.store.conj(universe, node)
        if universe == FALSE:
            raise InputError("--given", "the assumptions contradict each other")
        return universe

    def values(self) -> dict[int, int]:
        """Nonzero return values, as terminals of the diagram whose node is under 0."""
        constants = {insn.k for insn in self.insns if insn.code == 0x06} - {0}
        if len(constants) < 2 and all(insn.code != 0x16 for insn in self.insns):
            return dict.fromkeys(constants, FALSE)
        node = run_in(self.store, self.insns, self.machine, bounds=False, terms=True)
        terminals = sorted(self.store.terminals(node) - {0})
        self.valued = node
        return dict.fromkeys(terminals, node)

    def accepts(self, values: dict[int, int]) -> str:
        if hook_of(self.program).kind != "length" and all(value < 1 << 32 for value in values):
            return ""  # the value is no length there
        constants = [value for value in values if value < 1 << 32]
        if not values:
            return ""
        if len(values) == 1 and constants:
            return returned(constants[0])
        return f"{len(values)} different return values" if len(values) > 1 else "as much as the return value says"

    def outcomes(self, values: dict[int, int], tests: list[Test], universe: int) -> tuple[Outcome, ...]:
        """An expression for each return value; neighbours beyond MAX_OUTCOMES are left to the words of the whole."""
        store = self.store
        terms = value_terms(store)
        found = []
        for number, value in enumerate(list(values)[:MAX_OUTCOMES]):
            share = self.store.clock() + max(0.2, (self.deadline - self.store.clock()) / (min(len(values), MAX_OUTCOMES) - number))
            node = store.where(self.valued, value)
            lower, upper = store.conj(node, universe), store.disj(node, store.negate(universe))
            answer = find(self.compiler, lower, upper, tests, share, extended_literals(store, tests, plain=True))
            shown = self.value_text(terms[value]) if value in terms else str(value)
            if answer is not None and answer.expression == FALSITY:
                continue  # no packet gets there
            if answer is None:
                found.append(Outcome(shown, None, False, ()))
            else:
                told = marked(answer.text) if answer.extended else answer.text
                found.append(Outcome(shown, told, answer.extended, describe(answer.expression, self.compiler, universe)))
        if len(values) > MAX_OUTCOMES:
            self.notes.append(f"{len(values) - MAX_OUTCOMES} further return values are not listed")
        return tuple(found)

    def value_text(self, term: Term) -> str:
        """A computed return value, with fields named by their header where that is possible."""
        layout = layout_of(self.linktype)
        network = layout.network or 0
        for behind in ("udp", None):
            try:
                return arithmetic.text(term, arithmetic.Names(layout.start, 0, behind, network), layout)
            except arithmetic.Unspeakable:
                continue
        return term_text(term)

    def tests_in_words(self, tests: list[Test]) -> tuple[str, ...]:
        """Every condition that the program tests, where no expression ties them together."""
        literals = extended_literals(self.store, tests, plain=True)
        shown = [f"`{candidate.text}`" for candidate, _ in literals[::2]]
        return (f"It decides on these conditions: {', '.join(shown)}.",) if shown else ("It tests nothing.",)

    def proved(self, found: Found) -> Proof:
        if found.extended:
            return self.confirmed(found.node)
        insns = self.compiler.program(found.text)
        verdict = prove.compare(self.insns, insns, self.machine, given=self.assumed())
        return self.proof(replace(verdict, reason="the expression differs from the program") if verdict.different else verdict)

    def confirmed(self, node: int) -> Proof:
        """The proof of what no program states: terms of the extension, offloaded tags."""
        return self.proof(prove.confirmed(self.insns, self.store, node, self.machine, self.assumed()))

    def assumed(self) -> tuple[tuple[int, int, int, int], ...] | None:
        """The program of the assumptions together."""
        return self.compiler.program(" and ".join(f"({given})" for given in self.given)) if self.given else None

    def in_best_order(self, found: Found) -> Found:
        """The same terms, in an order for which the compiled code reads the packet as the program does, if there is one.

        Only packets that are cut short can tell the orders apart.
        """
        if len(found.text) > 1000 or self.store.clock() > self.deadline:
            return found
        store = self.store
        program = run_in(store, self.insns, self.machine, bounds=True, accept=True)

        def equal(shown: str) -> bool:
            code = self.compiler.program(shown)
            return run_in(store, code, self.machine, bounds=True, accept=True) == program

        if found.extended or equal(found.text):
            return found
        end = min(self.deadline, self.store.clock() + 0.5)
        for other in orders(found.expression):
            shown = text(other)
            if len(shown) <= len(found.text) and self.compiler.node(shown) == found.node and equal(shown):
                return found._replace(expression=other, text=shown)
            if self.store.clock() > end:
                break
        return found

    def unproved(self, reason: str) -> Proof:
        return self.proof(prove.Verdict("none", "", None, reason))

    def proof(self, verdict: prove.Verdict) -> Proof:
        from bpflens.formats.pcap import libpcap

        assumptions = (*self.assumptions, *verdict.assumptions)
        grade, method, witness, reason = verdict.grade, verdict.method, verdict.witness, verdict.reason
        return Proof(grade, method, libpcap.version(), self.linktype, self.given, assumptions, witness, reason)

    def result(
        self,
        found: Found | None,
        words: tuple[str, ...],
        known: str | None,
        accepts: str,
        proof: Proof,
        outcomes: tuple[Outcome, ...] = (),
    ) -> Explanation:
        if self.store.stopped:
            self.notes.append(f"the search was stopped after {CEILING * self.deadline:g} seconds, before its steps were done")
        return Explanation(
            self.program.origin.where,
            self.program.name,
            len(self.insns),
            self.linktype,
            self.given,
            found.text if found is not None and not found.extended else None,
            marked(found.text) if found is not None and found.extended else None,
            words,
            known,
            accepts,
            proof,
            outcomes,
            tuple(self.notes),
            steps=self.steps_before + self.store.work,
        )
