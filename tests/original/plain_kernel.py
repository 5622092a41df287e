"""A kernel as a test says it is, in place of the running one; and images from text."""

from __future__ import annotations

from bpflens.btf.btf import Btf
from bpflens.isa.extended.asm import assemble
from bpflens.original.image.image import Image, of_code
from bpflens.original.image.tag import tags
from bpflens.original.rewrites import alu, calls
from bpflens.original.rewrites.template import TemplateSet


class PlainKernel:
    """`helpers_by_imm`: imm of a call -> helper ids; `kfuncs`: name -> BTF id, which is the imm too; `symbols`: address -> BTF ids."""

    def __init__(
        self, helpers_by_imm: dict[int, tuple[int, ...]] | None = None, kfuncs: dict[str, int] | None = None,
        symbols: dict[int, tuple[int, ...]] | None = None, imms: dict[str, int] | None = None, btf: Btf | None = None,
    ) -> None:  # fmt: skip
        self.helpers_by_imm, self.kfuncs, self.symbols = helpers_by_imm or {}, kfuncs or {}, symbols or {}
        self.imms, self.btf = imms or {}, btf

    def helpers(self, imm: int, prog_type: int) -> tuple[int, ...]:
        return self.helpers_by_imm.get(imm, ())

    def kfunc(self, imm: int) -> int | None:
        return imm if imm in self.kfuncs.values() else None

    def kfunc_id(self, name: str) -> int | None:
        return self.kfuncs.get(name)

    def ksyms(self, address: int) -> tuple[int, ...]:
        return self.symbols.get(address, ())

    def imm_of(self, name: str) -> int | None:
        return self.imms.get(name)

    def templates(self, prog_type: int, attach_type: int | None) -> TemplateSet:
        return TemplateSet((*alu.TEMPLATES, *calls.TEMPLATES), self)

    def types(self) -> Btf | None:
        return self.btf

    def algorithm(self) -> str:
        return "sha256"


def words(text: str) -> list[int]:
    """The words of a program in the kernel's dialect."""
    code = assemble(text, "kernel")
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]


def code(made: list[int]) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in made)


def image(text: str | list[int], prog_type: int = 1, original: str = "", **options: object) -> Image:
    """An image; its tag is that of `original`, where that is given."""
    made = words(text) if isinstance(text, str) else text
    tag = tags(words(original))[0] if original else ""
    return of_code(code(made), prog_type, "test", tag=tag, **options)  # type: ignore[arg-type]
