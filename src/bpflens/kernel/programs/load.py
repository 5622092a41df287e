"""Loading programs, maps and BTF into the kernel: what the tests and the proofs need, and nothing that attaches.

Every function returns a new close-on-exec descriptor that the caller closes; what is loaded goes with the last descriptor.
Layouts: union bpf_attr in include/uapi/linux/bpf.h (v6.18); shorter, older kernels accept the zero tail.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence

from bpflens.errors import KernelError
from bpflens.kernel.sys.bpf import Buffer, bpf, bpf_errno, cmd
from bpflens.lean import NamedTuple, TypedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Unpack

__all__ = ("LoadOptions", "RunResult", "create_map", "load_btf", "load_program", "load_program_log", "run_program", "substance", "verify")

FUNC_INFO_SIZE = 8  # struct bpf_func_info: insn_off, type_id
LINE_INFO_SIZE = 16  # struct bpf_line_info: insn_off, file_name_off, line_off, line_col
_LOG_SIZE = 1 << 20
_LOG_LIMIT = 1 << 26  # the kernel takes up to UINT_MAX >> 2
_PROG_LOAD = struct.Struct("=IIQQIIQII16sIIIIQIIQIIIIQQIIII")
_MAP_CREATE = struct.Struct("=7I16sIIIIIQiiQI")


class RunResult(NamedTuple):
    """Result of BPF_PROG_TEST_RUN: `retval` 32 bits unsigned, mean `duration_ns` of a run, packet and context after it."""

    retval: int
    duration_ns: int
    data: bytes
    ctx: bytes


class LoadOptions(TypedDict, total=False):
    """Attributes of BPF_PROG_LOAD beyond instructions and type.

    `func_info` and `line_info`: packed records of 8 and 16 bytes, or tuples of their fields. `attach_fd`: attach_prog_fd or
    attach_btf_obj_fd. `fd_array_cnt`: let the kernel bind every map of `fd_array` (v6.14). `log_level`: 1 the last path,
    2 every instruction with its text, 4 statistics.
    """

    license: str
    name: str
    expected_attach_type: int
    flags: int
    ifindex: int
    btf_fd: int
    func_info: bytes | Sequence[tuple[int, int]]
    line_info: bytes | Sequence[tuple[int, int, int, int]]
    attach_btf_id: int
    attach_fd: int
    fd_array: Sequence[int]
    fd_array_cnt: bool
    log_level: int


def load_program(insns: bytes, type: int, **options: Unpack[LoadOptions]) -> int:
    """BPF_PROG_LOAD: a descriptor of the verified program. `insns`: struct bpf_insn bytes, map references as descriptors.

    Refused: KernelError with the verifier's `.log` (the load is repeated with log_level 1 where it was 0).
    """
    options.setdefault("log_level", 0)
    return load_program_log(insns, type, **options)[0]


def load_program_log(insns: bytes, type: int, **options: Unpack[LoadOptions]) -> tuple[int, str]:
    """`load_program`, and the verifier's log (level 2 by default)."""
    func_info, line_info = options.get("func_info", b""), options.get("line_info", b"")
    if not isinstance(func_info, bytes):
        func_info = b"".join(struct.pack("=II", *record) for record in func_info)
    if not isinstance(line_info, bytes):
        line_info = b"".join(struct.pack("=4I", *record) for record in line_info)
    name, fd_array = options.get("name", ""), options.get("fd_array", ())
    code, license = Buffer(insns), Buffer(options.get("license", "GPL").encode() + b"\0")
    funcs, lines = Buffer(func_info), Buffer(line_info)
    fds = Buffer(struct.pack(f"={len(fd_array)}i", *fd_array))

    def attempt(level: int, log: Buffer | None) -> tuple[int, int, bytes]:
        attr = _PROG_LOAD.pack(
            type, len(insns) // 8, code.address, license.address,
            level, log.size if log else 0, log.address if log else 0, 0, options.get("flags", 0),
            name.encode()[:15], options.get("ifindex", 0), options.get("expected_attach_type", 0), options.get("btf_fd", 0),
            FUNC_INFO_SIZE if func_info else 0, funcs.address, len(func_info) // FUNC_INFO_SIZE,
            LINE_INFO_SIZE if line_info else 0, lines.address, len(line_info) // LINE_INFO_SIZE,
            options.get("attach_btf_id", 0), options.get("attach_fd", 0), 0,
            fds.address, 0, 0, 0, 0, len(fd_array) if options.get("fd_array_cnt") else 0,
        )  # fmt: skip
        return bpf_errno(cmd.PROG_LOAD, attr)

    result, errno, log_text = _with_log(attempt, options.get("log_level", 2))
    if result < 0:
        raise _refused(f'program "{name}"' if name else "program", "cannot load", errno, log_text)
    return result, log_text


