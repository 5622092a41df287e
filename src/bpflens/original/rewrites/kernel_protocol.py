"""What the inverter asks of the kernel that made an image: the running one, one known from a file, or one known by its types."""

from __future__ import annotations

from bpflens.original.rewrites.template import TemplateSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from bpflens.btf.btf import Btf
else:
    Protocol = object

__all__ = ("Kernel",)


class Kernel(Protocol):
    """What the inverter asks of the kernel that made an image."""

    def helpers(self, imm: int, prog_type: int) -> tuple[int, ...]:
        """Ids of helpers that a call with this imm may be, likeliest first; empty where it is unknown."""

    def kfunc(self, imm: int) -> int | None:
        """BTF id of the kfunc that a call with this imm names."""

    def kfunc_id(self, name: str) -> int | None:
        """BTF id of a kfunc by name."""

    def ksyms(self, address: int) -> tuple[int, ...]:
        """BTF ids of variables or functions at a kernel address."""

    def imm_of(self, name: str) -> int | None:
        """Address of a kernel function less __bpf_call_base."""

    def templates(self, prog_type: int, attach_type: int | None) -> TemplateSet:
        """The templates for images of a program type."""

    def types(self) -> Btf | None:
        """The types of the kernel, None where they are not known."""

    def algorithm(self) -> str:
        """The hash of its tags (tag.ALGORITHMS), "" where it is not known."""
