"""The search for an expression, part by part: literals, first terms, synthesis, shortening, the text; judged by libpcap's own compiler."""

from __future__ import annotations

import functools
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpflens.classic.diagrams.diagram import Store
from bpflens.classic.diagrams.nodes import FALSE, TRUE
from bpflens.classic.expression.candidates.candidate import Candidate
from bpflens.classic.expression.candidates.networks import MAX_SINGLES, networks, prefix_length
from bpflens.classic.expression.find import Compiler
from bpflens.classic.expression.first_terms import first_terms
from bpflens.classic.expression.literals import Literals, cost_of, irredundant
from bpflens.classic.expression.shorten import polished, pruned
from bpflens.classic.expression.synthesis import Synthesis
from bpflens.classic.expression.tree import FALSITY, TRUTH, And, Expression, Literal, Not, Or, both, either, opposite, text

TEXTS = (
    ("arp", ""), ("ip", ""), ("ip6", ""), ("udp", ""), ("tcp", ""), ("port", "53"), ("port", "80"), ("dst port", "53"),
    ("host", "10.0.0.1"), ("host", "10.0.0.2"), ("src host", "10.0.0.1"), ("net", "10.0.0.0/8"),
)  # fmt: skip


@functools.cache
def search() -> tuple[Compiler, Literals]:
    """Twelve literals in one store."""
    compiler = Compiler(Store(), "EN10MB")
    found = []
    for prefix, value in TEXTS:
        candidate = Candidate(prefix, value, len(f"{prefix} {value}".strip()))
        node = compiler.node(candidate.text)
        assert node is not None
        found.append((candidate, node))
    return compiler, Literals(compiler.store, found)


def literal(index: int) -> Expression:
    prefix, value = TEXTS[index]
    return Literal(Candidate(prefix, value, len(f"{prefix} {value}".strip())))


LITERALS = st.integers(0, len(TEXTS) - 1).map(literal)
TREES: st.SearchStrategy[Expression] = st.recursive(
    LITERALS,
    lambda inner: st.one_of(
        inner.map(opposite), st.lists(inner, min_size=2, max_size=3).map(lambda items: both(*items)),
        st.lists(inner, min_size=2, max_size=3).map(lambda items: either(*items)),
    ),
    max_leaves=6,
)  # fmt: skip


@given(tree=TREES, brief=st.booleans())
@settings(max_examples=80)
def test_the_text_means_what_the_tree_says(tree: Expression, brief: bool) -> None:
    """Precedence, negation and qualifiers that are left out: libpcap reads the text as the tree is meant."""
    compiler, literals = search()
    if tree not in (TRUTH, FALSITY):
        wanted = literals.node(tree)
        compiled = compiler.node(text(tree, brief))
        assert compiled == wanted or (compiled is None and wanted == FALSE)  # libpcap refuses what rejects all packets


def test_a_qualifier_holds_until_its_parenthesis_is_closed() -> None:
    """`(arp or port 53) and 53` is no expression; within and before the parenthesis a qualifier is left out."""
    group = Or((literal(0), literal(5), literal(6)))
    assert text(And((group, literal(5)))) == "(arp or port 53 or 80) and port 53"
    assert text(And((literal(6), Or((literal(5), literal(0))), Not(literal(5))))) == "port 80 and (port 53 or arp) and not 53"
    assert text(And((literal(6), Or((literal(5), literal(6)))))) == "port 80 and (53 or 80)"


@given(tree=TREES)
@settings(max_examples=50)
def test_synthesis_gives_back_what_was_combined(tree: Expression) -> None:
    """The diagram of any combination of the literals is found again, at about the cost of what it was made of or a lower one."""
    _, literals = search()
    node = literals.node(tree)
    found = Synthesis(literals).solve(node, node)
    assert found is not None and literals.node(found) == node
    assert cost_of(found) <= cost_of(tree) * 1.5 + 5


def test_freedom_between_the_bounds_is_used() -> None:
    """`udp` is between `udp and dst port 53 and host 10.0.0.1` and `udp or arp`: the shortest text, not the exact one."""
    _, literals = search()
    lower = literals.node(both(literal(3), literal(7), literal(8)))
    upper = literals.node(either(literal(3), literal(0)))
    found = Synthesis(literals).solve(lower, upper)
    assert found is not None and text(found) == "udp"
    assert Synthesis(literals).solve(FALSE, upper) == FALSITY
    assert Synthesis(literals).solve(lower, TRUE) == TRUTH


def test_what_no_combination_tells_apart_is_given_up() -> None:
    """A port that no literal names: without an answer, and not with a wrong one."""
    compiler, literals = search()
    node = compiler.node("tcp port 81")
    assert node is not None
    synthesis = Synthesis(literals)
    assert not synthesis.separable(node, compiler.store.negate(node))
    assert synthesis.solve(node, node) is None


