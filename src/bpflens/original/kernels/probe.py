"""Learning templates from the running kernel: load an access, read back what became of it.

    r2 = *(u32*)(r1+16); r0 = 1; exit   ──►   r2 = *(u16*)(r1+176); r0 = 1; exit
    Row("R", 16, 4, image=[...])              skb->protocol on this kernel

One load of a small program costs about 50 µs; a type with a large context (__sk_buff) takes some 900 of them. Registers generalise by
substitution: r1 is the base S, r2 the value D, r9 the scratch register T; loads into their own base differ only where the image
still needs the base after it has written the destination, and are probed then.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpflens.errors import KernelError
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.contexts import IDENTITY, context_struct, fields
from bpflens.isa.extended.insn import Insn
from bpflens.isa.extended.uapi import MapType, ProgType
from bpflens.kernel.programs.rewritten import Prober, probe_map
from bpflens.original.image.blinding import unblind
from bpflens.original.image.tag import ALGORITHMS, tags
from bpflens.original.kernels.attach_types import NONE, PROBED
from bpflens.original.rewrites.ctx_access import PROBE_IMM, Row

__all__ = ("learn_algorithm", "learn_context", "learn_sockets", "with_same_register")



def learn_context(prog_type: int, attach_type: int | None) -> tuple[Row, ...]:
    """Every access to the context of a program type that the running kernel allows. Empty for types whose accesses stay as they are,
    and where programs of this type can't be loaded by this process.
    """
    struct_name = context_struct(prog_type)
    if prog_type in IDENTITY or not struct_name:
        return ()
    attach_types = PROBED.get(prog_type, (NONE,)) if attach_type is None else (attach_type,)
    rows: dict[Row, None] = {}
    for attach in attach_types:
        prober = Prober(prog_type, attach)
        neighbour = [Insn.make(op.LDX | op.MEM | op.B, 3, 1, 180)] if prog_type in (ProgType.SCHED_CLS, ProgType.SCHED_ACT) else None
        for row in _accesses(prober, [], _extent(struct_name)):
            rows[row] = None
        if neighbour is not None:
            for row in _accesses(prober, neighbour, range(152, 153)):  # skb->tstamp, where tstamp_type is read in the program too
                rows[row] = None
    return tuple(rows)


def learn_algorithm() -> str:
    """The hash of the kernel's tags, told by that of a small program; "" where none can be loaded."""
    program = [Insn.make(op.ALU64 | op.MOV | op.K), Insn.make(op.EXIT_CODE)]
    got = Prober(1).tag(program)
    return next((name for name, made in zip(ALGORITHMS, tags([i.word for i in program]), strict=True) if made == got), "")


def learn_sockets() -> dict[str, tuple[Row, ...]]:
    """Accesses to the sockets that helpers hand out, by kind of pointer (analysis/contexts.py); what can't be probed is missing."""
    to_sk = [_mov(6, 1), Insn.make(op.LDX | op.MEM | op.DW, 1, 1, 168), *_unless_null(1)]
    steps = {
        "sock_common": to_sk,
        "sock": [*to_sk, _call(95), *_unless_null(0), _mov(1, 0)],
        "tcp_sock": [*to_sk, _call(96), *_unless_null(0), _mov(1, 0)],
    }
    out = {}
    for kind, setup in steps.items():
        struct_name = "bpf_tcp_sock" if kind == "tcp_sock" else "bpf_sock"
        out[kind] = tuple(_accesses(Prober(3, 0), setup, _extent(struct_name), stores=False))
    out["xdp_sock"] = _learn_xdp_sock()
    return out


def _learn_xdp_sock() -> tuple[Row, ...]:
    try:
        with probe_map(MapType.XSKMAP, 4, 4, 1) as fd:
            lookup = [
                Insn.make(op.ST | op.MEM | op.W, 10, 0, -4, 0),
                _mov(2, 10),
                Insn.make(op.ALU64 | op.ADD | op.K, 2, 0, 0, -4),
                Insn.make(op.LD_IMM64, 1, op.PSEUDO_MAP_FD, 0, fd),
                Insn(0),
                _call(1),
                *_unless_null(0),
                _mov(1, 0),
            ]
            return tuple(_accesses(Prober(6, 0), lookup, _extent("bpf_xdp_sock"), stores=False))
    except KernelError:
        return ()


def _accesses(prober: Prober, setup: list[Insn], offsets: Iterable[int], stores: bool = True) -> Iterable[Row]:
    """Rows of all accesses at `offsets` from r1, which `setup` has made a pointer of the kind asked about."""
    tail = [Insn.make(op.ALU64 | op.MOV | op.K, 0, 0, 0, 1), Insn.make(op.EXIT_CODE)]
    zero = Insn.make(op.ALU64 | op.MOV | op.K, 2, 0, 0, 0)
    bare = prober.image([*setup, zero, *tail])
    if bare is None:
        return
    before = len(unblind(bare).words) - 3

    def became(insn: Insn, prepared: bool = False) -> tuple[int, ...] | None:
        image = prober.image([*setup, zero, insn, *tail] if prepared else [*setup, insn, *tail])
        return None if image is None else tuple(unblind(image).words)[before + prepared : -2]

    for offset in offsets:
        for size in (1, 2, 4, 8):
            if offset % size:
                continue
            width = op.SIZE_CODE[size]
            image = became(Insn.make(op.LDX | op.MEM | width, 2, 1, offset))
            if image is None:
                continue
            yield Row("R", offset, size, False, image)
            same = with_same_register(image)
            if same is None:
                same = became(Insn.make(op.LDX | op.MEM | width, 1, 1, offset))
            if same is not None:
                yield Row("R", offset, size, True, same)
            if stores:
                image = became(Insn.make(op.STX | op.MEM | width, 1, 2, offset), prepared=True)
                if image is not None:
                    yield Row("W", offset, size, False, image)
                    image = became(Insn.make(op.ST | op.MEM | width, 1, 0, offset, PROBE_IMM))
                    if image is not None:
                        yield Row("I", offset, size, False, image)


def with_same_register(image: tuple[int, ...]) -> tuple[int, ...] | None:
    """The image with its value register the base register; None where the base is still needed after the value has been written."""
    written = False
    out = []
    for word in image:
        insn = Insn(word)
        kind = insn.code & 7
        if not {op.AX, op.AX_BESIDE_PARAMS}.isdisjoint((insn.dst, insn.src)) or kind in (op.ST, op.STX):
            return None
        reads = {insn.src} if kind == op.LDX or (insn.code & op.X and kind != op.LDX) else set()
        if written and 1 in reads:
            return None
        if kind in (op.LDX, op.ALU, op.ALU64) and insn.dst == 2:
            written = True
        dst, src = (1 if register == 2 else register for register in (insn.dst, insn.src))
        out.append(Insn.make(insn.code, dst, src, insn.off, insn.imm).word)
    return tuple(out)


def _extent(struct_name: str) -> range:
    """Offsets to ask about: the whole struct and some more, for kernels whose struct has grown."""
    last = fields(struct_name)[-1]
    return range(last.offset + last.size + 16)


def _mov(dst: int, src: int) -> Insn:
    return Insn.make(op.ALU64 | op.MOV | op.X, dst, src)


def _call(helper: int) -> Insn:
    return Insn.make(op.CALL_CODE, imm=helper)


def _unless_null(register: int) -> list[Insn]:
    return [
        Insn.make(op.JMP | op.JNE | op.K, register, 0, 2, 0),
        Insn.make(op.ALU64 | op.MOV | op.K, 0, 0, 0, 1),
        Insn.make(op.EXIT_CODE),
    ]
