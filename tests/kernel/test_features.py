"""What doctor finds, where the files that it looks at are as the test puts them."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable

import pytest

from bpflens.kernel import features, probes
from bpflens.kernel.features import Finding, findings
from bpflens.kernel.sys import capabilities


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | OSError]:
    """Path -> what it says, in place of the machine's; others are as they are."""
    found: dict[str, str | OSError] = {}
    real, exists = builtins.open, os.path.exists

    def opened(path: str, *args: object, **options: object) -> io.StringIO:
        answer = found.get(str(path))
        if isinstance(answer, OSError):
            raise answer
        return io.StringIO(answer) if answer is not None else real(path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "open", opened)

    def is_there(path: str) -> bool:
        return not isinstance(found[path], FileNotFoundError) if path in found else exists(path)

    monkeypatch.setattr(os.path, "exists", is_there)
    return found


def kernel(name: str) -> tuple[bool | None, str]:
    probe: Callable[[], tuple[bool | None, str]] = {row[0]: row[1] for row in features._KERNEL}[name]
    return probe()


@pytest.mark.parametrize(("enable", "harden", "expected"), [
    ("1", "0", (True, "on")),
    ("0", "0", (False, "switched off")),
    ("2", "1", (True, "on, with traces in the kernel log; constants of unprivileged programs are blinded")),
    ("1", "2", (True, "on; constants are blinded")),
    (PermissionError(13, "x"), "0", (None, "the setting is for root's eyes")),
    (FileNotFoundError(2, "x"), "0", (False, "built without CONFIG_BPF_JIT")),
])  # fmt: skip
def test_jit(files: dict[str, str | OSError], enable: str | OSError, harden: str, expected: tuple[bool | None, str]) -> None:
    files["/proc/sys/net/core/bpf_jit_enable"], files["/proc/sys/net/core/bpf_jit_harden"] = enable, harden
    assert kernel("JIT") == expected


@pytest.mark.parametrize(("state", "expected"), [
    ("[none] integrity confidentiality", (True, "lockdown is none")),
    ("none [integrity] confidentiality", (True, "lockdown is integrity")),
    ("none integrity [confidentiality]\n", (False, "lockdown is confidentiality")),
])  # fmt: skip
def test_lockdown(files: dict[str, str | OSError], state: str, expected: tuple[bool, str]) -> None:
    files["/sys/kernel/security/lockdown"] = state
    assert kernel("kernel memory by BPF") == expected


def test_lockdown_that_cannot_be_read(files: dict[str, str | OSError], monkeypatch: pytest.MonkeyPatch) -> None:
    """The thing itself is tried then."""
    files["/sys/kernel/security/lockdown"] = FileNotFoundError(2, "x")
    monkeypatch.setattr(probes, "reads_kernel_memory", lambda: False)
    assert kernel("kernel memory by BPF")[0] is False


@pytest.mark.parametrize(("status", "restore", "expected"), [
    ("Name:\tx\nSeccomp:\t0\n", "1", (True, "")),
    ("Name:\tx\nSeccomp:\t2\n", "1", (False, "this process is under a seccomp filter itself")),
    ("Name:\tx\n", "1", (False, "built without CONFIG_SECCOMP")),
    ("Seccomp:\t0\n", FileNotFoundError(2, "x"), (False, "built without CONFIG_CHECKPOINT_RESTORE")),
])  # fmt: skip
def test_seccomp(files: dict[str, str | OSError], status: str, restore: str | OSError, expected: tuple[bool, str]) -> None:
    files["/proc/self/status"], files["/proc/sys/kernel/ns_last_pid"] = status, restore
    assert kernel("seccomp filters by ptrace") == expected


@pytest.mark.parametrize(("value", "expected"), [
    ("0", (True, "allowed for everybody")), ("1", (False, "off until the next boot")), ("2", (False, "off, root may switch it on")),
    (PermissionError(13, "x"), (None, "unknown")),
])  # fmt: skip
def test_unprivileged(files: dict[str, str | OSError], value: str | OSError, expected: tuple[bool | None, str]) -> None:
    files["/proc/sys/kernel/unprivileged_bpf_disabled"] = value
    assert kernel("unprivileged bpf(2)") == expected


def test_a_part_that_fails_does_not_end_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> set[str]:
        raise OSError("no /proc")

    monkeypatch.setattr(capabilities, "effective", broken)
    found = list(findings())
    assert found[0] == Finding("doctor", "capabilities", None, "could not be looked at: no /proc")
    assert {finding.group for finding in found} == {"doctor", "bpf(2)", "kernel", "mounts", "software"}


def test_capabilities_that_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that something needs, with what is lost without it."""
    monkeypatch.setattr(capabilities, "effective", lambda: {"BPF"})
    found = {finding.name: finding for finding in findings() if finding.group == "capabilities"}
    assert found["CAP_BPF"].present and not found["CAP_PERFMON"].present
    assert found["CAP_PERFMON"].lost and found["CAP_PERFMON"].get
