"""The image of a program: what the kernel shows of it after its verifier's rewriting, as the inverter needs it.

Built from a live program (`of_id`, `of_dump`) or from any `Program` that a source read (`of_program`): a dump made elsewhere has no more
than instructions, a type and a tag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bpflens.analysis.cfg import Incoming, incoming, jump_targets, reference
from bpflens.isa.extended.insn import Insn, decode, words
from bpflens.isa.extended.opcodes import CALL_CODE, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC
from bpflens.lean import field, frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.programs.prog_info import ProgDump
    from bpflens.program import Map, Program

__all__ = ("Image", "of_code", "of_dump", "of_id", "of_program")


@frozen
class Image:
    """An xlated image. `targets`: per slot the slot that a jump, call or PSEUDO_FUNC there refers to, -1 for none.

    `functions` are the first slots of functions, `lines` the slots that line_info names: both are starts of original instructions.
    `live`: it was read from the running kernel, so that a reconstruction may be loaded beside it. `maps`: those that can be read, by id.
    `blinded`: the kernel's image had random numbers in place of constants; they are in place again here (blinding.py).
    """

    where: str
    prog_type: int
    insns: tuple[Insn, ...]
    words: list[int]
    targets: list[int]
    incoming: Incoming
    functions: tuple[int, ...]
    lines: frozenset[int]
    tag: str = ""
    name: str = ""
    id: int = 0
    live: bool = False
    func_info: tuple[tuple[int, int], ...] = ()
    line_info: tuple[tuple[int, int, int, int], ...] = ()
    map_ids: tuple[int, ...] = ()
    maps: Mapping[int, Map] = field(default_factory=dict)
    btf_id: int = 0
    attach_btf_id: int = 0
    attach_btf_obj_id: int = 0
    gpl: bool = True
    verified_insns: int | None = None
    prog_tags: tuple[str, ...] = ()
    expected_attach_type: int | None = None
    ifindex: int = 0
    calls_hidden: bool = False
    blinded: bool = False
    symbols: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.insns)


def of_code(
    code: bytes,
    prog_type: int,
    where: str = "",
    *,
    tag: str = "",
    func_info: Sequence[tuple[int, int]] = (),
    line_info: Sequence[tuple[int, int, int, int]] = (),
) -> Image:
    """The image of little-endian struct bpf_insn bytes; what else is known of it is put in by `replace`."""
    insns = decode(code)
    starts = {0, *(off for off, _ in func_info)}
    known = tuple(sorted(starts))
    targets = jump_targets(insns)
    slot = 0
    hidden = False
    size = len(insns)
    while slot < size:
        insn = insns[slot]
        code_byte = insn.code
        if code_byte != CALL_CODE and code_byte != LD_IMM64:
            slot += 1
            continue
        if code_byte == CALL_CODE and insn.src != PSEUDO_CALL:
            hidden |= insn.imm == 0
        elif code_byte == CALL_CODE or insn.src == PSEUDO_FUNC:
            target = reference(insn, slot, xlated=True)
            if code_byte == CALL_CODE and func_info and (target not in starts) and 0 <= insn.imm < len(known):
                target = known[insn.imm]  # the 16-bit offset of a call overflows in large programs; imm is the function's number
            if target is not None and 0 <= target < len(insns):
                targets[slot] = target
                starts.add(target)
        slot += 2 if code_byte == LD_IMM64 else 1
    return Image(
        where=where,
        prog_type=prog_type,
        insns=insns,
        words=list(words(code)),
        targets=targets,
        incoming=incoming(targets),
        functions=tuple(sorted(starts)),
        lines=frozenset(record[0] for record in line_info),
        tag=tag,
        func_info=tuple(func_info),
        line_info=tuple(line_info),
        calls_hidden=hidden,
    )


def of_id(prog_id: int) -> Image:
    """The image of a live program and the maps that it uses: all that is read of it, once.

    NotFound where it is gone, NotPermitted where its instructions may not be read.
    """
    from bpflens.errors import NotPermitted
    from bpflens.kernel.programs.prog_info import open_prog, prog_dump

    with open_prog(prog_id) as fd:
        dump = prog_dump(fd, f"id:{prog_id}", tags=True)
    if "xlated" in dump.hidden:
        why = "constants are blinded and kernel addresses may not be seen" if dump.info.xlated_len else "needs CAP_BPF"
        raise NotPermitted(f"id:{prog_id}", f"the kernel does not show its instructions: {why}", 'run "bpflens doctor"')
    return of_dump(dump)


def of_dump(dump: ProgDump) -> Image:
    """The image of a live program."""
    from bpflens.original.image.blinding import plain_dump

    info = dump.info
    dump, blinded = plain_dump(dump)
    return replace(
        of_code(dump.xlated, info.type, f"id:{info.id}", tag=info.tag, func_info=dump.func_info, line_info=dump.line_info),
        name=info.name,
        id=info.id,
        live=True,
        map_ids=dump.map_ids,
        maps=_live_maps(dump.map_ids),
        btf_id=info.btf_id,
        attach_btf_id=info.attach_btf_id or 0,
        attach_btf_obj_id=info.attach_btf_obj_id or 0,
        gpl=info.gpl_compatible,
        verified_insns=info.verified_insns,
        prog_tags=dump.prog_tags,
        ifindex=info.ifindex,
        blinded=blinded,
    )


def _live_maps(ids: Sequence[int]) -> dict[int, Map]:
    """Live maps by id, without their C types; those that can't be read are missing."""
    from bpflens.errors import KernelError
    from bpflens.kernel.maps.maps import read_map_info

    maps = {}
    for id in ids:
        try:
            maps[id] = read_map_info(id, types=False)
        except KernelError:
            continue
    return maps


def of_program(program: Program) -> Image:
    """The image of an xlated program that a source read; names of calls are taken from a dump's text too ("call NAME#-1234")."""
    import re

    names = {int(imm): name for name, imm in re.findall(r"call (\w+)#(-?\d+)", program.origin.line or "")}
    symbols = {slot: names[insn.imm] for slot, insn in enumerate(decode(program.code)) if insn.code == CALL_CODE and insn.imm in names}
    func_info = tuple((f.start, f.type_id) for f in program.functions)
    line_info = tuple((line.off_insns, 0, 0, 0) for line in program.lines) if program.origin.source == "kernel" else ()
    where, tag = program.origin.where, program.tag or ""
    return replace(
        of_code(program.code, program.type or 0, where, tag=tag, func_info=func_info, line_info=line_info),
        name=program.name,
        id=program.id or 0,
        maps={m.id: m for m in program.maps if m.id is not None},
        expected_attach_type=program.expected_attach_type,
        symbols={**symbols, **program.symbols},
    )
