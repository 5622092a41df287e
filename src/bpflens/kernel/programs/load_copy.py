"""A second copy of a loaded program: loaded with the same maps, types and target, read back, and closed again.

    with Copy(words, like, func_info, line_info) as copy:
        dump = copy.dump(attributes)        # what the kernel made of it

Nothing is attached. References to maps are ids in `words`, as in an image; calls of module kfuncs get the BTF of the module that has them.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from types import TracebackType

from bpflens.isa.extended import opcodes as op
from bpflens.kernel.descriptors import close
from bpflens.kernel.programs.load import LoadOptions, load_program
from bpflens.kernel.programs.load_attributes import Attributes
from bpflens.kernel.programs.prog_info import ProgDump, prog_dump
from bpflens.kernel.sys.bpf import cmd, fd_by_id
from bpflens.lean import frozen

__all__ = ("Copy", "Like")


@frozen
class Like:
    """What a copy has in common with the program: facts of struct bpf_prog_info."""

    prog_type: int
    gpl: bool = True
    ifindex: int = 0
    btf_id: int = 0
    attach_btf_id: int = 0
    attach_btf_obj_id: int = 0


class Copy:
    """Holds descriptors of the maps and types until it is closed. KernelError where one of them is gone."""

    def __init__(
        self, words: Sequence[int], like: Like, func_info: Sequence[tuple[int, int]] = (), line_info: bytes = b""
    ) -> None:
        self._like = like
        self._fds: list[int] = []
        try:
            self._code = self._with_descriptors(words)
            self._options = self._load_options(words, func_info, line_info)
        except BaseException:
            close(*self._fds)
            raise

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        close(*self._fds)

    def dump(self, attributes: Attributes) -> ProgDump:
        """What the kernel makes of it with these load attributes; KernelError with the verifier's `.log` where it is refused."""
        like = self._like
        options = self._options.copy()
        if target := self._target(attributes):
            options["attach_fd"] = target
        options["license"] = "GPL" if like.gpl else "Proprietary"
        options["expected_attach_type"], options["flags"] = attributes.expected_attach_type, attributes.flags
        options["attach_btf_id"], options["ifindex"] = like.attach_btf_id, like.ifindex
        fd = load_program(self._code, like.prog_type, **options)
        try:
            return prog_dump(fd)
        finally:
            close(fd)

    def _open(self, command: int, id: int, where: str) -> int:
        fd = fd_by_id(command, id, where)
        self._fds.append(fd)
        return fd

    def _with_descriptors(self, words: Sequence[int]) -> bytes:
        """The code with descriptors in place of map ids."""
        out = array("Q", words)
        by_id: dict[int, int] = {}
        for index, word in enumerate(out):
            if word & 0xFF == op.LD_IMM64 and word >> 12 & 0xF in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_VALUE):
                id = word >> 32
                if id not in by_id:
                    by_id[id] = self._open(cmd.MAP_GET_FD_BY_ID, id, f"map:{id}")
                out[index] = word & 0xFFFFFFFF | by_id[id] << 32
        if sys.byteorder == "big":
            out.byteswap()
        return out.tobytes()

    def _load_options(self, words: Sequence[int], func_info: Sequence[tuple[int, int]], line_info: bytes) -> LoadOptions:
        options = LoadOptions()
        if self._like.btf_id:
            options["btf_fd"] = self._open(cmd.BTF_GET_FD_BY_ID, self._like.btf_id, f"BTF {self._like.btf_id}")
            options["func_info"] = tuple(func_info)
            options["line_info"] = line_info
        modules = self._modules(words)
        if modules:
            options["fd_array"] = modules
        return options

    def _modules(self, words: Iterable[int]) -> list[int]:
        """fd_array for kfuncs of modules: their calls have an index into it in `off`."""
        called = {
            word >> 16 & 0xFFFF: word >> 32
            for word in words
            if word & 0xFF == op.CALL_CODE and word >> 12 & 0xF == op.PSEUDO_KFUNC_CALL and word >> 16 & 0xFFFF
        }
        if not called:
            return []
        from bpflens.kernel.btf import btf_ids, btf_info

        modules = [id for id in btf_ids() if (info := btf_info(id)).kernel and info.name != "vmlinux"]
        out = [0] * (max(called) + 1)
        for index, type_id in called.items():
            owner = next((id for id in modules if _has_func(id, type_id)), None)
            if owner is not None:
                out[index] = self._open(cmd.BTF_GET_FD_BY_ID, owner, f"BTF {owner}")
        return out

    def _target(self, attributes: Attributes) -> int:
        """attach_prog_fd or attach_btf_obj_fd: the program that was attached to, or the module whose BTF has the function. 0: none."""
        if attributes.target_prog_id:
            return self._open(cmd.PROG_GET_FD_BY_ID, attributes.target_prog_id, f"id:{attributes.target_prog_id}")
        owner = self._like.attach_btf_obj_id
        if not owner:
            return 0
        from bpflens.kernel.btf import btf_info

        info = btf_info(owner)
        return 0 if info.kernel and info.name == "vmlinux" else self._open(cmd.BTF_GET_FD_BY_ID, owner, f"BTF {owner}")


def _has_func(btf_id: int, type_id: int) -> bool:
    from bpflens.btf.btf import Kind
    from bpflens.kernel.btf import btf_by_id

    btf = btf_by_id(btf_id)
    return btf.first_id <= type_id <= len(btf) and btf.kind(type_id) == Kind.FUNC
