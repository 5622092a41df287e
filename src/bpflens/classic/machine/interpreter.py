"""What a classic program returns for one packet: the exact interpreter, for both machines that run classic code.

    run(insns, packet)                                     ──►  262144
    trace(insns, packet)                                   ──►  State before every instruction executed, and after the last

"kernel" is __bpf_prog_run() of what bpf_convert_filter() (net/core/filter.c) makes of the program; "libpcap" is bpf_filter() of
libpcap 1.10.3 (bpf_filter.c). They differ where a program reads outside the packet's plain bytes, and in shifts:

    case                                  kernel                                         libpcap
    load past the end                     program returns 0                              program returns 0
    [x + k] beyond 2^32                   wraps; a negative sum is network-relative      program returns 0
    SKF_AD_OFF + n                        ancillary data                                 program returns 0 (VLAN where given)
    ifindex, hatype without a device      program returns what A holds                   program returns 0
    SKF_NET_OFF, SKF_LL_OFF               from the network or link header                program returns 0
    shift by X >= 32                      X & 31                                         0
    division by X = 0                     program returns 0                              program returns 0
    ja backwards                          refused                                        executes

A and X start as 0; M[] too, though the kernel refuses programs that could read a cell before writing it. What neither machine would
execute (unknown opcode, division by the constant 0, a jump out of the program) is an InputError naming the instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bpflens.errors import InputError
from bpflens.isa.classic.table import ANCILLARY as ANCILLARY_ROWS
from bpflens.isa.classic.table import SKF_AD_OFF, SKF_LL_OFF, SKF_NET_OFF, Ad
from bpflens.lean import Literal, NamedTuple

__all__ = ("ANCILLARY", "MAX_STEPS", "Machine", "Model", "State", "nlattr", "run", "trace")

Model = Literal["kernel", "libpcap"]

# include/uapi/linux/filter.h, SKF_AD_*: offset from SKF_AD_OFF -> name used for user-supplied values.
# nlattr, nlattr_nest and alu_xor_x are computed from A, X and the packet; only the packet's receiver knows the others.
ANCILLARY = {anc.offset: anc.symbol.removeprefix("SKF_AD_").lower() for anc in ANCILLARY_ROWS}

# A program of the kernel has at most 4096 instructions and no loop; libpcap's protochain loops over a packet's headers.
MAX_STEPS = 1_000_000

_DEVICE_DATA = (SKF_AD_OFF + Ad.IFINDEX, SKF_AD_OFF + Ad.HATYPE)
_WORD = 0xFFFFFFFF
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_LOADS = frozenset((0x20, 0x28, 0x30, 0x40, 0x48, 0x50))


class State(NamedTuple):
    """The machine between two instructions: `pc` is executed next; `result` is set once the program has returned.

    `read` is the part of the packet that the last instruction loaded: (byte offset, size in bytes), None for no load or one that failed.
    """

    pc: int
    a: int
    x: int
    m: tuple[int, ...]
    read: tuple[int, int] | None = None
    result: int | None = None


def run(
    insns: Sequence[tuple[int, int, int, int]],
    packet: bytes,
    length: int | None = None,
    model: Model = "kernel",
    aux: Mapping[str, int | None] | None = None,
) -> int:
    """The 32-bit value that the program returns.

    `packet` is what was captured, `length` the packet's length on the wire where it was cut short. `aux` gives ancillary data by the
    names in ANCILLARY: 0 where absent; None, as for the ifindex of a packet without a device: the program ends. It also has
    `network_offset` and `link_offset`: where the network and link headers start in `packet` (14 and 0 where absent).
    """
    machine = Machine(insns, packet, length, model, aux)
    step = machine.step
    for _ in range(MAX_STEPS):
        step()
        if machine.result is not None:
            return machine.result
    raise InputError(f"insn {machine.pc}", f"the program has not returned after {MAX_STEPS} instructions")


def trace(
    insns: Sequence[tuple[int, int, int, int]],
    packet: bytes,
    length: int | None = None,
    model: Model = "kernel",
    aux: Mapping[str, int | None] | None = None,
    max_steps: int = MAX_STEPS,
) -> list[State]:
    """Every state of a run: element i is the state before the i-th executed instruction; the last one has the result.

    After `max_steps` instructions the list just ends, without a result.
    """
    machine = Machine(insns, packet, length, model, aux)
    states = [machine.state()]
    for _ in range(max_steps):
        machine.step()
        states.append(machine.state())
        if machine.result is not None:
            break
    return states


class Machine:
    """One program on one packet; `step()` executes one instruction, the fields are the registers.

    After the last step `result` is the returned value and `pc` stays on the instruction that returned it.
    """

    __slots__ = ("a", "aux", "insns", "length", "libpcap", "m", "packet", "pc", "read", "result", "x")

    def __init__(
        self,
        insns: Sequence[tuple[int, int, int, int]],
        packet: bytes,
        length: int | None = None,
        model: Model = "kernel",
        aux: Mapping[str, int | None] | None = None,
    ) -> None:
        self.insns = insns
        self.packet = packet
        self.length = len(packet) if length is None else length
        self.libpcap = model == "libpcap"
        self.aux: Mapping[str, int | None] = {} if aux is None else aux
        self.pc = 0
        self.a = 0
        self.x = 0
        self.m = [0] * 16
        self.read: tuple[int, int] | None = None
        self.result: int | None = None

    def state(self) -> State:
        """The registers now, as a value."""
        return State(self.pc, self.a, self.x, tuple(self.m), self.read, self.result)

    def step(self) -> None:
        """Execute the instruction at pc; InputError where no machine would."""
        if not 0 <= self.pc < len(self.insns):
            raise InputError(f"insn {self.pc}", "the program has no such instruction")
        code, jt, jf, k = self.insns[self.pc]
        self.read = None
        kind = code & 7
        if kind == 5:
            self._jump(code, jt, jf, k)
            return
        if code in _LOADS:
            value = self._load(code, k)
            if value is None:
                self.result = self.a if k in _DEVICE_DATA and code & 0xE0 == 0x20 and not self.libpcap else 0
                return
            self.a = value
        elif kind in (4, 7):
            if not self._alu(code, k):
                self.result = 0
                return
        elif code == 0x06:
            self.result = k
            return
        elif code == 0x16:
            self.result = self.a
            return
        elif code == 0xB1:
            offset = self._packet_offset(k, 1)
            if offset is None:
                self.result = 0
                return
            self.read = (offset, 1)
            self.x = (self.packet[offset] & 15) << 2
        elif code == 0x00:
            self.a = k
        elif code == 0x01:
            self.x = k
        elif code == 0x80:
            self.a = self.length & _WORD
        elif code == 0x81:
            self.x = self.length & _WORD
        elif code in (0x60, 0x61, 0x02, 0x03):
            self._memory(code, k)
        else:
            raise self._invalid(code)
        self.pc += 1

    # ---- loads

    def _load(self, code: int, k: int) -> int | None:
        size = _SIZES[code & 0x18]
        if code & 0xE0 == 0x20:
            if k >= SKF_AD_OFF:
                return self._ancillary(k - SKF_AD_OFF, size)
            offset = self._packet_offset(k, size)
        elif self.libpcap:
            # bpf_filter() refuses k and X that are each beyond the buffer before it adds them
            offset = self.x + k if self.x + k <= _WORD else None
            if offset is not None and offset + size > len(self.packet):
                offset = None
        else:
            offset = self._packet_offset((self.x + k) & _WORD, size)
        if offset is None:
            return None
        self.read = (offset, size)
        return int.from_bytes(self.packet[offset : offset + size], "big")

    def _packet_offset(self, k: int, size: int) -> int | None:
        """Where an offset as the instruction has it lies in the packet; None: the load fails."""
        offset = k
        if k >= 0x80000000 and not self.libpcap:
            # bpf_internal_load_pointer_neg_helper()
            start: int | None = None
            if k >= SKF_NET_OFF:
                start = self.aux.get("network_offset", 14)
                offset = k - SKF_NET_OFF
            elif k >= SKF_LL_OFF:
                start = self.aux.get("link_offset", 0)
                offset = k - SKF_LL_OFF
            if start is None:
                return None
            offset += start
        if offset < 0 or offset + size > len(self.packet):
            return None
        return offset

    def _ancillary(self, offset: int, size: int) -> int | None:
        name = ANCILLARY.get(offset)
        if self.libpcap:
            # bpf_filter_with_aux_data(): only byte loads of the two VLAN facts, and only where the capture has them
            if size == 1 and name in ("vlan_tag", "vlan_tag_present") and name in self.aux:
                value = self.aux[name]
                return None if value is None else value & _WORD
            return None
        if name is None:
            raise InputError(f"insn {self.pc}", f"there is no ancillary data at SKF_AD_OFF + {offset}")
        if name == "alu_xor_x":
            return self.a ^ self.x
        if name in ("nlattr", "nlattr_nest"):
            return nlattr(self.packet, self.a, self.x, nested=name == "nlattr_nest")
        value = self.aux.get(name, 0)
        return None if value is None else value & _WORD

    # ---- the rest

    def _alu(self, code: int, k: int) -> bool:
        """False: division by X = 0, the program returns 0."""
        a = self.a
        if code == 0x07:
            self.x = a
            return True
        if code == 0x87:
            self.a = self.x
            return True
        if code == 0x84:
            self.a = -a & _WORD
            return True
        operand = self.x if code & 8 else k
        operation = code & ~8
        if operation == 0x04:
            self.a = (a + operand) & _WORD
        elif operation == 0x14:
            self.a = (a - operand) & _WORD
        elif operation == 0x24:
            self.a = (a * operand) & _WORD
        elif operation in (0x34, 0x94):
            if operand == 0:
                if code & 8:
                    return False
                raise InputError(f"insn {self.pc}", "division by the constant 0")
            self.a = a // operand if operation == 0x34 else a % operand
        elif operation == 0x44:
            self.a = a | operand
        elif operation == 0x54:
            self.a = a & operand
        elif operation == 0xA4:
            self.a = a ^ operand
        elif operation in (0x64, 0x74):
            if operand >= 32 and self.libpcap and code & 8:
                self.a = 0
            elif operation == 0x64:
                self.a = (a << (operand & 31)) & _WORD
            else:
                self.a = a >> (operand & 31)
        else:
            raise self._invalid(code)
        return True

    def _jump(self, code: int, jt: int, jf: int, k: int) -> None:
        if code == 0x05:
            if k >= 0x80000000 and self.libpcap:
                k -= 1 << 32  # protochain: bpf_filter() takes k as signed
            self.pc += 1 + k
            return
        operand = self.x if code & 8 else k
        operation = code & ~8
        if operation == 0x15:
            taken = self.a == operand
        elif operation == 0x25:
            taken = self.a > operand
        elif operation == 0x35:
            taken = self.a >= operand
        elif operation == 0x45:
            taken = self.a & operand != 0
        else:
            raise self._invalid(code)
        self.pc += 1 + (jt if taken else jf)

    def _memory(self, code: int, k: int) -> None:
        if k >= 16:
            raise InputError(f"insn {self.pc}", f"there is no M[{k}]")
        if code == 0x60:
            self.a = self.m[k]
        elif code == 0x61:
            self.x = self.m[k]
        else:
            self.m[k] = self.a if code == 0x02 else self.x

    def _invalid(self, code: int) -> InputError:
        return InputError(f"insn {self.pc}", f"unknown opcode {code:#x}")


def nlattr(packet: bytes, offset: int, type: int, nested: bool = False) -> int:
    """Offset of the netlink attribute of `type` at or after `offset` in the packet; 0 where there is none.

    bpf_skb_get_nlattr() and bpf_skb_get_nlattr_nest() (net/core/filter.c): attributes are in the host's byte order (little-endian here),
    4-byte aligned; nla_find() compares the type without its two flag bits.
    """
    end = len(packet)
    if end < 4 or offset > end - 4:
        return 0
    if nested:
        size = int.from_bytes(packet[offset : offset + 2], "little")
        # nla_find_nested(): a size below the header's would be a negative length, in which nla_find() finds nothing
        if size > end - offset:
            return 0
        offset, end = offset + 4, offset + size
    while end - offset >= 4:
        size = int.from_bytes(packet[offset : offset + 2], "little")
        if size < 4 or size > end - offset:
            return 0
        if int.from_bytes(packet[offset + 2 : offset + 4], "little") & 0x3FFF == type:
            return offset
        offset += (size + 3) & ~3
    return 0
