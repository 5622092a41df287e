"""CO-RE relocations against a kernel's types, as libbpf and the kernel apply them (tools/lib/bpf/relo_core.c, Linux 6.18).

    r1 = *(u32*)(r1 +0)   "field byte offset" of struct task_struct, access 0:77 (pid)   ──►   r1 = *(u32*)(r1 +1512)

A field is found by the names on its path, not by its place; a type by its name without what follows "___". What the kernel does not have
poisons the instruction (it becomes a call that can't be), except for questions whether something exists.
"""

from __future__ import annotations

from bpflens.btf.btf import Btf, Kind
from bpflens.errors import InputError
from bpflens.formats.elf.btf_ext import CORE_KINDS, CoreRelocation, access_numbers
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import Insn
from bpflens.lean import NamedTuple

__all__ = ("CoreResolver", "apply")

(
    _BYTE_OFFSET, _BYTE_SIZE, _FIELD_EXISTS, _SIGNED, _LSHIFT, _RSHIFT, _LOCAL_ID, _TARGET_ID, _TYPE_EXISTS, _TYPE_SIZE, _ENUM_EXISTS,
    _ENUM_VALUE, _TYPE_MATCHES,
) = range(13)  # fmt: skip
_FIELD_KINDS = range(6)
_ENUM_KINDS = (_ENUM_EXISTS, _ENUM_VALUE)
_EXISTENCE = (_FIELD_EXISTS, _TYPE_EXISTS, _ENUM_EXISTS, _TYPE_MATCHES)
_COMPOSITE = (Kind.STRUCT, Kind.UNION)
_ENUMS = (Kind.ENUM, Kind.ENUM64)
_POISON = Insn.make(op.CALL_CODE, imm=195896080).word  # libbpf's mark of an instruction that must not be reached
_MAX_DEPTH = 32


class Spec(NamedTuple):
    """Where an access leads: the type there, its offset in bits, the size of a bit-field (0 for others); names walked through."""

    type_id: int
    bit_off: int
    bit_size: int
    steps: tuple[tuple[str, int], ...]  # (member name or "", array index): what has to be found again


class Value(NamedTuple):
    """What a relocation puts into the instruction: `poison` if the kernel lacks it; sizes of the memory accessed, old and new.

    `fixed`: a load or store of the old size must not become one of the new, because what is read may be negative.
    """

    value: int
    poison: bool = False
    old_size: int = 0
    new_size: int = 0
    fixed: bool = False


class CoreResolver:
    """Relocations of one object against one kernel; answers are kept."""

    def __init__(self, local: Btf, kernel: Btf) -> None:
        self.local = local
        self.kernel = kernel
        self._known: dict[tuple[int, str, int], Value] = {}

    def resolve(self, relocation: CoreRelocation) -> Value:
        """The value; InputError where the relocation is malformed or of a kind that is not known."""
        key = (relocation.type_id, relocation.access, relocation.kind)
        if key not in self._known:
            self._known[key] = self._resolve(*key)
        return self._known[key]

    def _resolve(self, type_id: int, access: str, kind: int) -> Value:
        if kind == _LOCAL_ID:
            return Value(type_id)
        if kind == _TYPE_MATCHES or kind >= len(CORE_KINDS):
            what = "type match relocations are" if kind == _TYPE_MATCHES else f"relocations of kind {kind} are"
            raise InputError("CO-RE", f"{what} not supported")
        local = self.local
        root = local.type(local.skip_modifiers(type_id))
        name = _essential(local.name(type_id) or root.name)
        numbers = access_numbers(local, access)
        spec = _walk(local, type_id, numbers) if kind in _FIELD_KINDS else None
        enumerator = _essential(_enumerator(local, root.id, numbers[0])) if kind in _ENUM_KINDS else ""
        own = local.type(type_id).kind
        values = []
        for candidate in self.kernel.find_all(name, None):
            if not _same_kind(own, self.kernel.kind(candidate)):
                continue
            value = self._try(candidate, kind, spec, enumerator, type_id)
            if value is not None:
                values.append(value)
        if values:
            if any(value.value != values[0].value or value.poison != values[0].poison for value in values[1:]):
                raise InputError("CO-RE", f"types named {name} in the kernel disagree")
            return values[0]
        return Value(0) if kind in _EXISTENCE else Value(0, True)

    def _try(self, candidate: int, kind: int, spec: Spec | None, enumerator: str, type_id: int) -> Value | None:
        kernel = self.kernel
        if spec is not None:
            found = self._match(candidate, spec)
            if found is None:
                return None
            new = _field_value(kernel, found, kind)
            if kind == _BYTE_OFFSET and not spec.bit_size and not found.bit_size:
                old_size, new_size = _memory_size(self.local, spec.type_id), _memory_size(kernel, found.type_id)
                unsigned = _is_unsigned(self.local, spec.type_id) and _is_unsigned(kernel, found.type_id)
                return Value(new, False, old_size, new_size, old_size != new_size and not unsigned)
            return Value(new)
        if kind in _ENUM_KINDS:
            for constant in kernel.enumerators(kernel.skip_modifiers(candidate)):
                if _essential(constant.name) == enumerator:
                    return Value(1 if kind == _ENUM_EXISTS else constant.value)
            return None
        if not _compatible_types(self.local, type_id, kernel, candidate):
            return None
        return Value({_TYPE_EXISTS: 1, _TARGET_ID: candidate}.get(kind, 0) or kernel.size(candidate))

    def _match(self, candidate: int, spec: Spec) -> Spec | None:
        """The same path in a kernel type: bpf_core_spec_match."""
        kernel = self.kernel
        type_id, bit_off, bit_size = candidate, 0, 0
        for position, (name, index) in enumerate(spec.steps):
            if name:
                found = _member(kernel, type_id, name, bit_off)
                if found is None:
                    return None
                type_id, bit_off, bit_size = found
            elif position == 0:
                bit_off += 8 * index * kernel.size(type_id) if index else 0
            else:
                array = kernel.skip_modifiers(type_id)
                if kernel.kind(array) is not Kind.ARRAY:
                    return None
                element, _, count = kernel.array(array)
                if count and index >= count:
                    return None
                type_id, bit_size = element, 0
                bit_off += 8 * index * kernel.size(element)
        if not _compatible_fields(self.local, spec.type_id, kernel, type_id):
            return None
        return Spec(type_id, bit_off, bit_size, ())


