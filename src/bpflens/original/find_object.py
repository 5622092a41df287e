"""The object file that a program came from: found by its tag among the programs of ELF files, with the code that was removed.

Objects are linked for the running kernel (link.py) and hashed: an equal tag is an exact original, whatever the verifier removed.
Executables that embed an object (libbpf skeletons) are searched too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bpflens.errors import BpflensError, InputError
from bpflens.formats.elf.relocations.link import Linked, ObjectPrograms, link
from bpflens.isa.extended import opcodes as op
from bpflens.isa.extended.insn import words as words_of
from bpflens.lean import frozen, replace
from bpflens.original.image.image import Image
from bpflens.original.image.tag import ALGORITHMS, tags
from bpflens.original.invert.reconstruction import Layout
from bpflens.original.reload import Reloaded, reload
from bpflens.original.result import Grade, Original
from bpflens.original.rewrites.template import Group
from bpflens.program import Declared, Isa, Map, Origin, Program, SourceLine

__all__ = ("files_under", "look_up", "removed_insns")

_MAX_FILE_BYTES = 256 << 20
_MAX_SIMILAR = 4  # programs of the same name that are loaded to see what becomes of them


def look_up(original: Original, paths: Sequence[str]) -> Original:
    """The original from an object among `paths` (files, directories): a program that has the tag, whatever its name, and of which the
    kernel makes the same image; else one of the same name that becomes the identical image though its tag is another one. Unchanged where
    there is none, or where the original is exact already. InputError for a path that does not exist.
    """
    image = original.image
    if original.grade is Grade.EXACT or not image.tag:
        return original
    name = image.name.encode()
    files = list(files_under(paths))
    similar: list[_Candidate] = []
    others: list[str] = []
    # Programs of the same name first: a file without the name need not be linked for them.
    for named in (True, False):
        for path in files:
            data = _read(path)
            if data is None or (named and name not in data):
                continue
            for where, blob in _objects(data, path):
                found = _in_object(original, blob, where, named, similar)
                if found is None:
                    continue
                if found.reloaded is None or found.reloaded.identical:
                    return found
                others.append(f"{found.source} has the tag, but of it the kernel makes another image ({found.reloaded.reason})")
    for candidate in similar[:_MAX_SIMILAR]:
        equivalent = _equivalent(original, candidate)
        if equivalent is not None:
            return equivalent
    said = "; ".join(others[:_MAX_SIMILAR]) or f"no object in {', '.join(paths)} has this tag"
    return replace(original, reason=f"{original.reason}; {said}")


def files_under(paths: Iterable[str]) -> Iterator[str]:
    """The files among `paths` and in the directories among them, in order of name."""
    for path in paths:
        if os.path.isdir(path):
            for directory, directories, files in os.walk(path):
                directories.sort()
                for file in sorted(files):
                    whole = os.path.join(directory, file)
                    if os.path.isfile(whole) and not os.path.islink(whole):
                        yield whole
        elif os.path.isfile(path):
            yield path
        else:
            raise InputError(path, "is neither a file nor a directory" if os.path.exists(path) else "does not exist")


def _read(path: str) -> bytes | None:
    try:
        if os.path.getsize(path) > _MAX_FILE_BYTES:
            return None
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None


def _objects(data: bytes, path: str) -> Iterator[tuple[str, bytes]]:
    from bpflens.formats.elf.embedded import find_embedded

    for offset, blob in find_embedded(data):
        yield (f"{path}@{offset:#x}" if offset else path), blob


@frozen
class _Candidate:
    """A program of an object that has the name but not the tag."""

    programs: ObjectPrograms
    program: Program
    linked: Linked
    where: str


def _in_object(original: Original, blob: bytes, where: str, named: bool, similar: list[_Candidate]) -> Original | None:
    """The original, where a program of the object has the tag. `named`: programs of the same name are looked at, and added to `similar`;
    else the others of the same type.
    """
    from bpflens.kernel.btf import vmlinux
    from bpflens.original.kernels.running import live_kernel

    image = original.image
    kernel = live_kernel()
    try:
        programs = ObjectPrograms(blob, where, vmlinux(), kernel.kfunc_id, kernel.ksym_id)
    except BpflensError:
        return None
    for program, function in programs.entries():
        if function.name.startswith(image.name) != named or (not named and program.type not in (None, image.prog_type)):
            continue
        try:
            linked = link(programs, program.section or "", function)
        except BpflensError:
            continue
        for algorithm, got in zip(ALGORITHMS, tags(linked.words), strict=True):
            if got == image.tag:
                return _exact(original, programs, program, linked, where, algorithm)
        if named:
            similar.append(_Candidate(programs, program, linked, where))
    return None


def _equivalent(original: Original, candidate: _Candidate) -> Original | None:
    """The object's program as the original, where it becomes the identical image though its tag is another one."""
    found = _exact(original, candidate.programs, candidate.program, candidate.linked, candidate.where, "")
    if found.reloaded is None or not found.reloaded.identical:
        return None
    reason = "the object's program becomes the identical image when it is loaded with the same maps and types; its tag is another one"
    return replace(found, grade=Grade.EQUIVALENT, reason=reason)


