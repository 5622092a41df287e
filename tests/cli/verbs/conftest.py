"""The fixture `verbs`."""

from __future__ import annotations

import pytest

from cli.verbs.calls import Calls


@pytest.fixture
def verbs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Calls of verbs."""
    return Calls(capsys, monkeypatch)