def apply(words: list[int], slot: int, value: Value) -> None:
    """Patch the instruction at `slot`: bpf_core_patch_insn. InputError where it can't hold the value."""
    word = words[slot]
    insn = Insn(word)
    kind = insn.code & 7
    if value.poison or (value.fixed and kind in (op.LDX, op.ST, op.STX)):
        words[slot] = _POISON
        if insn.code == op.LD_IMM64:
            words[slot + 1] = _POISON
        return
    new = value.value
    if kind in (op.ALU, op.ALU64) and not insn.code & op.X:
        words[slot] = word & 0xFFFFFFFF | (new & 0xFFFFFFFF) << 32
    elif kind in (op.LDX, op.ST, op.STX):
        code = insn.code
        if value.old_size != value.new_size and value.new_size in op.SIZE_CODE:
            code = code & ~0x18 | op.SIZE_CODE[value.new_size]
        words[slot] = Insn.make(code, insn.dst, insn.src, new, insn.imm).word
    elif insn.code == op.LD_IMM64:
        words[slot] = word & 0xFFFFFFFF | (new & 0xFFFFFFFF) << 32
        words[slot + 1] = (new >> 32 & 0xFFFFFFFF) << 32
    else:
        raise InputError("CO-RE", f"a relocation on an instruction that can't hold it (code {insn.code:#04x})")


def _walk(btf: Btf, type_id: int, numbers: list[int]) -> Spec:
    """The access string in the object's own types."""
    steps: list[tuple[str, int]] = [("", numbers[0])]
    current, bit_off, bit_size = btf.skip_modifiers(type_id), 0, 0
    if numbers[0]:
        bit_off = 8 * numbers[0] * btf.size(current)
    for number in numbers[1:]:
        current = btf.skip_modifiers(current)
        if btf.kind(current) in _COMPOSITE:
            member = btf.member(current, number)
            bit_off += member.bit_off
            if member.name:
                steps.append((member.name, 0))
            current, bit_size = member.type_id, member.bit_size
        else:
            element, _, _ = btf.array(current)
            steps.append(("", number))
            bit_off += 8 * number * btf.size(element)
            current, bit_size = element, 0
    return Spec(current, bit_off, bit_size, tuple(steps))


def _member(btf: Btf, type_id: int, name: str, bit_off: int, depth: int = 0) -> tuple[int, int, int] | None:
    """(type, offset in bits, bits) of a member by name, looking into anonymous ones."""
    type_id = btf.skip_modifiers(type_id)
    if depth > _MAX_DEPTH or btf.kind(type_id) not in _COMPOSITE:
        return None
    for member in btf.members(type_id):
        if member.name == name:
            return member.type_id, bit_off + member.bit_off, member.bit_size
        if not member.name:
            found = _member(btf, member.type_id, name, bit_off + member.bit_off, depth + 1)
            if found is not None:
                return found
    return None


