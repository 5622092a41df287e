"""Options and rules of the whole test run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import needs
import printed_lines

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], print_blob=True
)
settings.register_profile("emulated", settings.get_profile("default"), max_examples=10)
settings.load_profile("emulated" if "BPFLENS_EMULATED" in os.environ else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update` rewrites golden files; `--slow` adds the long runs."""
    parser.addoption("--update", action="store_true", help="rewrite the [out] parts of golden cases")
    parser.addoption("--slow", action="store_true", help="run the slow matrices too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests are left out (not skipped) unless asked for."""
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(autouse=True)
def _lines_as_published() -> Iterator[None]:
    """Whatever line of JSON the package makes in a test is as its schema says."""
    with printed_lines.checked() as problems:
        yield
    assert not problems, f"not as docs/schemas/ says: {problems[:5]}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Live tests need root."""
    if item.get_closest_marker("live"):
        needs.root()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Under BPFLENS_NO_SKIPS a skip for anything but a missing kernel feature is a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("BPFLENS_NO_SKIPS") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if needs.KERNEL_LACKS not in reason:
            report.outcome = "failed"
            report.longrepr = f"skipped where nothing may be skipped: {reason}"
