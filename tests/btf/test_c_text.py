"""C from BTF: declarations by hand, definitions by what a compiler makes of them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
import objects
from bpflens.btf.btf import Btf, Kind
from bpflens.btf.build import BtfBuilder
from bpflens.btf.c_header import Header, header
from bpflens.btf.c_text import declaration, definition
from bpflens.errors import InputError
from bpflens.formats.elf.file import ElfFile

# declaration in C -> the same as it should come back: what clang's BTF keeps, in the order in which the kernel's own tools write it
DECLARATIONS = {
    "int plain": "int plain",
    "unsigned long long big": "unsigned long long big",
    "const char *const text": "const char *const text",
    "struct s *volatile *deep": "struct s *volatile *deep",
    "int array[3][4]": "int array[3][4]",
    "int *pointers[3]": "int *pointers[3]",
    "int (*to_array)[3]": "int (*to_array)[3]",
    "int (*fn)(void)": "int (*fn)(void)",
    "void (*fn2)(int, struct s *, ...)": "void (*fn2)(int, struct s *, ...)",
    "int (*table[5])(const char *)": "int (*table[5])(const char *)",
    "int (*(*nested)(int))(char)": "int (*(*nested)(int))(char)",
    "int *restrict only": "int *restrict only",
    "enum e colour": "enum e colour",
    "t typedefed": "t typedefed",
    "const volatile t both": "const volatile t both",
    "_Bool yes": "_Bool yes",
    "union u mixed": "union u mixed",
}


def btf_of(source: str) -> Btf:
    """The BTF of a C file."""
    elf = ElfFile.parse(objects.compiled(source), "x.o")
    section = elf.section(".BTF")
    assert section is not None
    return Btf.parse(elf.bytes_of(section))


def test_declarations() -> None:
    """Every declaration comes back as it was written."""
    source = "struct s { int a; }; union u { int a; long b; }; enum e { E1 }; typedef unsigned int t;\n"
    source += "\n".join(f"{declaration};" for declaration in DECLARATIONS)
    btf = btf_of(source)
    written = {btf.name(id): declaration(btf, id) for id in btf.ids(Kind.VAR)}

    assert sorted(written.values()) == sorted(DECLARATIONS.values())


def test_function() -> None:
    """A FUNC has its own name, and parameters have theirs."""
    btf = btf_of("struct s; int work(struct s *first, const char *second, int (*third)(long)) { return third(second[0]); }")
    id = btf.find("work", Kind.FUNC)
    assert id
    assert declaration(btf, id) == "int work(struct s *first, const char *second, int (*third)(long))"


def test_type_tag() -> None:
    """Type tags are attributes; leaving them out is possible."""
    build = BtfBuilder()
    pointer = build.add_ptr(build.add_modifier(Kind.TYPE_TAG, build.add_int("int", 4, 1), "user"))
    btf = Btf.parse(build.build())
    assert declaration(btf, pointer, "p") == '__attribute__((btf_type_tag("user"))) int *p'


def test_definition() -> None:
    """Members, bitfields, anonymous members, padding, enums."""
    source = """
        struct outer { char a; long b : 3; int c[0]; union { int d; struct { short e, f; }; }; void (*g)(struct outer *); } x;
        struct gap { int a; long b __attribute__((aligned(64))); } y;
        struct tight { char a; int b; } __attribute__((packed)) z;
        enum small { ONE = 1, TWO = 2 } v;
    """
    btf = btf_of(source)
    text = {name: definition(btf, id) for name in ("outer", "gap", "tight", "small") if (id := btf.find(name))}
    assert text["outer"] == "\n".join([
        "struct outer {", "\tchar a;", "\tlong b: 3;", "\tint c[0];", "\tunion {", "\t\tint d;", "\t\tstruct {", "\t\t\tshort e;",
        "\t\t\tshort f;", "\t\t};", "\t};", "\tvoid (*g)(struct outer *);", "};",
    ])  # fmt: skip
    assert text["gap"] == "struct gap {\n\tint a;\n\tlong: 32;" + "\n\tlong: 64;" * 7 + "\n\tlong b;" + "\n\tlong: 64;" * 7 + "\n};"
    assert text["tight"] == "struct tight {\n\tchar a;\n\tint b;\n} __attribute__((packed));"
    assert text["small"] == "enum small {\n\tONE = 1,\n\tTWO = 2,\n};"


def test_self_containing_struct_is_refused() -> None:
    """A header of a struct within itself."""
    build = BtfBuilder()
    build.add_struct("s", 8, [("t", 2, 0)])
    build.add_struct("t", 8, [("s", 1, 0)])
    with pytest.raises(InputError, match="contains itself"):
        header(Btf.parse(build.build()), [1])


# --- the kernel's types, with compilers as judges ---

VMLINUX = Path("/sys/kernel/btf/vmlinux")


@pytest.fixture(scope="module")
def kernel() -> Btf:
    needs.kernel_feature(VMLINUX.exists(), "BTF of its own")
    return Btf.parse(VMLINUX.read_bytes(), where=str(VMLINUX))


def structs(btf: Btf, step: int) -> list[int]:
    """Every `step`th named struct and union, and all with bitfields."""
    named = [id for kind in (Kind.STRUCT, Kind.UNION) for id in btf.ids(kind) if btf.name(id)]
    return sorted({*named[::step], *(id for id in named if btf.type(id).kind_flag)})


def tag(btf: Btf, made: Header, id: int) -> str:
    return f"{'struct' if btf.kind(id) is Kind.STRUCT else 'union'} {made.names.get(id, btf.name(id))}"


def assertions(btf: Btf, made: Header) -> Iterator[str]:
    """What a compiler must agree with: the size of every struct of the header and the offset of every member that has an address."""
    for id in made.order:
        if btf.kind(id) in (Kind.STRUCT, Kind.UNION):
            name = tag(btf, made, id)
            yield f'_Static_assert(sizeof({name}) == {btf.type(id).size}, "{name}");'
            for member in btf.members(id):
                if member.name and not member.bit_size:
                    where = f"__builtin_offsetof({name}, {member.name})"
                    yield f'_Static_assert({where} * 8 == {member.bit_off}, "{name}.{member.name}");'


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_kernel_structs_compile_to_the_same_layout(kernel: Btf, compiler: str) -> None:
    """Sizes and offsets of some thousand structs of the running kernel, by gcc and clang."""
    made = Header(kernel)
    for id in structs(kernel, 8):
        made.add(id)
    checks = list(assertions(kernel, made))
    assert len(checks) > 5000
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "kernel.c"
        path.write_text(made.text() + "\n".join(checks))
        done = subprocess.run(
            [needs.tool(compiler), "-std=gnu11", "-fsyntax-only", "-w", str(path)], capture_output=True, text=True, timeout=100
        )
    assert done.returncode == 0, done.stderr[:3000]


def flat(btf: Btf, id: int, base: int = 0) -> Iterator[tuple[str, int, int]]:
    """(name, bit offset, bits) of the members, anonymous ones opened, padding left out."""
    for member in btf.members(id):
        inner = btf.skip_modifiers(member.type_id)
        if not member.name and btf.kind(inner) in (Kind.STRUCT, Kind.UNION):
            yield from flat(btf, inner, base + member.bit_off)
        elif member.name and not member.name.startswith("__pad_"):
            yield member.name, base + member.bit_off, member.bit_size


def test_kernel_bitfields_come_back_from_clang(kernel: Btf) -> None:
    """Bitfields have no address to assert: clang compiles the header, and its BTF must have them where the kernel's has them."""
    wanted = [id for id in structs(kernel, 1 << 30) if kernel.type(id).kind_flag]
    made = Header(kernel)
    for id in wanted:
        made.add(id)
    variables = "\n".join(f"{tag(kernel, made, id)} v{id};" for id in wanted)
    again = btf_of(made.text() + variables)
    compared = 0
    for id in wanted:
        variable = again.find(f"v{id}", Kind.VAR)
        assert variable
        other = again.type(variable).ref
        assert again.type(other).size == kernel.type(id).size
        assert list(flat(again, other)) == list(flat(kernel, id)), kernel.name(id)
        compared += 1
    assert compared > 100


def test_a_function_without_a_prototype_is_no_c23() -> None:
    build = BtfBuilder()
    number = build.add_int("int", 4, 1)
    any_, some = build.add_func_proto(number, [("", 0)]), build.add_func_proto(number, [("n", number), ("", 0)])
    btf = Btf.parse(build.build())
    assert (declaration(btf, any_, "f"), declaration(btf, some, "f")) == ("int f()", "int f(int n, ...)")
