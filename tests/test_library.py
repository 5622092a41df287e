"""The library has the verbs of the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bpflens
from bpflens.cli.main import verb_parser
from bpflens.cli.verb_table import VERBS
from bpflens.errors import InputError


def test_every_name_is_there() -> None:
    for name in bpflens.__all__:
        assert getattr(bpflens, name) is not None
    assert set(bpflens.__all__) <= set(dir(bpflens))


def test_open_dis_explain_diff() -> None:
    program = bpflens.open("pcap:ip and udp dst port 68")

    assert program.insn_count == 11
    assert bpflens.dis(program).splitlines()[-1].split() == ["(010)", "ret", "#0"]
    explanation = bpflens.explain(program)
    assert explanation.expression == "ip and udp dst port 68"
    assert not bpflens.diff(program, "pcap:udp dst port 67 and ip").equal


def test_open_wants_exactly_one(tmp_path) -> None:
    two = tmp_path / "two"
    two.write_text("1\n6 0 0 1\n1\n6 0 0 0\n")  # as tcpdump -ddd prints them

    assert len(bpflens.open_all(str(two))) == 2
    with pytest.raises(InputError, match="names 2 programs"):
        bpflens.open(str(two))
    with pytest.raises(AttributeError):
        bpflens.nothing_such  # noqa: B018


def test_verbs_keep_their_names_beside_packages() -> None:
    """Importing bpflens.original or bpflens.decompile does not make a module of the verb."""
    import bpflens.decompile.result
    import bpflens.original.result

    assert callable(bpflens.original) and callable(bpflens.decompile)


def test_results_show_in_a_notebook() -> None:
    """As the command prints them, with what HTML would act on escaped."""
    for result in (bpflens.explain("pcap:tcp[13] & 2 != 0"), bpflens.dis("pcap:arp"), bpflens.diff("pcap:arp", "pcap:rarp")):
        html = result._repr_html_()
        assert html.startswith("<pre>") and html.endswith("</pre>")
    assert "tcp[13] &amp; 2 != 0" in bpflens.explain("pcap:tcp[13] & 2 != 0")._repr_html_()


def test_classic_verbs_refuse_extended_code() -> None:
    with pytest.raises(InputError, match="is an extended"):
        bpflens.seccomp(bpflens.asm("r0 = 1\nexit"))


def test_importing_the_package_imports_nothing_of_it() -> None:
    text = "import sys, bpflens; print([name for name in sys.modules if name.startswith('bpflens.')])"
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout == "[]\n"


def test_every_help_page_says_how_in_python() -> None:
    for verb in VERBS:
        if verb.name not in ("help", "completion"):
            assert "In Python: " in verb_parser(verb)[1].format_help(), verb.name
