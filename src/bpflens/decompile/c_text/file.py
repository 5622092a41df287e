"""The rest of a C file: types, macros, maps, global variables, declarations, license; only what the functions use.

The file needs no include, so that "clang -O2 -g -target bpf -c x.c" works wherever clang does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from bpflens.btf.btf import Btf, Kind
from bpflens.btf.c_text import c_string
from bpflens.decompile.c_expression.core import kfunc_declaration
from bpflens.decompile.c_expression.prototypes import Signature
from bpflens.decompile.c_expression.unit_scope import Global, UnitScope, context_type
from bpflens.decompile.c_text.macros import macro_text
from bpflens.decompile.c_text.signature import prototype_of
from bpflens.decompile.c_text.types import Types, basic_types, words_of
from bpflens.decompile.result import Line
from bpflens.decompile.unit import Unit, identifier
from bpflens.isa.extended.contexts import context_struct, fields
from bpflens.isa.extended.helpers import helper_prototype
from bpflens.isa.extended.names import MAP_TYPES
from bpflens.isa.extended.uapi import MapType
from bpflens.program import Map

__all__ = ("file_head", "file_tail")

_FLAGS = {
    0: "BPF_F_NO_PREALLOC", 1: "BPF_F_NO_COMMON_LRU", 2: "BPF_F_NUMA_NODE", 3: "BPF_F_RDONLY", 4: "BPF_F_WRONLY", 7: "BPF_F_RDONLY_PROG",
    8: "BPF_F_WRONLY_PROG", 10: "BPF_F_MMAPABLE",
}  # fmt: skip
_SET_BY_KERNEL = {MapType.DEVMAP: 1 << 7, MapType.DEVMAP_HASH: 1 << 7}  # kernel/bpf/devmap.c, dev_map_init_map: BPF_F_RDONLY_PROG


def file_head(scope: UnitScope, signatures: Mapping[str, Signature], names: Sequence[str], body: Iterable[str]) -> list[Line]:
    """Everything before the functions. `names`: the functions of the file; `body`: their lines."""
    unit = scope.unit
    header = _types(scope, signatures, names)
    pieces = [
        ["#define SEC(name) __attribute__((section(name), used))"],
        _context_structs(unit, names, header),
        header.text(),
        [macro_text(name) for name in scope.used_macros],
        _initial_programs(scope, signatures, names),
        _maps(scope, header, names),
        _globals(scope, header),
        _symbols(scope, header),
        _helpers(scope),
        _kfuncs(scope),
        _prototypes(scope, signatures, names),
    ]
    lines: list[Line] = []
    for piece in (basic_types(words_of(chain(body, *pieces))), *pieces):
        if piece:
            lines.append(Line(""))
            lines += [Line(line) for text in piece for line in text.split("\n")]
    return lines


def file_tail(unit: Unit) -> list[Line]:
    """The license."""
    return [Line(f'char LICENSE[] SEC("license") = "{c_string(unit.license)}";')]


# --- types ---


def _types(scope: UnitScope, signatures: Mapping[str, Signature], names: Sequence[str]) -> Types:
    types = Types(scope.unit.btf)
    for name in scope.used_maps:
        m = scope.unit.maps.get(name)
        if m is not None:
            _add_map(types, m)
    for section in scope.used_sections:
        for variable in scope.globals.get(section, {}).values():
            types.add(variable.type_id)
    for id in (*scope.core_types, *scope.used_types):
        types.add(id)
    for name in names:
        code = scope.unit.codes[name]
        for type_id in signatures[name].pointees:
            types.add(type_id)
        if code.role == "global" and code.program.btf is types.btf and types.btf is not None and code.type_id:
            for p in types.btf.params(types.btf.type(code.type_id).ref):
                types.add(p.type_id)
    for name in scope.used_kfuncs:
        found = kfunc_declaration(scope, name)
        if found is not None and found[1] is types.btf:
            types.add(found[1].type(found[2]).ref)
    for name in scope.used_symbols:
        types.add(_symbol_type(scope.unit, name))
    for id in scope.pointed_types:
        types.add_pointed(id)
    types.add_parts(scope.core_paths)
    return types


def _add_map(types: Types, m: Map) -> None:
    types.add(m.key_type_id)
    types.add(m.value_type_id)
    inner = m.fields.get("inner")
    if isinstance(inner, Map):
        _add_map(types, inner)


def _context_structs(unit: Unit, names: Sequence[str], types: Types) -> list[str]:
    """The contexts of the program types, as user space sees them."""
    out = []
    wanted = {context_struct(unit.codes[name].prog_type) for name in names if unit.codes[name].role == "entry"}
    for struct in sorted(wanted - {""}):
        id = context_type(unit, struct)
        if not id or not types.add(id):
            types.contexts.add(struct)
            out.append(_struct_text(struct))
    return out


def _struct_text(struct: str) -> str:
    lines, end, gap = [f"struct {struct} {{"], 0, 0
    rows = fields(struct)
    index = 0
    while index < len(rows):
        field = rows[index]
        name, _, number = field.name.partition("[")
        count = 1
        while number and index + count < len(rows) and rows[index + count].name.startswith(name + "["):
            count += 1
        if field.offset > end:
            lines.append(f"\t__u8 reserved_{gap}[{field.offset - end}];")
            gap += 1
        lines.append(f"\t__u{8 * field.size} {name}{f'[{count}]' if number else ''};")
        end = field.offset + field.size * count
        index += count
    return "\n".join([*lines, "};"])


# --- maps ---


def _maps(scope: UnitScope, types: Types, functions: Sequence[str]) -> list[str]:
    out: list[str] = []
    for name in scope.used_maps:
        m = scope.unit.maps.get(name)
        if m is None:
            continue
        body = _map_body(scope, types, m, "\t")
        initial = _initial(scope, m, functions)
        out.append("\n".join(["struct {", *body, f'}} {scope.map_names.get(name, identifier(name))} SEC(".maps"){initial};']))
    if out:
        out.insert(0, "#define __uint(name, val) int (*name)[val]\n#define __type(name, val) typeof(val) *name\n"
                   "#define __array(name, val) typeof(val) *name[]")  # fmt: skip
    return out


def _map_body(scope: UnitScope, types: Types, m: Map, indent: str) -> list[str]:
    kind = f"{m.type} /* BPF_MAP_TYPE_{MAP_TYPES[m.type].upper()} */" if m.type in MAP_TYPES else str(m.type)
    out = [f"{indent}__uint(type, {kind});"]
    if m.max_entries:
        out.append(f"{indent}__uint(max_entries, {m.max_entries});")
    for what, id, size in (("key", m.key_type_id, m.key_size), ("value", m.value_type_id, m.value_size)):
        if id and types.add(id) and not (what == "value" and m.fields.get("inner")):
            out.append(f"{indent}__type({what}, {types.declare(id, '')});")
        elif size and not (what == "value" and m.fields.get("inner")):
            out.append(f"{indent}__uint({what}_size, {size});")
    flags = m.flags & ~_SET_BY_KERNEL.get(m.type, 0)
    if flags:
        names = [name for bit, name in _FLAGS.items() if flags >> bit & 1]
        known = sum(1 << bit for bit in _FLAGS if flags >> bit & 1)
        out.append(f"{indent}__uint(map_flags, {flags:#x});" + (f" /* {' | '.join(names)} */" if known == flags else ""))
    if m.fields.get("pinning"):
        out.append(f"{indent}__uint(pinning, {1 if m.fields['pinning'] == 'by name' else m.fields['pinning']});")
    extra = m.fields.get("map_extra")
    if extra and int(extra) < 1 << 31:
        out.append(f"{indent}__uint(map_extra, {extra});")
    elif extra:
        out.append(f"{indent}__ulong(map_extra, {int(extra):#x}ULL);")
    inner = m.fields.get("inner")
    if isinstance(inner, Map):
        out += [f"{indent}__array(values, struct {{", *_map_body(scope, types, inner, indent + "\t"), f"{indent}}});"]
    elif isinstance(m.fields.get("values"), dict) and m.type == MapType.PROG_ARRAY:
        out.append(f"{indent}__array(values, int (void *));")
    return out


def _initial_programs(scope: UnitScope, signatures: Mapping[str, Signature], functions: Sequence[str]) -> list[str]:
    """Declarations of the programs that maps begin with."""
    maps = [scope.unit.maps[name] for name in scope.used_maps if name in scope.unit.maps]
    tables = [m.fields.get("values") for m in maps if m.type == MapType.PROG_ARRAY]
    named = dict.fromkeys(name for values in tables if isinstance(values, dict) for name in values.values() if name in functions)
    return [prototype_of(scope.unit.codes[name], signatures[name]).rpartition("\n")[2] + ";" for name in named]


def _initial(scope: UnitScope, m: Map, functions: Sequence[str]) -> str:
    """Inner maps or programs that the object puts in, where they are in this file."""
    values = m.fields.get("values")
    if not isinstance(values, dict):
        return ""
    written = functions if m.type == MapType.PROG_ARRAY else scope.used_maps
    names = {index: name for index, name in values.items() if name in written}
    if len(names) < len(values) or not names:
        return ""
    if m.type == MapType.PROG_ARRAY:
        inside = ", ".join(f"[{index}] = (void *)&{name}" for index, name in names.items())
    else:
        inside = ", ".join(f"[{index}] = (void *)&{scope.map_names[name]}" for index, name in names.items())
    return f" = {{ .values = {{ {inside} }} }}"


# --- global variables ---


def _globals(scope: UnitScope, types: Types) -> list[str]:
    out = []
    for section in scope.used_sections:
        if section == ".kconfig":
            continue
        m = scope.unit.maps.get(section)
        data = m.data if m is not None else None
        for variable in scope.globals.get(section, {}).values():
            out.append(_global(variable, data, types))
    return out


def _global(variable: Global, data: bytes | None, types: Types) -> str:
    kind = variable.section.split(".")[1] if variable.section.count(".") else "data"
    qualifier = "const volatile " if kind == "rodata" else ""
    plain = variable.section in (".data", ".bss", ".rodata") or variable.section.startswith((".rodata.cst", ".rodata.str"))
    place = "" if plain else f' SEC("{variable.section}")'  # constants that linkers merge are in sections that C cannot name
    raw = data[variable.offset : variable.offset + variable.size] if data is not None else b""
    if variable.type_id and types.add(variable.type_id) and types.btf is not None:
        from bpflens.decompile.c_expression.initial import initialiser

        value = initialiser(types.btf, variable.type_id, raw)
        if value is not None:
            shown = types.declare(_unqualified(types.btf, variable.type_id), variable.name)
            shown = shown.removeprefix("const ").removeprefix("volatile ") if qualifier else shown
            if kind == "data" and not any(raw):
                place = place or ' SEC(".data")'
            return f"{qualifier}{shown}{place} = {value};"
    values = ""
    if any(raw):
        values = " = { " + ", ".join(map(str, raw)) + " }"
    else:
        values = " = {}"
        if kind == "data":
            place = place or ' SEC(".data")'
    return f"{qualifier}__u8 {variable.name}[{variable.size}]{place} __attribute__((aligned({_alignment(variable)}))){values};"


def _alignment(variable: Global) -> int:
    return next(step for step in (8, 4, 2, 1) if variable.offset % step == 0)


def _unqualified(btf: Btf, id: int) -> int:
    while btf.kind(id) in (Kind.CONST, Kind.VOLATILE):
        id = btf.type(id).ref
    return id


def _symbol_type(unit: Unit, name: str) -> int:
    btf = unit.btf
    if btf is None:
        return 0
    id = btf.find(name, Kind.VAR)
    return btf.type(id).ref if id is not None else 0


def _symbols(scope: UnitScope, types: Types) -> list[str]:
    """Variables of the kernel, and kconfig values."""
    out = []
    kconfig = scope.unit.maps.get(".kconfig")
    names = {v[0] for v in kconfig.datasec.values()} if kconfig is not None else set()
    for name in scope.used_symbols:
        if name in scope.used_kfuncs:  # declared as the function that it is
            continue
        id = _symbol_type(scope.unit, name)
        section = ".kconfig" if name in names or name.startswith("CONFIG_") or name == "LINUX_KERNEL_VERSION" else ".ksyms"
        shown = types.declare(id, name) if id and types.add(id) else f"const void {name}"
        out.append(f'extern {shown} __attribute__((section("{section}"))) __attribute__((weak));')
    return out


# --- functions ---


def _helpers(scope: UnitScope) -> list[str]:
    out = []
    for number in sorted(scope.used_helpers):
        prototype = helper_prototype(number)
        if prototype is None:
            out.append(f"static __u64 (*helper_{number})() = (void *){number};")
            continue
        head, _, rest = prototype.partition("(")
        result, name = head[: head.rindex("bpf_")], head[head.rindex("bpf_") :]
        out.append(f"static {result}(*{name})({_parameters(rest.rstrip(')'))}) = (void *){number};")
    return out


def _parameters(inside: str) -> str:
    """The parameters of a helper: pointers as void *, so that no type must be declared for them."""
    out = []
    for part in inside.split(","):
        part = part.strip()
        if "*" in part or "[" in part:
            const = "const " if part.startswith("const ") else ""
            name = part.replace("*", " ").split()[-1].split("[")[0]
            out.append(f"{const}void *{name}")
        else:
            out.append(part.replace("__be16", "__u16").replace("__be32", "__u32").replace("__wsum", "__u32"))
    return ", ".join(out)


def _kfuncs(scope: UnitScope) -> list[str]:
    out = []
    for name in scope.used_kfuncs:
        found = kfunc_declaration(scope, name)
        text = found[0] if found is not None else f"__u64 {name}(void)"
        weak = " __attribute__((weak))" if name in scope.used_symbols else ""
        out.append(f'extern {text} __attribute__((section(".ksyms"))){weak};')
    return out


def _prototypes(scope: UnitScope, signatures: Mapping[str, Signature], names: Iterable[str]) -> list[str]:
    out = []
    for name in names:
        code = scope.unit.codes[name]
        if code.role != "entry":
            out.append(prototype_of(code, signatures[name]) + ";")
    return out
