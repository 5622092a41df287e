"""A verb's own functions called as the command does it, without the command."""

from __future__ import annotations

import argparse
import io
import sys
from types import ModuleType

import pytest

from bpflens.cli.settings import Settings


class Calls:
    """`call` gives the exit code; `out` and `err` are what was printed last."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch
        self.out = self.err = ""

    def call(self, verb: ModuleType, *argv: str, json: bool = False, stdin: str | bytes = b"") -> int:
        """configure() and run() of a verb's module."""
        parser = argparse.ArgumentParser(description=verb.__doc__, allow_abbrev=False, exit_on_error=False)
        verb.configure(parser)
        data = stdin.encode() if isinstance(stdin, str) else stdin
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        self._capsys.readouterr()
        code = verb.run(parser.parse_args(argv), Settings(json=json, pager=False))
        self.out, self.err = self._capsys.readouterr()
        return int(code or 0)