def _exact(original: Original, programs: ObjectPrograms, program: Program, linked: Linked, where: str, algorithm: str) -> Original:
    image = original.image
    source = f"{where}#{program.section}"
    maps = _live_maps(image)
    code = _with_ids(linked, maps)
    functions = tuple(replace(function, start=start) for start, function in linked.functions)
    whole = Program(
        isa=Isa.EXTENDED,
        code=code,
        origin=Origin("original", image.where, note=f"from {source}"),
        name=linked.name,
        type=image.prog_type,
        expected_attach_type=original.attributes.expected_attach_type if original.attributes else image.expected_attach_type,
        declared=Declared(section=program.section, license=program.license),
        id=image.id or None,
        tag=image.tag,
        maps=tuple(maps.values()),
        functions=functions,
        lines=_lines(programs, linked),
        btf=programs.btf,
    )
    func_info = tuple((function.start, function.type_id) for function in functions if function.type_id)
    name = {"sha256": "SHA-256", "sha1": "SHA-1"}.get(algorithm, "")
    reason = f"the object's program has the tag ({name}) {image.tag}, the program's"
    layout, proof = _traced(original, code, func_info)
    marks: dict[int, tuple[str, ...]] = {}
    if proof is None:
        reason += "; its image was not compared"
    elif proof.identical:
        reason += ", and becomes the identical image"
    if layout is not None:
        gone = len(linked.words) - sum(len(group.items) for _, _, group in layout.groups)
        reason += f"; {gone} of its insns were removed when it was loaded"
        marks = dict.fromkeys(removed_insns(layout), ("removed when loaded",))
    return Original(
        image, Grade.EXACT, reason, code, layout, func_info, (), algorithm, original.attributes, proof, original.removed, source, whole,
        original.tags_tried, notes=marks,
    )  # fmt: skip


def _traced(original: Original, code: bytes, func_info: tuple[tuple[int, int], ...]) -> tuple[Layout | None, Reloaded | None]:
    """What the kernel makes of the object's program, which is loaded for a moment, and where every instruction went (None without BTF, or
    where the image is another one). (None, None) where it can't be loaded as the program was.
    """
    image = original.image
    bare = Layout(words_of(code), [], ())
    known = original.attributes or (original.reloaded.attributes if original.reloaded else None)
    if known is None or (image.btf_id and not func_info):
        return None, None
    proof = reload(image, bare, [known], func_info)
    if not proof.identical or proof.went is None:
        return None, proof
    return _layout(original, bare, proof.went), proof


def _layout(original: Original, bare: Layout, went: Mapping[int, int]) -> Layout:
    """The object's program related to the image, as the kernel reports it: instruction -> slot in `went`."""
    image = original.image
    size = len(bare.words)
    wide = {index for index, word in enumerate(bare.words) if word & 0xFF == op.LD_IMM64}
    starts = [-1] * (len(image) + 1)
    starts[-1] = size
    ordered = sorted(went.items(), key=lambda pair: pair[1])
    names = {slot: group.rewrite for slot, _, group in original.layout.groups} if original.layout else {}
    groups = []
    for number, (index, slot) in enumerate(ordered):
        starts[slot] = index
        end = ordered[number + 1][1] if number + 1 < len(ordered) else len(image)
        items = tuple((word, -1) for word in bare.words[index : index + (2 if index in wide else 1)])
        groups.append((slot, index, Group(end - slot, items, names.get(slot, ""))))
    return Layout(bare.words, starts, tuple(groups))


def removed_insns(layout: Layout) -> list[int]:
    """Instructions of a layout that no slot of the image is from."""
    present = {index + half for _, index, group in layout.groups for half in range(len(group.items))}
    wide = {index + 1 for index, word in enumerate(layout.words) if word & 0xFF == op.LD_IMM64}
    return [index for index in range(len(layout.words)) if index not in present and index not in wide]


def _live_maps(image: Image) -> dict[str, Map]:
    """The program's live maps by name."""
    from bpflens.kernel.maps.maps import with_types

    return {known.name: with_types(known) for known in image.maps.values()} if image.live else {}


def _with_ids(linked: Linked, maps: dict[str, Map]) -> bytes:
    """The code with the ids of live maps where they can be told by name: libbpf shortens names, and puts the object's before sections'."""
    words = list(linked.words)
    for at, symbol in linked.maps.items():
        for name, found in maps.items():
            fits = name == symbol[:15] or (symbol.startswith(".") and name.endswith(symbol) and not name.startswith("."))
            if fits and found.id is not None and words[at] & 0xFF == op.LD_IMM64:
                words[at] = words[at] & 0xFFFFFFFF | found.id << 32
                break
    return b"".join(word.to_bytes(8, "little") for word in words)


def _lines(programs: ObjectPrograms, linked: Linked) -> tuple[SourceLine, ...]:
    """Source lines by instruction of the linked program."""
    by_origin: dict[tuple[str, int], SourceLine] = {}
    for section in {section for section, _ in linked.origins}:
        by_origin |= {(section, line.off_insns): line for line in programs.sections[section].lines}
    return tuple(replace(by_origin[origin], off_insns=at) for at, origin in enumerate(linked.origins) if origin in by_origin)


