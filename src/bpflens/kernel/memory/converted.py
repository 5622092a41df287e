"""What the running kernel makes of classic code: the code is attached to sockets of our own, and their images are read.

The kernel converts every classic program in the same way (net/core/filter.c, bpf_prepare_filter()), wherever it is attached.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterable

from bpflens.kernel.memory.reader import Reader

__all__ = ("converted_codes",)

_SO_ATTACH_FILTER = 26


def converted_codes(reader: Reader, codes: Iterable[bytes]) -> dict[bytes, bytes]:
    """Classic code -> its image (struct bpf_insn bytes); without what the kernel refuses to attach to a socket."""
    sockets: dict[int, tuple[socket.socket, bytes]] = {}
    try:
        for code in dict.fromkeys(codes):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            buffer = ctypes.create_string_buffer(code, len(code))
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
            except OSError:
                sock.close()
                continue
            sockets[sock.fileno()] = sock, code
        found = {}
        for record in reader.files() if sockets else ():
            if record.pid == os.getpid() and record.fd in sockets and record.filter:
                insns = record.filter + reader.offset("bpf_prog", "insnsi")
                count = reader.u32(record.filter + reader.offset("bpf_prog", "len"))
                found[sockets[record.fd][1]] = reader.read(insns, 8 * count)
        return found
    finally:
        for sock, _ in sockets.values():
            sock.close()
