"""Where members of the kernel's structs are: from its BTF, remembered on disk for the kernel that runs (kernel/sys/fact_cache.py).

    Layout().offset("sock", "sk_filter")   ──►   272

Reading 5 MB of BTF costs ten times what the questions of a listing cost, and the answers are the same until another kernel is booted.
Types of modules are not remembered: a module can be replaced while the kernel stays.
"""

from __future__ import annotations

import os
from functools import cached_property

from bpflens.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.btf.btf import Btf

__all__ = ("Layout",)

_CACHE, _ABSENT = "layout", -1


class Layout:
    """Offsets, sizes and function ids of the running kernel. InputError for what it does not have, NotSupported where it has no BTF."""

    def __init__(self) -> None:
        self._learnt = False
        self._modules: dict[str, Btf] = {}
        self._of_modules: dict[tuple[str, str, str], int] = {}

    def offset(self, struct: str, path: str, module: str = "") -> int:
        """Byte offset of a member. `module`: where the struct is, if not in vmlinux."""
        if module and os.path.exists(f"/sys/kernel/btf/{module}"):  # else it is built in, or not there
            key = (struct, path, module)
            if key not in self._of_modules:
                self._of_modules[key] = _member_offset(self._types(module), struct, path)
            return self._of_modules[key]
        found = self._known.get(f"{struct}.{path}")
        if found is None:
            try:
                found = _member_offset(self._types(""), struct, path)
            except InputError:
                found = _ABSENT
            self._learn(f"{struct}.{path}", found)
        if found == _ABSENT:
            raise InputError(f"struct {struct}", f"this kernel's has no member {path}")
        return found

    def has(self, struct: str, path: str, module: str = "") -> bool:
        """Whether this kernel has the member."""
        try:
            self.offset(struct, path, module)
        except InputError:
            return False
        return True

    def size(self, struct: str) -> int:
        """sizeof(struct NAME), of vmlinux."""
        found = self._known.get(f"sizeof {struct}")
        if found is None:
            types = self._types("")
            found = types.size(types.struct_id(struct))
            self._learn(f"sizeof {struct}", found)
        return found

    def function(self, name: str) -> int | None:
        """The BTF id of a function; None where this kernel does not have it."""
        found = self._known.get(f"{name}()")
        if found is None:
            from bpflens.btf.btf import Kind

            found = self._types("").find(name, Kind.FUNC) or _ABSENT
            self._learn(f"{name}()", found)
        return None if found == _ABSENT else found

    def assembled(self, text: str) -> bytes:
        """The code of a program of ours, whose text has the offsets in it."""
        from bpflens.digest import sha256

        key = f"code {sha256(text.encode()).hexdigest()[:32]}"
        found = self._code.get(key)
        if found is None:
            from bpflens.isa.extended.asm import assemble

            found = self._code[key] = assemble(text, "llvm").hex()
            self._learnt = True
        return bytes.fromhex(found)

    def save(self) -> None:
        """Remember what was learnt."""
        if self._learnt:
            from bpflens.kernel.sys import fact_cache

            fact_cache.store(_CACHE, {"numbers": self._known, "code": self._code})
            self._learnt = False

    @cached_property
    def _known(self) -> dict[str, int]:
        return {key: value for key, value in self._stored("numbers").items() if type(value) is int}

    @cached_property
    def _code(self) -> dict[str, str]:
        return {key: value for key, value in self._stored("code").items() if isinstance(value, str)}

    def _stored(self, part: str) -> dict[str, object]:
        from bpflens.kernel.sys import fact_cache

        stored = fact_cache.load(_CACHE)
        found = stored.get(part) if isinstance(stored, dict) else None
        return found if isinstance(found, dict) else {}

    def _learn(self, key: str, value: int) -> None:
        self._known[key] = value
        self._learnt = True

    def _types(self, module: str) -> Btf:
        from bpflens.kernel.btf import module as module_types
        from bpflens.kernel.btf import vmlinux

        if not module:
            return vmlinux()
        if module not in self._modules:
            self._modules[module] = module_types(module)
        return self._modules[module]


def _member_offset(types: Btf, struct: str, path: str) -> int:
    from bpflens.btf.fields import member_offset

    return member_offset(types, struct, path)
