"""Stop the programs while their maps are read: links are updated to a stub, and always updated back.

The journal is a directory of pins, /sys/fs/bpf/bpflens-quiesce-PID: `link_7` and `prog_7` pin the link and the program that it had. It is
written before the first link is changed, so that whatever kills this process, `undo()` (bpflens restore --undo) finds what to put back and
the programs are still there. Only links that the kernel updates atomically are stopped (BPF_LINK_UPDATE: xdp, tcx, netkit, cgroup, netns,
sockmap).
Processes that write maps are stopped by freezing their cgroup (cgroup.freeze, v5.2); the journal has a directory `freeze_ID` for each.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bpflens.errors import InputError, KernelError, NotFound
from bpflens.formats.snapshot.manifest import SavedAttachment
from bpflens.isa.extended.uapi import AttachType, ProgType
from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.kernel import descriptors, pins
from bpflens.kernel.attachments.attach import link_update
from bpflens.kernel.programs.load_attributes import read_attributes
from bpflens.kernel.programs.prog_info import prog_info
from bpflens.snapshot.taking.cgroups import cgroup_directory, cgroup_paths

__all__ = ("JOURNALS", "journals", "quiesced", "undo")

BPFFS = "/sys/fs/bpf"
JOURNALS = "bpflens-quiesce-"
_FREEZE_POLLS = 200  # of 10 ms
# What a stub returns so that nothing is dropped meanwhile: XDP_PASS; TCX_NEXT (-1); netkit's; "allowed" for cgroups; SK_PASS, BPF_OK.
_VERDICTS = {LINK.XDP: 2, LINK.TCX: -1, LINK.NETKIT: -1, LINK.CGROUP: 1, LINK.NETNS: 1, LINK.SOCKMAP: 1}
_STREAM_PARSER = AttachType.SK_SKB_STREAM_PARSER  # it answers how long the message is: as long as what came


@contextmanager
def quiesced(attachments: Sequence[SavedAttachment], freeze: Sequence[str] = ()) -> Iterator[list[str]]:
    """The links' programs and the processes of the cgroups `freeze` stand still inside; yields what could not be stopped, in words.

    NotFound for a cgroup that does not exist; InputError for one with this process in it.
    """
    for path in freeze:
        _check_cgroup(path)
    directory = f"{BPFFS}/{JOURNALS}{os.getpid()}"
    left: list[str] = []
    try:
        os.mkdir(directory, 0o700)
        try:
            for attachment in attachments:
                if attachment.program is None:
                    continue
                name = f"id:{attachment.program} at {attachment.kind} {attachment.object}"
                if attachment.link is None or attachment.link_type not in _VERDICTS:
                    left.append(name)
                    continue
                try:
                    _stop(attachment.link, attachment.link_type, attachment.program, directory)
                except KernelError as error:
                    left.append(f"{name} ({error.reason})")
            for path in freeze:
                if not _freeze(path, directory):
                    left.append(f"the processes of cgroup {path}")
            yield left
        finally:
            undo(directory)
    except OSError as error:
        left.append(f"all programs ({BPFFS}: {error.strerror})")
        yield left


def _stop(link: int, link_type: int, program: int, directory: str) -> None:
    """Journal first, then the stub."""
    held = program_fd = stub = -1
    try:
        held = descriptors.link_fd(link)
        program_fd = descriptors.program_fd(program)
        stub = _stub(program, _VERDICTS[link_type])
        pins.pin(program_fd, f"{directory}/prog_{link}")
        pins.pin(held, f"{directory}/link_{link}")
        link_update(held, stub, f"link:{link}")
    finally:
        descriptors.close(*(fd for fd in (held, program_fd, stub) if fd >= 0))


def _stub(program: int, verdict: int) -> int:
    """A program of the same kind that does nothing."""
    from bpflens.kernel.programs.load import load_program

    info, attributes = prog_info(program), read_attributes(program)
    if attributes is None:
        raise KernelError(f"id:{program}", "its expected attach type cannot be read")
    answer = struct.pack("<BBhi", 0xB7, 0, 0, verdict)
    if info.type == ProgType.SK_SKB and attributes.expected_attach_type == _STREAM_PARSER:
        answer = struct.pack("<BBhi", 0x61, 0x10, 0, 0)  # r0 = skb->len
    code = answer + struct.pack("<BBhi", 0x95, 0, 0, 0)
    return load_program(
        code, info.type, expected_attach_type=attributes.expected_attach_type, flags=attributes.flags,
        attach_btf_id=attributes.attach_btf_id, name="bpflens_stub",
    )  # fmt: skip


def _check_cgroup(path: str) -> None:
    directory = cgroup_directory(path)
    if directory is None or not os.path.exists(f"{directory}/cgroup.freeze"):
        raise NotFound(f"cgroup:{path}", "there is no such cgroup, or it cannot be frozen")
    with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as stream:
        own = next((line.split(":", 2)[2].strip() for line in stream if line.startswith("0::")), "")
    if (own + "/").startswith("/" + path.strip("/") + "/"):
        raise InputError(f"cgroup:{path}", "bpflens itself runs in it")


def _freeze(path: str, journal: str) -> bool:
    """Stop the processes of a cgroup, if they are not stopped already; whether they stand still."""
    directory = cgroup_directory(path) or ""
    try:
        with open(f"{directory}/cgroup.freeze", encoding="ascii") as stream:
            if stream.read().strip() == "1":
                return True
        os.mkdir(f"{journal}/freeze_{os.stat(directory).st_ino}", 0o700)
        _write(f"{directory}/cgroup.freeze", "1")
        for _ in range(_FREEZE_POLLS):
            with open(f"{directory}/cgroup.events", encoding="ascii") as stream:
                if "frozen 1" in stream.read():
                    return True
            time.sleep(0.01)
    except OSError:
        pass
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as stream:
        stream.write(text)


def _thaw(id: int) -> None:
    path = cgroup_paths().get(id)
    if path is not None:
        _write(f"{cgroup_directory(path)}/cgroup.freeze", "0")


def journals() -> list[str]:
    """Journals whose process is gone."""
    try:
        names = os.listdir(BPFFS)
    except OSError:
        return []
    found = []
    for name in sorted(names):
        pid = name.removeprefix(JOURNALS)
        if name.startswith(JOURNALS) and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            found.append(f"{BPFFS}/{name}")
    return found


def undo(directory: str) -> list[int]:
    """Put the programs of a journal back and remove it; the ids of the links. KernelError where a link cannot be updated: its pins stay."""
    put_back = []
    for name in sorted(os.listdir(directory)):
        if name.startswith("freeze_"):
            _thaw(int(name.removeprefix("freeze_")))
            os.rmdir(f"{directory}/{name}")
        if not name.startswith("link_"):
            continue
        link = name.removeprefix("link_")
        link_path, program_path = f"{directory}/{name}", f"{directory}/prog_{link}"
        link_fd = program_fd = -1
        try:
            link_fd, program_fd = pins.get(link_path), pins.get(program_path)
            try:
                link_update(link_fd, program_fd, f"link:{link}")
            except KernelError as error:
                if error.errno != 67:  # ENOLINK: its device, cgroup or namespace is gone, and so is the attachment
                    raise
        finally:
            descriptors.close(*(fd for fd in (link_fd, program_fd) if fd >= 0))
        os.unlink(link_path)
        os.unlink(program_path)
        put_back.append(int(link))
    for name in os.listdir(directory):
        os.unlink(f"{directory}/{name}")  # a program whose link was not reached
    os.rmdir(directory)
    return put_back