def verify(insns: bytes, type: int, **options: Unpack[LoadOptions]) -> str | None:
    """Whether the kernel accepts a program: None if so, else the reason (the log's last line of substance). Nothing stays loaded."""
    try:
        fd = load_program(insns, type, **options)
    except KernelError as error:
        return (substance(error.log) or [error.reason])[-1]
    os.close(fd)
    return None


def create_map(
    type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    *,
    name: str = "",
    flags: int = 0,
    inner_fd: int = 0,
    numa_node: int = 0,
    ifindex: int = 0,
    btf_fd: int = 0,
    key_type_id: int = 0,
    value_type_id: int = 0,
    vmlinux_value_type_id: int = 0,
    map_extra: int = 0,
    value_type_btf_obj_fd: int = 0,
) -> int:
    """BPF_MAP_CREATE: a descriptor of the new map; sizes in bytes. KernelError where the kernel refuses."""
    attr = _MAP_CREATE.pack(
        type, key_size, value_size, max_entries, flags, inner_fd, numa_node, name.encode()[:15], ifindex,
        btf_fd, key_type_id, value_type_id, vmlinux_value_type_id, map_extra, value_type_btf_obj_fd, 0, 0, 0,
    )  # fmt: skip
    return bpf(cmd.MAP_CREATE, attr, f'map "{name}"' if name else "map", "cannot create")[0]


def load_btf(data: bytes) -> int:
    """BPF_BTF_LOAD: a descriptor of type information. Refused: KernelError with the checker's `.log`."""
    blob = Buffer(data)

    def attempt(level: int, log: Buffer | None) -> tuple[int, int, bytes]:
        address, size = (log.address, log.size) if log else (0, 0)
        return bpf_errno(cmd.BTF_LOAD, struct.pack("=QQIIIIII", blob.address, address, len(data), size, level, 0, 0, 0))

    result, errno, log_text = _with_log(attempt, 0)
    if result < 0:
        raise _refused("BTF", "cannot load", errno, log_text)
    return result


def run_program(fd: int, data: bytes = b"", ctx: bytes = b"", *, repeat: int = 1, flags: int = 0, out_size: int | None = None) -> RunResult:
    """BPF_PROG_TEST_RUN: run the program on a packet and a context of its type; `out_size` bytes of room for the changed packet."""
    room = out_size if out_size is not None else (len(data) + 256 if data else 0)
    data_in, data_out, ctx_in, ctx_out = Buffer(data), Buffer(room), Buffer(ctx), Buffer(len(ctx))
    attr = struct.pack(
        "=IIIIQQIIIIQQIII", fd, 0, len(data), room, data_in.address, data_out.address,
        repeat, 0, len(ctx), len(ctx), ctx_in.address, ctx_out.address, flags, 0, 0,
    )  # fmt: skip
    _, after = bpf(cmd.PROG_TEST_RUN, attr, f"fd {fd}", "cannot test-run")
    retval, _, got = struct.unpack_from("=III", after, 4)
    duration, _, got_ctx = struct.unpack_from("=III", after, 36)
    return RunResult(retval, duration, data_out.bytes[:got], ctx_out.bytes[:got_ctx])


def _with_log(attempt: Callable[[int, Buffer | None], tuple[int, int, bytes]], log_level: int) -> tuple[int, int, str]:
    """Try; where the kernel refuses and no log was asked for, try again with one; a log that is too long gets more room."""
    if log_level == 0:
        result, errno, _ = attempt(0, None)
        if result >= 0:
            return result, 0, ""
    size, again = _LOG_SIZE, 3
    while True:
        log = Buffer(size)
        result, errno, _ = attempt(log_level or 1, log)
        if result < 0 and errno == 28 and size < _LOG_LIMIT:  # ENOSPC: log truncated
            size *= 8
        elif result < 0 and errno == 11 and again:  # EAGAIN: the verifier was interrupted by a signal
            again -= 1
        else:
            return result, errno, log.bytes.split(b"\0", 1)[0].decode("utf-8", "replace")


def _refused(object: str, what: str, errno: int, log: str) -> KernelError:
    hint = "needs CAP_BPF, and CAP_PERFMON or CAP_NET_ADMIN for most types" if errno in (1, 13) and not log else None
    error = KernelError.from_errno(object, what, errno, hint)
    said = substance(log)
    if said:
        error.reason += f" ({said[-1].strip()})"
    error.log = log
    return error


def substance(log: str) -> list[str]:
    """The lines of a verifier's log without its statistics."""
    return [line for line in log.splitlines() if line and not line.startswith(("processed ", "verification time"))]