def _field_value(btf: Btf, spec: Spec, kind: int) -> int:
    """bpf_core_calc_field_relo."""
    if kind == _FIELD_EXISTS:
        return 1
    type_id = btf.skip_modifiers(spec.type_id)
    if spec.bit_size:
        size = btf.size(type_id)
        start = spec.bit_off // 8 // size * size
        while spec.bit_off + spec.bit_size - 8 * start > 8 * size:
            if size >= 8:
                raise InputError("CO-RE", "a bit-field that does not fit in 64 bits")
            size *= 2
            start = spec.bit_off // 8 // size * size
        bits = spec.bit_size
    else:
        size = btf.size(type_id) if kind != _BYTE_OFFSET else 0
        start, bits = spec.bit_off // 8, 8 * size
    if kind == _BYTE_OFFSET:
        return start
    if kind == _BYTE_SIZE:
        return size
    if kind == _SIGNED:
        kind_of = btf.kind(type_id)
        if kind_of is Kind.INT:
            return btf.int_encoding(type_id)[0] & 1
        return int(btf.type(type_id).kind_flag) if kind_of is Kind.ENUM64 else int(kind_of is Kind.ENUM)
    if kind == _LSHIFT:
        return 64 - (spec.bit_off + bits - 8 * start)
    return 64 - bits


def _memory_size(btf: Btf, type_id: int) -> int:
    type_id = btf.skip_modifiers(type_id)
    if btf.kind(type_id) is Kind.PTR:
        return 8
    return btf.size(type_id) if btf.kind(type_id) in (Kind.INT, *_ENUMS) else 0


def _is_unsigned(btf: Btf, type_id: int) -> bool:
    """An unsigned integer or a pointer: reading more or fewer of its bytes gives the same number (bpf_core_calc_relo)."""
    type_id = btf.skip_modifiers(type_id)
    if btf.kind(type_id) is Kind.INT:
        return not btf.int_encoding(type_id)[0] & 1
    return btf.kind(type_id) is Kind.PTR


def _enumerator(btf: Btf, id: int, number: int) -> str:
    constants = btf.enumerators(id)
    if number >= len(constants):
        raise InputError("CO-RE", f"{btf.name(id) or 'an enum'} has no constant {number}")
    return constants[number].name


def _compatible_fields(a: Btf, a_id: int, b: Btf, b_id: int, depth: int = 0) -> bool:
    """bpf_core_fields_are_compat."""
    a_id, b_id = a.skip_modifiers(a_id), b.skip_modifiers(b_id)
    x, y = a.kind(a_id), b.kind(b_id)
    if x in _COMPOSITE and y in _COMPOSITE:
        return True
    if x in _ENUMS and y in _ENUMS:
        return _same_name(a.name(a_id), b.name(b_id))
    if x is not y or depth > _MAX_DEPTH:
        return False
    if x is Kind.FWD:
        return _same_name(a.name(a_id), b.name(b_id))
    if x is Kind.ARRAY:
        return _compatible_fields(a, a.array(a_id)[0], b, b.array(b_id)[0], depth + 1)
    return x in (Kind.PTR, Kind.FLOAT, Kind.INT)


def _compatible_types(a: Btf, a_id: int, b: Btf, b_id: int, depth: int = 0) -> bool:
    """bpf_core_types_are_compat."""
    a_id, b_id = a.skip_modifiers(a_id), b.skip_modifiers(b_id)
    x, y = a.kind(a_id), b.kind(b_id)
    if not _same_kind(x, y) or depth > _MAX_DEPTH:
        return False
    if x is Kind.PTR:
        return _compatible_types(a, a.type(a_id).ref, b, b.type(b_id).ref, depth + 1)
    if x is Kind.ARRAY:
        return _compatible_types(a, a.array(a_id)[0], b, b.array(b_id)[0], depth + 1)
    if x is Kind.FUNC_PROTO:
        ours, theirs = a.params(a_id), b.params(b_id)
        if len(ours) != len(theirs):
            return False
        pairs = [*zip((p.type_id for p in ours), (p.type_id for p in theirs), strict=True), (a.type(a_id).ref, b.type(b_id).ref)]
        return all(_compatible_types(a, one, b, other, depth + 1) for one, other in pairs)
    return x in (Kind.VOID, Kind.INT, Kind.STRUCT, Kind.UNION, Kind.FWD, *_ENUMS)


def _same_kind(x: Kind, y: Kind) -> bool:
    return x is y or (x in _ENUMS and y in _ENUMS)


def _same_name(a: str, b: str) -> bool:
    return not _essential(a) or not _essential(b) or _essential(a) == _essential(b)


def _essential(name: str) -> str:
    """The name without the flavour that a program may give its own copy of a type: task_struct___old."""
    at = name.rfind("___")
    return name[:at] if at > 0 and not name.endswith("___") else name