def test_a_long_list_of_hosts_is_taken_out_whole() -> None:
    """A family of many values with a rest: each value once, in their own order."""
    compiler = Compiler(Store(), "EN10MB")
    hosts = [f"10.1.{number // 250}.{number % 250 + 1}" for number in range(30)]
    candidates = [Candidate("host", host, len(host) + 5) for host in hosts] + [Candidate("udp", "", 3), Candidate("tcp", "", 3)]
    literals = Literals(compiler.store, [(c, node) for c in candidates if (node := compiler.node(c.text)) is not None])
    wanted = both(literal(3), either(*(Literal(c) for c in reversed(candidates[:20]))))
    node = literals.node(wanted)
    found = Synthesis(literals).solve(node, node)
    assert found is not None and literals.node(found) == node
    shown = text(found)
    assert shown.count("10.1.") == 20 and shown.startswith("udp and (host 10.1.0.1 or 10.1.0.2 or ")


@given(tree=TREES, effort=st.integers(0, 2))
@settings(max_examples=50)
def test_first_terms_leave_a_problem_that_gives_the_answer(tree: Expression, effort: int) -> None:
    """Whatever answers what is left answers the whole, joined as the search joins it."""
    _, literals = search()
    store, node = literals.store, literals.node(tree)
    if node in (TRUE, FALSE):
        return
    above = [choice for choice in literals.choices if store.implies(node, choice.node)]
    below = [choice for choice in literals.choices if store.implies(choice.node, node) and not store.disjoint(choice.node, node)]
    for cost, term, lower, upper in first_terms(literals, node, node, above, below, 0, effort):
        assert cost > 0 and store.implies(lower, upper)
        for rest in (lower, upper):  # the two extreme answers of what is left
            whole = store.conj(literals.node(term), rest) if lower == node else store.disj(literals.node(term), rest)
            assert whole == node


@given(tree=TREES)
@settings(max_examples=50)
def test_shortening_keeps_the_meaning(tree: Expression) -> None:
    """What pruning and polishing give is no longer, and between the same bounds."""
    _, literals = search()
    node = literals.node(tree)
    shorter = pruned(literals, tree, node, node)
    assert literals.node(shorter) == node and cost_of(shorter) <= cost_of(tree)
    assert literals.node(polished(literals, tree)) == node


def test_pruning_takes_superfluous_terms_away() -> None:
    """`udp or (udp and port 53)` is `udp`; `ip and host 10.0.0.1 and net 10/8` needs no net."""
    _, literals = search()
    for tree, wanted in (
        (Or((literal(3), And((literal(3), literal(5))))), "udp"),
        (And((literal(1), literal(8), literal(11))), "ip and host 10.0.0.1"),
    ):
        node = literals.node(tree)
        assert text(pruned(literals, tree, node, node)) == wanted


def test_weights_and_irredundant_members() -> None:
    """A diagram and its complement weigh 1 together; of nested nets the ones that others cover go."""
    compiler, literals = search()
    for choice in literals.choices:
        assert 0 < literals.weight(choice.node) < 1
        assert literals.weight(choice.node) + literals.weight(compiler.store.negate(choice.node)) == pytest.approx(1)
    members = [choice for choice in literals.choices if text(choice.expression) in ("host 10.0.0.1", "host 10.0.0.2", "net 10.0.0.0/8")]
    lower = literals.node(either(literal(8), literal(9)))
    kept = irredundant(compiler.store, members, lower)
    assert compiler.store.implies(lower, compiler.store.any(choice.node for choice in kept))
    for choice in kept:
        others = compiler.store.any(other.node for other in kept if other is not choice)
        assert not compiler.store.implies(lower, others)


@given(low=st.integers(0, 255), high=st.integers(0, 255))
def test_networks_of_a_range(low: int, high: int) -> None:
    """All are inside of the range, and together they are it, unless it is too ragged to be worth it."""
    low, high = min(low, high), max(low, high)
    covered: set[int] = set()
    for address, length in networks(low, high, 8):
        size = 1 << 8 - length
        assert address % size == 0 and low <= address and address + size - 1 <= high
        covered.update(range(address, address + size))
    assert covered == set(range(low, high + 1)) or (not covered and high - low >= MAX_SINGLES)


@given(bits=st.integers(0, 32), mask=st.integers(0, 0xFFFFFFFF))
def test_prefix_lengths(bits: int, mask: int) -> None:
    """As the standard library sees netmasks."""
    assert prefix_length(int(ipaddress.ip_network(f"0.0.0.0/{bits}").netmask)) == bits
    masks = {int(ipaddress.ip_network(f"0.0.0.0/{length}").netmask) for length in range(33)}
    assert (prefix_length(mask) is None) == (mask not in masks)


@pytest.mark.parametrize("negated", [Not(literal(3)), opposite(literal(3)), opposite(opposite(Not(literal(3))))])
def test_a_double_negation_is_none(negated: Expression) -> None:
    """`opposite` never nests."""
    assert text(negated) == "not udp"
