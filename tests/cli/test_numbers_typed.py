"""Numbers of thousands of digits, which Python's int() refuses, are no internal errors wherever a user may type one."""

from __future__ import annotations

import pytest

from bpflens.cli.main import run

LONG = "9" * 5000
TARGETS = (f"id:{LONG}", f"map:{LONG}", f"link:{LONG}", f"pid:{LONG}", f"sock:{LONG}", f"fd:{LONG}/1", f"fd:1/{LONG}")


@pytest.mark.parametrize("verb", ("dis", "original", "ls", "seccomp"))
@pytest.mark.parametrize("target", TARGETS, ids=lambda text: text.partition(":")[0])
def test_a_long_number_is_refused(verb: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run([verb, target])
    said = capsys.readouterr().err
    assert code in (2, 3, 4) and "internal error" not in said
