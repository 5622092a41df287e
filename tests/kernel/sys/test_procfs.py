"""Processes, descriptors and mounts of this very process."""

from __future__ import annotations

import os

from bpflens.kernel.sys import procfs


def test_own_process() -> None:
    """It is a user process with this descriptor and this thread."""
    pid = os.getpid()
    reader, writer = os.pipe()
    try:
        files = {file.fd: file.link for file in procfs.open_files(pid)}
        assert files[reader] == files[writer] and files[reader].startswith("pipe:[")
        assert procfs.status_field(procfs.fdinfo(pid, reader), b"pos") == b"0"
    finally:
        os.close(reader)
        os.close(writer)
    assert pid in procfs.processes()
    assert pid in procfs.thread_ids(pid)
    assert procfs.comm(pid) not in ("", "?")


def test_what_has_gone_is_empty() -> None:
    """A process that does not exist yields nothing, without an error."""
    nobody = 2**22 + 1
    assert list(procfs.open_files(nobody)) == []
    assert procfs.thread_ids(nobody) == []
    assert procfs.fdinfo(nobody, 0) == b""
    assert procfs.mounts(nobody) == []
    assert procfs.comm(nobody) == "?"


def test_status_field() -> None:
    """At the start, in the middle, at the end, absent; never the tail of a longer name."""
    text = b"Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t3"
    assert procfs.status_field(text, b"Name") == b"x"
    assert procfs.status_field(text, b"Seccomp") == b"2"
    assert procfs.status_field(text, b"Seccomp_filters") == b"3"
    assert procfs.status_field(text, b"filters") is None
    assert procfs.status_field(text, b"Nothing") is None


def test_mounts_unescape_their_paths() -> None:
    """The root is mounted; octal escapes are undone."""
    assert any(mount.point == "/" for mount in procfs.mounts("self"))
    assert procfs._unescape(r"/a\040b\134c") == "/a b\\c"
