"""The whole name of a program. The kernel keeps 15 characters (BPF_OBJ_NAME_LEN); the program's BTF has its first function's name."""

from __future__ import annotations

import struct

from bpflens.attachment import ProgInfo
from bpflens.errors import BpflensError
from bpflens.kernel.programs.prog_info import FUNC_INFO, INFO_BYTES, open_prog
from bpflens.kernel.sys.bpf import Buffer, info_by_fd

__all__ = ("full_name",)

_KEPT = 15
_FUNC_REC_SIZE, _FUNC_INFO, _NR_FUNC_INFO = 132, 136, 144  # offsets in struct bpf_prog_info


def full_name(info: ProgInfo) -> str:
    """The name of `info`'s program; the kernel's 15 characters where BTF does not continue them."""
    if len(info.name) < _KEPT or not info.btf_id or not info.nr_func_info:
        return info.name
    from bpflens.kernel.btf import func_name

    where = f"id:{info.id}"
    try:
        with open_prog(info.id) as fd:
            records = Buffer(FUNC_INFO.size * info.nr_func_info)
            request = bytearray(INFO_BYTES)
            struct.pack_into("=IQI", request, _FUNC_REC_SIZE, FUNC_INFO.size, records.address, info.nr_func_info)
            info_by_fd(fd, Buffer(bytes(request)), where)
    except BpflensError:
        return info.name  # unloaded meanwhile
    _, type_id = FUNC_INFO.unpack_from(records.bytes)
    name = func_name(info.btf_id, type_id) or ""
    return name if name.startswith(info.name) else info.name
