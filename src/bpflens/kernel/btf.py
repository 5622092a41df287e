"""BTF objects of the running kernel: vmlinux's, those of modules, and those that came with programs and maps."""

from __future__ import annotations

import struct

from bpflens.errors import KernelError, NotFound, NotSupported
from bpflens.kernel.sys.bpf import Buffer, all_ids, cmd, info_by_fd, opened
from bpflens.lean import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("VMLINUX", "BtfInfo", "btf_by_id", "btf_ids", "btf_info", "func_name", "module", "vmlinux")

VMLINUX = "/sys/kernel/btf/vmlinux"
_INFO = struct.Struct("=QIIQII")  # struct bpf_btf_info: btf, btf_size, id, name, name_len, kernel_btf
_CACHE_LIMIT = 64

_vmlinux: Btf | None = None
_by_id: dict[int, Btf] = {}


@frozen
class BtfInfo:
    """A BTF object: `size` in bytes, `name` ("vmlinux", a module, "" for a program's), `kernel` whether it describes kernel code."""

    id: int
    size: int
    name: str
    kernel: bool


def btf_ids() -> list[int]:
    """Ids of all BTF objects. KernelError without CAP_SYS_ADMIN."""
    return all_ids(cmd.BTF_GET_NEXT_ID)


def btf_info(id: int) -> BtfInfo:
    """What the kernel says of BTF object `id`. Name and kernel flag since v5.11 (struct bpf_btf_info)."""
    with opened(cmd.BTF_GET_FD_BY_ID, id, f"BTF {id}") as fd:
        return _info(fd, id)


def btf_by_id(id: int) -> Btf:
    """The types of BTF object `id`; split BTF of a module comes on its vmlinux base. One copy per process."""
    known = _by_id.get(id)
    if known is not None:
        return known
    from bpflens.btf.btf import Btf

    where = f"BTF {id}"
    with opened(cmd.BTF_GET_FD_BY_ID, id, where) as fd:
        info = _info(fd, id)
        if info.kernel and info.name == "vmlinux":
            btf = vmlinux()
        else:
            data = Buffer(info.size)
            info_by_fd(fd, Buffer(_INFO.pack(data.address, data.size, 0, 0, 0, 0)[:16]), where)
            btf = Btf.parse(data.bytes, base=vmlinux() if info.kernel else None, where=where)
    if len(_by_id) >= _CACHE_LIMIT:
        _by_id.clear()
    _by_id[id] = btf
    return btf


def vmlinux() -> Btf:
    """The kernel's own types, one copy per process. NotSupported where the kernel was built without CONFIG_DEBUG_INFO_BTF."""
    global _vmlinux
    if _vmlinux is None:
        _vmlinux = _read_file(VMLINUX, None)
    return _vmlinux


def module(name: str) -> Btf:
    """The types of a loaded module, on the base of `vmlinux()`."""
    return _read_file(f"/sys/kernel/btf/{name}", vmlinux())


def func_name(obj_id: int, type_id: int) -> str | None:
    """The name of a type in BTF object `obj_id`, for attach_btf_id and kfunc ids; None where it cannot be read."""
    try:
        return btf_by_id(obj_id).name(type_id) or None
    except KernelError:
        return None


def _info(fd: int, id: int) -> BtfInfo:
    name = Buffer(64)
    info = Buffer(_INFO.pack(0, 0, 0, name.address, name.size, 0))
    try:
        info_by_fd(fd, info, f"BTF {id}")
    except KernelError as error:
        if error.errno != 7:  # E2BIG: before v5.11 the structure ends after id
            raise
        info = Buffer(_INFO.size - 16)
        info_by_fd(fd, info, f"BTF {id}")
        return BtfInfo(id, int.from_bytes(info.bytes[8:12], "little"), "", False)
    _, size, _, _, _, kernel = _INFO.unpack(info.bytes)
    return BtfInfo(id, size, name.bytes.split(b"\0", 1)[0].decode("ascii", "replace"), bool(kernel))


def _read_file(path: str, base: Btf | None) -> Btf:
    from bpflens.btf.btf import Btf

    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        if base is not None:
            raise NotFound(path, "no such module, or it has no BTF") from None
        raise NotSupported(path, "this kernel has no BTF", "it needs CONFIG_DEBUG_INFO_BTF=y") from None
    except OSError as error:
        raise KernelError.from_errno(path, "cannot read", error.errno or 0) from None
    return Btf.parse(data, base=base, where=path)
